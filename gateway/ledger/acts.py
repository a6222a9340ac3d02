"""What people have sent again, put back after a restore, or say has arrived: who, why, when, and what it did to which
delivery.

An act is on record before a second person has confirmed it, with what was asked for; its items say what was done.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from gateway.core.lifecycle import IN_PROGRESS, STAYS, TOLD, State
from gateway.core.repeat import Candidate, Step
from gateway.ledger.agenda import nudge_dossiers
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.queue import Lane, release_next
from gateway.ledger.schema import delivery, dossier, operator_act, operator_act_item, outbox, transition
from gateway.ledger.tasks import Task, add_tasks, close_tasks
from gateway.ledger.withdrawn import withdrawn

Row = dict[str, object]


class Which(Struct, frozen=True):
    """Deliveries by id; or those to `creditor` that were handed over, or were given up, from `since` up to `until`."""

    ids: tuple[str, ...] = ()
    creditor: str | None = None
    since: int = 0
    until: int = 2**63 - 1


class Act(Struct, frozen=True, kw_only=True):
    """What somebody asked. With a `code` it waits, until `expires_at`, for a second person."""

    id: str
    kind: str
    asked_at: int
    asked_by: str
    reason: str
    settings: str
    code: str | None = None
    expires_at: int | None = None
    done_at: int | None = None
    done_by: str | None = None


class Writes(Struct, frozen=True):
    """What an act comes to."""

    steps: tuple[Step, ...] = ()
    tasks: tuple[Task, ...] = ()
    closures: tuple[tuple[str, str, str], ...] = ()
    """(delivery id, kind, reason) of tasks that it does away with"""
    events: tuple[Event, ...] = ()
    releases: tuple[str, ...] = ()
    """ids of deliveries for which nothing has to wait any more"""


def candidates(connection: Connection, which: Which) -> list[Candidate]:
    """The deliveries that are asked for, with what decides whether they can be repeated, by id."""
    return _candidates(connection, _asked(which))


def request(connection: Connection, act: Act, ids: Collection[str]) -> None:
    """Put down what is asked, for a second person to confirm."""
    insert_rows(connection, operator_act, [structs.asdict(act)])
    insert_rows(connection, operator_act_item, [{"act_id": act.id, "delivery_id": id_, "before": None} for id_ in ids])


def requested(connection: Connection, code: str) -> tuple[Act, tuple[str, ...]] | None:
    """The act that waits, or waited, under `code`, with its deliveries."""
    row = connection.execute(select(operator_act).where(operator_act.c.code == code).with_for_update()).one_or_none()
    if row is None:
        return None
    items = select(operator_act_item.c.delivery_id).where(operator_act_item.c.act_id == row.id)
    return Act(**row._mapping), tuple(connection.scalars(items.order_by(operator_act_item.c.delivery_id)))


def confirmed(connection: Connection, act_id: str, who: str, at: int) -> bool:
    """Whether this is the one confirmation of an act."""
    waits = (operator_act.c.id == act_id) & operator_act.c.done_at.is_(None)
    return connection.execute(update(operator_act).where(waits).values(done_at=at, done_by=who)).rowcount == 1


def carry_out(
    connection: Connection, act: Act, which: Which, decide: Callable[[Sequence[Candidate]], Writes], at: int
) -> list[Lane]:
    """Do what `decide` makes of the deliveries, read under lock; returns the lanes that have work because of it.

    An act that was not asked before is put down with it, unless nothing comes of it.
    """
    writes = decide(_candidates(connection, _asked(which).with_for_update(of=delivery)))
    if act.code is None and writes.steps:
        insert_rows(connection, operator_act, [structs.asdict(act)])
    return _write(connection, act, writes, at)


def end_repeats(connection: Connection, ids: Collection[str], at: int) -> None:
    """These are sent again no more and are what they were; the result of an attempt under way comes too late.

    The caller holds them under lock; those that are not being repeated are left as they are.
    """
    if not ids:
        return
    rows = connection.execute(
        select(delivery.c.id, delivery.c.state, delivery.c.stands, delivery.c.fence).where(
            among(delivery.c.id, ids), delivery.c.stands.is_not(None)
        )
    ).all()
    ended = [
        {
            "id": row.id,
            "state": row.stands,
            "stands": None,
            "next_action_at": None,
            "waits_for": None,
            "owner": None,
            "fence": row.fence + 1,
        }
        for row in rows
    ]
    update_rows(connection, delivery, ("id",), ended)
    insert_rows(connection, transition, [_move(row, STAYS[State(row.stands)], row.stands, at, None) for row in rows])


# -- after a restore -------------------------------------------------------------------------------------------------


def still_open(connection: Connection) -> list[Candidate]:
    """What was still to be handed over in what was put back: all of it was made before the backup was."""
    return _candidates(connection, _STILL_OPEN)


def open_after(connection: Connection, since: int) -> int:
    """How many are open that were made after `since`."""
    later = delivery.c.state.in_(_OPEN) & (delivery.c.created_at > since)
    return connection.scalar(select(func.count()).select_from(delivery).where(later)) or 0


def put_back(
    connection: Connection, act: Act, decide: Callable[[Sequence[Candidate]], Writes], skip_numbers: int
) -> list[Lane]:
    """Do what `decide` makes of what was still to be handed over. The numbers of the feed go on `skip_numbers` further:
    readers may have got those that were given after the backup."""
    writes = decide(_candidates(connection, _STILL_OPEN.with_for_update(of=delivery)))
    insert_rows(connection, operator_act, [structs.asdict(act)])
    last = connection.scalar(select(func.max(outbox.c.nr)))
    if last is not None:
        connection.execute(update(outbox).where(outbox.c.nr == last).values(nr=last + skip_numbers))
    return _write(connection, act, writes, act.asked_at)


_OPEN = sorted(str(state) for state in IN_PROGRESS)


# -- parts -----------------------------------------------------------------------------------------------------------

_CANDIDATE = (
    select(
        delivery.c.id,
        delivery.c.dossier_id,
        dossier.c.gemeente,
        delivery.c.creditor,
        delivery.c.agent_for,
        delivery.c.soort,
        delivery.c.versie,
        delivery.c.channel,
        delivery.c.state,
        delivery.c.stands,
        delivery.c.next_action_at,
        delivery.c.waits_for,
        delivery.c.decision,
        delivery.c.fence,
    )
    .join(dossier, dossier.c.id == delivery.c.dossier_id)
    .order_by(delivery.c.id)
)
_STILL_OPEN = _CANDIDATE.where(delivery.c.state.in_(_OPEN))


def _asked(which: Which) -> Select[Any]:
    if which.creditor is None:
        return _CANDIDATE.where(among(delivery.c.id, which.ids))
    return _CANDIDATE.where(delivery.c.creditor == which.creditor, _happened(which.since, which.until))


def _happened(since: int, until: int) -> ColumnElement[bool]:
    """It was handed over, or given up, between these instants (both included)."""
    given_up = select(transition.c.nr).where(
        transition.c.delivery_id == delivery.c.id,
        transition.c.after == State.FAILED,
        transition.c.at.between(since, until),
    )
    has_failed = and_(delivery.c.state == State.FAILED, given_up.exists())
    return or_(delivery.c.handed_over_at.between(since, until), has_failed)


def _candidates(connection: Connection, query: Select[Any]) -> list[Candidate]:
    rows = connection.execute(query).all()
    dossiers = {row.dossier_id for row in rows}
    gone, notices = withdrawn(connection, dossiers), _newest_notices(connection, dossiers)
    return [
        Candidate(
            id=row.id,
            dossier_id=row.dossier_id,
            gemeente=row.gemeente,
            creditor=row.creditor,
            agent_for=row.agent_for,
            soort=row.soort,
            versie=row.versie,
            channel=row.channel,
            state=State(row.state),
            stands=State(row.stands) if row.stands else None,
            is_planned=row.next_action_at is not None or row.waits_for is not None,
            decision=row.decision,
            is_withdrawn=gone.has(row),
            newest_notice=notices.get(_key(row), 0),
            fence=row.fence,
        )
        for row in rows
    ]


def _newest_notices(connection: Connection, dossiers: Collection[str]) -> Mapping[tuple[str, ...], int]:
    """The highest version of a kennisgeving that each addressee has."""
    told = [str(state) for state in TOLD]
    rows = connection.execute(
        select(delivery.c.dossier_id, delivery.c.creditor, delivery.c.agent_for, func.max(delivery.c.versie).label("n"))
        .where(among(delivery.c.dossier_id, dossiers), delivery.c.soort == "kennisgeving")
        .where(func.coalesce(delivery.c.stands, delivery.c.state).in_(told))
        .group_by(delivery.c.dossier_id, delivery.c.creditor, delivery.c.agent_for)
    )
    return {_key(row): row.n for row in rows}


def _key(row: Any) -> tuple[str, ...]:
    return row.dossier_id, row.creditor, row.agent_for or ""


def _write(connection: Connection, act: Act, writes: Writes, at: int) -> list[Lane]:
    items = [_item(act, step) for step in writes.steps]
    if act.code is None:
        insert_rows(connection, operator_act_item, items)
    else:
        update_rows(connection, operator_act_item, ("act_id", "delivery_id"), items)
    alike: dict[tuple[str, ...], list[Row]] = {}
    for step in writes.steps:
        alike.setdefault(tuple(step.changes), []).append({"id": step.candidate.id, "state": step.after, **step.changes})
    for rows in alike.values():
        update_rows(connection, delivery, ("id",), rows)
    moves = [_move(step.candidate, step.happening, step.after, at, act.id) for step in writes.steps]
    insert_rows(connection, transition, moves)
    nudge_dossiers(connection, [step.candidate.dossier_id for step in writes.steps], at)
    close_tasks(connection, writes.closures, at)
    add_tasks(connection, writes.tasks)
    add_events(connection, writes.events)
    return sorted({*(step.lane for step in writes.steps), *release_next(connection, writes.releases, at)})


def _item(act: Act, step: Step) -> Row:
    return {"act_id": act.id, "delivery_id": step.candidate.id, "before": step.candidate.state}


def _move(about: Any, happening: str, after: str, at: int, cause: str | None) -> Row:
    """`about`: a Candidate or a row."""
    return {
        "delivery_id": about.id,
        "at": at,
        "happening": happening,
        "before": about.state,
        "after": after,
        "cause": cause,
    }
