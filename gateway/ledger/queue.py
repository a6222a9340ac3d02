"""The queue of work: claim what is due, record the intent, settle the outcome. One function, one transaction.

A claim raises the delivery's fencing token; only the holder of the current token may settle it. A result that comes
with an old token is kept as evidence and moves nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlalchemy import (
    JSON,
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    select,
    true,
    update,
)

from gateway.core.lane import Decision
from gateway.core.lifecycle import TOLD, Happening, State
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.schema import (
    answer_page,
    attempt,
    closed_lane,
    delivery,
    dossier,
    evidence,
    payload,
    transition,
)
from gateway.ledger.tasks import Task, add_tasks

Lane = tuple[str, str]
"""(creditor, channel)"""


class Claimed(Struct, frozen=True):
    """A delivery that this gateway may attempt now. Instants: epoch µs."""

    id: str
    dossier_id: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    channel: str
    channel_since: int
    before: str
    """Its state when claimed; BUSY means that a former holder vanished during an attempt."""
    fence: int
    tries: int
    proof: int
    created_at: int
    give_up_at: int
    gemeente: str
    kenmerk: str
    key: bytes
    """The dossier's wrapped data key."""
    view: bytes
    """Sealed."""
    frozen: bytes | None
    """Sealed rendition for this channel, where one was made before."""
    notice_reference: str | None
    notice_failed: bool
    """The kennisgeving that comes before this message did not reach the creditor."""


class Intent(Struct, frozen=True):
    """What is written down before the bytes leave. `sealed` is None where the rendition was frozen before."""

    id: str
    dossier_id: str
    fence: int
    channel: str
    digest: bytes
    sealed: bytes | None
    token_hash: bytes | None = None
    reference_hashes: str = ""
    page_expires_at: int = 0


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


_FIELDS = (
    delivery.c.id,
    delivery.c.dossier_id,
    delivery.c.creditor,
    delivery.c.agent_for,
    delivery.c.soort,
    delivery.c.versie,
    delivery.c.channel,
    delivery.c.channel_since,
    delivery.c.state.label("before"),
    (delivery.c.fence + 1).label("fence"),
    delivery.c.tries,
    delivery.c.proof,
    delivery.c.created_at,
    delivery.c.give_up_at,
)


def claim(connection: Connection, lanes: Mapping[Lane, int], owner: str, now: int, lease_until: int) -> list[Claimed]:
    """Claim for each lane at most so many due deliveries, oldest first. Skips what another gateway is claiming."""
    ids = _due_ids(connection, lanes, now)
    if not ids:
        return []
    frozen = payload.alias("frozen")
    view = payload.alias("view")
    rows = connection.execute(
        select(
            *_FIELDS,
            dossier.c.gemeente,
            dossier.c.kenmerk,
            dossier.c.key,
            view.c.sealed.label("view"),
            frozen.c.sealed.label("frozen"),
        )
        .join(dossier, dossier.c.id == delivery.c.dossier_id)
        .join(view, and_(view.c.owner == delivery.c.id, view.c.kind == "aanzicht"))
        .outerjoin(frozen, and_(frozen.c.owner == delivery.c.id, frozen.c.kind == "verzonden:" + delivery.c.channel))
        .where(among(delivery.c.id, ids))
        .order_by(delivery.c.id)
    ).all()
    connection.execute(
        update(delivery)
        .where(among(delivery.c.id, ids))
        .values(state=State.BUSY, fence=delivery.c.fence + 1, owner=owner, next_action_at=lease_until)
    )
    _note_lost_leases(connection, [row.id for row in rows if row.before == State.BUSY], now)
    notices = _notices(connection, {row.dossier_id for row in rows if row.soort != "kennisgeving"})
    return [_claimed(row, notices) for row in rows]


def _claimed(row: Any, notices: "_Notices") -> Claimed:
    """`row` has the fields of Claimed in their order, but for the last two."""
    follows = row.soort != "kennisgeving"
    reference = notices.reference(row.dossier_id, row.creditor, row.channel) if follows else None
    fields = (*row, reference, follows and not notices.told(row.dossier_id, row.creditor))
    return Claimed(*fields)


