"""How a creditor stands: what it was told, what it decided, until when it pauses. Silence is never a pause."""

from datetime import UTC, date, datetime
from itertools import permutations
from typing import Any

import pytest

from gateway.core.case import Case, Delivery, Pause, Standing, Thread, standing_of, threads_of
from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.lifecycle import State
from gateway.core.pause import PauseTerm, terms_of

BEGINS = date(2026, 11, 23)
MONTHS_8 = Term(8, "maanden")


def micros(day: str) -> int:
    """Noon of a day, epoch µs."""
    return int(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC).timestamp()) * 1_000_000


TOLD = micros("2026-11-23")
GENERAL = Covenant("Modelconvenant 2024", binding=True, pause=MONTHS_8, second_term=MONTHS_8)
TAX = Covenant("Leidraad", binding=True, pause=Term(240, "dagen"), anchor="ontvangst")
HEALTH = Covenant("ZN", binding=True, pause=Term(120, "dagen"), scope=("zorgpremie",))
SOFT = Covenant("Gedragscode", binding=False, pause=MONTHS_8)


def terms(covenant: Covenant | None, *kinds: str, asked: Term = MONTHS_8) -> tuple[PauseTerm, ...]:
    creditor = Creditor(CreditorId("x"), "X", covenant=covenant)
    return terms_of(creditor, list(kinds), BEGINS, asked, BEGINS)


def notice(covenant: Covenant | None = GENERAL, *kinds: str, **changes: Any) -> Delivery:
    """A kennisgeving that was handed over."""
    plain: dict[str, Any] = {
        "id": "d1",
        "creditor": "x",
        "soort": "kennisgeving",
        "versie": 1,
        "state": State.DELIVERED,
        "created_at": TOLD,
        "proof": 1,
        "fence": 1,
        "handed_over_at": TOLD,
        "terms": terms(covenant, *kinds),
    }
    return Delivery(**{**plain, **changes})


def received(covenant: Covenant | None = GENERAL, on: str = "2026-11-23", **changes: Any) -> Delivery:
    return notice(covenant, **{"state": State.RECEIVED, "proof": 2, "received_at": micros(on), **changes})


def decided(answer: str, until: str | None = None, covenant: Covenant | None = GENERAL, **changes: Any) -> Delivery:
    refuses = answer not in ("pauze_ingesteld", "pauze_gedeeltelijk", "overgedragen")
    return notice(
        covenant,
        **{
            "state": State.REFUSED if refuses else State.CONFIRMED,
            "proof": 3,
            "received_at": micros("2026-11-25"),
            "decided_at": micros("2026-11-25"),
            "decision": answer,
            "paused_until": date.fromisoformat(until) if until else None,
            **changes,
        },
    )


def later(soort: str, versie: int, until: str | None = None, **changes: Any) -> Delivery:
    """A message after the notice that was handed over."""
    asked: tuple[PauseTerm, ...] = ()
    if until is not None:
        last = date.fromisoformat(until)
        asked = (PauseTerm(BEGINS, last, last),)
    plain: dict[str, Any] = {"id": f"d{versie}", "soort": soort, "versie": versie, "state": State.CLOSED}
    return notice(**{**plain, "terms": asked, **changes})


def pause(*deliveries: Delivery) -> Pause:
    (found,) = Thread(("x", None), deliveries).pauses()
    return found


def dates(found: Pause) -> tuple[str, str | None]:
    return found.asked_until.isoformat(), found.paused_until.isoformat() if found.paused_until else None


# -- paused, or only asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivery", "asked", "paused"),
    [
        # silence is never a pause: a binding covenant counts once the creditor has it, anything else by its answer
        (notice(GENERAL), "2027-07-22", None),
        (received(GENERAL), "2027-07-22", "2027-07-22"),
        (received(SOFT), "2027-07-22", None),
        (received(None), "2027-03-22", None),
        (decided("pauze_ingesteld", covenant=None), "2027-03-22", "2027-03-22"),
        (decided("pauze_ingesteld", "2027-01-31", covenant=None), "2027-03-22", "2027-01-31"),
        (decided("pauze_ingesteld", "2027-07-22", covenant=None), "2027-03-22", "2027-07-22"),
        (decided("pauze_gedeeltelijk", "2027-05-01"), "2027-07-22", "2027-05-01"),
        # a refusal is no pause, whatever the covenant says; nor is a claim that somebody else has now
        (decided("geen_samenwerking"), "2027-07-22", None),
        (decided("klant_onbekend"), "2027-07-22", None),
        (decided("overgedragen"), "2027-07-22", None),
        # a term from receipt runs from receipt, but not beyond what was asked
        (received(TAX, "2026-11-23"), "2027-07-20", "2027-07-20"),
        (received(TAX, "2026-11-24"), "2027-07-21", "2027-07-21"),
        (received(TAX, "2026-12-31"), "2027-07-22", "2027-07-22"),
    ],
)
def test_a_pause_is_set_by_an_answer_or_by_a_binding_covenant_after_receipt(
    delivery: Delivery, asked: str, paused: str | None
) -> None:
    assert dates(pause(delivery)) == (asked, paused)


