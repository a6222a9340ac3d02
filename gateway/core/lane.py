"""What follows from an attempt's outcome: a pure decision on state, time, channel, events and tasks.

A lane is one creditor on one channel. It is held as a whole when the peer names a time (Retry-After) or when the
fault is ours; deferrals by us and our own faults spend no retry budget (guarantee: failure classes). How wide a lane is
and when it is dead is in `window.py`.
"""

from datetime import timedelta
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.answer import Said
from gateway.core.lifecycle import IN_PROGRESS, SETTLED, STAYS, Happening, State, move
from gateway.core.outcome import (
    Deferred,
    HandedOver,
    Outcome,
    OwnFault,
    Proof,
    RefusedForGood,
    Transient,
    Uncertain,
)
from gateway.core.retry import HINT_AT_MOST, Policy, next_attempt
from gateway.core.task import TaskKind

SECOND = 1_000_000
"""Instants in the ledger are epoch microseconds."""

OWN_FAULT_PAUSE = 60.0
"""Seconds that a lane, or one delivery, rests after a fault of ours; an operator has been told."""

LATE_FROM = 4 * 3600 * SECOND
"""From this age on a delivery has been, or is about to be, reported as delayed: its end must be known to the agenda."""

TOLD_WITHIN = 24 * 3600 * SECOND
"""A delivery that a fault of ours holds up for so long becomes a task (guarantee: reported to an operator)."""

BLOCKS_AT_MOST = 72 * 3600 * SECOND
"""A message other than a kennisgeving holds up the next one no longer than this (contract: order per creditor)."""


class Standing(Struct, frozen=True):
    """A delivery as it stands when an attempt on it has ended. Instants: epoch µs."""

    state: State
    soort: str
    tries: int
    channel: str
    channel_since: int
    created_at: int
    give_up_at: int
    proof: int
    channels: tuple[str, ...]
    """Those of its creditor that are open, in the register's order."""
    fallback_after: timedelta = timedelta(hours=24)
    stands: State | None = None
    """Of what the creditor has and is sent again: the state that it keeps."""
    came_back: bool = False
    """A bounce over its present channel is on record."""
    in_doubt: bool = False
    """The attempt came no further than to ask whether an earlier one had arrived."""


Alarm = Literal["eigen_fout", "andere_inhoud"]
"""What an operator must see at once, whatever becomes of the delivery."""


class Decision(Struct, frozen=True):
    """What the shell must carry out."""

    steps: tuple[tuple[Happening, State], ...]
    """Each happening with the state it led to; the last one is where the delivery stands."""
    next_action_at: int | None
    tries: int
    channel: str
    proof: int
    events: tuple[str, ...] = ()
    task: TaskKind | None = None
    alarm: Alarm | None = None
    releases_next: bool = False
    reviews: bool = False
    """The agenda of its dossier may have something to do because of this."""
    closes_channel: bool = False
    said: Said | None = None
    """What the answer says that came with the reply."""

    @property
    def state(self) -> State:
        return self.steps[-1][1]


def expects_answer(soort: str) -> bool:
    """Only a kennisgeving (and the reminder of one) asks the creditor to decide something."""
    return soort in ("kennisgeving", "herinnering")


def decide(standing: Standing, outcome: Outcome, now: int, jitter: float, policy: Policy) -> Decision:
    """What `outcome`, known at `now`, means for the delivery. `jitter`: 0 ≤ j < 1, spreads retries upward."""
    decision = _followed(standing, outcome, now, jitter, policy)
    if isinstance(outcome, RefusedForGood) and outcome.other_content:
        return replace(decision, alarm="andere_inhoud", task=TaskKind.OTHER_CONTENT)
    return decision


def _followed(standing: Standing, outcome: Outcome, now: int, jitter: float, policy: Policy) -> Decision:
    if standing.state is State.WITHDRAWN:
        return _after_withdrawal(standing, outcome)
    if standing.stands is None:
        decision = _decide(standing, outcome, now, jitter, policy)
    else:
        own = replace(standing, channels=(standing.channel,))
        decision = _after_repeat(standing, standing.stands, _decide(own, outcome, now, jitter, policy))
    matters = expects_answer(standing.soort) or now - standing.created_at >= LATE_FROM
    return replace(decision, reviews=matters and decision.state in SETTLED)


def _decide(standing: Standing, outcome: Outcome, now: int, jitter: float, policy: Policy) -> Decision:
    match outcome:
        case HandedOver(proof=Proof.TRANSPORT, answer=None) if standing.came_back and standing.state is State.BUSY:
            return _come_back(standing, now)
        case HandedOver():
            return _handed_over(standing, outcome)
        case Deferred(seconds=seconds):
            return _after_deferral(standing, now, now + int(seconds * SECOND))
        case OwnFault(this_only=this_only):
            return _after_own_fault(standing, now, _longer_and_longer(standing, now, policy) if this_only else 0)
        case Transient(retry_after=hint):
            return _retry(standing, now, hint, jitter, policy, Happening.RETRY)
        case Uncertain():
            return _retry(standing, now, None, jitter, policy, Happening.DOUBT)
        case RefusedForGood(whole_channel=whole):
            return _next_channel(standing, now, TaskKind.REFUSED_BY_CHANNEL, closes=whole)
        case _ as unreachable:
            assert_never(unreachable)


