"""Working days and durations in the Dutch calendar."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.deadlines import (
    AMSTERDAM,
    Duration,
    add_working_days,
    after,
    end_of_day,
    is_working_day,
    parse_duration,
)

DAYS = st.dates(date(2020, 1, 1), date(2050, 1, 1))


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-11-23", True),
        ("2026-11-21", False),
        ("2026-11-22", False),
        ("2026-01-01", False),
        ("2026-04-03", False),
        ("2026-04-06", False),
        ("2026-04-27", False),
        ("2027-05-05", False),
        ("2026-05-14", False),
        ("2026-05-25", False),
        ("2026-12-25", False),
        ("2026-12-24", True),
        ("2026-12-31", True),
        ("2025-04-26", False),
        ("2025-04-28", True),
    ],
)
def test_days_off_are_weekends_and_those_of_the_termijnenwet(day: str, works: bool) -> None:
    assert is_working_day(date.fromisoformat(day)) is works


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        ("2026-11-23", 10, "2026-12-07"),
        ("2026-11-20", 1, "2026-11-23"),
        ("2026-11-21", 1, "2026-11-23"),
        ("2026-12-24", 1, "2026-12-28"),
        ("2026-12-23", 5, "2026-12-31"),
        ("2027-03-25", 1, "2027-03-30"),
        ("2026-11-23", 0, "2026-11-23"),
    ],
)
def test_working_days_are_counted_from_the_next_day(start: str, count: int, end: str) -> None:
    assert add_working_days(date.fromisoformat(start), count) == date.fromisoformat(end)


def test_closed_days_do_not_count() -> None:
    assert add_working_days(date(2026, 11, 23), 1, closed=[date(2026, 11, 24)]) == date(2026, 11, 25)


def test_a_moment_stands_for_its_day_in_amsterdam() -> None:
    late_on_sunday_in_utc = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    assert add_working_days(late_on_sunday_in_utc, 1) == date(2026, 11, 24)


@given(DAYS, st.integers(1, 30))
def test_the_end_is_a_working_day_with_that_many_between(start: date, count: int) -> None:
    end = add_working_days(start, count)
    days = [start + timedelta(days=n) for n in range(1, (end - start).days + 1)]
    assert is_working_day(end)
    assert sum(map(is_working_day, days)) == count


@given(DAYS)
def test_a_day_ends_at_midnight_in_amsterdam_whatever_the_clocks_do(day: date) -> None:
    end = end_of_day(day).astimezone(AMSTERDAM)
    assert (end.date(), end.hour, end.minute) == (day + timedelta(days=1), 0, 0)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-23", 24)])
def test_a_day_on_which_the_clocks_change_has_23_or_25_hours(day: str, hours: int) -> None:
    this = date.fromisoformat(day)
    assert end_of_day(this) - end_of_day(this - timedelta(days=1)) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("5 s", timedelta(seconds=5)),
        ("0.2 s", timedelta(milliseconds=200)),
        ("15 min", timedelta(minutes=15)),
        ("4 uur", timedelta(hours=4)),
        ("24uur", timedelta(hours=24)),
        ("60 dagen", timedelta(days=60)),
    ],
)
def test_a_duration_of_fixed_length(text: str, duration: timedelta) -> None:
    assert parse_duration(text).fixed() == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "0 s",
        "0.0 s",
        "-5 s",
        "5 sec",
        "5  s",
        " 5 s",
        "5 S",
        "1e3 s",
        "0.5 werkdagen",
        "5 maanden",
        "٣ s",
    ],
)
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duur|werkdagen"):
        parse_duration(text)


def test_working_days_have_no_fixed_length() -> None:
    with pytest.raises(ValueError, match="werkdagen"):
        parse_duration("5 werkdagen").fixed()


def test_working_days_last_until_the_end_of_the_last() -> None:
    friday_evening = datetime(2026, 11, 20, 18, 0, tzinfo=AMSTERDAM)
    end = after(friday_evening, Duration(5, "werkdagen"))
    assert end == datetime(2026, 11, 28, 0, 0, tzinfo=AMSTERDAM)
    assert end.tzinfo is UTC
