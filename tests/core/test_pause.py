"""Pause terms: what is asked of whom, until when, and on what ground."""

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.pause import bound, end_date, last_day, parse_term

MONTHS_8 = Term(8, "maanden")
DAYS_120 = Term(120, "dagen")
BEGINS = date(2026, 11, 23)

CONVENANT = Covenant("Modelconvenant 2024", binding=True, pause=MONTHS_8)
PREMIE = Covenant("ZN", binding=True, pause=DAYS_120, anchor="ontvangst", scope=("zorgpremie",))


def creditor(covenant: Covenant | None) -> Creditor:
    return Creditor(CreditorId("voorbeeld"), "Voorbeeld B.V.", covenant=covenant)


@pytest.mark.parametrize(
    ("start", "term", "last"),
    [
        ("2026-11-23", "8 maanden", "2027-07-22"),
        ("2026-11-23", "120 dagen", "2027-03-22"),
        ("2026-11-23", "1 dagen", "2026-11-23"),
        ("2026-11-01", "1 maanden", "2026-11-30"),
        ("2027-03-01", "8 maanden", "2027-10-31"),
        ("2026-10-31", "4 maanden", "2027-02-27"),
        ("2027-10-31", "4 maanden", "2028-02-28"),
        ("2026-10-31", "8 maanden", "2027-06-29"),
        ("2026-12-31", "4 maanden", "2027-04-29"),
        ("2028-02-29", "8 maanden", "2028-10-28"),
        ("2028-02-29", "12 maanden", "2029-02-27"),
        ("2028-02-28", "1 dagen", "2028-02-28"),
        ("2028-02-28", "2 dagen", "2028-02-29"),
        ("2026-05-22", "240 dagen", "2027-01-16"),
    ],
)
def test_an_end_date_is_inclusive_and_clamped_to_the_month(start: str, term: str, last: str) -> None:
    assert end_date(date.fromisoformat(start), parse_term(term)) == date.fromisoformat(last)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 24))
def test_months_end_on_the_day_before_the_same_day_or_that_months_last(start: date, months: int) -> None:
    year, month0 = divmod(start.year * 12 + start.month - 1 + months, 12)
    same_day = min(start.day, calendar.monthrange(year, month0 + 1)[1])
    assert end_date(start, Term(months, "maanden")) + timedelta(days=1) == date(year, month0 + 1, same_day)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 12), st.integers(1, 40))
def test_a_later_start_never_ends_earlier(start: date, months: int, later: int) -> None:
    term = Term(months, "maanden")
    assert end_date(start + timedelta(days=later), term) >= end_date(start, term) >= start


@pytest.mark.parametrize(
    "text", ["", "8", "8 maand", "0 dagen", "-1 dagen", "8  maanden", "8 maanden ", "1.5 dagen", "1٣ dagen"]
)
def test_a_malformed_term_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="termijn"):
        parse_term(text)


@pytest.mark.parametrize(
    ("covenant", "asked", "soorten", "last", "ground"),
    [
        pytest.param(CONVENANT, MONTHS_8, [], "2027-07-22", "convenant", id="a covenant's own term"),
        pytest.param(CONVENANT, DAYS_120, [], "2027-03-22", "convenant", id="asked less than the term"),
        pytest.param(PREMIE, MONTHS_8, ["zorgpremie"], "2027-03-22", "convenant", id="within the scope"),
        pytest.param(PREMIE, MONTHS_8, [" Zorgpremie"], "2027-03-22", "convenant", id="scope ignores case and space"),
        pytest.param(
            PREMIE, MONTHS_8, ["zorgpremie", "eigen risico"], "2027-03-22", "verzoek", id="partly out of scope"
        ),
        pytest.param(PREMIE, MONTHS_8, ["zorgpremie", None], "2027-03-22", "verzoek", id="a claim of unknown soort"),
        pytest.param(PREMIE, MONTHS_8, [], "2027-03-22", "verzoek", id="no claim shows the scope"),
        pytest.param(None, MONTHS_8, ["energie"], "2027-03-22", "verzoek", id="no covenant: four months at most"),
        pytest.param(None, Term(30, "dagen"), [], "2026-12-22", "verzoek", id="no covenant: asked less"),
    ],
)
def test_what_is_asked_is_the_earlier_of_the_senders_wish_and_the_creditors_term(
    covenant: Covenant | None, asked: Term, soorten: list[str | None], last: str, ground: str
) -> None:
    assert last_day(creditor(covenant), soorten, BEGINS, asked, told=BEGINS) == (date.fromisoformat(last), ground)


def test_a_covenant_that_does_not_bind_is_a_request_for_its_own_term() -> None:
    covenant = Covenant("Leidraad", binding=False, pause=Term(240, "dagen"))
    assert last_day(creditor(covenant), [], BEGINS, MONTHS_8, told=BEGINS) == (date(2027, 7, 20), "verzoek")


@pytest.mark.parametrize(
    ("anchor", "told", "received", "last"),
    [
        ("verzending", date(2026, 11, 25), None, "2027-03-24"),
        ("verzending", date(2026, 11, 25), date(2026, 11, 27), "2027-03-24"),
        ("ontvangst", date(2026, 11, 25), None, "2027-03-24"),
        ("ontvangst", date(2026, 11, 25), date(2026, 11, 27), "2027-03-26"),
        ("verzending", date(2026, 11, 2), None, "2027-03-22"),
        ("ontvangst", date(2026, 11, 2), date(2026, 11, 3), "2027-03-22"),
    ],
)
def test_a_term_runs_from_its_anchor_but_not_before_the_pause(
    anchor: str, told: date, received: date | None, last: str
) -> None:
    covenant = Covenant("c", binding=True, pause=DAYS_120, anchor=anchor)  # type: ignore[arg-type]
    assert bound(creditor(covenant), [], BEGINS, told, received)[0].isoformat() == last


@given(
    st.dates(date(2026, 1, 1), date(2030, 1, 1)),
    st.integers(1, 240),
    st.sampled_from([None, CONVENANT, PREMIE]),
    st.integers(-400, 400),
)
def test_a_pause_never_exceeds_what_was_asked_and_lasts_at_least_a_day(
    begins: date, days: int, covenant: Covenant | None, told_after: int
) -> None:
    asked = Term(days, "dagen")
    last, _ = last_day(creditor(covenant), ["zorgpremie"], begins, asked, begins + timedelta(days=told_after))
    assert begins <= last <= end_date(begins, asked)
