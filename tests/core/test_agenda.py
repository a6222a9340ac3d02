"""What the clock causes in a dossier: when, in which order, once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import agenda
from gateway.core.agenda import Agenda, Item, Terms, first_look, morning, review
from gateway.core.case import Case, Delivery
from gateway.core.creditor import Creditor, CreditorId
from gateway.core.deadlines import AMSTERDAM
from gateway.core.lifecycle import State
from gateway.core.task import TaskKind
from tests.core.test_case import GENERAL, TOLD, decided, later, notice, received

HOUR = 3600 * 1_000_000
TERMS = Terms(lambda id_: Creditor(CreditorId(id_), id_, answer_days=10))


def case(*deliveries: Delivery, **changes: Any) -> Case:
    return Case("dossier-1", deliveries, last_news_at=TOLD, notice_version=1, **changes)


def at(text: str) -> int:
    """A moment in Amsterdam, epoch µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM).timestamp()) * 1_000_000


def names(items: Iterable[Item]) -> list[str]:
    return [item.act.event if isinstance(item.act, agenda.Tell) else type(item.act).__name__ for item in items]


def at_its_time(made: Case, act: type | str) -> int:
    """When the first act of this kind comes, going from one look to the next."""
    now = TOLD
    for _ in range(100):
        found = review(made, now, TERMS)
        if any(act in (type(item.act), getattr(item.act, "event", None)) for item in found.due):
            return now
        assert found.next_at is not None, f"never: {act}"
        assert found.next_at > now
        now = found.next_at
    raise AssertionError("the agenda never gets there")


# -- hand-over -------------------------------------------------------------------------------------------------------

OPEN: dict[str, Any] = {"state": State.RETRYING, "handed_over_at": None, "proof": 0}


