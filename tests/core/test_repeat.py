"""What may be sent again, in which order and how fast; and what becomes of what a backup left open."""

from typing import Any

import pytest
from msgspec import structs

from gateway.core.attest import attest, is_hand_over
from gateway.core.creditor import Creditor, CreditorId, Limit
from gateway.core.lane import SECOND, Standing, decide
from gateway.core.lifecycle import SETTLED, STAYS, State
from gateway.core.outcome import Evidence, HandedOver, Outcome, OwnFault, Proof, RefusedForGood, Transient, Uncertain
from gateway.core.recovery import Recovery, recover, recovery_of
from gateway.core.repeat import PER_SECOND, Candidate, Obstacle, Plan, Reach, counted_left, plan, reach_of
from gateway.core.retry import Policy
from gateway.recovery import askable
from gateway.register import load_channels

NOW = 1_800_000_000 * SECOND
HORIZON = NOW + 1000 * SECOND
SAID = Evidence("503")
REACHES = {"energie": Reach(("webhook", "email"), 2.0), "zorg": Reach(("sftp",), 5.0)}


def candidate(id_: str = "a", **more: Any) -> Candidate:
    """Of a kennisgeving to energie that has failed."""
    facts: dict[str, Any] = {
        "dossier_id": "d",
        "gemeente": "0363",
        "creditor": "energie",
        "agent_for": None,
        "soort": "kennisgeving",
        "versie": 1,
        "channel": "email",
        "state": State.FAILED,
        "stands": None,
        "is_planned": False,
        "decision": None,
        "is_withdrawn": False,
        "newest_notice": 0,
    }
    return Candidate(id=id_, **facts | more)


def made(*asked: Candidate, also_answered: bool = False) -> Plan:
    return plan(asked, NOW, HORIZON, REACHES.get, also_answered=also_answered)


@pytest.mark.parametrize(
    ("facts", "obstacle"),
    [
        ({}, None),
        ({"state": State.WITHDRAWN}, Obstacle.WITHDRAWN),
        ({"is_withdrawn": True}, Obstacle.DOSSIER_WITHDRAWN),
        ({"is_withdrawn": True, "soort": "intrekking"}, None),
        ({"state": State.RETRYING, "is_planned": True}, Obstacle.UNDER_WAY),
        ({"state": State.IN_DOUBT, "is_planned": True}, Obstacle.UNDER_WAY),
        ({"state": State.IN_DOUBT}, None),
        ({"state": State.RETRYING, "stands": State.CONFIRMED, "is_planned": True}, Obstacle.UNDER_WAY),
        ({"state": State.CONFIRMED, "decision": "pauze_ingesteld"}, Obstacle.ANSWERED),
        ({"newest_notice": 3}, Obstacle.OVERTAKEN),
        ({"newest_notice": 3, "soort": "voortgang"}, None),
        ({"creditor": "weg"}, Obstacle.UNKNOWN_CREDITOR),
        ({"state": State.DELIVERED, "channel": "sftp"}, Obstacle.UNREACHABLE),
    ],
)
def test_what_cannot_be_repeated_is_left_with_its_reason(facts: dict[str, Any], obstacle: Obstacle | None) -> None:
    plan_ = made(candidate(**facts))
    assert [why for _, why in plan_.left] == ([obstacle] if obstacle else [])
    assert len(plan_.steps) == (obstacle is None)


def test_what_is_answered_goes_when_that_is_asked_for() -> None:
    answered = candidate(state=State.REFUSED, decision="geen_medewerking")
    (step,) = made(answered, also_answered=True).steps
    assert (step.after, step.changes["stands"], step.changes["channel"]) == (State.RETRYING, State.REFUSED, "email")


def test_what_had_failed_starts_anew_on_the_first_channel_and_what_is_there_stays_on_its_own() -> None:
    failed, there = made(candidate("a"), candidate("b", dossier_id="e", state=State.CLOSED)).steps
    assert (failed.changes["channel"], failed.changes["stands"], failed.changes["give_up_at"]) == (
        "webhook",
        None,
        HORIZON,
    )
    assert (there.changes["channel"], there.changes["stands"]) == ("email", State.CLOSED)


