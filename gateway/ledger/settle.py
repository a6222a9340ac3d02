"""Settling: the results of attempts and what was decided on them, in one transaction per batch.

A result that comes with an old fencing token is kept as evidence and moves nothing; an answer of the creditor that came
with it counts as one that comes by itself. A result that is on record already
(its batch was committed, and the answer to the COMMIT was lost) changes nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Connection, select

from gateway.core.lane import Decision
from gateway.core.lifecycle import IN_PROGRESS, Happening, State
from gateway.core.outcome import Proof
from gateway.ledger.agenda import nudge_dossiers
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows, update_various_rows
from gateway.ledger.evidence import Record, Subject, record, reply_source
from gateway.ledger.lanes import Owned, keep_rests
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.queue import Lane, release_next
from gateway.ledger.schema import attempt, closed_lane, delivery, evidence, transition
from gateway.ledger.tasks import Task, add_tasks


class Result(Struct, frozen=True):
    """The end of an attempt, to be settled."""

    id: str
    fence: int
    channel: str
    outcome: str
    code: str
    reply: bytes | None
    """Sealed."""
    finished_at: int
    reference: str | None = None
    has_answer: bool = False
    """The creditor's answer came with the reply."""


class Settlement(Struct, frozen=True):
    """What the shell decided under the lock, written in the same transaction."""

    decision: Decision
    events: tuple[Event, ...]
    tasks: tuple[Task, ...]
    evidence: Mapping[str, object] | None = None
    """Row of an answer that came with the reply."""


class Locked(Struct, frozen=True):
    """A delivery under lock."""

    id: str
    state: State
    fence: int
    tries: int
    channel: str
    channel_since: int
    proof: int
    decision: str | None
    stands: State | None = None
    came_back: bool = False
    """A bounce over its present channel is on record: it may overtake the hand-over."""


