"""A period: what people may write, and which moments are within it."""

from datetime import UTC, date, datetime

import pytest

from gateway.core.period import Period, PeriodRefused, period

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, (date(2025, 11, 24), TODAY)),
        ("2026-11-01", None, (date(2026, 11, 1), TODAY)),
        (None, "2024-02-29", (date(2023, 3, 1), date(2024, 2, 29))),
        ("2026-11-23", "2026-11-23", (TODAY, TODAY)),
        ("2027-01-01", "2027-12-31", (date(2027, 1, 1), date(2027, 12, 31))),
    ],
)
def test_what_is_left_out_makes_it_the_last_twelve_months(
    first: str | None, last: str | None, expected: tuple[date, date]
) -> None:
    assert period(first, last, TODAY) == Period(*expected)


@pytest.mark.parametrize(
    ("first", "last", "named"),
    [
        ("2026-02-30", None, {"van"}),
        ("2026-1-1", "20261123", {"van", "tot"}),
        ("gisteren", "morgen", {"van", "tot"}),
        ("2026-11-24", "2026-11-23", {"van", "tot"}),
        ("2026-11-24", None, {"van", "tot"}),
        ("0001-01-01", "9999-12-31", {"van", "tot"}),
    ],
)
def test_everything_that_is_wrong_with_it_is_told_at_once(first: str, last: str | None, named: set[str]) -> None:
    with pytest.raises(PeriodRefused) as refused:
        period(first, last, TODAY)
    assert {name for name, _ in refused.value.faults} == named


def test_a_period_runs_from_midnight_to_midnight_in_amsterdam() -> None:
    """The day on which summer time begins has 23 hours, the one on which it ends 25."""
    spring, autumn = Period(date(2026, 3, 29), date(2026, 3, 29)), Period(date(2026, 10, 25), date(2026, 10, 25))
    assert datetime.fromtimestamp(spring.begins // 1_000_000, UTC) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert [(one.ends - one.begins) // 3_600_000_000 for one in (spring, autumn)] == [23, 25]
