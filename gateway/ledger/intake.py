"""Accepting a batch of messages: what is known is read under lock, the caller plans, everything is written at once."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from msgspec import Struct, field
from sqlalchemy import Connection, Table, bindparam, delete, func, select

from gateway.core.case import Delivery
from gateway.core.lifecycle import Happening, State
from gateway.core.recovery import Gap, put_in_doubt
from gateway.ledger.acts import end_repeats
from gateway.ledger.agenda import nudge_dossiers
from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.deliveries import FIELDS, delivery_of
from gateway.ledger.gap import gap
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.pause_requests import Handled, Key, Requests, handle, known_requests
from gateway.ledger.pause_requests import identities as request_identities
from gateway.ledger.schema import delivery, dossier, message, pause_request, payload, refusal, transition
from gateway.ledger.tasks import Task, add_tasks
from gateway.ledger.withdrawn import Named, put_withdrawn, withdrawn_for_some

T = TypeVar("T")
Row = dict[str, object]
"""Column name → value of the table it is for."""


class DossierRow(Struct):
    """`withdrawn_at`: when a withdrawal for all creditors was processed (epoch µs)."""

    id: str
    key: bytes
    versie: int
    withdrawn_at: int | None = None


class Kept(Struct, frozen=True):
    """A message with its payload (`sealed`): a kennisgeving, or one that waits for a missing version."""

    id: str
    dossier_id: str
    versie: int
    sender_oin: str
    sealed: bytes
    received_at: int
    hold_until: int | None = None
    checked: object = None
    """The message itself where it came in this very batch."""


class Known(Struct):
    """What the ledger knows about the identities and dossiers of a batch."""

    identities: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(source, id) → content hash"""
    dossiers: dict[tuple[str, str], DossierRow] = field(default_factory=dict)
    """(gemeente, dossierkenmerk) → row"""
    versions: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """dossier id → versie → content hash"""
    earlier: dict[str, list[Delivery]] = field(default_factory=dict)
    notices: dict[str, list[Kept]] = field(default_factory=dict)
    """Processed kennisgevingen, by version."""
    held: dict[str, list[Kept]] = field(default_factory=dict)
    withdrawn: dict[str, dict[str, int]] = field(default_factory=dict)
    """dossier id → creditor → version up to which all was withdrawn for it"""
    requests: Requests = field(default_factory=Requests)
    gap: Gap | None = None
    """What a restore left unknown, where a message waits that was there before it."""


class Writes(Struct):
    """The rows of one batch."""

    dossiers: list[Row] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    """dossier id → highest version now processed"""
    messages: list[Row] = field(default_factory=list)
    payloads: list[Row] = field(default_factory=list)
    deliveries: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    handled: dict[Key, Handled] = field(default_factory=dict)
    """The pause requests that a kennisgeving of this batch answers."""
    refusals: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    released: dict[str, bool] = field(default_factory=dict)
    """message id → processed out of order, of messages that no longer wait"""
    dropped: list[str] = field(default_factory=list)
    """ids of held messages that were refused after all"""
    restored: list[tuple[Delivery, str]] = field(default_factory=list)
    """New deliveries that may have gone out in a time that is lost, as they were made, with the restore that lost it"""
    withdrawn: list[Delivery] = field(default_factory=list)
    """Deliveries that a withdrawal overtook, as they stood"""
    unrepeated: list[str] = field(default_factory=list)
    """ids of deliveries that are sent again no more, because of a withdrawal"""
    withdrawn_dossiers: list[str] = field(default_factory=list)
    withdrawn_for: list[Named] = field(default_factory=list)
    """Of a withdrawal that names creditors"""
    nudges: list[str] = field(default_factory=list)
    """ids of dossiers whose agenda must be looked at"""
    at: int = 0
    """The instant of the batch (epoch µs)."""


def accept(
    connection: Connection,
    identities: Collection[tuple[str, str]],
    dossiers: Collection[tuple[str, str]],
    plan: Callable[[Known], tuple[Writes, T]],
    requests: Collection[Key] = (),
    *,
    has_waited: bool = False,
) -> T:
    """Read what is known of `identities` (source, id), `dossiers` (gemeente, kenmerk) and pause `requests` (gemeente,
    verzoekkenmerk), plan, write. `has_waited`: a message of the batch was in the ledger before."""
    known = _read(connection, identities, dossiers)
    known.requests = known_requests(connection, requests)
    if has_waited or known.held:
        known.gap = gap(connection)
    writes, answer = plan(known)
    _write(connection, writes)
    return answer


def _read(
    connection: Connection, identities: Collection[tuple[str, str]], dossiers: Collection[tuple[str, str]]
) -> Known:
    known = Known()
    if identities:
        event_ids = [event_id for _, event_id in identities]
        rows = connection.execute(
            select(message.c.source, message.c.event_id, message.c.hash)
            .where(among(message.c.event_id, event_ids))
            .union_all(request_identities(event_ids))
        )
        known.identities = {(row.source, row.event_id): row.hash for row in rows}
    if dossiers:
        _read_dossiers(connection, known, dossiers)
    return known


def _read_dossiers(connection: Connection, known: Known, dossiers: Collection[tuple[str, str]]) -> None:
    wanted = set(dossiers)
    rows = connection.execute(
        select(*(dossier.c[name] for name in ("id", "gemeente", "kenmerk", "key", "versie", "withdrawn_at")))
        .where(among(dossier.c.kenmerk, {kenmerk for _, kenmerk in wanted}))
        .order_by(dossier.c.id)
        .with_for_update()
    )
    known.dossiers = {
        (row.gemeente, row.kenmerk): DossierRow(row.id, row.key, row.versie, row.withdrawn_at)
        for row in rows
        if (row.gemeente, row.kenmerk) in wanted
    }
    ids = [row.id for row in known.dossiers.values()]
    if ids:
        _read_history(connection, known, ids)


