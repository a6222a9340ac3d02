"""The agenda of dossiers: which are to be looked at, everything that decides about them, and what came of it.

A dossier is looked at when its `review_at` has come, or when it was nudged: whatever changes something in a dossier
leaves a row, an insert that waits for nobody. Dossiers are locked while they are looked at; those that another gateway
looks at are skipped, so that what is due is done once.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Connection, bindparam, delete, func, or_, select

from gateway.core.case import Case, Delivery
from gateway.core.lifecycle import TERMINAL, Happening, State
from gateway.core.outcome import CERTIFICATE_REFUSED
from gateway.core.recovery import Gap
from gateway.ledger.among import among, among_given
from gateway.ledger.bulk import insert_rows, update_rows, update_various_rows
from gateway.ledger.deliveries import FIELDS, delivery_of
from gateway.ledger.gap import gap
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.queue import Lane
from gateway.ledger.schema import attempt, delivery, dossier, message, milestone, nudge, payload, task, transition
from gateway.ledger.tasks import Task, add_tasks, close_tasks

Row = dict[str, object]


class Open(Struct, frozen=True):
    """A dossier under lock. `rows`: of its deliveries, by id; `key`: its wrapped data key."""

    id: str
    gemeente: str
    kenmerk: str
    key: bytes
    review_at: int | None
    case: Case
    rows: dict[str, Any]


class Move(Struct, frozen=True):
    """A delivery that time moves, or a decision that was given elsewhere in its dossier; `changes`: other columns."""

    delivery: Delivery
    happening: Happening
    after: State
    cause: str | None = None
    changes: Row = field(default_factory=dict)


class Writes(Struct):
    """What came of a look at some dossiers, at the instant `at` (epoch µs)."""

    at: int
    moves: list[Move] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    """ids of deliveries that wait no more"""
    deliveries: list[Row] = field(default_factory=list)
    payloads: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    closures: list[tuple[str, str, str]] = field(default_factory=list)
    """(delivery id, soort, reason) of tasks whose cause went away"""
    marks: list[Row] = field(default_factory=list)
    review_at: dict[str, int | None] = field(default_factory=dict)


ViewOf = Callable[[Delivery], bytes]
"""The sealed view of a delivery."""
Look = Callable[[Sequence[Open], ViewOf, Gap | None], Writes]
"""Decides about dossiers, with what a restore left unknown."""


def nudge_dossiers(connection: Connection, ids: Collection[str], at: int) -> None:
    """Something changed in these dossiers: their agenda must be looked at soon."""
    insert_rows(connection, nudge, [{"dossier_id": id_, "at": at} for id_ in dict.fromkeys(ids)])


def next_look(connection: Connection) -> tuple[int | None, int | None]:
    """The earliest `review_at`, and the instant of the oldest nudge (epoch µs)."""
    return connection.scalar(_EARLIEST), connection.scalar(_OLDEST)


def look(connection: Connection, now: int, nudged_by: int, limit: int, decide: Look) -> tuple[int, list[Lane]]:
    """Look at up to `limit` dossiers that are due, or were nudged at or before `nudged_by`. Returns how many were
    looked at, and the lanes that have work because of it."""
    ids = _wanted(connection, now, nudged_by, limit)
    opened = _open(connection, ids) if ids else []
    if not opened:
        return 0, []
    writes = decide(opened, lambda one: _view(connection, one), gap(connection))
    return len(opened), _write(connection, writes, opened)


def _wanted(connection: Connection, now: int, nudged_by: int, limit: int) -> list[str]:
    nudged = connection.execute(_NUDGED, {"by": nudged_by, "limit": limit}).scalars()
    due = connection.execute(_DUE, {"now": now, "limit": limit}).scalars()
    return list(dict.fromkeys([*due, *nudged]))[:limit]


def _open(connection: Connection, ids: Sequence[str]) -> list[Open]:
    """Lock these dossiers, take their nudges off, and read; what commits a change after this nudges again."""
    rows = connection.execute(_DOSSIERS, {"ids": list(ids)}).all()
    locked = [row.id for row in rows]
    connection.execute(_TAKE_NUDGES, {"ids": locked})
    deliveries = _by_dossier(connection.execute(_MATTERS, {"ids": locked}))
    cases = _cases(connection, rows, deliveries)
    return [
        Open(
            row.id, row.gemeente, row.kenmerk, row.key, row.review_at, case, {one.id: one for one in deliveries[row.id]}
        )
        for row, case in zip(rows, cases, strict=True)
    ]


def case_of(connection: Connection, dossier_id: str) -> Case | None:
    """A dossier as it stands, only to look at; None: there is none."""
    rows = connection.execute(select(dossier).where(dossier.c.id == dossier_id)).all()
    deliveries = _by_dossier(connection.execute(_ALL, {"ids": [row.id for row in rows]}))
    return next(iter(_cases(connection, rows, deliveries)), None)


_EARLIEST = select(func.min(dossier.c.review_at)).where(dossier.c.review_at.is_not(None))
_OLDEST = select(nudge.c.at).order_by(nudge.c.nr).limit(1)
_NUDGED = select(nudge.c.dossier_id).where(nudge.c.at <= bindparam("by")).order_by(nudge.c.nr).limit(bindparam("limit"))
_DUE = (
    select(dossier.c.id)
    .where(dossier.c.review_at <= bindparam("now"))
    .order_by(dossier.c.review_at)
    .limit(bindparam("limit"))
)
_DOSSIERS = (
    select(dossier).where(among_given(dossier.c.id, "ids")).order_by(dossier.c.id).with_for_update(skip_locked=True)
)
_TAKE_NUDGES = delete(nudge).where(among_given(nudge.c.dossier_id, "ids"))
_ALL = (
    select(*FIELDS, delivery.c.dossier_id, delivery.c.message_id, delivery.c.channel)
    .where(among_given(delivery.c.dossier_id, "ids"))
    .order_by(delivery.c.id)
)
_HAS_TASK = select(task.c.id).where(task.c.delivery_id == delivery.c.id, task.c.closed_at.is_(None)).exists()
_MATTERS = _ALL.where(
    or_(delivery.c.soort != "voortgang", delivery.c.state.not_in([str(state) for state in TERMINAL]), _HAS_TASK)
).with_for_update(of=delivery)
"""Those that may still matter: follow-ups that only inform are left out when they are over and without a task."""
_SAID = select(message.c.dossier_id, message.c.soort, message.c.versie, message.c.received_at).where(
    among_given(message.c.dossier_id, "ids"), message.c.hold_until.is_(None)
)
_MARKS = select(milestone).where(among_given(milestone.c.dossier_id, "ids"))
_OPEN_TASKS = select(task).where(among_given(task.c.dossier_id, "ids"), task.c.closed_at.is_(None))


def _cases(connection: Connection, rows: Sequence[Any], deliveries: Mapping[str, list[Any]]) -> list[Case]:
    ids = [row.id for row in rows]
    messages, marks, tasks = (
        _by_dossier(connection.execute(part, {"ids": ids})) for part in (_SAID, _MARKS, _OPEN_TASKS)
    )
    waited_for = [row.waits_for for of_one in deliveries.values() for row in of_one if row.soort == "intrekking"]
    under_way, arrived = _ends_of_attempts(connection, [id_ for id_ in waited_for if id_])
    return [
        Case(
            id=row.id,
            deliveries=tuple(map(delivery_of, deliveries[row.id])),
            withdrawn_at=row.withdrawn_at,
            last_news_at=max((one.received_at for one in messages[row.id] if one.soort in _NEWS), default=0),
            notice_version=max((one.versie for one in messages[row.id] if one.soort == "kennisgeving"), default=0),
            marks=frozenset((one.name, one.subject) for one in marks[row.id]),
            tasks=frozenset((one.delivery_id, one.soort) for one in tasks[row.id] if one.delivery_id),
            under_way=under_way,
            may_have_arrived=arrived,
        )
        for row in rows
    ]


_NEWS = frozenset({"kennisgeving", "voortgang", "verlenging"})


def _ends_of_attempts(connection: Connection, ids: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Of these deliveries: those with an attempt that has not ended, and those that may have arrived: an attempt said
    so, or a backup was put back in which they were open."""
    if not ids:
        return frozenset(), frozenset()
    rows = connection.execute(
        select(attempt.c.delivery_id, attempt.c.outcome, attempt.c.code).where(among(attempt.c.delivery_id, ids))
    ).all()
    under_way = frozenset(row.delivery_id for row in rows if row.outcome is None)
    arrived = frozenset(
        row.delivery_id for row in rows if row.outcome in ("overgedragen", "onzeker") or row.code == CERTIFICATE_REFUSED
    )
    return under_way, arrived | _put_back(connection, ids)