def test_the_result_of_an_attempt_that_is_under_way_still_comes_too_late_for_a_repeat() -> None:
    (step,) = made(candidate(state=State.CONFIRMED, fence=3)).steps
    assert (step.changes["fence"], step.changes["owner"]) == (4, None)


def test_an_old_version_goes_when_the_newer_one_goes_with_it() -> None:
    told = {"state": State.DELIVERED, "newest_notice": 2}
    assert len(made(candidate("a", **told), candidate("b", versie=2, **told)).steps) == 2


def test_messages_of_one_dossier_go_in_their_order() -> None:
    steps = made(candidate("c", versie=3, soort="voortgang"), candidate("a"), candidate("b", dossier_id="e")).steps
    assert {step.candidate.id: step.changes["waits_for"] for step in steps} == {"a": None, "b": None, "c": "a"}


def test_repeats_to_one_creditor_are_spread_and_another_ones_are_beside_them() -> None:
    asked = [candidate(f"a{nr}", dossier_id=f"d{nr}") for nr in range(3)]
    steps = made(*asked, candidate("z", creditor="zorg", dossier_id="z")).steps
    waits = {step.candidate.id: step.changes["next_action_at"] for step in steps}
    assert waits == {"a0": NOW, "a1": NOW + SECOND // 2, "a2": NOW + SECOND, "z": NOW}


@pytest.mark.parametrize(("own", "asked", "rate"), [(0.0, None, PER_SECOND), (50.0, None, 50.0), (50.0, 1.0, 1.0)])
def test_the_rate_is_what_is_asked_else_the_creditors_own_else_ours(
    own: float, asked: float | None, rate: float
) -> None:
    creditor = Creditor(CreditorId("energie"), "Energie", limit=Limit(8, own))
    assert reach_of(creditor, ("webhook",), asked) == Reach(("webhook",), rate)


def test_what_is_asked_for_and_is_not_there_is_told() -> None:
    assert counted_left(made(), ("x",)) == {"bestaat niet": ["x"]}


# -- how a repeat ends -----------------------------------------------------------------------------------------------

STANDING = Standing(
    state=State.BUSY,
    soort="kennisgeving",
    tries=0,
    channel="webhook",
    channel_since=NOW,
    created_at=NOW,
    give_up_at=HORIZON,
    proof=1,
    channels=("webhook", "email"),
)


@pytest.mark.parametrize("stands", sorted(STAYS))
@pytest.mark.parametrize("outcome", [HandedOver(SAID), HandedOver(SAID, proof=Proof.RECEIVED), RefusedForGood(SAID)])
def test_what_the_creditor_has_is_afterwards_what_it_was(stands: State, outcome: Outcome) -> None:
    decision = decide(structs.replace(STANDING, stands=stands), outcome, NOW, 0, Policy())
    stronger = stands is State.DELIVERED and isinstance(outcome, HandedOver) and outcome.proof == Proof.RECEIVED
    assert decision.state is (State.RECEIVED if stronger else stands)
    assert decision.next_action_at is None
    assert "bezorging-mislukt" not in decision.events
    assert decision.task == (None if isinstance(outcome, HandedOver) else "herhaling_mislukt")
    assert decision.releases_next


@pytest.mark.parametrize("stands", sorted(set(STAYS) - {State.DELIVERED}))
def test_what_expects_no_answer_stays_after_its_repeat_what_it_was(stands: State) -> None:
    decision = decide(structs.replace(STANDING, soort="voortgang", stands=stands), HandedOver(SAID), NOW, 0, Policy())
    assert decision.state is stands
    assert [how for how, _ in decision.steps][-1] == "overgedragen_zonder_antwoord"
    assert decision.events == ("bezorging-afgeleverd",)


def test_a_repeat_of_what_is_there_is_tried_again_on_its_own_channel_only() -> None:
    standing = structs.replace(STANDING, stands=State.CONFIRMED)
    later = decide(standing, Transient(SAID), NOW + 30 * 3600 * SECOND, 0, Policy())
    assert (later.state, later.task) == (State.CONFIRMED, "herhaling_mislukt")
    soon = decide(standing, Transient(SAID), NOW, 0, Policy())
    assert (soon.state, soon.channel) == (State.RETRYING, "webhook")


@pytest.mark.parametrize("outcome", [Transient(SAID), OwnFault(SAID), Uncertain(SAID)])
def test_doubt_stays_doubt_until_the_creditor_could_be_asked(outcome: Outcome) -> None:
    decision = decide(structs.replace(STANDING, in_doubt=True), outcome, NOW, 0, Policy())
    assert decision.state is State.IN_DOUBT
    assert decision.next_action_at is not None


# -- on the word of a person -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "after", "handed_over_at"),
    [
        ({}, State.DELIVERED, NOW),
        ({"soort": "herinnering"}, State.DELIVERED, NOW),
        ({"soort": "voortgang"}, State.CLOSED, NOW),
        ({"stands": State.CONFIRMED}, State.CONFIRMED, None),
    ],
)
def test_what_a_person_says_is_there_is_handed_over_and_a_repeat_of_it_has_ended(
    facts: dict[str, Any], after: State, handed_over_at: int | None
) -> None:
    (step,) = attest([candidate(state=State.IN_DOUBT, **facts)], NOW).steps
    assert (step.after, step.changes.get("handed_over_at")) == (after, handed_over_at)
    assert (step.changes["stands"], step.changes["next_action_at"]) == (None, None)
    assert is_hand_over(step) is ("stands" not in facts)