def _after_repeat(standing: Standing, stands: State, decision: Decision) -> Decision:
    """What was there already is what it was, however its repeat ended; a repeat that failed is for a person."""
    if decision.state in IN_PROGRESS:
        return decision
    happening = STAYS[stands]
    if decision.state is State.FAILED:
        return replace(
            decision,
            steps=((happening, move(standing.state, happening)),),
            events=(),
            task=decision.task if decision.closes_channel else TaskKind.REPEAT_FAILED,
        )
    if stands in (State.DELIVERED, decision.state):
        return decision
    steps = [(happening, stands), *((own, move(stands, own)) for own, _ in decision.steps)]
    return replace(decision, steps=tuple(steps))


def _after_withdrawal(standing: Standing, outcome: Outcome) -> Decision:
    """It was withdrawn while the attempt was under way: what came of it is kept, for whether the creditor must be told
    of the withdrawal (the agenda looks at that), and nothing moves."""
    happening = Happening.HANDED_OVER if isinstance(outcome, HandedOver) else Happening.RETRY
    return Decision(
        steps=((happening, move(standing.state, happening)),),
        next_action_at=None,
        tries=standing.tries,
        channel=standing.channel,
        proof=max(standing.proof, outcome.proof) if isinstance(outcome, HandedOver) else standing.proof,
        reviews=True,
    )


def held_until(outcome: Outcome, now: int) -> int:
    """Until when the whole lane rests after `outcome`, before anything else is sent on it; 0: it does not."""
    if isinstance(outcome, OwnFault) and not outcome.this_only:
        return now + int(OWN_FAULT_PAUSE * SECOND)
    return asked_to_wait_until(outcome, now)


def asked_to_wait_until(outcome: Outcome, now: int) -> int:
    """Until when the peer itself asks us to leave its lane alone, which holds for every gateway and outlives a
    restart; 0: it does not ask. A fault of ours is looked at anew by whoever starts."""
    match outcome:
        case Transient(retry_after=hint) if hint:
            return now + int(min(hint, HINT_AT_MOST) * SECOND)
        case HandedOver() | Deferred() | Transient() | RefusedForGood() | OwnFault() | Uncertain():
            return 0
        case _ as unreachable:
            assert_never(unreachable)


def _after_deferral(standing: Standing, now: int, again_at: int) -> Decision:
    """No budget is spent; the next channel, the horizon and the next message do not wait for us."""
    if _falls_back(standing, now):
        return _next_channel(standing, now)
    if now >= standing.give_up_at:
        return _next_channel(standing, now, TaskKind.GIVEN_UP)
    overdue = _holds_up(standing, now)
    return _again(
        standing,
        min(again_at, *(moment for moment in _moments(standing) if moment > now)),
        spends=False,
        task=TaskKind.HELD_UP if overdue else None,
        releases_next=overdue,
    )


def _moments(standing: Standing) -> tuple[int, int, int]:
    """When it is given up, goes to the next channel where there is one, and lets the next message go."""
    falls_back = standing.channel_since + standing.fallback_after // timedelta(microseconds=1)
    return (
        standing.give_up_at,
        standing.give_up_at if _following(standing) is None else falls_back,
        standing.give_up_at if expects_answer(standing.soort) else _lets_next_go_at(standing),
    )


def _after_own_fault(standing: Standing, now: int, earliest: int) -> Decision:
    """No budget is spent; the next channel and the next message take over in their time, and after a day a person is
    told."""
    if _falls_back(standing, now):
        return _next_channel(standing, now)
    is_long, overdue = now - standing.created_at >= TOLD_WITHIN, _holds_up(standing, now)
    return _again(
        standing,
        max(earliest, now + int(OWN_FAULT_PAUSE * SECOND)),
        spends=False,
        alarm="eigen_fout",
        task=TaskKind.HELD_UP if overdue else TaskKind.OWN_FAULT if is_long else None,
        releases_next=overdue,
    )


