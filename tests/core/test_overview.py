"""What deliveries come to in figures, as tables."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.core.answer import AnswerKind
from gateway.core.creditor import Covenant, Term
from gateway.core.lifecycle import State
from gateway.core.overview import (
    Adoption,
    Coverage,
    Expectation,
    Figures,
    Sent,
    Undecided,
    adoption,
    due_at,
    response_to,
)
from gateway.core.pause import PauseTerm, encode_terms

HOUR = 3_600_000_000


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


MONDAY = at(2026, 11, 23, 9)
BINDING_COVENANT = Covenant("Modelconvenant 2024", binding=True, pause=Term(8, "maanden"))
LOOSE_COVENANT = Covenant("Afspraak", binding=False, pause=Term(8, "maanden"))


def terms(*parts: tuple[date, Covenant | None]) -> str:
    starts, asked = date(2026, 11, 23), date(2027, 7, 22)
    return encode_terms(tuple(PauseTerm(starts, until, asked, covenant) for until, covenant in parts))


ASKED = terms((date(2027, 7, 22), BINDING_COVENANT))
BINDING, ONLY_ASKED = Expectation(10, True), Expectation(10, False)
LATER = at(2027, 3, 1)


def sent(state: str = State.DELIVERED, decision: str | None = None, **more: Any) -> Sent:
    values: dict[str, Any] = {
        "id": "1",
        "message_id": "m",
        "dossier_id": "d",
        "creditor": "energie",
        "agent_for": None,
        "soort": "kennisgeving",
        "state": state,
        "proof": 1,
        "handed_over_at": MONDAY,
        "answered_at": MONDAY + HOUR if decision else None,
        "decided_at": MONDAY + HOUR if decision else None,
        "decision": decision,
        "paused_until": None,
        "terms": ASKED,
        **more,
    }
    return Sent(**values)


def figures(*deliveries: Sent, expected: Expectation = BINDING, now: int = LATER) -> Figures:
    """Of as many notices."""
    made = Figures()
    for one in deliveries:
        made.add(response_to([one]), expected, now)
    return made


# -- what a notice comes to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "decision", "outcome", "told"),
    [
        (State.QUEUED, None, Undecided.UNDER_WAY, False),
        (State.BUSY, None, Undecided.UNDER_WAY, False),
        (State.RETRYING, None, Undecided.UNDER_WAY, False),
        (State.IN_DOUBT, None, Undecided.UNDER_WAY, False),
        (State.DELIVERED, None, Undecided.SILENT, True),
        (State.RECEIVED, None, Undecided.SILENT, True),
        (State.CLOSED, None, Undecided.SILENT, True),
        (State.FAILED, None, Undecided.FAILED, False),
        (State.WITHDRAWN, None, Undecided.WITHDRAWN, False),
        *((State.CONFIRMED, kind, kind, True) for kind in (AnswerKind.PAUSED, AnswerKind.PAUSED_IN_PART)),
        (State.CONFIRMED, AnswerKind.TRANSFERRED, AnswerKind.TRANSFERRED, True),
        (State.REFUSED, AnswerKind.CLIENT_UNKNOWN, AnswerKind.CLIENT_UNKNOWN, True),
    ],
)
def test_a_notice_comes_to_exactly_one_thing(state: str, decision: str | None, outcome: str, told: bool) -> None:
    one = response_to([sent(state, decision)])
    assert (one.outcome, one.was_told) == (outcome, told)
    counted = figures(sent(state, decision))
    assert (counted.notices, counted.told, sum(counted.outcomes.values())) == (1, int(told), 1)


def test_what_came_back_after_the_hand_over_was_not_told() -> None:
    counted = figures(sent(State.FAILED, handed_over_at=MONDAY, proof=1))
    assert (counted.told, counted.overdue, counted.outcomes[Undecided.FAILED]) == (0, 0, 1)


@pytest.mark.parametrize(("proof", "received"), [(1, 0), (2, 1), (3, 1)])
def test_received_is_proof_of_the_second_strength(proof: int, received: int) -> None:
    assert figures(sent(proof=proof)).received == received


# -- corrections and withdrawals ------------------------------------------------------------------------------------


def test_a_correction_is_the_same_notice_and_an_answer_to_either_counts() -> None:
    first = sent(State.CONFIRMED, AnswerKind.PAUSED)
    one = response_to([first, sent(State.CLOSED, id="2", handed_over_at=MONDAY + 50 * HOUR)])
    assert (one.outcome, one.handed_over_at, one.answered_at) == (AnswerKind.PAUSED, MONDAY, MONDAY + HOUR)


def test_the_first_decision_counts_for_the_time_and_the_latest_for_what_it_says() -> None:
    refused = sent(State.REFUSED, AnswerKind.CLIENT_UNKNOWN, answered_at=MONDAY + HOUR, decided_at=MONDAY + HOUR)
    paused = sent(State.CONFIRMED, AnswerKind.PAUSED, answered_at=MONDAY + 9 * HOUR, decided_at=LATER)
    one = response_to([refused, paused])
    assert (one.outcome, one.answered_at) == (AnswerKind.PAUSED, MONDAY + HOUR)


def test_who_was_missed_at_first_and_told_by_the_correction_was_told() -> None:
    one = response_to([sent(State.FAILED, handed_over_at=None), sent(handed_over_at=LATER)])
    assert (one.was_told, one.outcome, one.handed_over_at) == (True, Undecided.SILENT, LATER)


def test_what_was_withdrawn_is_neither_silent_nor_a_pause_nor_kept() -> None:
    withdrawal = sent(State.CLOSED, soort="intrekking", terms=None)
    assert response_to([sent(State.CLOSED), withdrawal]).outcome is Undecided.WITHDRAWN
    counted = Figures()
    counted.add(response_to([sent(State.CONFIRMED, AnswerKind.PAUSED), withdrawal]), BINDING, LATER)
    assert counted.outcomes == {Undecided.WITHDRAWN: 1}
    assert (counted.told, counted.answered, counted.in_term, counted.bound, counted.kept) == (1, 1, 1, 0, 0)


def test_an_answer_to_what_was_withdrawn_on_its_way_shows_that_it_arrived() -> None:
    one = response_to([sent(State.WITHDRAWN, AnswerKind.PAUSED, handed_over_at=None)])
    assert (one.outcome, one.was_told, one.is_received, one.is_decided) == (Undecided.WITHDRAWN, True, True, True)


# -- reminders ------------------------------------------------------------------------------------------------------


def test_an_answer_to_a_reminder_is_one_to_the_notice() -> None:
    reminder = sent(State.CONFIRMED, AnswerKind.PAUSED, soort="herinnering", handed_over_at=MONDAY + 400 * HOUR)
    one = response_to([sent(State.CLOSED), reminder])
    assert (one.outcome, one.handed_over_at, one.is_received) == (AnswerKind.PAUSED, MONDAY, True)


def test_a_reminder_tells_nobody_anything_but_may_prove_receipt() -> None:
    reminder = sent(State.CLOSED, soort="herinnering", proof=2)
    assert response_to([sent(State.FAILED), reminder]).was_told is False
    one = response_to([sent(State.CLOSED), reminder])
    assert (one.outcome, one.is_received) == (Undecided.SILENT, True)


# -- in term --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handed_over", "answered", "days", "in_term"),
    [
        (at(2026, 11, 23, 9), at(2026, 12, 7, 22, 59), 10, True),  # the tenth working day, until midnight here
        (at(2026, 11, 23, 9), at(2026, 12, 7, 23, 0), 10, False),
        (at(2026, 11, 23, 23, 30), at(2026, 12, 8, 22, 59), 10, True),  # it was the 24th here
        (at(2026, 11, 20, 9), at(2026, 11, 23, 9), 1, True),  # a weekend between
        (at(2026, 12, 24, 9), at(2026, 12, 28, 22, 59), 1, True),  # and Christmas
        (at(2026, 12, 24, 9), at(2026, 12, 28, 23, 1), 1, False),
        (at(2026, 11, 23, 9), at(2026, 11, 22, 9), 1, True),  # before our own send is on record
    ],
)
def test_the_term_ends_with_the_last_working_day(handed_over: int, answered: int, days: int, in_term: bool) -> None:
    one = sent(State.CONFIRMED, AnswerKind.PAUSED, handed_over_at=handed_over, answered_at=answered)
    counted = figures(one, expected=Expectation(days, False))
    assert (counted.in_term, counted.late) == (int(in_term), int(not in_term))


def test_further_closed_days_lengthen_the_term() -> None:
    due, later = (due_at(MONDAY, 1, closed) for closed in ((), [date(2026, 11, 24)]))
    assert due is not None
    assert later == due + 24 * HOUR


def test_an_answer_of_which_nobody_knows_when_is_answered_and_neither_in_term_nor_late() -> None:
    counted = figures(sent(State.CONFIRMED, AnswerKind.PAUSED, answered_at=None))
    assert (counted.answered, counted.in_term, counted.late, counted.median_seconds) == (1, 0, 0, None)


def test_silence_is_told_apart_by_whether_the_term_is_over() -> None:
    due = due_at(MONDAY, 10)
    assert due is not None
    for now, overdue in ((due - 1, 0), (due, 1)):
        counted = figures(sent(), sent(State.FAILED), sent(State.CONFIRMED, AnswerKind.PAUSED), now=now)
        assert (counted.outcomes[Undecided.SILENT], counted.overdue) == (1, overdue)


@pytest.mark.parametrize(
    ("hours", "seconds"), [([], None), ([2], 7200), ([1, 5, 100], 18_000), ([1, 2], 5400), ([0], 0), ([-5], 0)]
)
def test_the_median_is_in_seconds_since_the_hand_over(hours: list[int], seconds: int | None) -> None:
    answers = [sent(State.REFUSED, AnswerKind.NO_COOPERATION, answered_at=MONDAY + hour * HOUR) for hour in hours]
    assert figures(sent(), *answers).median_seconds == seconds


# -- covenant ---------------------------------------------------------------------------------------------------------

SHORTER, AS_ASKED, LONGER = "2027-07-21", "2027-07-22", "2027-12-31"


@pytest.mark.parametrize(
    ("decision", "until", "asked", "kept", "broken"),
    [
        (AnswerKind.PAUSED, None, ASKED, 1, 0),
        (AnswerKind.PAUSED, AS_ASKED, ASKED, 1, 0),
        (AnswerKind.PAUSED, LONGER, ASKED, 1, 0),
        (AnswerKind.PAUSED, SHORTER, ASKED, 0, 1),
        (AnswerKind.PAUSED, SHORTER, None, 1, 0),
        (AnswerKind.TRANSFERRED, None, ASKED, 1, 0),
        (AnswerKind.TRANSFERRED, SHORTER, ASKED, 1, 0),
        (AnswerKind.NO_COOPERATION, None, ASKED, 0, 1),
        (AnswerKind.NOT_ELIGIBLE, None, ASKED, 0, 1),
        (AnswerKind.PAUSED_IN_PART, None, ASKED, 0, 1),
        (AnswerKind.CLIENT_UNKNOWN, None, ASKED, 0, 0),
        (AnswerKind.RECENTLY_SETTLED, None, ASKED, 0, 0),
        (AnswerKind.RECENTLY_STABILISED, None, ASKED, 0, 0),
        (None, None, ASKED, 0, 0),
    ],
)
def test_a_binding_covenant_is_kept_broken_or_neither(
    decision: str | None, until: str | None, asked: str | None, kept: int, broken: int
) -> None:
    state = State.CONFIRMED if decision else State.CLOSED
    one = sent(state, decision, paused_until=until, terms=asked)
    counted = figures(one)
    assert (counted.bound, counted.kept, counted.broken) == (1, kept, broken)


@pytest.mark.parametrize(
    ("parts", "until", "bound", "broken"),
    [
        ([(date(2027, 7, 22), None)], "2027-01-01", 0, 0),  # outside the scope of its covenant
        ([(date(2027, 7, 22), LOOSE_COVENANT)], "2027-01-01", 0, 0),
        ([(date(2027, 3, 22), BINDING_COVENANT), (date(2027, 7, 22), None)], "2027-03-22", 1, 0),
        ([(date(2027, 7, 22), BINDING_COVENANT), (date(2027, 3, 22), None)], "2027-03-22", 1, 1),
    ],
)
def test_a_covenant_is_judged_by_the_claims_for_which_it_spoke(
    parts: list[tuple[date, Covenant | None]], until: str, bound: int, broken: int
) -> None:
    one = sent(State.CONFIRMED, AnswerKind.PAUSED, paused_until=until, terms=terms(*parts))
    counted = figures(one)
    assert (counted.bound, counted.kept, counted.broken) == (bound, bound - broken, broken)


def test_where_nobody_recorded_what_was_asked_the_register_says_who_is_bound() -> None:
    one = sent(State.CONFIRMED, AnswerKind.PAUSED, terms=None)
    assert (figures(one).bound, figures(one, expected=ONLY_ASKED).bound) == (1, 0)


def test_a_correction_that_asks_more_does_not_make_an_earlier_answer_short() -> None:
    paused = sent(State.CONFIRMED, AnswerKind.PAUSED, paused_until="2027-07-22")
    longer = sent(State.CLOSED, terms=terms((date(2027, 8, 22), BINDING_COVENANT)))
    assert response_to([paused, longer]).is_shorter is False


# -- gemeenten --------------------------------------------------------------------------------------------------------


def test_coverage_is_of_creditors_in_their_own_right_without_what_was_withdrawn() -> None:
    covered = Coverage()
    for one in (
        sent(State.CONFIRMED, AnswerKind.PAUSED),
        sent(State.CONFIRMED, AnswerKind.PAUSED_IN_PART),
        sent(State.CLOSED),
        sent(State.FAILED),
        sent(State.WITHDRAWN),
        sent(State.CONFIRMED, AnswerKind.PAUSED, agent_for="bank"),
    ):
        covered.add(response_to([one]))
    assert covered == Coverage(creditors=4, told=3, answered=2, paused=1)


@pytest.mark.parametrize(
    ("gemeente", "expected"),
    [("0363", Adoption.IN_USE), ("0344", Adoption.NOT_YET), ("0014", Adoption.NEVER_ANNOUNCED)],
)
def test_a_gemeente_uses_the_gateway_once_a_message_of_it_was_processed(gemeente: str, expected: Adoption) -> None:
    assert adoption(gemeente, in_use={"0363"}, announced={"0363", "0344"}) is expected
    assert adoption("0363", in_use={"0363"}, announced=()) is Adoption.IN_USE