@pytest.mark.parametrize(
    ("facts", "obstacle"),
    [
        ({"state": State.IN_DOUBT, "is_planned": True}, Obstacle.UNDER_WAY),
        ({"state": State.WITHDRAWN}, Obstacle.WITHDRAWN),
        ({"state": State.RETRYING, "is_planned": True}, Obstacle.NOT_IN_DOUBT),
        ({"state": State.DELIVERED}, Obstacle.NOT_IN_DOUBT),
        ({"state": State.FAILED}, Obstacle.NOT_IN_DOUBT),
    ],
)
def test_the_word_of_a_person_is_only_for_what_is_left_in_doubt(facts: dict[str, Any], obstacle: Obstacle) -> None:
    found = attest([candidate(**facts)], NOW)
    assert (found.steps, [why for _, why in found.left]) == ((), [obstacle])


# -- after a restore -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "soort", "send_again", "recovery"),
    [
        ("sftp", "kennisgeving", False, Recovery.ASKED),
        ("sftp", "kennisgeving", True, Recovery.ASKED),
        ("sftp", "voortgang", False, Recovery.ASKED),
        ("cjib", "kennisgeving", False, Recovery.ASKED),
        ("cjib", "voortgang", False, Recovery.FOR_A_PERSON),
        ("cjib", "voortgang", True, Recovery.SENT_AGAIN),
        ("email", "kennisgeving", False, Recovery.FOR_A_PERSON),
        ("email", "kennisgeving", True, Recovery.SENT_AGAIN),
        ("weg", "kennisgeving", False, Recovery.FOR_A_PERSON),
    ],
)
def test_who_can_be_asked_is_asked_and_nothing_else_goes_by_itself(
    channel: str, soort: str, send_again: bool, recovery: Recovery
) -> None:
    one = candidate(channel=channel, soort=soort)
    assert recovery_of(one, askable(load_channels()), send_again=send_again) is recovery


@pytest.mark.parametrize("state", sorted(set(State) - SETTLED))
def test_all_that_was_open_is_in_doubt_and_what_waits_for_a_person_waits_for_nothing_else(state: State) -> None:
    asked, held = recover(
        [candidate(state=state, channel="sftp"), candidate(state=state, fence=3)],
        NOW,
        HORIZON,
        lambda channel, _: channel == "sftp",
        send_again=False,
    )
    assert {asked.after, held.after} == {State.IN_DOUBT}
    assert asked.changes["next_action_at"] == NOW
    assert (held.changes["next_action_at"], held.changes["waits_for"]) == (None, None)
    assert (asked.changes["fence"], held.changes["fence"]) == (1, 4)
