"""What the gauges show of the ledger. Only what is unfinished is counted, by the indexes that the stages use too."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, bindparam, func, select

from gateway.core.lifecycle import State
from gateway.ledger import agenda, lanes, outbox
from gateway.ledger.queue import Lane
from gateway.ledger.schema import closed_lane, delivery, message, spool, task
from gateway.ledger.schema import outbox as outbox_table

_DUE = and_(delivery.c.next_action_at.is_not(None), delivery.c.waits_for.is_(None))
_WAITING = delivery.c.waits_for.is_not(None)
_HANDED_OVER = and_(
    # literal, so that SQLite sees that the partial index holds them
    delivery.c.state.in_(bindparam("open", [State.DELIVERED, State.RECEIVED], expanding=True, literal_execute=True)),
    delivery.c.next_action_at.is_(None),
    delivery.c.waits_for.is_(None),
)


class Gauges(Struct, frozen=True):
    """The ledger at the instant `at`. Instants are epoch µs; None: there is none."""

    at: int
    deliveries: Mapping[tuple[str, str], int]
    """(channel, state) → how many; ended ones are not counted"""
    due: Mapping[Lane, int]
    """Lanes that are behind, and since when the oldest delivery in each is due."""
    owners: Mapping[Lane, str]
    """Whose each lane is; what is absent is nobody's, or the only gateway's."""
    events: int
    oldest_event: int | None
    review_at: int | None
    """When the next dossier is to be looked at."""
    nudged_at: int | None
    """The oldest nudge."""
    tasks: Mapping[str, int]
    closed: Mapping[str, int]
    """channel → how many creditors are not reached over it any more"""
    held: int
    """Messages that wait for a version before theirs."""
    spooled: int


def look(connection: Connection, now: int) -> Gauges:
    """Reads only; one look costs the same whatever has ended."""
    review_at, nudged_at = agenda.next_look(connection)
    return Gauges(
        at=now,
        deliveries=_deliveries(connection),
        due=_due(connection, now),
        owners=lanes.owners(connection),
        events=_count(connection, outbox_table, outbox_table.c.next_at.is_not(None)),
        oldest_event=outbox.next_event_due(connection),
        review_at=review_at,
        nudged_at=nudged_at,
        tasks=_by(connection, task.c.soort, task.c.closed_at.is_(None)),
        closed=_by(connection, closed_lane.c.channel),
        held=_count(connection, message, message.c.hold_until.is_not(None)),
        spooled=_count(connection, spool),
    )


def _deliveries(connection: Connection) -> dict[tuple[str, str], int]:
    """Each part by the partial index that holds it."""
    found: dict[tuple[str, str], int] = {}
    for part in (_DUE, _WAITING, _HANDED_OVER):
        rows = connection.execute(_counted(delivery.c.channel, delivery.c.state).where(part))
        for channel, state, number in rows:
            found[channel, state] = found.get((channel, state), 0) + number
    return found


def _due(connection: Connection, now: int) -> dict[Lane, int]:
    """What is claimed has its lease there, which is not due."""
    rows = connection.execute(
        select(delivery.c.creditor, delivery.c.channel, func.min(delivery.c.next_action_at).label("since"))
        .where(_DUE, delivery.c.next_action_at <= now)
        .group_by(delivery.c.creditor, delivery.c.channel)
    )
    return {(row.creditor, row.channel): row.since for row in rows}


def _by(connection: Connection, column: ColumnElement[str], *where: ColumnElement[bool]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(_counted(column).where(*where))}


def _counted(*columns: ColumnElement[str]) -> Select[Any]:
    entries: list[Any] = [*columns, func.count()]
    return select(*entries).group_by(*columns)


def _count(connection: Connection, table: Table, *where: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()