def test_what_is_not_there_after_four_hours_is_reported_and_after_a_day_is_a_task() -> None:
    made = case(notice(**OPEN))
    assert review(made, TOLD + 4 * HOUR - 1, TERMS).due == ()
    assert names(review(made, TOLD + 4 * HOUR + HOUR // 12, TERMS).due) == ["bezorging-vertraagd"]
    after_a_day = review(made, TOLD + 24 * HOUR, TERMS).due
    assert names(after_a_day) == ["bezorging-vertraagd", "Ask"]
    marked = case(notice(**OPEN), marks=frozenset(item.mark for item in after_a_day if item.mark))
    assert review(marked, TOLD + 48 * HOUR, TERMS) == Agenda((), None)


def test_a_new_dossier_is_first_looked_at_when_something_may_be_late() -> None:
    assert review(case(notice(**OPEN)), TOLD, TERMS).next_at == first_look(TOLD, "dossier-1")


@pytest.mark.parametrize("state", [State.DELIVERED, State.WITHDRAWN, State.FAILED])
def test_what_is_handed_over_or_ended_is_not_late(state: State) -> None:
    found = review(case(notice(state=state)), TOLD + 48 * HOUR, TERMS)
    assert "bezorging-vertraagd" not in names(found.due)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_due_after_ten_working_days_and_not_at_midnight() -> None:
    # Monday 23 November + 10 working days = Monday 7 December
    due = at_its_time(case(notice()), agenda.Remind)
    assert at("2026-12-08T06:00") <= due < at("2026-12-08T08:00")


def test_holidays_and_closed_days_do_not_count() -> None:
    told: dict[str, Any] = {"created_at": at("2026-12-18T12:00"), "handed_over_at": at("2026-12-18T12:00")}
    due = at_its_time(case(notice(**told)), agenda.Remind)
    assert at("2027-01-06T06:00") <= due < at("2027-01-06T08:00")  # Christmas Day and New Year's Day fall on Fridays


def reminder(**changes: Any) -> Delivery:
    plain: dict[str, Any] = {"id": "r1", "soort": "herinnering", "reminds": "d1", "created_at": TOLD + HOUR}
    return notice(**{**plain, **changes})


def test_one_reminder_then_overdue_and_never_a_second_reminder() -> None:
    sent = reminder(handed_over_at=at("2026-12-08T07:00"))
    due = at_its_time(case(notice(), sent), agenda.Expire)
    assert at("2026-12-16T06:00") <= due < at("2026-12-16T08:00")  # 5 working days: Tuesday 15 December
    (item,) = [one for one in review(case(notice(), sent), due, TERMS).due if isinstance(one.act, agenda.Expire)]
    assert isinstance(item.act, agenda.Expire)
    assert ([one.id for one in item.act.deliveries], item.act.overdue and item.act.overdue.id) == (["d1", "r1"], "d1")


def test_a_reminder_on_its_way_is_waited_for_and_a_lost_one_is_not() -> None:
    late = at("2027-01-20T12:00")
    assert "Expire" not in names(review(case(notice(), reminder(**OPEN)), late, TERMS).due)
    assert "Expire" in names(review(case(notice(), reminder(state=State.FAILED)), late, TERMS).due)


def test_an_answer_to_a_reminder_counts_for_the_notice_and_the_other_way_round() -> None:
    answered = decided("pauze_ingesteld", id="r1", soort="herinnering", reminds="d1", created_at=TOLD + HOUR)
    (item,) = review(case(notice(), answered), TOLD + 2 * HOUR, TERMS).due[:1]
    assert item.act == agenda.Concur(notice(), answered)
    unsent = reminder(**OPEN)
    found = review(case(decided("pauze_ingesteld"), unsent), TOLD + 2 * HOUR, TERMS).due
    assert [one.act.delivery.id for one in found if isinstance(one.act, agenda.Concur)] == ["r1"]


def test_a_decision_does_not_count_for_what_was_made_after_it() -> None:
    correction = notice(id="d2", versie=2, created_at=at("2027-01-10T12:00"), handed_over_at=at("2027-01-10T12:00"))
    found = review(case(decided("pauze_ingesteld"), correction), at("2027-01-10T13:00"), TERMS).due
    assert [one.act for one in found if isinstance(one.act, agenda.Expire | agenda.Concur)] == [
        agenda.Expire((correction,))
    ]


def test_nobody_waits_for_an_answer_after_a_withdrawal_or_an_ending() -> None:
    withdrawn = review(case(notice(), withdrawn_at=TOLD + 1), TOLD + HOUR, TERMS).due
    assert names(withdrawn) == ["Expire"]
    ended = case(notice(), later("beeindiging", 2, "2026-12-01"))
    due = at_its_time(ended, agenda.Expire)
    assert at("2026-12-02T06:00") <= due < at("2026-12-02T08:00")
    assert "Remind" not in names(review(ended, due, TERMS).due)


def test_nothing_comes_of_what_was_withdrawn_and_turned_out_to_have_arrived() -> None:
    marks = frozenset({("ingetrokken", "2 x")})
    late = at("2027-01-20T12:00")
    assert names(review(case(received(), marks=marks), late, TERMS).due) == ["Expire"]
    moved = decided("overgedragen", transferred_to="incasso")
    assert names(review(case(moved, marks=marks), late, TERMS).due) == []
    unsent = notice(id="d3", versie=3, **OPEN)
    found = [one.act for one in review(case(received(), unsent, marks=marks), late, TERMS).due]
    assert [act for act in found if not isinstance(act, agenda.Tell | agenda.Ask)] == [agenda.Expire((received(),))]


def test_who_is_asked_anew_after_a_withdrawal_is_reminded_of_that() -> None:
    anew = notice(id="d3", versie=3)
    found = review(case(received(), anew, marks=frozenset({("ingetrokken", "2 x")})), at("2026-12-08T09:00"), TERMS)
    acts = [one.act for one in found.due]
    assert agenda.Expire((received(),)) in acts
    assert [act for act in acts if isinstance(act, agenda.Remind)] == [agenda.Remind(anew)]


def test_an_agent_is_told_for_its_information_until_it_has_the_claim() -> None:
    agent = notice(id="a1", creditor="incasso", agent_for="x")
    quiet = review(case(decided("pauze_ingesteld"), agent), TOLD + 2 * HOUR, TERMS).due
    assert [one.act for one in quiet if isinstance(one.act, agenda.Expire)] == [agenda.Expire((agent,))]
    handed_on = case(decided("overgedragen", transferred_to="incasso"), agent)
    due = [one.act for one in review(handed_on, at("2026-12-08T08:00"), TERMS).due]
    assert agenda.Remind(agent) in due


def test_whom_the_claim_went_to_is_told_once() -> None:
    moved = decided("overgedragen", transferred_to="incasso")
    tell = agenda.TellAgent(moved, "incasso", "x")
    assert [one.act for one in review(case(moved), TOLD + HOUR, TERMS).due if one.act == tell] == [tell]
    told = notice(id="a1", creditor="incasso", agent_for="x")
    assert tell not in [one.act for one in review(case(moved, told), TOLD + HOUR, TERMS).due]
    itself = decided("overgedragen", transferred_to="x")
    assert "TellAgent" not in names(review(case(itself), TOLD + HOUR, TERMS).due)


# -- the dossier -----------------------------------------------------------------------------------------------------


def stands(*deliveries: Delivery, **changes: Any) -> list[object]:
    due = review(case(*deliveries, **changes), TOLD + HOUR, TERMS).due
    return [
        item.act.facts["stand"]
        for item in due
        if isinstance(item.act, agenda.Tell) and item.act.event == "dossier-volledig"
    ]


def test_a_dossier_is_complete_when_everybody_has_it_and_when_everybody_decided() -> None:
    other: dict[str, Any] = {"id": "d9", "creditor": "y"}
    assert stands(notice(), notice(**OPEN, **other)) == []
    assert stands(notice(), notice(state=State.FAILED, **other)) == []
    assert stands(notice(), received(**other)) == ["bezorgd"]
    assert stands(decided("pauze_ingesteld"), decided("klant_onbekend", **other)) == ["bezorgd", "beantwoord"]
    assert stands(notice(), notice(state=State.WITHDRAWN, **other)) == ["bezorgd"]
    told = frozenset({("dossier-volledig", "bezorgd 1")})
    assert stands(notice(), marks=told) == []
    assert stands(notice(), withdrawn_at=TOLD) == []


def test_news_is_due_every_sixty_days_while_somebody_pauses() -> None:
    made = case(received(GENERAL))
    first = at_its_time(made, "voortgang-verschuldigd")
    assert at("2027-01-22T06:00") <= first < at("2027-01-22T08:00")
    again = case(received(GENERAL), marks=frozenset({("voortgang-verschuldigd", "2027-01-22")}))
    assert at("2027-03-23T06:00") <= at_its_time(again, "voortgang-verschuldigd") < at("2027-03-23T08:00")
    over = review(made, at("2028-01-01T12:00"), TERMS)
    assert "voortgang-verschuldigd" not in names(over.due)


def test_a_pause_is_announced_to_end_and_ends() -> None:
    made = case(decided("pauze_ingesteld", "2027-07-22"))
    everything = review(made, at("2027-08-01T12:00"), TERMS).due
    ends = [
        (
            item.act.event,
            item.act.facts.get("dagen"),
            datetime.fromtimestamp(item.at / 1e6, AMSTERDAM).date().isoformat(),
        )
        for item in everything
        if isinstance(item.act, agenda.Tell) and item.act.event.startswith("pauze")
    ]
    assert ends == [
        ("pauze-loopt-af", 30, "2027-06-22"),
        ("pauze-loopt-af", 14, "2027-07-08"),
        ("pauze-geeindigd", None, "2027-07-23"),
    ]


def test_a_pause_that_was_only_asked_nears_its_end_and_does_not_end() -> None:
    due = names(review(case(notice()), at("2027-08-01T12:00"), TERMS).due)
    assert due.count("pauze-loopt-af") == 2
    assert "pauze-geeindigd" not in due


def test_a_short_pause_is_not_announced_before_it_was_told() -> None:
    short = decided("pauze_ingesteld", "2026-12-10")
    due = review(case(short), at("2026-12-20T12:00"), TERMS).due
    near = [item.act for item in due if isinstance(item.act, agenda.Tell) and item.act.event == "pauze-loopt-af"]
    assert [act.facts["dagen"] for act in near] == [14]


def test_an_ending_is_not_announced_to_who_asked_for_it() -> None:
    made = case(decided("pauze_ingesteld", "2027-07-22"), later("beeindiging", 2, "2027-06-14"))
    due = names(review(made, at("2027-08-01T12:00"), TERMS).due)
    assert (due.count("pauze-loopt-af"), due.count("pauze-geeindigd")) == (0, 1)


# -- withdrawals and tasks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "after", "act"),
    [
        ({"under_way": frozenset({"d1"})}, 60, None),
        ({"under_way": frozenset({"d1"})}, 120, agenda.Release),
        ({"may_have_arrived": frozenset({"d1"})}, 0, agenda.Release),
        ({}, 0, agenda.Drop),
    ],
)
def test_a_withdrawal_is_told_to_who_may_have_the_notice(
    known: dict[str, frozenset[str]], after: int, act: type | None
) -> None:
    gone = notice(state=State.WITHDRAWN, handed_over_at=None)
    told = later("intrekking", 2, state=State.QUEUED, handed_over_at=None, waits_for="d1")
    due = review(case(gone, told, withdrawn_at=TOLD, **known), TOLD + after * 1_000_000, TERMS).due
    assert [type(item.act) for item in due] == ([act] if act else [])


@pytest.mark.parametrize(
    ("delivery", "kind", "closes"),
    [
        (notice(), TaskKind.DELAYED, True),
        (notice(**OPEN), TaskKind.DELAYED, False),
        (notice(), TaskKind.RESTORED_UNKNOWN, True),
        (notice(state=State.WITHDRAWN), TaskKind.RESTORED_UNKNOWN, True),
        (notice(**OPEN), TaskKind.RESTORED_UNKNOWN, False),
        (notice(state=State.DELIVERED, stands=State.IN_DOUBT), TaskKind.RESTORED_UNKNOWN, False),
        (received(), TaskKind.GIVEN_UP, True),
        (notice(state=State.FAILED), TaskKind.GIVEN_UP, False),
        (later("voortgang", 2, state=State.CLOSED, proof=2), TaskKind.REFUSED_BY_CHANNEL, True),
        (later("voortgang", 2, state=State.CLOSED, proof=1), TaskKind.REFUSED_BY_CHANNEL, False),
        (decided("pauze_ingesteld"), TaskKind.ANSWER_OVERDUE, True),
        (notice(state=State.CLOSED), TaskKind.ANSWER_OVERDUE, False),
        (decided("klant_onbekend"), TaskKind.ANSWER_REFUSES, False),
        (decided("pauze_ingesteld"), TaskKind.ANSWER_CONTRADICTS, False),
    ],
)
def test_a_task_closes_when_its_cause_went_away(delivery: Delivery, kind: TaskKind, closes: bool) -> None:
    due = review(case(delivery, tasks=frozenset({(delivery.id, kind)})), TOLD + HOUR, TERMS).due
    assert ("CloseTask" in names(due)) is closes


# -- bounds ----------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40), st.dates(datetime(2020, 1, 1).date(), datetime(2040, 1, 1).date()))
def test_a_morning_is_between_six_and_eight_whatever_the_season(key: str, day: Any) -> None:
    moment = datetime.fromtimestamp(morning(day, key) / 1e6, AMSTERDAM)
    assert (moment.date() - day).days == 1
    assert moment.hour in (6, 7)


def test_what_became_due_while_nobody_looked_is_done_in_its_order() -> None:
    made = case(notice(**OPEN), decided("pauze_ingesteld", "2027-02-01", id="d9", creditor="y"))
    due = review(made, at("2027-03-01T12:00"), TERMS).due
    assert [item.at for item in due] == sorted(item.at for item in due)
    assert len(names(due)) == len({item.mark for item in due if item.mark}) + sum(item.mark is None for item in due)