def _due_ids(connection: Connection, lanes: Mapping[Lane, int], now: int) -> list[str]:
    due = (
        select(delivery.c.id)
        .where(delivery.c.next_action_at <= bindparam("now"), delivery.c.waits_for.is_(None))
        .order_by(delivery.c.next_action_at)
        .with_for_update(skip_locked=True)
    )
    if connection.dialect.name == "sqlite":
        one_lane = due.where(
            delivery.c.creditor == bindparam("creditor"), delivery.c.channel == bindparam("channel")
        ).limit(bindparam("room"))
        return [
            row.id
            for (creditor, channel), room in lanes.items()
            for row in connection.execute(
                one_lane, {"creditor": creditor, "channel": channel, "room": room, "now": now}
            )
        ]
    wanted = (
        func.json_to_recordset(cast(bindparam("lanes", type_=Text), JSON))
        .table_valued(column("creditor", Text), column("channel", Text), column("room", Integer))
        .render_derived(with_types=True)
    )
    of_lane = due.where(delivery.c.creditor == wanted.c.creditor, delivery.c.channel == wanted.c.channel)
    lateral = of_lane.limit(wanted.c.room).lateral()
    rooms = [{"creditor": creditor, "channel": channel, "room": room} for (creditor, channel), room in lanes.items()]
    statement = select(lateral.c.id).select_from(wanted.join(lateral, true()))
    return [row.id for row in connection.execute(statement, {"lanes": msgspec.json.encode(rooms).decode(), "now": now})]


def _note_lost_leases(connection: Connection, ids: Sequence[str], now: int) -> None:
    if not ids:
        return
    insert_rows(
        connection,
        transition,
        [
            {
                "delivery_id": id_,
                "at": now,
                "happening": Happening.LEASE_LOST,
                "before": State.BUSY,
                "after": State.IN_DOUBT,
                "cause": None,
            }
            for id_ in ids
        ],
    )


class _Notices:
    """The kennisgevingen of some dossiers: who has one, and what the peer calls it."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = list(rows)

    def reference(self, dossier_id: str, creditor: str, channel: str) -> str | None:
        wanted = (dossier_id, creditor, channel)
        found = (row.reference for row in self._rows if (row.dossier_id, row.creditor, row.channel) == wanted)
        return next((reference for reference in found if reference), None)

    def told(self, dossier_id: str, creditor: str) -> bool:
        return any(row.state in TOLD for row in self._rows if (row.dossier_id, row.creditor) == (dossier_id, creditor))


def _notices(connection: Connection, dossiers: Collection[str]) -> _Notices:
    if not dossiers:
        return _Notices(())
    return _Notices(
        connection.execute(
            select(
                delivery.c.dossier_id, delivery.c.creditor, delivery.c.channel, delivery.c.reference, delivery.c.state
            )
            .where(among(delivery.c.dossier_id, dossiers), delivery.c.soort == "kennisgeving")
            .order_by(delivery.c.versie.desc())
        )
    )


def freeze(connection: Connection, intents: Sequence[Intent], owner: str, now: int) -> set[str]:
    """Record the intents (attempt row, frozen bytes, answer page) of claims that are still held; returns their ids."""
    held = {
        row.id: row.fence
        for row in connection.execute(
            select(delivery.c.id, delivery.c.fence)
            .where(among(delivery.c.id, [intent.id for intent in intents]), delivery.c.state == State.BUSY)
            .with_for_update()
        )
    }
    mine = [intent for intent in intents if held.get(intent.id) == intent.fence]
    if not mine:
        return set()
    insert_rows(
        connection,
        attempt,
        [
            {
                "delivery_id": intent.id,
                "nr": intent.fence,
                "channel": intent.channel,
                "owner": owner,
                "digest": intent.digest,
                "started_at": now,
                "stale": False,
            }
            for intent in mine
        ],
    )
    renditions = [
        {
            "owner": intent.id,
            "kind": f"verzonden:{intent.channel}",
            "dossier_id": intent.dossier_id,
            "sealed": intent.sealed,
        }
        for intent in mine
        if intent.sealed is not None
    ]
    if renditions:
        insert_rows(connection, payload, renditions)
    pages = [
        {
            "token_hash": intent.token_hash,
            "delivery_id": intent.id,
            "reference_hashes": intent.reference_hashes,
            "wrong": 0,
            "decided": False,
            "expires_at": intent.page_expires_at,
        }
        for intent in mine
        if intent.token_hash is not None
    ]
    if pages:
        insert_rows(connection, answer_page, pages)
    return {intent.id for intent in mine}


def renew(connection: Connection, ids: Sequence[str], owner: str, lease_until: int) -> None:
    """Extend the lease of these claims, where they are still this gateway's."""
    connection.execute(
        update(delivery)
        .where(among(delivery.c.id, ids), delivery.c.state == State.BUSY, delivery.c.owner == owner)
        .values(next_action_at=lease_until)
    )


