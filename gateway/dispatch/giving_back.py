"""What was claimed and not started goes back to the ledger, for whoever claims it next."""

import asyncio
from collections.abc import Callable, Collection, Iterable

from gateway.clock import Clock
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.rendering import Ready
from gateway.dispatch.unless_away import unless_away
from gateway.ledger import queue
from gateway.ledger.engine import Ledger
from gateway.links import Lane

TRIES = 3
"""What the ledger does not take back then is left to its lease."""


class GivingBack:
    """`wake` is told of the lanes that have work again, with the instant from which."""

    def __init__(
        self, ledger: Ledger, clock: Clock, in_hand: InHand, *, wake: Callable[[Iterable[Lane], int], None]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._in_hand = in_hand
        self._wake = wake
        self._under_way: set[asyncio.Task[None]] = set()

    def hand_over(self, lanes: Collection[Lane]) -> None:
        """These lanes are another gateway's, or to be so: nothing waits in them here any more."""
        for lane in lanes:
            unstarted = self._in_hand.line(lane).empty()
            for ready in unstarted:
                self._in_hand.drop(ready)
            if unstarted:
                task = asyncio.create_task(self.give_back(unstarted))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def give_back(self, unstarted: Collection[Ready]) -> None:
        claims = {ready.claimed.id: ready.claimed.fence for ready in unstarted}
        doubts = {ready.claimed.id for ready in unstarted if ready.in_doubt}
        for _ in range(TRIES):
            if await unless_away(self._ledger, queue.release, claims, self._clock.micros(), doubts) is not None:
                break
        self._wake({ready.claimed.lane for ready in unstarted}, self._clock.micros())

    async def drained(self) -> None:
        await asyncio.gather(*self._under_way)
