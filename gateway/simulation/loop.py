"""Virtual time: an event loop on which nobody waits, and the clock that goes with it.

Where an ordinary loop sleeps until its next timer, this one moves its time there. Everything that runs on it, timeouts
and retries of days included, takes its own time and no more. There is no I/O to wait for: nothing here opens a socket.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gateway.clock import Clock
from gateway.core.lane import SECOND

RESOLUTION = 1e-7
"""Seconds; above the rounding of a float that counts the seconds of some years."""


class NothingLeft(Exception):
    """Everybody waits, and no timer will wake anyone: a bug of the simulation."""


class _Leaping(selectors.SelectSelector):
    """Where `select` would wait, time is moved instead."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingLeft
        if timeout > 0:
            self._leap(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` is in seconds since the loop was made."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_Leaping(self._leap))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self._elapsed

    def _leap(self, seconds: float) -> None:
        self._elapsed += seconds


class VirtualClock(Clock):
    """What time it is on a loop that began at `start` (aware)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime) -> None:
        self._loop = loop
        self.start = int(start.timestamp()) * SECOND

    def micros(self) -> int:
        return self.start + round(self._loop.time() * SECOND)

    def monotonic(self) -> float:
        return self._loop.time()