def test_nothing_is_asked_of_who_was_not_told() -> None:
    for state in (State.QUEUED, State.RETRYING, State.FAILED):
        assert Thread(("x", None), (notice(state=state, handed_over_at=None),)).pauses() == ()


def test_claims_within_a_scope_and_others_have_terms_of_their_own() -> None:
    both = Thread(("x", None), (received(HEALTH, terms=terms(HEALTH, "zorgpremie", "eigen risico")),)).pauses()
    assert [(one.scope, one.is_binding, *dates(one)) for one in both] == [
        (("zorgpremie",), True, "2027-03-22", "2027-03-22"),
        ((), False, "2027-03-22", None),
    ]
    (premium,) = Thread(("x", None), (received(HEALTH, terms=terms(HEALTH, "zorgpremie")),)).pauses()
    assert (premium.scope, premium.is_binding) == (("zorgpremie",), True)
    (others,) = Thread(("x", None), (received(HEALTH, terms=terms(HEALTH, "eigen risico")),)).pauses()
    assert (others.scope, others.is_binding, others.paused_until) == ((), False, None)


# -- longer, shorter, over -------------------------------------------------------------------------------------------


def test_an_extension_lengthens_what_is_asked_and_a_pause_only_by_covenant() -> None:
    longer = later("verlenging", 2, "2027-07-22")
    assert dates(pause(notice(None), longer)) == ("2027-07-22", None)
    assert dates(pause(decided("pauze_ingesteld", covenant=None, paused_until=date(2027, 3, 22)), longer)) == (
        "2027-07-22",
        "2027-03-22",
    )
    received_too = later("verlenging", 2, "2027-09-30", proof=2)
    assert dates(pause(decided("pauze_ingesteld", "2027-07-22"), received_too)) == ("2027-09-30", "2027-09-30")


def test_a_saldo_starts_the_second_term_where_the_covenant_has_one() -> None:
    told = decided("pauze_ingesteld", "2027-07-22", balance_on=date(2027, 6, 1))
    assert dates(pause(told)) == ("2028-01-31", "2028-01-31")
    without = decided("pauze_ingesteld", "2027-07-20", covenant=TAX, balance_on=date(2027, 6, 1))
    assert dates(pause(without)) == ("2027-07-22", "2027-07-20")


def test_an_ending_cuts_the_pause_off_on_the_day_before() -> None:
    ending = later("beeindiging", 2, "2027-06-14")
    assert dates(pause(decided("pauze_ingesteld"), ending)) == ("2027-06-14", "2027-06-14")
    assert dates(pause(notice(), ending)) == ("2027-06-14", None)


def test_a_later_message_that_reaches_beyond_an_ending_takes_it_back() -> None:
    ending = later("beeindiging", 3, "2027-02-28")
    again = later("verlenging", 4, "2027-07-22")
    assert dates(pause(notice(), ending, again))[0] == "2027-07-22"
    earlier = later("verlenging", 2, "2027-07-22")
    assert dates(pause(notice(), ending, earlier))[0] == "2027-02-28"


def test_the_story_is_the_same_in_whatever_order_it_is_told() -> None:
    parts = [
        decided("pauze_ingesteld", "2027-07-22", balance_on=date(2027, 3, 1)),
        notice(id="d2", versie=2, terms=terms(GENERAL, asked=Term(6, "maanden"))),
        later("verlenging", 3, "2027-07-01"),
        later("beeindiging", 4, "2027-09-30"),
    ]
    found = {threads_of(order)["x", None].pauses() for order in permutations(parts)}
    assert len(found) == 1


