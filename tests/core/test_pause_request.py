"""A pause request may wait five working days, and not all warnings come at once."""

from datetime import UTC, date, datetime

import pytest

from gateway.core.lane import SECOND
from gateway.core.pause_request import SPREAD, due_at

ID = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


def micros(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("received", "closed", "end"),
    [
        (micros(2026, 11, 23, 8), (), micros(2026, 11, 30, 23)),
        (micros(2026, 11, 23, 8), (date(2026, 11, 25),), micros(2026, 12, 1, 23)),
        (micros(2026, 11, 22, 23, 30), (), micros(2026, 11, 30, 23)),  # Monday in Amsterdam
        (micros(2026, 11, 21, 12), (), micros(2026, 11, 27, 23)),  # Saturday
        (micros(2026, 12, 23, 12), (), micros(2026, 12, 31, 23)),  # Christmas, a weekend
        (micros(2027, 3, 24, 12), (), micros(2027, 4, 2, 22)),  # Good Friday, Easter, daylight saving
    ],
)
def test_it_may_wait_until_the_end_of_the_fifth_working_day(received: int, closed: tuple[date, ...], end: int) -> None:
    assert end <= due_at(received, ID, closed) < end + SPREAD


def test_the_warnings_of_one_day_are_spread_over_two_hours_and_each_is_always_the_same() -> None:
    at = micros(2026, 11, 23, 8)
    due = sorted(due_at(at, f"{ID[:-3]}{nr:03}") for nr in range(1000))
    assert due == sorted(due_at(at, f"{ID[:-3]}{nr:03}") for nr in range(1000))
    quarters = {(moment - due[0]) * 8 // SPREAD for moment in due}
    assert quarters == set(range(8))
