"""Tasks: what only a person can settle. Written in the transaction of what caused them; worked off here.

A task is never deleted and never closed without a reason: whatever is done to it leaves a row in `task_step`.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Connection, select, update

from gateway.core.lifecycle import State
from gateway.core.task import GATEWAY, TaskKind, person
from gateway.core.task import reason as kept_reason
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.schema import delivery, dossier, task, task_step

ASSIGNED, CLOSED = "toegewezen", "afgehandeld"
"""`step` of a task_step."""

Rows = Sequence[Any]


class LeftInDoubt(Exception):
    """A task is all that is left of a delivery in doubt: it is closed by what becomes of that delivery, whose id this
    is."""


class Task(Struct, frozen=True):
    """One thing to look at. `detail` is Dutch and holds no personal data; `created_at` in epoch µs."""

    id: str
    soort: TaskKind
    created_at: int
    detail: str
    gemeente: str | None = None
    dossier_id: str | None = None
    delivery_id: str | None = None
    creditor: str | None = None


# -- writing ---------------------------------------------------------------------------------------------------------


def add_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Write them; of a kind, one is open per delivery, and without a delivery one per creditor of a dossier.

    What is about neither is always written. A task that was closed is in nobody's way: its cause came back. The caller
    holds the delivery or the dossier under lock.
    """
    if not tasks:
        return
    taken = _subjects_taken(connection, tasks)
    new = []
    for wanted in tasks:
        subject = _subject(wanted)
        if subject is None or subject not in taken:
            new.append(structs.asdict(wanted))
            taken.add(subject)
    insert_rows(connection, task, new)


def _subject(about: Any) -> Hashable | None:
    """What at most one task of its kind may be open about; `about`: a Task or a row."""
    if about.delivery_id:
        return about.soort, about.delivery_id
    return (about.soort, about.dossier_id, about.creditor) if about.dossier_id and about.creditor else None


def _subjects_taken(connection: Connection, tasks: Sequence[Task]) -> set[Hashable | None]:
    """Those that a task is open about."""
    deliveries = {one.delivery_id for one in tasks if one.delivery_id}
    dossiers = {one.dossier_id for one in tasks if one.dossier_id and not one.delivery_id}
    taken: set[Hashable | None] = set()
    for column, ids in ((task.c.delivery_id, deliveries), (task.c.dossier_id, dossiers)):
        if ids:
            rows = connection.execute(_SUBJECTS.where(among(column, ids), task.c.closed_at.is_(None)))
            taken.update(map(_subject, rows))
    return taken


_SUBJECTS = select(task.c.soort, task.c.delivery_id, task.c.dossier_id, task.c.creditor)


# -- looking ---------------------------------------------------------------------------------------------------------

_TASK = (
    select(
        task,
        dossier.c.kenmerk,
        delivery.c.soort.label("delivery_soort"),
        delivery.c.versie.label("delivery_versie"),
        delivery.c.state.label("delivery_state"),
    )
    .outerjoin(dossier, dossier.c.id == task.c.dossier_id)
    .outerjoin(delivery, delivery.c.id == task.c.delivery_id)
)


def worklist(
    connection: Connection,
    *,
    soort: str | None = None,
    gemeente: str | None = None,
    creditor: str | None = None,
    assignee: str | None = None,
    closed: bool = False,
    after: str = "",
    limit: int = 100,
) -> Rows:
    """Tasks, the oldest first, with what they are about. `closed`: those too; `after`: an id to go on from."""
    query = _TASK.where(task.c.id > after).order_by(task.c.id).limit(limit)
    asked = {"soort": soort, "gemeente": gemeente, "creditor": creditor, "assigned_to": assignee}
    for name, value in asked.items():
        if value is not None:
            query = query.where(task.c[name] == value)
    return connection.execute(query if closed else query.where(task.c.closed_at.is_(None))).all()


def task_with_steps(connection: Connection, task_id: str) -> tuple[Any, Rows] | None:
    """A task with what it is about, and what was done to it, oldest first."""
    row = connection.execute(_TASK.where(task.c.id == task_id)).one_or_none()
    if row is None:
        return None
    steps = select(task_step).where(task_step.c.task_id == task_id).order_by(task_step.c.nr)
    return row, connection.execute(steps).all()


# -- working off -----------------------------------------------------------------------------------------------------


def assign(connection: Connection, task_id: str, to: str, actor: str, at: int, reason: str | None = None) -> bool:
    """Whether it was open and is now somebody's; the step says whose. Raises NotKept."""
    name = person(to)
    words = f"aan {name}" if reason is None else f"aan {name}: {kept_reason(reason)}"
    return _change(connection, {"assigned_to": name}, _step(task_id, at, person(actor), ASSIGNED, words))


def close(connection: Connection, task_id: str, actor: str, reason: str, at: int) -> bool:
    """Whether it was open and is now closed: of two who close it, one does. Raises NotKept, LeftInDoubt."""
    left = connection.scalar(_LEFT_IN_DOUBT.where(task.c.id == task_id))
    if left is not None:
        raise LeftInDoubt(left)
    return _change(connection, {"closed_at": at}, _step(task_id, at, person(actor), CLOSED, kept_reason(reason)))


_LEFT_IN_DOUBT = (
    select(delivery.c.id)
    .join(task, task.c.delivery_id == delivery.c.id)
    .where(
        task.c.soort == TaskKind.RESTORED_UNKNOWN,
        task.c.closed_at.is_(None),
        delivery.c.state == State.IN_DOUBT,
        delivery.c.next_action_at.is_(None),
        delivery.c.waits_for.is_(None),
    )
)


def close_tasks(connection: Connection, closures: Sequence[tuple[str, str, str]], at: int) -> None:
    """(delivery id, kind, reason) of open tasks whose cause went away by itself. Raises NotKept.

    What is not open is left as it is.
    """
    if not closures:
        return
    reasons = {(delivery_id, kind): kept_reason(words) for delivery_id, kind, words in closures}
    rows = connection.execute(
        select(task.c.id, task.c.delivery_id, task.c.soort)
        .where(among(task.c.delivery_id, {delivery_id for delivery_id, _ in reasons}), task.c.closed_at.is_(None))
        .order_by(task.c.id)
        .with_for_update()
    ).all()
    closed = {row.id: reasons[row.delivery_id, row.soort] for row in rows if (row.delivery_id, row.soort) in reasons}
    update_rows(connection, task, ("id",), [{"id": id_, "closed_at": at} for id_ in closed])
    insert_rows(connection, task_step, [_step(id_, at, GATEWAY, CLOSED, words) for id_, words in closed.items()])


def _change(connection: Connection, values: dict[str, object], step: dict[str, object]) -> bool:
    """Change an open task and write down who did it and why, or neither."""
    is_open = (task.c.id == step["task_id"]) & task.c.closed_at.is_(None)
    if connection.execute(update(task).where(is_open).values(values)).rowcount != 1:
        return False
    insert_rows(connection, task_step, [step])
    return True


def _step(task_id: str, at: int, actor: str, step: str, words: str) -> dict[str, object]:
    return {"task_id": task_id, "at": at, "actor": actor, "step": step, "reason": words}