class _Writes(Struct):
    """The rows of one batch of results."""

    attempts: list[dict[str, object]] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)
    moves: list[dict[str, object]] = field(default_factory=list)
    evidence: list[Mapping[str, object]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    closed: set[Lane] = field(default_factory=set)
    nudged: list[str] = field(default_factory=list)
    """Dossiers whose agenda may have something to do."""

    def add(self, result: Result, row: Any, settlement: Settlement) -> None:
        decision = settlement.decision
        self.changes.append(_change(result, row, decision))
        before = State(row.state)
        for happening, after in decision.steps:
            self.moves.append(_move(result, happening, before, after))
            before = after
        self.events += settlement.events
        self.tasks += settlement.tasks
        if settlement.evidence:
            self.evidence.append(settlement.evidence)
        if decision.reviews:
            self.nudged.append(row.dossier_id)
        if decision.closes_channel:
            self.closed.add((row.creditor, row.channel))
        if decision.releases_next:
            self.released.append(result.id)


def _change(result: Result, row: Any, decision: Decision) -> dict[str, object]:
    handed_over = result.finished_at if decision.proof > 0 else None
    received = result.finished_at if decision.proof >= Proof.RECEIVED else None
    said = decision.said.columns(result.finished_at, row.answered_at) if decision.said else {}
    return {
        "id": result.id,
        "state": decision.state,
        "next_action_at": decision.next_action_at,
        "tries": decision.tries,
        "channel": decision.channel,
        "channel_since": row.channel_since if decision.channel == row.channel else result.finished_at,
        "proof": decision.proof,
        "reference": result.reference or row.reference,
        "handed_over_at": row.handed_over_at or handed_over,
        "received_at": row.received_at or received,
        "owner": None,
        "stands": row.stands if decision.state in IN_PROGRESS else None,
        **said,
    }


def _move(result: Result, happening: Happening, before: State, after: State) -> dict[str, object]:
    return {
        "delivery_id": result.id,
        "at": result.finished_at,
        "happening": happening,
        "before": before,
        "after": after,
        "cause": str(result.fence),
    }


def settle(
    connection: Connection,
    results: Sequence[Result],
    decide: Callable[[Locked], Settlement],
    rests: Mapping[Lane, Owned] | None = None,
    late: Callable[[Result, Subject], Record | None] = lambda _result, _subject: None,
) -> list[Lane]:
    """Record the results of attempts and what follows from them, also for their lanes (`rests`); returns the lanes that
    now have new work. `late`: what the answer says that came with a result whose claim was lost."""
    rows = _lock(connection, [result.id for result in results])
    came_back = _came_back(connection, [result.id for result in results if result.outcome == "overgedragen"])
    recorded = _recorded(connection, results, rows)
    writes = _Writes()
    answered_late: list[Result] = []
    for result in results:
        if (result.id, result.fence) in recorded:
            continue
        row = rows[result.id]
        stale = row.fence != result.fence
        writes.attempts.append(_ended(result, stale))
        if not stale:
            writes.add(result, row, decide(_locked(row, came_back)))
        elif result.has_answer:
            answered_late.append(result)
    update_rows(connection, attempt, ("delivery_id", "nr"), writes.attempts)
    if writes.changes:
        update_various_rows(connection, delivery, ("id",), writes.changes)
        insert_rows(connection, transition, writes.moves)
    if writes.evidence:
        insert_rows(connection, evidence, writes.evidence)
    at = results[0].finished_at
    _close_lanes(connection, writes.closed, at)
    keep_rests(connection, rests or {})
    nudge_dossiers(connection, writes.nudged, at)
    add_events(connection, writes.events)
    add_tasks(connection, writes.tasks)
    return release_next(connection, writes.released, at) + _record_late(connection, answered_late, late)


def _record_late(
    connection: Connection, results: Iterable[Result], late: Callable[[Result, Subject], Record | None]
) -> list[Lane]:
    """After all else of the batch, which may hold the result of a later claim on the same delivery."""
    lanes: list[Lane] = []
    for result in results:
        judge = partial(late, result)
        lanes += record(connection, result.id, reply_source(result.fence), result.finished_at, judge)[1]
    return lanes


def _locked(row: Any, came_back: Collection[str]) -> Locked:
    fields = {name: getattr(row, name) for name in Locked.__struct_fields__ if name != "came_back"}
    states = {"state": State(row.state), "stands": State(row.stands) if row.stands else None}
    return Locked(**fields | states, came_back=row.id in came_back)


def _came_back(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """Read after these deliveries were locked: who records a bounce locks its delivery first."""
    if not ids:
        return frozenset()
    on_record = (
        select(evidence.c.delivery_id)
        .join(delivery, delivery.c.id == evidence.c.delivery_id)
        .where(
            among(evidence.c.delivery_id, ids),
            evidence.c.kind == "bounce",
            evidence.c.channel == delivery.c.channel,
            evidence.c.received_at >= delivery.c.channel_since,
        )
    )
    return frozenset(connection.scalars(on_record))


def _recorded(connection: Connection, results: Sequence[Result], rows: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Those that were settled before: their claim has no holder any more, or is an old one whose attempt has ended."""
    settled = {(one.id, one.fence) for one in results if rows[one.id].fence == one.fence and not rows[one.id].owner}
    old = {(one.id, one.fence) for one in results if rows[one.id].fence != one.fence}
    if not old:
        return settled
    ended = connection.execute(
        select(attempt.c.delivery_id, attempt.c.nr).where(
            among(attempt.c.delivery_id, [id_ for id_, _ in old]), attempt.c.outcome.is_not(None)
        )
    )
    return settled | (old & {(row.delivery_id, row.nr) for row in ended})


def _ended(result: Result, stale: bool) -> dict[str, object]:
    return {
        "delivery_id": result.id,
        "nr": result.fence,
        "finished_at": result.finished_at,
        "outcome": result.outcome,
        "code": result.code,
        "reply": result.reply,
        "stale": stale,
    }


_LOCKED = ("id", "dossier_id", "creditor", "state", "fence", "owner", "tries", "channel", "channel_since", "proof",
           "reference", "handed_over_at", "received_at", "stands", "answered_at", "decision")  # fmt: skip


def _lock(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    """These deliveries, locked in the order of their ids so that two batches never wait for each other."""
    rows = connection.execute(
        select(*(delivery.c[name] for name in _LOCKED))
        .where(among(delivery.c.id, ids))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    return {row.id: row for row in rows}


def _close_lanes(connection: Connection, lanes: Iterable[Lane], at: int) -> None:
    for creditor, channel in lanes:
        place = (closed_lane.c.creditor == creditor) & (closed_lane.c.channel == channel)
        if connection.execute(select(closed_lane.c.at).where(place)).first() is None:
            insert_rows(connection, closed_lane, [{"creditor": creditor, "channel": channel, "at": at}])
