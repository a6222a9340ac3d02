"""The clock: one source, from which the rest follows."""

import pytest

from gateway.clock import Clock


class Stopped(Clock):
    """At one instant, in epoch µs."""

    def __init__(self, micros: int) -> None:
        self._micros = micros

    def micros(self) -> int:
        return self._micros


@pytest.mark.parametrize(
    ("micros", "now", "today"),
    [
        (0, "1970-01-01T00:00:00+00:00", "1970-01-01"),
        (1_795_476_600_000_001, "2026-11-23T23:30:00.000001+00:00", "2026-11-24"),
        (1_782_856_799_999_999, "2026-06-30T21:59:59.999999+00:00", "2026-06-30"),
        (1_782_856_800_000_000, "2026-06-30T22:00:00+00:00", "2026-07-01"),
    ],
)
def test_now_and_today_follow_from_the_microseconds(micros: int, now: str, today: str) -> None:
    clock = Stopped(micros)
    assert (clock.now().isoformat(), clock.today().isoformat()) == (now, today)


def test_the_monotonic_clock_never_goes_back() -> None:
    clock = Clock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.micros() > 1_700_000_000_000_000
