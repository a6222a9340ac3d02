"""A lane at work: one creditor on one channel, with its own concurrency, rate and hold. Instants are epoch µs."""

from collections import deque
from typing import Generic, TypeVar

from gateway.core.creditor import Limit
from gateway.core.lane import SECOND

T = TypeVar("T")

AHEAD = 6
"""A lane claims up to so many times its concurrency, so that it seldom waits for the ledger."""


class Line(Generic[T]):
    """One lane at work: what waits, what is under way, and until when it is held (epoch µs)."""

    def __init__(self, limit: Limit) -> None:
        self.concurrent = limit.concurrent
        self.gap = int(SECOND / limit.per_second) if limit.per_second else 0
        self.waiting: deque[T] = deque()
        self.claimed = 0
        self.active = 0
        self.next_start = 0
        self.held_until = 0
        self.is_timed = False
        """A timer will look at the line again."""

    def room(self, now: int) -> int:
        """How many more may be claimed; refilled in batches, not one by one."""
        if now < self.held_until:
            return 0
        most = AHEAD * self.concurrent
        free = most - self.claimed
        return free if 2 * free >= most else 0

    def may_start_at(self, now: int) -> int | None:
        """The instant at which the next attempt may start; None: nothing waits or every slot is taken."""
        if not self.waiting or self.active >= self.concurrent:
            return None
        return max(now, self.next_start, self.held_until)

    def start(self, now: int) -> T:
        self.active += 1
        self.next_start = max(now, self.next_start) + self.gap
        return self.waiting.popleft()