def release(connection: Connection, claims: Mapping[str, int], now: int) -> None:
    """Give back claims on which no attempt was started (shutdown, or the ledger refused their intent)."""
    for id_, fence in claims.items():
        connection.execute(
            update(delivery)
            .where(delivery.c.id == id_, delivery.c.fence == fence, delivery.c.state == State.BUSY)
            .values(state=State.RETRYING, owner=None, next_action_at=now)
        )


def release_all(connection: Connection, now: int) -> None:
    """At the start of the only gateway there is (embedded ledger): whatever is held was left behind by a crash."""
    connection.execute(update(delivery).where(delivery.c.state == State.BUSY).values(next_action_at=now))


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
        if decision.closes_channel:
            self.closed.add((row.creditor, row.channel))
        if decision.releases_next:
            self.released.append(result.id)


def _change(result: Result, row: Any, decision: Decision) -> dict[str, object]:
    handed_over = result.finished_at if decision.proof > 0 else None
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
        "decision": decision.answer or row.decision,
        "owner": None,
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


def settle(connection: Connection, results: Sequence[Result], decide: Callable[[Locked], Settlement]) -> list[Lane]:
    """Record the results of attempts and what follows from them; returns the lanes that now have new work."""
    rows = _lock(connection, [result.id for result in results])
    writes = _Writes()
    for result in results:
        row = rows[result.id]
        stale = row.fence != result.fence
        writes.attempts.append(_ended(result, stale))
        if not stale:
            locked = Locked(
                row.id, State(row.state), row.fence, row.tries, row.channel, row.channel_since, row.proof, row.decision
            )
            writes.add(result, row, decide(locked))
    update_rows(connection, attempt, ("delivery_id", "nr"), writes.attempts)
    if writes.changes:
        update_rows(connection, delivery, ("id",), writes.changes)
        insert_rows(connection, transition, writes.moves)
    if writes.evidence:
        insert_rows(connection, evidence, writes.evidence)
    at = results[0].finished_at
    _close_lanes(connection, writes.closed, at)
    add_events(connection, writes.events)
    add_tasks(connection, writes.tasks)
    return release_next(connection, writes.released, at)


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


_LOCKED = ("id", "creditor", "state", "fence", "tries", "channel", "channel_since", "proof", "decision", "reference",
           "handed_over_at")  # fmt: skip


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


def release_next(connection: Connection, ids: Sequence[str], now: int) -> list[Lane]:
    """Let go what waited for these deliveries; returns the lanes that have work because of it."""
    if not ids:
        return []
    rows = connection.execute(
        update(delivery)
        .where(among(delivery.c.waits_for, ids))
        .values(waits_for=None, next_action_at=now)
        .returning(delivery.c.creditor, delivery.c.channel)
    )
    return [(row.creditor, row.channel) for row in rows]


def sweep(connection: Connection) -> dict[Lane, int]:
    """Every lane that has something to do, with the instant (epoch µs) its earliest delivery is due."""
    rows = connection.execute(
        select(delivery.c.creditor, delivery.c.channel, func.min(delivery.c.next_action_at).label("due"))
        .where(delivery.c.next_action_at.is_not(None), delivery.c.waits_for.is_(None))
        .group_by(delivery.c.creditor, delivery.c.channel)
    )
    return {(row.creditor, row.channel): row.due for row in rows}
