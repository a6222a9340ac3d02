"""The retry schedule: fast, then slow, jitter only upward, and past every weekend."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.deadlines import AMSTERDAM, Duration
from gateway.core.retry import HINT_AT_MOST, SPREAD, Policy, give_up_at, next_attempt

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POLICY = Policy()
JITTERS = st.floats(0, 1, exclude_max=True)
TRIES = st.integers(1, 10_000)


def micros(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


def attempts(start: datetime, jitter: float, policy: Policy = POLICY) -> Iterator[datetime]:
    """When a delivery that always fails is tried, from the first attempt at `start` to its end."""
    at, tries = start, 0
    end = EPOCH + timedelta(microseconds=give_up_at(micros(start), policy))
    while at <= end:
        yield at
        tries += 1
        at += timedelta(seconds=next_attempt(tries, jitter, None, policy))


def test_the_first_hour_is_fast_and_the_rest_slow() -> None:
    waits = [next_attempt(tries, 0.0, None, POLICY) for tries in range(1, 15)]
    assert waits[:5] == [5, 10, 20, 40, 80]
    assert waits[-2:] == [14_400, 14_400]


@given(TRIES, JITTERS)
def test_a_wait_lies_between_the_schedule_and_a_quarter_more(tries: int, jitter: float) -> None:
    bare = next_attempt(tries, 0.0, None, POLICY)
    assert POLICY.first <= bare <= POLICY.highest
    assert bare <= next_attempt(tries, jitter, None, POLICY) <= bare * (1 + SPREAD)


@given(TRIES, JITTERS)
def test_waits_never_shrink(tries: int, jitter: float) -> None:
    assert next_attempt(tries, jitter, None, POLICY) <= next_attempt(tries + 1, jitter, None, POLICY)


@given(TRIES, JITTERS, st.floats(allow_nan=True, allow_infinity=True))
def test_the_peers_hint_lengthens_a_wait_and_never_beyond_a_day(tries: int, jitter: float, hint: float) -> None:
    own = next_attempt(tries, jitter, None, POLICY)
    wait = next_attempt(tries, jitter, hint, POLICY)
    assert own <= wait <= max(own, HINT_AT_MOST)
    if own <= hint <= HINT_AT_MOST:
        assert wait == hint


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_an_outage_from_friday_evening_is_outlived_until_the_next_friday(jitter: float) -> None:
    friday = datetime(2026, 11, 20, 18, 0, tzinfo=AMSTERDAM)
    tried = list(attempts(friday, jitter))
    monday = datetime(2026, 11, 23, 9, 0, tzinfo=AMSTERDAM)
    assert sum(at >= monday for at in tried) > 20
    assert tried[-1] >= datetime(2026, 11, 27, 18, 0, tzinfo=AMSTERDAM)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), JITTERS)
def test_the_horizon_holds_five_working_days_and_few_attempts(start: datetime, jitter: float) -> None:
    tried = list(attempts(start, jitter))
    assert tried[-1] - start >= timedelta(days=4, hours=18)
    assert len(tried) <= 110
    assert all(later - earlier >= timedelta(seconds=POLICY.first) for earlier, later in pairwise(tried))


def test_christmas_week_makes_the_horizon_longer() -> None:
    end = give_up_at(micros(datetime(2026, 12, 24, 12, 0, tzinfo=AMSTERDAM)), POLICY)
    assert end == micros(datetime(2027, 1, 5, 0, 0, tzinfo=AMSTERDAM))


def test_a_horizon_of_fixed_length_is_that_long() -> None:
    policy = Policy(horizon=Duration(10, "s"))
    assert give_up_at(1_000_000, policy) == 11_000_000
