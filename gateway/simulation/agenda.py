"""What the world outside the gateway will do, and when: one list, carried out in the order of time."""

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush

from gateway.clock import Clock
from gateway.core.lane import SECOND

Act = Callable[[], Awaitable[None]]


class Agenda:
    """Acts at the same instant are carried out in the order in which they were planned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._acts: list[tuple[int, int, Act]] = []
        self._planned = 0
        self._earlier = asyncio.Event()

    def at(self, micros: int, act: Act) -> None:
        """`micros`: epoch µs; the past means now."""
        heappush(self._acts, (micros, self._planned, act))
        self._planned += 1
        if self._acts[0][2] is act:
            self._earlier.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            while self._acts and self._acts[0][0] <= self._clock.micros():
                await heappop(self._acts)[2]()
            self._earlier.clear()
            wait = (self._acts[0][0] - self._clock.micros()) / SECOND if self._acts else None
            try:
                async with asyncio.timeout(wait):
                    await self._earlier.wait()
            except TimeoutError:
                continue
