"""How many attempts a lane may have under way: a window that adapts, and a breaker, after Postfix's scheduler.

    alive ──── as many failures in a row as the window is wide ────► dead ── its time is over ──► probing, one at a time
      ▲  ▲                                                             ▲                             │          │
      │  └──────────────── success, of an attempt begun before ────────┤◄──────── failure ───────────┘          │
      └────────────────────────────────────────────────────────────────┼───────── success ──────────────────────┘

1. A lane starts small, and grows by one for every window of successes, up to what the register allows.
2. It shrinks by one for every failure of connection or transport: nothing heard, or a peer that says that it cannot
   now. What a peer says of one message alone (a refusal) shows that it is there, and counts as a success.
3. After a whole window of failures in a row (at least FEWEST, so that a single hiccup stops nobody) the lane is dead:
   nothing is sent, what waits is deferred by us and spends no retry budget.
4. When its time is over one attempt goes, the probe. Its failure makes the lane dead again, for twice as long, up to
   DEAD_AT_MOST; a success brings it to life at its first size.
5. Faults of ours, deferrals of ours and bugs say nothing about the peer and move nothing.
6. `fresh_since` is when it last came to life: what became due after it is new, what was due before it is backlog.
"""

from enum import Enum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.outcome import Deferred, HandedOver, Outcome, OwnFault, RefusedForGood, Transient, Uncertain
from gateway.core.retry import Policy

SECOND = 1_000_000
START = 5
"""Attempts at the same time on a lane that nothing is known of, where its limit allows as many (Postfix: 5)."""
FEWEST = 3
DEAD_AT_MOST = 60.0
"""Seconds between two probes: so soon a peer that is back is noticed."""
_DOUBLINGS_AT_MOST = 20

ABOUT_ONE_MESSAGE = frozenset({"409"})
"""Codes of transient failures that are about one message: a former request with the same key is still in progress."""
BUG = "fout_in_adapter"
"""Code of what our own code stumbled over."""


class Sign(Enum):
    """What an outcome says about the peer as a whole."""

    WELL = "well"
    AILING = "ailing"
    NOTHING = "nothing"


class Window(Struct, frozen=True):
    """Instants in epoch µs. `deaths`: in a row, 0 while alive."""

    size: float = START
    failures: int = 0
    """In a row."""
    cohort: int = 0
    """How many of them are fatal: the window as it was when the first came."""
    deaths: int = 0
    dead_until: int = 0
    fresh_since: int = 0

    @property
    def is_alive(self) -> bool:
        return self.deaths == 0


def sign_of(outcome: Outcome) -> Sign:
    match outcome:
        case HandedOver() | RefusedForGood():
            return Sign.WELL
        case Transient(evidence=said) | Uncertain(evidence=said):
            return Sign.NOTHING if said.code == BUG or said.code in ABOUT_ONE_MESSAGE else Sign.AILING
        case OwnFault() | Deferred():
            return Sign.NOTHING
        case _ as unreachable:
            assert_never(unreachable)


def slots(window: Window, most: int, now: int) -> int:
    """Attempts that may be under way at the same time; `most` is what the register allows."""
    if window.is_alive:
        return max(1, min(int(window.size), most))
    return 1 if now >= window.dead_until else 0


def after(window: Window, sign: Sign, now: int, most: int, policy: Policy) -> Window:
    """The window after an attempt that ended at `now`."""
    match sign:
        case Sign.NOTHING:
            return window
        case Sign.WELL:
            return _grown(window, most) if window.is_alive else _revived(now, most)
        case Sign.AILING:
            return _failed(window, now, most, policy)
        case _ as unreachable:
            assert_never(unreachable)


def _grown(window: Window, most: int) -> Window:
    if window.size >= most and not window.failures:
        return window
    size = min(window.size, most)
    return replace(window, size=min(most, size + 1 / size), failures=0, cohort=0)


def _revived(now: int, most: int) -> Window:
    return Window(size=max(1, min(START, most)), fresh_since=now)


def _failed(window: Window, now: int, most: int, policy: Policy) -> Window:
    if not window.is_alive:  # what began before it died says nothing new
        return _dead(window, now, policy) if now >= window.dead_until else window
    failures, cohort = window.failures + 1, window.cohort or max(FEWEST, slots(window, most, now))
    failed = replace(window, size=max(1, min(window.size, most) - 1), failures=failures, cohort=cohort)
    return _dead(failed, now, policy) if failures >= cohort else failed


def _dead(window: Window, now: int, policy: Policy) -> Window:
    seconds = dead_for(window.deaths + 1, policy)
    return replace(window, size=1, deaths=window.deaths + 1, dead_until=now + int(seconds * SECOND))


def dead_for(deaths: int, policy: Policy) -> float:
    """Seconds until the probe after the `deaths`-th death in a row; never longer than a message would wait."""
    doublings = min(deaths - 1, _DOUBLINGS_AT_MOST)
    return min(policy.first * 2.0**doublings, policy.highest, max(DEAD_AT_MOST, policy.first))