def _read_history(connection: Connection, known: Known, ids: Sequence[str]) -> None:
    wanted = message.c.hold_until.is_not(None) | (message.c.soort == "kennisgeving")
    messages = connection.execute(
        select(message, payload.c.sealed)
        .outerjoin(payload, (payload.c.owner == message.c.id) & (payload.c.kind == "bericht") & wanted)
        .where(among(message.c.dossier_id, ids))
        .order_by(message.c.versie)
    )
    withdrawn = set()
    for row in messages:
        if row.soort == "intrekking":
            withdrawn.add(row.dossier_id)
        known.versions.setdefault(row.dossier_id, {})[row.versie] = row.hash
        if row.sealed is None:
            continue
        kept = Kept(row.id, row.dossier_id, row.versie, row.sender_oin, row.sealed, row.received_at, row.hold_until)
        (known.notices if row.hold_until is None else known.held).setdefault(row.dossier_id, []).append(kept)
    deliveries = connection.execute(
        select(*FIELDS, delivery.c.dossier_id)
        .where(among(delivery.c.dossier_id, ids))
        .order_by(delivery.c.id)
        .with_for_update()
    )
    for row in deliveries:
        known.earlier.setdefault(row.dossier_id, []).append(delivery_of(row))
    if withdrawn:
        known.withdrawn = withdrawn_for_some(connection, withdrawn)


def _write(connection: Connection, writes: Writes) -> None:
    tables: tuple[tuple[Table, list[Row]], ...] = (
        (dossier, writes.dossiers),
        (message, writes.messages),
        (payload, writes.payloads),
        (delivery, writes.deliveries),
        (pause_request, writes.requests),
        (refusal, writes.refusals),
    )
    if writes.dropped:
        connection.execute(delete(message).where(among(message.c.id, writes.dropped)))
        connection.execute(delete(payload).where(among(payload.c.owner, writes.dropped)))
    for row in writes.dossiers:  # a new one is inserted with the version that it has reached
        row["versie"] = writes.versions.pop(str(row["id"]), row["versie"])
    for table, rows in tables:
        if rows:
            insert_rows(connection, table, rows)
    if writes.versions:
        versions = [{"id": id_, "versie": versie} for id_, versie in writes.versions.items()]
        update_rows(connection, dossier, ("id",), versions)
    if writes.released:
        released = [{"id": id_, "hold_until": None, "out_of_order": late} for id_, late in writes.released.items()]
        update_rows(connection, message, ("id",), released)
    _put_in_doubt(connection, writes)
    _withdraw(connection, writes)
    nudge_dossiers(connection, writes.nudges, writes.at)
    handle(connection, writes.handled)
    add_events(connection, writes.events)
    add_tasks(connection, writes.tasks)


def _put_in_doubt(connection: Connection, writes: Writes) -> None:
    doubted = [(one, put_in_doubt(one), act) for one, act in writes.restored]
    changes = [
        {"id": one.id, "state": after.state, "fence": after.fence, "next_action_at": None, "waits_for": None}
        for one, after, _ in doubted
    ]
    update_rows(connection, delivery, ("id",), changes)
    insert_rows(
        connection,
        transition,
        [_move(one, Happening.RESTORED, after.state, writes.at, act) for one, after, act in doubted],
    )


def _move(one: Delivery, happening: Happening, after: State, at: int, cause: str | None) -> Row:
    return {
        "delivery_id": one.id,
        "at": at,
        "happening": happening,
        "before": one.state,
        "after": after,
        "cause": cause,
    }


def _withdraw(connection: Connection, writes: Writes) -> None:
    """After this no attempt starts on them: whoever holds one is refused when it wants to (queue.freeze)."""
    ended = [
        {"id": one.id, "state": State.WITHDRAWN, "next_action_at": None, "waits_for": None} for one in writes.withdrawn
    ]
    moves = [_move(one, Happening.WITHDRAWN, State.WITHDRAWN, writes.at, None) for one in writes.withdrawn]
    update_rows(connection, delivery, ("id",), ended)
    insert_rows(connection, transition, moves)
    end_repeats(connection, writes.unrepeated, writes.at)
    if writes.withdrawn_dossiers:
        withdrawn = [{"id": id_, "withdrawn_at": writes.at} for id_ in writes.withdrawn_dossiers]
        update_rows(connection, dossier, ("id",), withdrawn)
    put_withdrawn(connection, writes.withdrawn_for, writes.at)


def next_hold(connection: Connection) -> int | None:
    """When the earliest held message has waited long enough (epoch µs)."""
    earliest: int | None = connection.scalar(_NEXT_HOLD)
    return earliest


_NEXT_HOLD = select(func.min(message.c.hold_until)).where(message.c.hold_until.is_not(None))
_OVERDUE_HOLDS = (
    select(dossier.c.gemeente, dossier.c.kenmerk)
    .join(message, message.c.dossier_id == dossier.c.id)
    .where(message.c.hold_until <= bindparam("now"))
    .distinct()
    .limit(bindparam("limit"))
)


def overdue_holds(connection: Connection, now: int, limit: int) -> list[tuple[str, str]]:
    """Dossiers (gemeente, kenmerk) with a message that has waited long enough."""
    rows = connection.execute(_OVERDUE_HOLDS, {"now": now, "limit": limit})
    return [(row.gemeente, row.kenmerk) for row in rows]