# -- how far an extension may go -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivery", "until", "accepted"),
    [
        (notice(None), "2027-07-22", True),
        (notice(None), "2027-07-23", False),
        (notice(HEALTH, terms=terms(HEALTH, "zorgpremie")), "2027-03-23", False),
        (notice(GENERAL, terms=terms(GENERAL, asked=Term(4, "maanden"))), "2027-07-22", True),
        (notice(GENERAL), "2027-07-23", False),
        (notice(GENERAL, balance_on=date(2027, 6, 1)), "2028-01-31", True),
        (notice(GENERAL, balance_on=date(2027, 6, 1)), "2028-02-01", False),
        (received(TAX, "2026-12-01"), "2027-07-28", True),
        (received(TAX, "2026-12-01"), "2027-07-29", False),
    ],
)
def test_an_extension_goes_as_far_as_the_creditors_term(delivery: Delivery, until: str, accepted: bool) -> None:
    longer = Thread(("x", None), (delivery,)).longer(date.fromisoformat(until))
    assert (longer is not None) is accepted
    assert longer is None or {one.until.isoformat() for one in longer} == {until}


def test_an_extension_that_asks_no_more_says_nothing_new() -> None:
    assert Thread(("x", None), (notice(),)).longer(date(2027, 7, 22)) == ()
    on_its_way = later("verlenging", 2, "2027-07-22", state=State.QUEUED)
    assert Thread(("x", None), (notice(None), on_its_way)).longer(date(2027, 6, 1)) == ()


# -- who decides -----------------------------------------------------------------------------------------------------


def test_the_latest_decision_stands_and_an_agents_only_while_the_creditor_is_silent() -> None:
    first = decided("pauze_ingesteld")
    second = decided("geen_samenwerking", id="d0", decided_at=micros("2026-12-01"), soort="herinnering")
    assert Thread(("x", None), (second, first)).decided == second
    agent = decided("klant_onbekend", id="a", creditor="incasso", agent_for="x")
    assert Case("c", (notice(), agent)).decision_of("x") == agent
    assert Case("c", (first, agent)).decision_of("x") == first


@pytest.mark.parametrize(
    ("deliveries", "standing"),
    [
        ((notice(state=State.QUEUED, handed_over_at=None),), Standing.NOT_TOLD),
        ((notice(),), Standing.ASKED),
        ((received(),), Standing.PAUSED),
        ((received(None),), Standing.ASKED),
        ((decided("pauze_gedeeltelijk"),), Standing.PAUSED_IN_PART),
        ((decided("niet_in_aanmerking"),), Standing.REFUSED),
        ((decided("overgedragen"),), Standing.TRANSFERRED),
        ((notice(state=State.WITHDRAWN),), Standing.WITHDRAWN),
        ((notice(), later("intrekking", 2)), Standing.WITHDRAWN),
    ],
)
def test_a_creditor_stands_in_one_place(deliveries: tuple[Delivery, ...], standing: Standing) -> None:
    case = Case("c", deliveries)
    assert standing_of(case.threads["x", None], case.decision_of("x")) is standing


@pytest.mark.parametrize(
    ("marks", "standing"),
    [
        (["1 x"], Standing.WITHDRAWN),
        (["3 x", "2 y"], Standing.WITHDRAWN),
        (["10 x", "2 x"], Standing.WITHDRAWN),
        (["0 x"], Standing.PAUSED),
        (["3 y"], Standing.PAUSED),
    ],
)
def test_a_creditor_is_withdrawn_though_it_need_not_hear_of_it(marks: list[str], standing: Standing) -> None:
    agent = received(id="a", creditor="incasso", agent_for="x")
    case = Case("c", (received(), agent), marks=frozenset(("ingetrokken", mark) for mark in marks))
    assert {standing_of(thread, thread.decided) for thread in case.threads.values()} == {standing}
    assert len(case.creditors) == (standing is Standing.PAUSED)


def test_who_is_asked_anew_after_a_withdrawal_is_not_withdrawn() -> None:
    anew = notice(id="d4", versie=4, terms=terms(GENERAL, asked=Term(6, "maanden")))
    case = Case("c", (received(), anew), marks=frozenset({("ingetrokken", "3 x")}))
    assert case.threads["x", None].notices == [anew]
    assert [case.is_withdrawn(one) for one in case.deliveries] == [True, False]