def _longer_and_longer(standing: Standing, now: int, policy: Policy) -> int:
    """When to try again what no lane paces: after half of the time that it has been on its channel."""
    return now + min((now - standing.channel_since) // 2, int(policy.highest * SECOND))


def _handed_over(standing: Standing, outcome: HandedOver) -> Decision:
    asks = expects_answer(standing.soort)
    happening = Happening.HANDED_OVER if asks else Happening.HANDED_OVER_FINAL
    state = move(standing.state, happening)
    steps = [(happening, state)]
    events: tuple[str, ...] = ("bezorging-afgeleverd",)
    if outcome.proof >= Proof.RECEIVED and asks:
        steps.append((Happening.RECEIPT, move(state, Happening.RECEIPT)))
        events += ("ontvangst-bevestigd",) if standing.proof < Proof.RECEIVED else ()
    return Decision(
        steps=tuple(steps),
        next_action_at=None,
        tries=standing.tries,
        channel=standing.channel,
        proof=max(standing.proof, outcome.proof),
        events=events,
        releases_next=True,
    )


def _again(
    standing: Standing,
    at: int,
    *,
    spends: bool,
    happening: Happening = Happening.RETRY,
    alarm: Alarm | None = None,
    task: TaskKind | None = None,
    releases_next: bool = False,
) -> Decision:
    happening = Happening.DOUBT if standing.in_doubt else happening
    state = move(standing.state, happening)
    moved = state in (State.RETRYING, State.IN_DOUBT)
    return Decision(
        steps=((happening, state),),
        next_action_at=at if moved else None,
        tries=standing.tries + spends,
        channel=standing.channel,
        proof=standing.proof,
        alarm=alarm,
        task=task,
        releases_next=releases_next,
    )


def _retry(
    standing: Standing, now: int, hint: float | None, jitter: float, policy: Policy, happening: Happening
) -> Decision:
    asked_before = happening is Happening.RETRY or standing.tries > 0
    if asked_before and _falls_back(standing, now):
        return _next_channel(standing, now)
    wait = next_attempt(standing.tries + 1, jitter, hint, policy)
    at = now + int(wait * SECOND)
    if now >= standing.give_up_at:
        return _next_channel(standing, now, TaskKind.GIVEN_UP)
    overdue = _holds_up(standing, now)
    return _again(
        standing,
        min(at, standing.give_up_at),
        spends=True,
        happening=happening,
        task=TaskKind.HELD_UP if overdue else None,
        releases_next=overdue,
    )


def _holds_up(standing: Standing, now: int) -> bool:
    """It holds up the next message for longer than it may."""
    return not expects_answer(standing.soort) and now >= _lets_next_go_at(standing)


def _lets_next_go_at(standing: Standing) -> int:
    """From when it was made, or sent again: what begins on its channel later than that has all of its time anew."""
    latest = standing.created_at + BLOCKS_AT_MOST
    is_anew = standing.stands is not None or standing.channel_since >= latest
    return standing.channel_since + BLOCKS_AT_MOST if is_anew else latest


def _falls_back(standing: Standing, now: int) -> bool:
    """There was no success on this channel within its time, and there is another one."""
    late = now - standing.channel_since >= standing.fallback_after / timedelta(microseconds=1)
    return late and _following(standing) is not None


def _following(standing: Standing) -> str | None:
    """The channel after the present one."""
    if standing.channel not in standing.channels:
        return standing.channels[0] if standing.channels else None
    at = standing.channels.index(standing.channel) + 1
    return standing.channels[at] if at < len(standing.channels) else None


def bounced(standing: Standing, over: str, now: int) -> Decision | None:
    """What was handed over came back by the channel `over`: the next channel, else a task. None: nothing moves, for it
    is not (or not only) handed over there: there is stronger evidence, an attempt is under way or to come (of which the
    hand-over then counts as one that came back), or it has left that channel since, and what became of it elsewhere is
    not undone."""
    is_received = standing.proof >= Proof.RECEIVED
    if standing.channel != over or is_received or standing.state not in (State.DELIVERED, State.CLOSED):
        return None
    return _come_back(standing, now)


def _come_back(standing: Standing, now: int) -> Decision:
    return _next_channel(standing, now, TaskKind.BOUNCED, on=Happening.DIVERTED, last=Happening.BOUNCED)


def _next_channel(
    standing: Standing,
    now: int,
    why: TaskKind | None = None,
    *,
    closes: bool = False,
    on: Happening = Happening.RETRY,
    last: Happening = Happening.GIVEN_UP,
) -> Decision:
    """The next channel at once; where there is none, the end, with the task `why` for a person."""
    following = _following(standing)
    happening = on if following else last
    state = move(standing.state, happening)
    gave_up, moves_on = state is State.FAILED, state is State.RETRYING
    return Decision(
        steps=((happening, state),),
        next_action_at=now if moves_on else None,
        tries=0 if moves_on else standing.tries,
        channel=following if following and moves_on else standing.channel,
        proof=standing.proof,
        events=("bezorging-mislukt",) if gave_up else (),
        task=TaskKind.CHANNEL_CLOSED if closes else (why if gave_up else None),
        releases_next=gave_up,
        closes_channel=closes,
    )
