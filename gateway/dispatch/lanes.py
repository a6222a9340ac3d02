"""A lane at work: one creditor on one channel, with a window, a rate and a hold of its own. Instants are epoch µs.

All that a lane remembers is so many seconds from when it was noted, by a clock that may be set. One that is set back
takes along what was noted by it, so that no lane rests for the size of the step; what the ledger has of it is then
written anew with the next attempt.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.creditor import Limit
from gateway.core.lane import SECOND, asked_to_wait_until, held_until
from gateway.core.outcome import Deferred, Outcome, OwnFault
from gateway.core.retry import HINT_AT_MOST, Policy
from gateway.core.window import Window, after, dead_for, sign_of, slots
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
        self.on_record = self.rest
        """`rest` as the ledger has it."""
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
        self._seen_at = 0
        """When it was looked at last."""
        self._fresh_is_next = True

    @property
    def most(self) -> int:
        return self._limit().concurrent

    def rests_until(self, now: int) -> int:
        """Before this instant nothing is sent; 0 or past: it does not rest."""
        self._follow_clock(now)
        return max(self.held_until, 0 if self.window.is_alive else self.window.dead_until)

    @property
    def waiting(self) -> list[T]:
        return [*self._fresh, *self._backlog]

    # -- resting ----------------------------------------------------------------------------------------------------

    @property
    def rest(self) -> Rest:
        """What of it outlives this gateway."""
        return Rest.of(self.asked_until, self.window)

    def stand_as(self, rest: Rest, now: int, policy: Policy) -> None:
        """As whoever owned the lane before left it, and no longer than that can have been meant: its clock may have
        been wrong."""
        self._follow_clock(now)
        self.on_record = rest
        dead_until = min(rest.dead_until, now + int(dead_for(rest.deaths, policy) * SECOND))
        self.window = replace(rest.window, dead_until=dead_until, fresh_since=min(rest.fresh_since, now))
        self.asked_until = min(rest.held_until, now + int(HINT_AT_MOST * SECOND))
        self.held_until = max(self.held_until, self.asked_until)

    def learn(self, outcome: Outcome, now: int, policy: Policy) -> None:
        """What an attempt says of its lane: a wider or narrower window, death, or life."""
        self._follow_clock(now)
        self.is_ours_to_mend &= isinstance(outcome, OwnFault | Deferred)
        self.window = after(self.window, sign_of(outcome), now, self.most, policy)
        self.asked_until = max(self.asked_until, asked_to_wait_until(outcome, now))

    def hold_after(self, outcome: Outcome, now: int) -> None:
        """Rest for as long as what has ended so asks."""
        self._follow_clock(now)
        self.held_until = max(self.held_until, held_until(outcome, now))
        self.is_ours_to_mend |= isinstance(outcome, OwnFault) and not outcome.this_only

    def _follow_clock(self, now: int) -> None:
        """Where time passed since the last look less than the whole step is seen, and a rest takes so much longer."""
        back, self._seen_at = self._seen_at - now, now
        if back <= 0:
            return
        self._last_start = max(0, self._last_start - back)
        self.held_until = max(0, self.held_until - back)
        self.asked_until = max(0, self.asked_until - back)
        dead_until, fresh_since = max(0, self.window.dead_until - back), max(0, self.window.fresh_since - back)
        self.window = replace(self.window, dead_until=dead_until, fresh_since=fresh_since)

    # -- claiming ---------------------------------------------------------------------------------------------------

    def room(self, now: int) -> Room | None:
        """How many more may be claimed; refilled in batches, not one by one. None: none."""
        if now < self.rests_until(now):
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
        rests_until = self.rests_until(now)
        at = max(now, self._last_start + self._gap, rests_until)
        return at if self.active < self._slots(at) else None

    def start(self, now: int) -> T:
        """The next one; to be called only where `may_start_at` says now."""
        self._follow_clock(now)
        self.active += 1
        self._last_start = now
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
