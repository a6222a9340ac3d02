"""How late the event loop is: what blocks it shows here first."""

import asyncio
from collections import deque

BEAT = 0.25
"""Seconds between two beats."""
REMEMBERED = 30.0
"""Seconds for which the worst delay counts."""


class Pulse:
    """A beat that should come every BEAT seconds."""

    def __init__(self) -> None:
        self._delays: deque[tuple[float, float]] = deque()
        """(when, how late), falling: only what may still become the worst is kept."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._note(loop.time(), max(0.0, loop.time() - due))

    def lag(self, now: float) -> float:
        """The worst delay lately, seconds; `now`: time of the loop."""
        while self._delays and self._delays[0][0] < now - REMEMBERED:
            self._delays.popleft()
        return self._delays[0][1] if self._delays else 0.0

    def _note(self, at: float, delay: float) -> None:
        while self._delays and self._delays[-1][1] <= delay:
            self._delays.pop()
        self._delays.append((at, delay))
