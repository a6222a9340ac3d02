"""The timers stage: what is due by the clock. Now: messages that wait for a missing version."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.ledger import intake as rows
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.log import logger

log = logger(__name__)

LOOK_EVERY = 30.0
"""Seconds between looks for what another gateway put on hold."""
LEDGER_PAUSE = 0.5
BATCH = 100


class Timers:
    """`end_wait` processes what a dossier (gemeente, dossierkenmerk) had on hold."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        end_wait: Callable[[str, str], Awaitable[None]],
        *,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._end_wait = end_wait
        self._look_every = look_every
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was put on hold."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait = await self._round()
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="termijnen", reden=str(why))
                wait = LEDGER_PAUSE
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """Process what is due; returns seconds until there is something again."""
        now = self._clock.micros()
        for gemeente, kenmerk in await self._ledger.run(rows.overdue_holds, now, BATCH):
            await self._end_wait(gemeente, kenmerk)
        due = await self._ledger.run(rows.next_hold)
        if due is None:
            return self._look_every
        return min(self._look_every, max(0.0, (due - self._clock.micros()) / SECOND))
