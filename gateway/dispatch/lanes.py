"""A lane at work: one creditor on one channel, with a window, a rate and a hold of its own. Instants are epoch µs."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from gateway.core.creditor import Limit
from gateway.core.lane import SECOND, asked_to_wait_until, held_until
from gateway.core.outcome import Deferred, Outcome, OwnFault
from gateway.core.retry import Policy
from gateway.core.window import Window, after, sign_of, slots
from gateway.ledger.lanes import Rest

T = TypeVar("T")

AHEAD = 6
"""A lane claims up to so many times its window, so that it seldom waits for the ledger."""


class Room(Struct, frozen=True):
    """How many more may be claimed: of what is due, and beyond that of what is new (a backlog fills the line)."""

    due: int
    fresh: int = 0


class Line(Generic[T]):
    """One lane at work: what waits, what is under way, and until when it rests.

    `limit` is asked each time, so that a changed register holds at once. What is new and what is tried again wait
    apart and go in turns: a backlog never starves new work, nor the other way round.
    """

    def __init__(self, limit: Callable[[], Limit]) -> None:
        self._limit = limit
        self.window = Window()
        self.held_until = 0
        self.asked_until = 0
        """Until when the peer itself asked to be left alone: part of `held_until`, and known to the ledger."""
        self.claimed = 0
        self.active = 0
        self.is_ours_to_mend = False
        """The last attempt met a fault of ours: one at a time, until one does not."""
        self.is_timed = False
        """A timer will look at the line again."""
        self.has_news = False
        """Somebody said that there is new work; not looked for yet."""
        self._fresh: deque[T] = deque()
        self._backlog: deque[T] = deque()
        self._last_start = 0
        self._fresh_is_next = True

    @property
    def most(self) -> int:
        return self._limit().concurrent

    @property
    def rests_until(self) -> int:
        """Before this instant nothing is sent; 0 or past: it does not rest."""
        return max(self.held_until, 0 if self.window.is_alive else self.window.dead_until)

    @property
    def waiting(self) -> list[T]:
        return [*self._fresh, *self._backlog]

    # -- resting ----------------------------------------------------------------------------------------------------

    @property
    def rest(self) -> Rest:
        """What of it outlives this gateway."""
        return Rest.of(self.asked_until, self.window)

    def stand_as(self, rest: Rest) -> None:
        """As whoever owned the lane before left it."""
        self.window = rest.window
        self.asked_until = rest.held_until
        self.held_until = max(self.held_until, rest.held_until)

    def learn(self, outcome: Outcome, now: int, policy: Policy) -> bool:
        """What an attempt says of its lane: a wider or narrower window, death, or life; whether `rest` changed."""
        deaths, asked = self.window.deaths, asked_to_wait_until(outcome, now)
        self.is_ours_to_mend &= isinstance(outcome, OwnFault | Deferred)
        self.window = after(self.window, sign_of(outcome), now, self.most, policy)
        self.asked_until = max(self.asked_until, asked)
        return self.window.deaths != deaths or asked > 0

    def hold_after(self, outcome: Outcome, now: int) -> None:
        """Rest for as long as what has ended so asks."""
        self.held_until = max(self.held_until, held_until(outcome, now))
        self.is_ours_to_mend |= isinstance(outcome, OwnFault) and not outcome.this_only

    # -- claiming ---------------------------------------------------------------------------------------------------

    def room(self, now: int) -> Room | None:
        """How many more may be claimed; refilled in batches, not one by one. None: none."""
        if now < self.rests_until:
            return None
        wide = self._slots(now)
        probes = not self.window.is_alive or self.is_ours_to_mend
        most = wide if probes else AHEAD * wide
        free = most - self.claimed
        if free > 0 and 2 * free >= most:
            return Room(free)
        news = wide - len(self._fresh) if self.has_news and self._backlog and not probes else 0
        return Room(0, news) if news > 0 else None

    def _slots(self, now: int) -> int:
        return min(1 if self.is_ours_to_mend else self.most, slots(self.window, self.most, now))

    def is_fresh(self, due_at: int) -> bool:
        """Of what was never tried: it did not become due before the lane came to life."""
        return due_at >= self.window.fresh_since

    # -- waiting and starting ---------------------------------------------------------------------------------------

    def append(self, item: T, *, fresh: bool) -> None:
        (self._fresh if fresh else self._backlog).append(item)

    def remove(self, item: T) -> None:
        (self._fresh if item in self._fresh else self._backlog).remove(item)

    def empty(self) -> list[T]:
        """Take out all that waits."""
        taken = self.waiting
        self._fresh.clear()
        self._backlog.clear()
        return taken

    def may_start_at(self, now: int) -> int | None:
        """The instant at which the next attempt may start; None: nothing waits or every slot is taken."""
        if not self._fresh and not self._backlog:
            return None
        at = max(now, self._last_start + self._gap, self.rests_until)
        return at if self.active < self._slots(at) else None

    def start(self, now: int) -> T:
        self.active += 1
        self._last_start = max(now, self._last_start + self._gap)
        return self._next().popleft()

    def _next(self) -> deque[T]:
        """New and old in turns, where there are both."""
        fresh = bool(self._fresh) and (self._fresh_is_next or not self._backlog)
        self._fresh_is_next = not fresh
        return self._fresh if fresh else self._backlog

    @property
    def _gap(self) -> int:
        """µs between two starts."""
        rate = self._limit().per_second
        return int(SECOND / rate) if rate else 0
