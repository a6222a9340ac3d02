"""What a piece of evidence does to a delivery."""

import pytest

from gateway.core.lane import expects_answer
from gateway.core.lifecycle import AWAITING_ANSWER, IN_PROGRESS, State
from gateway.core.outcome import Proof
from gateway.core.progress import receipt_effect

SOORTEN = ("kennisgeving", "herinnering", "voortgang", "verlenging", "beeindiging", "intrekking")


@pytest.mark.parametrize("soort", SOORTEN)
@pytest.mark.parametrize("state", sorted(IN_PROGRESS | {State.FAILED}))
def test_a_receipt_hands_over_and_what_expects_no_answer_has_ended_by_it(state: State, soort: str) -> None:
    effect = receipt_effect(state, 0, soort)
    assert effect.state is (State.RECEIVED if expects_answer(soort) else State.CLOSED)
    assert (effect.proof, effect.events) == (Proof.RECEIVED, ("ontvangst-bevestigd",))


@pytest.mark.parametrize("state", sorted(State))
def test_nothing_that_expects_no_answer_ever_waits_for_one_after_a_receipt(state: State) -> None:
    assert receipt_effect(state, 1, "voortgang").state not in AWAITING_ANSWER


@pytest.mark.parametrize("soort", SOORTEN)
@pytest.mark.parametrize("state", [State.CONFIRMED, State.REFUSED, State.CLOSED, State.WITHDRAWN])
def test_a_receipt_leaves_what_has_ended_well_or_is_withdrawn(state: State, soort: str) -> None:
    assert receipt_effect(state, 1, soort).state is state


@pytest.mark.parametrize("soort", SOORTEN)
def test_a_second_receipt_is_not_told(soort: str) -> None:
    assert receipt_effect(State.CLOSED, Proof.RECEIVED, soort).events == ()
