"""Events to the sender: written with what caused them, numbered and published afterwards.

The feed's number is given after commit by one gateway at a time, so a reader of the feed never skips an event.
"""

from collections.abc import Sequence

from msgspec import Struct, structs
from sqlalchemy import BigInteger, Connection, bindparam, func, select, text, update

from gateway.ledger.among import among, among_given
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.schema import dossier, outbox

_NUMBERING_LOCK = 0x6B6E6773
"""Key of the PostgreSQL advisory lock under which numbers are given; SQLite has one writer."""


class Event(Struct, frozen=True):
    """A CloudEvent on its way. `sealed` with the dossier's key, or the gateway's where there is no dossier."""

    id: str
    name: str
    gemeente: str
    dossier_id: str | None
    sealed: bytes
    next_at: int


class Outgoing(Struct, frozen=True):
    """A numbered event to publish; `key` is the dossier's wrapped key, None for the gateway's own."""

    id: str
    nr: int
    name: str
    gemeente: str
    sealed: bytes
    key: bytes | None


def add_events(connection: Connection, events: Sequence[Event]) -> None:
    if events:
        insert_rows(connection, outbox, [structs.asdict(event) for event in events])


def take_events(connection: Connection, limit: int, now: int, again_at: int | None) -> list[Outgoing]:
    """Number what has no number yet and return what is due, in order.

    `again_at`: when they are due again if nobody says `published` (a lease). None: numbering is all there is to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _NUMBERING_LOCK})
    rows = connection.execute(_DUE, {"now": now, "limit": limit}).all()
    if not rows:
        return []
    last: int = connection.execute(_LAST_NUMBER).scalar_one()
    taken = []
    for row in rows:
        nr = row.nr
        if nr is None:
            last += 1
            nr = last
        taken.append(Outgoing(row.id, nr, row.name, row.gemeente, row.sealed, row.key))
    numbered = [{"id": event.id, "nr": event.nr, "next_at": again_at} for event in taken]
    update_rows(connection, outbox, ("id",), numbered)
    return taken


_DUE = (
    select(outbox.c.id, outbox.c.nr, outbox.c.name, outbox.c.gemeente, outbox.c.sealed, dossier.c.key)
    .outerjoin(dossier, dossier.c.id == outbox.c.dossier_id)
    .where(outbox.c.next_at <= bindparam("now"))
    .order_by(outbox.c.next_at, outbox.c.id)
    .limit(bindparam("limit"))
)
_LAST_NUMBER = select(func.coalesce(func.max(outbox.c.nr), 0, type_=BigInteger))
_PUBLISHED = update(outbox).where(among_given(outbox.c.id, "ids")).values(next_at=None)


def published(connection: Connection, ids: Sequence[str]) -> None:
    connection.execute(_PUBLISHED, {"ids": list(ids)})


def next_event_due(connection: Connection) -> int | None:
    """When the earliest event is due (epoch µs); None: the outbox is empty."""
    due = select(func.min(outbox.c.next_at)).where(outbox.c.next_at.is_not(None))
    earliest: int | None = connection.scalar(due)
    return earliest


def postpone(connection: Connection, ids: Sequence[str], at: int) -> None:
    """These were not confirmed: due again at `at` (epoch µs)."""
    connection.execute(update(outbox).where(among(outbox.c.id, ids)).values(next_at=at))
