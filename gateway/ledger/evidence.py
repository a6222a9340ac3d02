"""What creditors tell us: recorded once per source, in any state, and only for a delivery of theirs."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, insert, or_, select, text, union_all, update

from gateway.core.answer import Said
from gateway.core.lifecycle import AWAITING_ANSWER, SETTLED, Happening, State
from gateway.core.outcome import Proof
from gateway.ledger.acts import end_repeats
from gateway.ledger.agenda import nudge_dossiers
from gateway.ledger.bulk import insert_rows, update_rows
from gateway.ledger.outbox import Event, add_events
from gateway.ledger.queue import Lane, release_next
from gateway.ledger.schema import answer_page, attempt, callback, delivery, dossier, evidence, transition
from gateway.ledger.tasks import Task, add_tasks
from gateway.ledger.withdrawn import withdrawn


class Subject(Struct, frozen=True):
    """A delivery that something came in about, under lock."""

    id: str
    dossier_id: str
    key: bytes
    gemeente: str
    kenmerk: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    channel: str
    channel_since: int
    state: State
    proof: int
    tries: int
    created_at: int
    give_up_at: int
    decision: str | None
    received_at: int | None
    answered_at: int | None
    is_withdrawn: bool
    """It is not to be offered any more."""


class Record(Struct, frozen=True):
    """What to write about it. `row` is the evidence row; without `happening` nothing moves."""

    row: dict[str, object]
    happening: Happening | None = None
    state: State | None = None
    proof: int = 0
    said: Said | None = None
    channel: str | None = None
    next_action_at: int | None = None
    events: tuple[Event, ...] = ()
    tasks: tuple[Task, ...] = ()


def _subject(row: Any, *, is_withdrawn: bool) -> Subject:
    read = {name: getattr(row, name) for name in Subject.__struct_fields__ if name != "is_withdrawn"}
    return Subject(**read | {"state": State(row.stands or row.state), "is_withdrawn": is_withdrawn})


class Callback(Struct, frozen=True):
    """Replay protection of a signed answer: its author, `webhook-id` and the SHA-256 of its body."""

    creditor: str
    webhook_id: str
    digest: bytes


def reply_source(fence: int) -> str:
    """The source of an answer that came with the reply to the attempt of this number."""
    return f"antwoord:{fence}"


Recorded = Literal["recorded", "repeated", "conflict", "not_yours"]


def record(
    connection: Connection,
    delivery_id: str,
    source: str,
    at: int,
    judge: Callable[[Subject], Record | None],
    signed: Callback | None = None,
) -> tuple[Recorded, list[Lane]]:
    """Record one thing about a delivery, decided by `judge` under lock.

    `not_yours`: no such delivery, or judge gave None; `conflict`: its `webhook-id` came before with another body.
    Also returns the lanes that have work because of it.
    """
    if signed is not None:
        before = _digest_before(connection, signed)
        if before is not None:
            return ("repeated" if before == signed.digest else "conflict"), []
    row = connection.execute(_SUBJECT, {"delivery_id": delivery_id}).one_or_none()
    if row is None:
        return "not_yours", []
    known = connection.execute(_KNOWN, {"delivery_id": delivery_id, "source": source}).first()
    subject = _subject(row, is_withdrawn=withdrawn(connection, [row.dossier_id]).has(row))
    verdict = judge(subject)
    if verdict is None:
        return "not_yours", []
    if known is not None:
        return "repeated", []
    insert_rows(connection, evidence, [verdict.row])
    if signed is not None:
        connection.execute(insert(callback), [{**structs.asdict(signed), "at": at}])
    lanes = _apply(connection, subject, verdict, at) if verdict.happening and verdict.state else []
    nudge_dossiers(connection, [subject.dossier_id], at)
    add_events(connection, verdict.events)
    add_tasks(connection, verdict.tasks)
    return "recorded", lanes


_SUBJECT = (
    select(delivery, dossier.c.key, dossier.c.gemeente, dossier.c.kenmerk)
    .join(dossier, dossier.c.id == delivery.c.dossier_id)
    .where(delivery.c.id == bindparam("delivery_id"))
    .with_for_update(of=delivery)
)
_KNOWN = select(evidence.c.id).where(
    evidence.c.delivery_id == bindparam("delivery_id"), evidence.c.source == bindparam("source")
)


def _digest_before(connection: Connection, signed: Callback) -> bytes | None:
    return connection.execute(
        select(callback.c.digest).where(
            callback.c.creditor == signed.creditor, callback.c.webhook_id == signed.webhook_id
        )
    ).scalar_one_or_none()


def _apply(connection: Connection, subject: Subject, verdict: Record, at: int) -> list[Lane]:
    end_repeats(connection, [subject.id], at)
    channel = verdict.channel or subject.channel
    new_channel = {} if channel == subject.channel else {"channel": channel, "channel_since": at, "tries": 0}
    change = {
        "id": subject.id,
        "state": verdict.state,
        "proof": verdict.proof,
        "received_at": subject.received_at or (at if verdict.proof >= Proof.RECEIVED else None),
        "next_action_at": verdict.next_action_at,
        **new_channel,
        **(verdict.said.columns(at, subject.answered_at) if verdict.said else {}),
    }
    update_rows(connection, delivery, ("id",), [change])
    insert_rows(
        connection,
        transition,
        [
            {
                "delivery_id": subject.id,
                "at": at,
                "happening": verdict.happening,
                "before": subject.state,
                "after": verdict.state,
                "cause": verdict.row["id"],
            }
        ],
    )
    lanes = [] if verdict.next_action_at is None else [(subject.creditor, channel)]
    return lanes + (release_next(connection, [subject.id], at) if verdict.state in SETTLED else [])


_AWAITING = [str(state) for state in AWAITING_ANSWER]


def open_deliveries(connection: Connection, creditor: str, channel: str, limit: int) -> Sequence[Any]:
    """Handed over on this lane and not answered yet, oldest first: id, soort, reference, handed_over_at."""
    return connection.execute(
        select(delivery.c.id, delivery.c.soort, delivery.c.reference, delivery.c.handed_over_at)
        .where(
            delivery.c.creditor == creditor,
            delivery.c.channel == channel,
            or_(delivery.c.state.in_(_AWAITING), delivery.c.stands.in_(_AWAITING)),
        )
        .order_by(delivery.c.id)
        .limit(limit)
    ).all()


def left_deliveries(connection: Connection, creditor: str, channel: str, limit: int) -> Sequence[Any]:
    """What is not answered yet, stands on another channel by now, and may have come over this one before: id, soort,
    and since when."""
    return connection.execute(_LEFT, {"creditor": creditor, "channel": channel, "limit": limit}).all()


_TRIED = (
    select(func.max(attempt.c.started_at))
    .where(
        attempt.c.delivery_id == delivery.c.id,
        attempt.c.channel == bindparam("channel"),
        or_(attempt.c.outcome.is_(None), attempt.c.outcome.in_(["overgedragen", "onzeker"])),
    )
    .scalar_subquery()
)
"""When it last went over the channel and may have arrived; per delivery, by the key of the attempts. An attempt without
an outcome is one of which the gateway was killed."""


def _elsewhere(where: ColumnElement[bool]) -> Select[Any]:
    moved = delivery.c.channel_since > delivery.c.created_at
    unanswered = or_(delivery.c.stands.is_(None), delivery.c.stands.in_(_AWAITING))
    return select(delivery.c.id, delivery.c.soort, _TRIED.label("since")).where(
        delivery.c.creditor == bindparam("creditor"),
        delivery.c.channel != bindparam("channel"),
        moved,
        unanswered,
        where,
    )


# in the words of the indexes ix_delivery_open and ix_delivery_due, so that only what is open is looked through
_CANDIDATES = union_all(
    _elsewhere(cast("ColumnElement[bool]", text("delivery.state IN ('afgeleverd', 'ontvangen')"))),
    _elsewhere(delivery.c.next_action_at.is_not(None) & delivery.c.waits_for.is_(None)),
).subquery()
_LEFT = select(_CANDIDATES).where(_CANDIDATES.c.since.is_not(None)).order_by(_CANDIDATES.c.id).limit(bindparam("limit"))


class Page(Struct, frozen=True):
    """The answer page of one mail."""

    delivery_id: str
    creditor: str
    reference_hashes: tuple[str, ...]
    wrong: int
    decided: bool
    expires_at: int


def page(connection: Connection, token_hash: bytes) -> Page | None:
    return _page(connection, token_hash, locked=False)


def _page(connection: Connection, token_hash: bytes, *, locked: bool) -> Page | None:
    query = (
        select(answer_page, delivery.c.creditor)
        .join(delivery, delivery.c.id == answer_page.c.delivery_id)
        .where(answer_page.c.token_hash == token_hash)
    )
    row = connection.execute(query.with_for_update(of=answer_page) if locked else query).one_or_none()
    if row is None:
        return None
    hashes = tuple(row.reference_hashes.split())
    return Page(row.delivery_id, row.creditor, hashes, row.wrong, row.decided, row.expires_at)


Entry = Literal["open", "blank", "wrong", "locked", "ended"]


def enter_page(connection: Connection, token_hash: bytes, judge: Callable[[Page], Entry]) -> tuple[Page, Entry] | None:
    """Judge one typed reference under lock, so that guesses made at the same time are all counted; None: no such page.

    `wrong` of the page counts this one too.
    """
    found = _page(connection, token_hash, locked=True)
    if found is None:
        return None
    entry = judge(found)
    if entry == "wrong":
        found = structs.replace(found, wrong=found.wrong + 1)
        connection.execute(update(answer_page).where(answer_page.c.token_hash == token_hash).values(wrong=found.wrong))
    return found, entry


def close_page(connection: Connection, token_hash: bytes) -> bool:
    """The decision was taken on this page; False where it had been already."""
    closed = connection.execute(
        update(answer_page)
        .where(answer_page.c.token_hash == token_hash, answer_page.c.decided.is_(False))
        .values(decided=True)
    )
    return closed.rowcount == 1
