"""The table of states: what is possible is in it, and nothing else."""

import pytest

from gateway.core.lifecycle import (
    AWAITING_ANSWER,
    CLAIMABLE,
    IN_PROGRESS,
    OWN_RESULTS,
    SETTLED,
    STAYS,
    TABLE,
    TERMINAL,
    TOLD,
    Happening,
    NotAllowed,
    State,
    move,
)

BY_TIME_OR_US = frozenset(Happening) - {
    Happening.RECEIPT,
    Happening.RECEIPT_FINAL,
    Happening.CONFIRMING_ANSWER,
    Happening.REFUSING_ANSWER,
    Happening.BOUNCED,
    Happening.DIVERTED,
    Happening.REPEATED,
    Happening.RESTORED,
    Happening.ATTESTED,
    Happening.ATTESTED_FINAL,
    *STAYS.values(),
}


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == set(State)


@pytest.mark.parametrize("state", sorted(set(State) - {State.WITHDRAWN}))
@pytest.mark.parametrize(
    ("happening", "after"),
    [(Happening.CONFIRMING_ANSWER, State.CONFIRMED), (Happening.REFUSING_ANSWER, State.REFUSED)],
)
def test_an_answer_counts_in_any_state(state: State, happening: Happening, after: State) -> None:
    assert move(state, happening) is after


@pytest.mark.parametrize("happening", sorted(Happening))
def test_nothing_leaves_a_withdrawn_delivery(happening: Happening) -> None:
    assert move(State.WITHDRAWN, happening) is State.WITHDRAWN


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("happening", sorted(BY_TIME_OR_US - {Happening.CLAIMED}))
def test_neither_time_nor_our_own_attempts_leave_a_terminal_state(state: State, happening: Happening) -> None:
    assert move(state, happening) is state


NEW_CLAIM = {Happening.DIVERTED, Happening.REPEATED, Happening.RESTORED, *STAYS.values()}
"""After these the result of an attempt that is still under way comes too late: they raise the fence."""


def under_way() -> set[State]:
    """Where a delivery may stand when the result of its attempt comes in."""
    found, new = set[State](), {State.BUSY}
    while new:
        found |= new
        new = {
            after
            for state in new
            for happening, after in TABLE[state].items()
            if happening not in NEW_CLAIM.union(OWN_RESULTS)
        } - found
    return found


def test_what_may_happen_while_an_attempt_is_under_way() -> None:
    assert under_way() == set(State) - {State.QUEUED, State.RETRYING, State.IN_DOUBT, State.DELIVERED}


@pytest.mark.parametrize("state", sorted(under_way() - {State.BUSY}))
@pytest.mark.parametrize("happening", sorted(OWN_RESULTS))
def test_the_result_of_our_own_attempt_moves_nothing_that_something_else_moved(
    state: State, happening: Happening
) -> None:
    assert move(state, happening) is state


@pytest.mark.parametrize("happening", sorted(OWN_RESULTS))
def test_no_result_of_our_own_moves_what_is_handed_over(happening: Happening) -> None:
    assert move(State.DELIVERED, happening) is State.DELIVERED


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_what_is_handed_over_or_ended_is_never_claimed(state: State) -> None:
    assert state not in CLAIMABLE
    if state is not State.WITHDRAWN:
        with pytest.raises(NotAllowed):
            move(state, Happening.CLAIMED)


@pytest.mark.parametrize("state", [State.RECEIVED, State.CONFIRMED, State.REFUSED])
def test_a_receipt_never_weakens_what_is_known(state: State) -> None:
    assert move(state, Happening.RECEIPT) is state


def test_a_vanished_holder_leaves_doubt() -> None:
    assert move(State.BUSY, Happening.LEASE_LOST) is State.IN_DOUBT


def test_only_an_answer_confirms_or_refuses() -> None:
    confirming = {
        (happening, after)
        for state in State
        for happening, after in TABLE[state].items()
        if after in (State.CONFIRMED, State.REFUSED) and state not in (State.CONFIRMED, State.REFUSED)
    }
    again = {STAYS[State.CONFIRMED], STAYS[State.REFUSED]}
    answers = {Happening.CONFIRMING_ANSWER, Happening.REFUSING_ANSWER}
    assert {happening for happening, _ in confirming} == answers | again


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_whatever_has_ended_may_be_sent_again_but_for_what_is_withdrawn(state: State) -> None:
    after = State.WITHDRAWN if state is State.WITHDRAWN else State.RETRYING
    assert move(state, Happening.REPEATED) is after


@pytest.mark.parametrize("state", sorted({State.QUEUED, State.RETRYING, State.BUSY}))
def test_what_is_on_its_way_is_not_sent_a_second_time_beside_it(state: State) -> None:
    with pytest.raises(NotAllowed):
        move(state, Happening.REPEATED)


@pytest.mark.parametrize("state", sorted(STAYS))
@pytest.mark.parametrize("during", sorted({State.RETRYING, State.BUSY, State.IN_DOUBT, State.DELIVERED}))
def test_after_a_repeat_a_delivery_is_what_it_was(state: State, during: State) -> None:
    assert move(during, STAYS[state]) is state


@pytest.mark.parametrize("state", sorted(State))
def test_putting_back_a_backup_leaves_in_doubt_what_was_open_and_nothing_else(state: State) -> None:
    if state in IN_PROGRESS:
        assert move(state, Happening.RESTORED) is State.IN_DOUBT
    elif state is State.WITHDRAWN:
        assert move(state, Happening.RESTORED) is State.WITHDRAWN
    else:
        with pytest.raises(NotAllowed):
            move(state, Happening.RESTORED)


@pytest.mark.parametrize("state", sorted(set(State) - {State.WITHDRAWN}))
@pytest.mark.parametrize(
    ("happening", "after"), [(Happening.ATTESTED, State.DELIVERED), (Happening.ATTESTED_FINAL, State.CLOSED)]
)
def test_the_word_of_a_person_hands_over_what_is_in_doubt_and_nothing_else(
    state: State, happening: Happening, after: State
) -> None:
    if state is State.IN_DOUBT:
        assert move(state, happening) is after
    else:
        with pytest.raises(NotAllowed):
            move(state, happening)


def test_the_named_sets_agree_with_the_table() -> None:
    assert set(AWAITING_ANSWER) <= TOLD <= SETTLED
    assert TERMINAL <= SETTLED
    assert set(State) - SETTLED == IN_PROGRESS
    assert set(STAYS) == TOLD
