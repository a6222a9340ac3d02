"""Pause requests: what is known of them, that they are handled, who has waited too long, and looking them up.

A request and the kennisgeving that answers it may come in at the same moment, in two transactions. Both take a lock on
(gemeente, verzoekkenmerk) first, so that one of them sees the other.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from sqlalchemy import ARRAY, BigInteger, Connection, Select, bindparam, func, select, text, update

from gateway.core.task import TaskKind
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.schema import dossier, message, pause_request, task, task_step
from gateway.ledger.tasks import Task, add_tasks

Key = tuple[str, str]
"""(gemeente, verzoekkenmerk)"""
Rows = Sequence[Any]


class Requests(Struct):
    """What the ledger knows about the pause requests of a batch."""

    hashes: dict[Key, bytes] = field(default_factory=dict)
    """Content hash of those it has."""
    answers: dict[Key, str] = field(default_factory=dict)
    """Id of the processed kennisgeving that answers one."""


class Handled(Struct, frozen=True):
    """`by`: id of the kennisgeving, or the OIN of who said so; `actor` and `reason` go with a task that this closes."""

    by: str
    at: int
    actor: str
    reason: str


class Reference(Struct, frozen=True):
    """A request, by what may be told of it."""

    id: str
    gemeente: str
    kenmerk: str


def identities(event_ids: Iterable[str]) -> Select[tuple[str, str, bytes]]:
    """(source, event_id, hash) of the requests with these ids."""
    columns = (pause_request.c.source, pause_request.c.event_id, pause_request.c.hash)
    return select(*columns).where(among(pause_request.c.event_id, event_ids))


def known_requests(connection: Connection, keys: Collection[Key]) -> Requests:
    """Nothing changes about `keys` until this transaction ends."""
    if not keys:
        return Requests()
    _lock(connection, keys)
    rows = connection.execute(
        select(pause_request.c.gemeente, pause_request.c.kenmerk, pause_request.c.hash).where(
            among(pause_request.c.kenmerk, {kenmerk for _, kenmerk in keys})
        )
    )
    answers = connection.execute(
        select(dossier.c.gemeente, message.c.request, message.c.id)
        .join(dossier, dossier.c.id == message.c.dossier_id)
        .where(among(message.c.request, {kenmerk for _, kenmerk in keys}), message.c.hold_until.is_(None))
        .order_by(message.c.id.desc())  # the first one stays
    )
    return Requests(
        {(row.gemeente, row.kenmerk): row.hash for row in rows},
        {(row.gemeente, row.request): row.id for row in answers},
    )


def _lock(connection: Connection, keys: Iterable[Key]) -> None:
    """Until the transaction ends; in one order, so that two transactions do not wait for each other. SQLite has one
    writer."""
    if connection.dialect.name == "postgresql":
        statement = text("SELECT pg_advisory_xact_lock(nr) FROM unnest(:numbers) AS nr").bindparams(
            bindparam("numbers", type_=ARRAY(BigInteger))
        )
        connection.execute(statement, {"numbers": sorted(map(_lock_number, keys))})


def _lock_number(key: Key) -> int:
    digest = hashlib.sha256("pauzeverzoek:{}:{}".format(*key).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def handle(connection: Connection, handled: Mapping[Key, Handled]) -> None:
    """These requests wait no longer, where they are here and still wait; their tasks are closed."""
    if not handled:
        return
    _lock(connection, handled)
    rows = connection.execute(
        select(pause_request.c.id, pause_request.c.gemeente, pause_request.c.kenmerk)
        .where(
            among(pause_request.c.kenmerk, {kenmerk for _, kenmerk in handled}),
            pause_request.c.handled_at.is_(None),
        )
        .order_by(pause_request.c.id)
        .with_for_update()
    )
    _write_handled(
        connection, {row.id: handled[key] for row in rows if (key := (row.gemeente, row.kenmerk)) in handled}
    )


def handle_one(connection: Connection, identifier: str, gemeenten: Collection[str], handled: Handled) -> Any | None:
    """The row of a request of these gemeenten, handled now if it was not before; None: there is none."""
    row = request_with(connection, identifier, gemeenten, lock=True)
    if row is None or row.handled_at is not None:
        return row
    _write_handled(connection, {identifier: handled})
    return request_with(connection, identifier, gemeenten)


def _write_handled(connection: Connection, handled: Mapping[str, Handled]) -> None:
    """By id of the request, which is under lock."""
    if not handled:
        return
    rows = [
        {"id": id_, "handled_at": one.at, "handled_by": one.by, "due_at": None} for id_, one in sorted(handled.items())
    ]
    update_rows(connection, pause_request, ("id",), rows)
    still_open = connection.scalars(
        select(task.c.id)
        .where(among(task.c.id, handled), task.c.soort == TaskKind.REQUEST_WAITS, task.c.closed_at.is_(None))
        .order_by(task.c.id)
        .with_for_update()
    ).all()
    update_rows(connection, task, ("id",), [{"id": id_, "closed_at": handled[id_].at} for id_ in still_open])
    insert_rows(connection, task_step, [_step(id_, handled[id_]) for id_ in still_open])


def _step(task_id: str, handled: Handled) -> dict[str, object]:
    return {
        "task_id": task_id,
        "at": handled.at,
        "actor": handled.actor,
        "step": "afgehandeld",
        "reason": handled.reason,
    }


def warn(connection: Connection, now: int, limit: int, tell: Callable[[Reference], tuple[Event, Task]]) -> int:
    """Write the event and the task of requests that have waited too long, once; returns of how many.

    The task has the id of its request. What another gateway has in hand is left to it.
    """
    rows = connection.execute(
        select(pause_request.c.id, pause_request.c.gemeente, pause_request.c.kenmerk)
        .where(pause_request.c.due_at <= now)
        .order_by(pause_request.c.due_at, pause_request.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    told = [tell(Reference(row.id, row.gemeente, row.kenmerk)) for row in rows]
    connection.execute(
        update(pause_request).where(among(pause_request.c.id, [row.id for row in rows])).values(due_at=None)
    )
    add_events(connection, [event for event, _ in told])
    add_tasks(connection, [work for _, work in told])
    return len(rows)


def next_due(connection: Connection) -> int | None:
    """When the next request will have waited too long (epoch µs)."""
    earliest: int | None = connection.scalar(_NEXT_DUE)
    return earliest


_NEXT_DUE = select(func.min(pause_request.c.due_at)).where(pause_request.c.due_at.is_not(None))


def request_with(
    connection: Connection, identifier: str, gemeenten: Collection[str], *, lock: bool = False
) -> Any | None:
    """A request of one of these gemeenten."""
    query = select(pause_request).where(pause_request.c.id == identifier, among(pause_request.c.gemeente, gemeenten))
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def requests(
    connection: Connection, gemeenten: Collection[str], *, is_open: bool | None, after: str, limit: int
) -> Rows:
    """Those of these gemeenten, by id; `is_open`: only those that are not handled, or that are; `after`: an id."""
    query = (
        select(pause_request)
        .where(among(pause_request.c.gemeente, gemeenten), pause_request.c.id > after)
        .order_by(pause_request.c.id)
        .limit(limit)
    )
    if is_open is not None:
        unhandled = pause_request.c.handled_at.is_(None)
        query = query.where(unhandled if is_open else ~unhandled)
    return connection.execute(query).all()