def _put_back(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    was_put_back = among(transition.c.delivery_id, ids) & (transition.c.happening == Happening.RESTORED)
    return frozenset(connection.scalars(select(transition.c.delivery_id).where(was_put_back)))


def _by_dossier(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.dossier_id].append(row)
    return found


def _view(connection: Connection, one: Delivery) -> bytes:
    sealed: bytes = connection.execute(
        select(payload.c.sealed).where(payload.c.owner == one.id, payload.c.kind == "aanzicht")
    ).scalar_one()
    return sealed


def _write(connection: Connection, writes: Writes, opened: Sequence[Open]) -> list[Lane]:
    insert_rows(connection, delivery, writes.deliveries)
    insert_rows(connection, payload, writes.payloads)
    lanes = [(str(row["creditor"]), str(row["channel"])) for row in writes.deliveries]
    _move(connection, writes)
    if writes.released:
        freed = [{"id": id_, "waits_for": None, "next_action_at": writes.at} for id_ in writes.released]
        update_rows(connection, delivery, ("id",), freed)
        rows = {id_: row for one in opened for id_, row in one.rows.items()}
        lanes += [(rows[id_].creditor, rows[id_].channel) for id_ in writes.released]
    insert_rows(connection, milestone, writes.marks)
    before = {one.id: one.review_at for one in opened}
    moved = [{"id": id_, "review_at": at} for id_, at in writes.review_at.items() if before[id_] != at]
    update_rows(connection, dossier, ("id",), moved)
    add_events(connection, writes.events)
    add_tasks(connection, writes.tasks)
    close_tasks(connection, writes.closures, writes.at)
    return lanes


def _move(connection: Connection, writes: Writes) -> None:
    values = {"next_action_at": None, "waits_for": None}
    changed = [{"id": move.delivery.id, "state": move.after, **values, **move.changes} for move in writes.moves]
    update_various_rows(connection, delivery, ("id",), changed)
    insert_rows(
        connection,
        transition,
        [
            {
                "delivery_id": move.delivery.id,
                "at": writes.at,
                "happening": move.happening,
                "before": move.delivery.state,
                "after": move.after,
                "cause": move.cause,
            }
            for move in writes.moves
        ],
    )
