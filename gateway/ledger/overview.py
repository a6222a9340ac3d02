"""Reading for the overviews: a page at a time, so that a year does not fill memory and no transaction lasts.

A period is a range of message ids, which are UUIDv7: a range of the primary key. What a message became is found by
index from there, and nothing is scanned that is no part of it.
"""

from collections.abc import Collection
from itertools import groupby
from operator import attrgetter

from msgspec import Struct
from sqlalchemy import Connection, func, select

from gateway.core.overview import Sent
from gateway.ledger.among import among
from gateway.ledger.schema import delivery, dossier, message

_MESSAGES = ("kennisgeving", "intrekking")
_DELIVERIES = ("kennisgeving", "herinnering", "intrekking")
_STANDING = func.coalesce(delivery.c.stands, delivery.c.state)
_COLUMNS = tuple(_STANDING if name == "state" else delivery.c[name] for name in Sent.__struct_fields__)
_OF_ONE = attrgetter("dossier_id", "creditor", "agent_for")


class Notified(Struct, frozen=True):
    """A processed kennisgeving. Version 1 begins its dossier."""

    message: str
    dossier: str
    gemeente: str
    versie: int


def notifications(
    connection: Connection, after: str, before: str, gemeenten: Collection[str] | None, scan: int
) -> tuple[list[Notified], str | None]:
    """The kennisgevingen among the next `scan` messages between two ids, and the id to go on after; None: no more.

    `gemeenten` None: of all.
    """
    within = select(message.c.id).where(message.c.id > after, message.c.id < before).order_by(message.c.id)
    reached = connection.scalar(within.offset(scan - 1).limit(1))
    query = (
        select(message.c.id, message.c.dossier_id, dossier.c.gemeente, message.c.versie)
        .join(dossier, dossier.c.id == message.c.dossier_id)
        .where(message.c.soort == "kennisgeving", message.c.hold_until.is_(None), message.c.id > after)
        .where(message.c.id < before if reached is None else message.c.id <= reached)
        .order_by(message.c.id)
    )
    if gemeenten is not None:
        query = query.where(among(dossier.c.gemeente, gemeenten))
    return [Notified(*row) for row in connection.execute(query)], reached


def sent(connection: Connection, dossiers: Collection[str]) -> list[list[Sent]]:
    """The deliveries of every kennisgeving, reminder and intrekking in these dossiers: a list for each creditor in each
    role, in the order in which they were made."""
    query = (
        select(*_COLUMNS)
        .join(message, message.c.id == delivery.c.message_id)
        .where(among(message.c.dossier_id, dossiers), message.c.soort.in_(_MESSAGES), delivery.c.soort.in_(_DELIVERIES))
    )
    rows = [Sent(*row) for row in connection.execute(query)]
    rows.sort(key=lambda row: (row.dossier_id, row.creditor, row.agent_for or "", row.id))
    return [list(of_one) for _, of_one in groupby(rows, _OF_ONE)]


def gemeenten_in_use(connection: Connection, gemeenten: Collection[str] | None) -> set[str]:
    """Those of `gemeenten` (None: of all) of which a message was processed, ever."""
    query = select(dossier.c.gemeente).where(dossier.c.versie > 0).distinct()
    if gemeenten is not None:
        query = query.where(among(dossier.c.gemeente, gemeenten))
    return set(connection.scalars(query))
