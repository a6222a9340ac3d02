"""What follows from each outcome."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.lane import BLOCKS_AT_MOST, SECOND, Standing, asked_to_wait_until, bounced, decide, held_until
from gateway.core.lifecycle import SETTLED, State
from gateway.core.outcome import (
    Deferred,
    Evidence,
    HandedOver,
    Outcome,
    OwnFault,
    Proof,
    RefusedForGood,
    Transient,
    Uncertain,
)
from gateway.core.retry import Policy

NOW = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND
POLICY = Policy()
STANDING = Standing(
    state=State.BUSY,
    soort="kennisgeving",
    tries=0,
    channel="webhook",
    channel_since=NOW,
    created_at=NOW,
    give_up_at=NOW + 200 * HOUR,
    proof=0,
    channels=("webhook", "email"),
)
SAID = Evidence("503")


def test_a_kennisgeving_that_is_handed_over_waits_for_an_answer_and_lets_the_next_go() -> None:
    decision = decide(STANDING, HandedOver(SAID), NOW, 0, POLICY)
    assert (decision.state, decision.next_action_at, decision.proof) == (State.DELIVERED, None, Proof.TRANSPORT)
    assert decision.events == ("bezorging-afgeleverd",)
    assert decision.releases_next


def test_other_messages_end_at_hand_over() -> None:
    standing = structs.replace(STANDING, soort="voortgang")
    assert decide(standing, HandedOver(SAID), NOW, 0, POLICY).state is State.CLOSED


def test_a_receipt_with_the_hand_over_is_told_as_well() -> None:
    decision = decide(STANDING, HandedOver(SAID, proof=Proof.RECEIVED), NOW, 0, POLICY)
    assert decision.state is State.RECEIVED
    assert decision.events == ("bezorging-afgeleverd", "ontvangst-bevestigd")


def test_a_hand_over_recorded_after_the_answer_changes_nothing_but_the_proof() -> None:
    standing = structs.replace(STANDING, state=State.CONFIRMED, proof=Proof.ANSWERED)
    decision = decide(standing, HandedOver(SAID), NOW, 0, POLICY)
    assert (decision.state, decision.proof) == (State.CONFIRMED, Proof.ANSWERED)


@pytest.mark.parametrize(
    ("outcome", "tries", "held"),
    [
        (Deferred(30, "tempo"), 0, False),
        (OwnFault(SAID), 0, True),
        (OwnFault(SAID, this_only=True), 0, False),
        (Transient(SAID), 1, False),
        (Transient(SAID, retry_after=120), 1, True),
        (Uncertain(SAID), 1, False),
    ],
)
def test_only_what_is_not_our_doing_spends_budget_and_only_a_hint_or_a_fault_of_ours_holds_the_lane(
    outcome: Outcome, tries: int, held: bool
) -> None:
    decision = decide(STANDING, outcome, NOW, 0, POLICY)
    assert decision.tries == tries
    assert (held_until(outcome, NOW) > NOW) is held
    assert decision.next_action_at is not None
    assert decision.next_action_at > NOW


@pytest.mark.parametrize("this_only", [False, True])
def test_a_fault_of_ours_alarms(this_only: bool) -> None:
    assert decide(STANDING, OwnFault(SAID, this_only), NOW, 0, POLICY).alarm == "eigen_fout"


def test_doubt_is_not_a_failure() -> None:
    assert decide(STANDING, Uncertain(SAID), NOW, 0, POLICY).state is State.IN_DOUBT


def test_a_refusal_moves_on_to_the_next_channel_at_once() -> None:
    decision = decide(STANDING, RefusedForGood(SAID), NOW, 0, POLICY)
    assert (decision.state, decision.channel, decision.next_action_at) == (State.RETRYING, "email", NOW)
    assert decision.events == ()


@pytest.mark.parametrize("state", [State.RECEIVED, State.CONFIRMED, State.REFUSED])
def test_a_refusal_after_an_answer_moves_nothing(state: State) -> None:
    decision = decide(structs.replace(STANDING, state=state, tries=3), RefusedForGood(SAID), NOW, 0, POLICY)
    assert (decision.state, decision.channel, decision.tries) == (state, STANDING.channel, 3)
    assert (decision.next_action_at, decision.events) == (None, ())


def test_a_refusal_on_the_last_channel_ends_with_a_task() -> None:
    standing = structs.replace(STANDING, channel="email")
    decision = decide(standing, RefusedForGood(SAID), NOW, 0, POLICY)
    assert (decision.state, decision.task) == (State.FAILED, "kanaal_geweigerd")
    assert decision.events == ("bezorging-mislukt",)


def test_gone_closes_the_channel() -> None:
    assert decide(STANDING, RefusedForGood(SAID, whole_channel=True), NOW, 0, POLICY).closes_channel


def test_without_success_the_next_channel_is_tried_after_its_term() -> None:
    later = NOW + int(STANDING.fallback_after / timedelta(microseconds=1))
    assert decide(STANDING, Transient(SAID), later - HOUR, 0, POLICY).channel == "webhook"
    assert decide(STANDING, Transient(SAID), later, 0, POLICY).channel == "email"


def test_an_uncertain_attempt_is_resolved_on_its_own_channel_first() -> None:
    later = NOW + 25 * HOUR
    assert decide(STANDING, Uncertain(SAID), later, 0, POLICY).channel == "webhook"
    assert decide(structs.replace(STANDING, tries=1), Uncertain(SAID), later, 0, POLICY).channel == "email"


def test_a_fault_of_ours_moves_on_as_well_and_becomes_a_task_after_a_day() -> None:
    later = NOW + 25 * HOUR
    assert decide(STANDING, OwnFault(SAID), later, 0, POLICY).channel == "email"
    alone = structs.replace(STANDING, channels=("webhook",))
    assert decide(alone, OwnFault(SAID), NOW + HOUR, 0, POLICY).task is None
    assert decide(alone, OwnFault(SAID), later, 0, POLICY).task == "eigen_fout"


def test_at_the_horizon_it_is_given_up_with_a_task() -> None:
    standing = structs.replace(STANDING, channels=("webhook",))
    decision = decide(standing, Transient(SAID), STANDING.give_up_at, 0, POLICY)
    assert (decision.state, decision.task) == (State.FAILED, "opgegeven")


def test_a_later_message_holds_up_the_next_one_for_72_hours_at_most() -> None:
    standing = structs.replace(STANDING, soort="voortgang", channels=("webhook",))
    before = decide(standing, Transient(SAID), NOW + BLOCKS_AT_MOST - 1, 0, POLICY)
    after = decide(standing, Transient(SAID), NOW + BLOCKS_AT_MOST, 0, POLICY)
    assert (before.releases_next, before.task) == (False, None)
    assert (after.releases_next, after.task) == (True, "bericht_opgehouden")
    notice = structs.replace(standing, soort="kennisgeving")
    assert not decide(notice, Transient(SAID), NOW + BLOCKS_AT_MOST, 0, POLICY).releases_next


@pytest.mark.parametrize("stands", [State.CLOSED, None], ids=["what it has", "what had failed"])
@pytest.mark.parametrize("outcome", [Transient(SAID), Deferred(1, "baan_rust")], ids=["failed", "deferred"])
def test_what_is_sent_again_later_holds_up_the_next_one_for_as_long_anew(
    stands: State | None, outcome: Outcome
) -> None:
    again = NOW + 30 * 24 * HOUR
    standing = structs.replace(
        STANDING,
        soort="voortgang",
        channels=("webhook",),
        stands=stands,
        channel_since=again,
        give_up_at=again + 7 * 24 * HOUR,
    )
    before = decide(standing, outcome, again + BLOCKS_AT_MOST - 1, 0, POLICY)
    after = decide(standing, outcome, again + BLOCKS_AT_MOST, 0, POLICY)
    assert (before.releases_next, before.task) == (False, None)
    assert (after.releases_next, after.task) == (True, "bericht_opgehouden")


@pytest.mark.parametrize("this_only", [False, True])
def test_a_fault_of_ours_holds_up_the_next_message_for_72_hours_at_most(this_only: bool) -> None:
    standing = structs.replace(STANDING, soort="voortgang", channels=("webhook",))
    outcome = OwnFault(SAID, this_only)
    assert not decide(standing, outcome, NOW + BLOCKS_AT_MOST - 1, 0, POLICY).releases_next
    after = decide(standing, outcome, NOW + BLOCKS_AT_MOST, 0, POLICY)
    assert (after.releases_next, after.task, after.alarm) == (True, "bericht_opgehouden", "eigen_fout")


def test_what_is_wrong_with_one_delivery_is_tried_less_and_less_often() -> None:
    def wait(age: int) -> float:
        decision = decide(STANDING, OwnFault(SAID, this_only=True), NOW + age, 0, POLICY)
        assert decision.next_action_at is not None
        return (decision.next_action_at - NOW - age) / SECOND

    assert [wait(0), wait(HOUR), wait(20 * HOUR)] == [60.0, 1800.0, POLICY.highest]


# -- deferred by us, and in doubt ------------------------------------------------------------------------------------

DEFERRED = Deferred(30, "baan_rust")


def test_a_deferral_of_ours_holds_up_neither_the_next_channel_nor_the_end() -> None:
    later = NOW + 25 * HOUR
    assert decide(STANDING, DEFERRED, NOW + HOUR, 0, POLICY).channel == "webhook"
    assert decide(STANDING, DEFERRED, later, 0, POLICY).channel == "email"
    alone = structs.replace(STANDING, channels=("webhook",))
    assert decide(alone, DEFERRED, later, 0, POLICY).next_action_at == later + 30 * SECOND
    near = decide(alone, DEFERRED, alone.give_up_at - SECOND, 0, POLICY)
    assert (near.state, near.next_action_at) == (State.RETRYING, alone.give_up_at)
    long = Deferred(1e6, "baan_rust")
    assert decide(STANDING, long, NOW, 0, POLICY).next_action_at == NOW + 24 * HOUR
    assert decide(alone, long, NOW, 0, POLICY).next_action_at == alone.give_up_at
    later_message = structs.replace(alone, soort="voortgang")
    assert decide(later_message, long, NOW, 0, POLICY).next_action_at == NOW + BLOCKS_AT_MOST
    ended = decide(alone, DEFERRED, alone.give_up_at, 0, POLICY)
    assert (ended.state, ended.task, ended.events) == (State.FAILED, "opgegeven", ("bezorging-mislukt",))


def test_a_deferral_of_ours_lets_the_next_message_go_after_72_hours() -> None:
    standing = structs.replace(STANDING, soort="voortgang", channels=("webhook",))
    decision = decide(standing, DEFERRED, NOW + BLOCKS_AT_MOST, 0, POLICY)
    assert (decision.releases_next, decision.task, decision.tries) == (True, "bericht_opgehouden", 0)


COLLISION = RefusedForGood(SAID, other_content=True)


@pytest.mark.parametrize("channels", [("webhook", "email"), ("webhook",)])
@pytest.mark.parametrize("stands", [None, State.CONFIRMED])
@pytest.mark.parametrize("state", [State.BUSY, State.WITHDRAWN, State.RECEIVED])
def test_other_content_under_our_key_is_always_for_a_person_and_an_alarm(
    state: State, stands: State | None, channels: tuple[str, ...]
) -> None:
    standing = structs.replace(STANDING, state=state, stands=stands, channels=channels)
    decision = decide(standing, COLLISION, NOW, 0, POLICY)
    assert (decision.alarm, decision.task) == ("andere_inhoud", "andere_inhoud")
    plain = decide(standing, RefusedForGood(SAID), NOW, 0, POLICY)
    assert structs.replace(decision, alarm=None, task=None) == structs.replace(plain, task=None)


@pytest.mark.parametrize("outcome", [DEFERRED, OwnFault(SAID), Transient(SAID), Uncertain(SAID)])
def test_what_was_in_doubt_stays_so_until_the_peer_was_asked(outcome: Outcome) -> None:
    doubtful = structs.replace(STANDING, in_doubt=True, tries=1)
    assert decide(doubtful, outcome, NOW, 0, POLICY).state is State.IN_DOUBT


def test_only_the_peer_itself_can_ask_to_be_left_alone_by_all() -> None:
    assert asked_to_wait_until(Transient(SAID, retry_after=120), NOW) == NOW + 120 * SECOND
    assert asked_to_wait_until(Transient(SAID, retry_after=1e9), NOW) == NOW + 24 * HOUR
    others: tuple[Outcome, ...] = (DEFERRED, OwnFault(SAID), Transient(SAID), HandedOver(SAID), RefusedForGood(SAID))
    assert [asked_to_wait_until(outcome, NOW) for outcome in others] == [0] * 5


OUTCOMES: tuple[Outcome, ...] = (
    HandedOver(SAID),
    HandedOver(SAID, proof=Proof.RECEIVED),
    DEFERRED,
    OwnFault(SAID),
    Transient(SAID),
    Uncertain(SAID),
    RefusedForGood(SAID),
    RefusedForGood(SAID, whole_channel=True),
)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "given up"])
@pytest.mark.parametrize("channels", [("webhook", "email"), ("webhook",)])
@pytest.mark.parametrize("soort", ["kennisgeving", "voortgang"])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("state", sorted(SETTLED))
def test_no_outcome_of_an_attempt_moves_what_ended_while_it_was_under_way(
    state: State, outcome: Outcome, soort: str, channels: tuple[str, ...], late: bool
) -> None:
    standing = structs.replace(STANDING, state=state, soort=soort, channels=channels)
    decision = decide(standing, outcome, NOW + 300 * HOUR if late else NOW, 0, POLICY)
    is_received = isinstance(outcome, HandedOver) and outcome.proof == Proof.RECEIVED
    stronger = is_received and state in (State.DELIVERED, State.FAILED)
    assert decision.state is (State.RECEIVED if stronger and soort == "kennisgeving" else state)
    assert decision.next_action_at is None
    assert decision.channel == standing.channel


@pytest.mark.parametrize("state", State)
def test_a_bounce_moves_only_what_was_handed_over_and_no_more(state: State) -> None:
    decision = bounced(structs.replace(STANDING, state=state, proof=1), STANDING.channel, NOW)
    assert (decision and decision.state) == (State.RETRYING if state in (State.DELIVERED, State.CLOSED) else None)


@pytest.mark.parametrize("state", State)
def test_a_bounce_undoes_no_receipt_that_is_on_record(state: State) -> None:
    assert bounced(structs.replace(STANDING, state=state, proof=2), STANDING.channel, NOW) is None


@pytest.mark.parametrize("state", State)
def test_a_bounce_about_a_channel_that_was_left_moves_nothing(state: State) -> None:
    assert bounced(structs.replace(STANDING, state=state, proof=1), "email", NOW) is None


def test_a_bounce_on_the_last_channel_ends_with_a_task() -> None:
    last = structs.replace(STANDING, state=State.DELIVERED, proof=1, channels=(STANDING.channel,))
    decision = bounced(last, STANDING.channel, NOW)
    assert decision
    assert (decision.state, decision.task, decision.events) == (State.FAILED, "teruggekomen", ("bezorging-mislukt",))


@pytest.mark.parametrize("soort", ["kennisgeving", "voortgang"])
def test_a_hand_over_whose_bounce_overtook_it_came_back(soort: str) -> None:
    standing = structs.replace(STANDING, soort=soort, came_back=True)
    on = decide(standing, HandedOver(SAID), NOW, 0, POLICY)
    assert (on.state, on.channel, on.next_action_at, on.events) == (State.RETRYING, "email", NOW, ())
    last = decide(structs.replace(standing, channels=(standing.channel,)), HandedOver(SAID), NOW, 0, POLICY)
    assert (last.state, last.task, last.events) == (State.FAILED, "teruggekomen", ("bezorging-mislukt",))


@pytest.mark.parametrize("outcome", [HandedOver(SAID, proof=Proof.RECEIVED), HandedOver(SAID, answer=b"{}")])
def test_a_hand_over_that_the_creditor_confirms_did_not_come_back(outcome: Outcome) -> None:
    standing = structs.replace(STANDING, came_back=True)
    assert decide(standing, outcome, NOW, 0, POLICY) == decide(STANDING, outcome, NOW, 0, POLICY)


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_a_bounce_that_moved_nothing_moves_nothing_later(state: State) -> None:
    standing = structs.replace(STANDING, state=state)
    late = structs.replace(standing, came_back=True)
    assert decide(late, HandedOver(SAID), NOW, 0, POLICY) == decide(standing, HandedOver(SAID), NOW, 0, POLICY)


@given(tries=st.integers(0, 500), ago=st.integers(0, 300), jitter=st.floats(0, 1, exclude_max=True))
def test_a_delivery_always_ends_or_has_a_next_moment(tries: int, ago: int, jitter: float) -> None:
    now = NOW + ago * HOUR
    decision = decide(structs.replace(STANDING, tries=tries), Transient(SAID), now, jitter, POLICY)
    if decision.state is State.FAILED:
        assert decision.task
    else:
        assert decision.next_action_at is not None
        assert now <= decision.next_action_at <= max(now, STANDING.give_up_at)
