"""When to try again, and until when.

Fast, then slow: every wait is twice the former, from `first` up to `highest`, so that a short outage costs little and
a long one is not hammered. Jitter only adds, at most a quarter. The horizon is in working days: an outage that begins
on Friday evening must outlive the weekend (guarantee: retries).
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from gateway.core.deadlines import Duration, after

SPREAD = 0.25
HINT_AT_MOST = 24 * 3600.0
_DOUBLINGS_AT_MOST = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Policy(Struct, frozen=True):
    """`first` and `highest` in seconds."""

    first: float = 5.0
    highest: float = 4 * 3600.0
    horizon: Duration = Duration(5, "werkdagen")


def next_attempt(tries: int, jitter: float, hint: float | None, policy: Policy) -> float:
    """Seconds to wait after the `tries`-th failure (from 1). `jitter`: 0 ≤ j < 1.

    `hint` is the peer's own (Retry-After, seconds): it may lengthen the wait, to 24 hours at most, never shorten it.
    """
    doublings = min(tries - 1, _DOUBLINGS_AT_MOST)
    wait: float = min(policy.first * 2**doublings, policy.highest) * (1 + SPREAD * jitter)
    return wait if hint is None else max(wait, min(hint, HINT_AT_MOST))


def give_up_at(created: int, policy: Policy, closed: Collection[date] = ()) -> int:
    """The end of the horizon of what was made at `created`; both epoch µs. `closed`: more days without work."""
    end = after(_EPOCH + timedelta(microseconds=created), policy.horizon, closed)
    return (end - _EPOCH) // _MICROSECOND
