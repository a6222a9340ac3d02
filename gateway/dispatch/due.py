"""Lanes of ours that have work, and from when: what claiming sleeps on."""

import asyncio
from collections.abc import Iterable
from heapq import heappop, heappush

from gateway.links import Lane


class Due:
    """Instants are epoch µs."""

    def __init__(self) -> None:
        self._instants: dict[Lane, list[int]] = {}
        """A heap per lane; a lane without work is not in it."""
        self._look_now = asyncio.Event()

    def plan(self, lanes: Iterable[Lane], at: int) -> None:
        """Look in these lanes from the instant `at` (0: now)."""
        for lane in lanes:
            instants = self._instants.setdefault(lane, [])
            if not instants or instants[0] != at:
                heappush(instants, at)
        self._look_now.set()

    def look(self) -> None:
        """Something else changed: a lane may have room."""
        self._look_now.set()

    def by(self, now: int) -> list[Lane]:
        """Lanes that have work by now."""
        return [lane for lane, instants in self._instants.items() if instants[0] <= now]

    def earliest(self) -> Iterable[tuple[Lane, int]]:
        """Each lane with the first instant from which it has work."""
        return ((lane, instants[0]) for lane, instants in self._instants.items())

    def tick_off(self, lane: Lane, now: int) -> None:
        """What is due by now is looked for now."""
        instants = self._instants[lane]
        while instants and instants[0] <= now:
            heappop(instants)
        if not instants:
            del self._instants[lane]

    def forget(self, lane: Lane) -> None:
        """It is not ours any more."""
        del self._instants[lane]

    async def changed(self, seconds: float | None) -> None:
        """Wait until there is something new to look at, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._look_now.wait()
        except TimeoutError:
            return
        self._look_now.clear()
