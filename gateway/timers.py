"""The timers stage: what is due by the clock. Messages that waited long enough for a missing version are processed,
pause requests that wait for their gemeente are pointed out, and the agenda of dossiers is carried out (core/agenda.py
says what is due, chores.py makes the rows).

Timers live in the ledger: a dossier's next look (`review_at`), and nudges of whatever changed something in it. So they
survive a restart, and what became due in the meantime is done in its order. Several gateways share the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from gateway.chores import Desk, carry_out
from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.ledger import agenda
from gateway.ledger import intake as rows
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.links import Lane
from gateway.log import logger
from gateway.pause_requests import WaitingRequests

log = logger(__name__)

LOOK_EVERY = 30.0
"""Seconds between looks for what another gateway put on hold."""
GATHER = 1.0
"""Seconds that nudges gather: the creditors of a dossier are told at nearly the same time."""
LEDGER_PAUSE = 0.5
BATCH = 32


class Timers:
    """`end_wait` processes what a dossier (gemeente, dossierkenmerk) had on hold; `look_every` in seconds."""

    def __init__(
        self,
        ledger: Ledger,
        desk: Desk,
        clock: Clock,
        end_wait: Callable[[str, str], Awaitable[None]],
        requests: WaitingRequests,
        *,
        on_deliveries: Callable[[Iterable[Lane]], None],
        on_events: Callable[[], None],
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._ledger = ledger
        self._desk = desk
        self._clock = clock
        self._end_wait = end_wait
        self._requests = requests
        self._on_deliveries = on_deliveries
        self._on_events = on_events
        self._look_every = look_every
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was put on hold, or changed in a dossier."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait = await self.round()
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="termijnen", reden=str(why))
                wait = LEDGER_PAUSE
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(GATHER)

    async def round(self) -> float:
        """Process what is due; returns seconds until there is something again."""
        now = self._clock.micros()
        for gemeente, kenmerk in await self._ledger.run(rows.overdue_holds, now, BATCH):
            await self._end_wait(gemeente, kenmerk)
        await self._requests.round()
        looked_at = BATCH
        while looked_at == BATCH:
            looked_at = await self._look()
        return await self._idle_for()

    async def _look(self) -> int:
        """Carry out the agenda of a batch of dossiers; returns how many there were."""
        now = self._clock.micros()

        def decide(opened: Iterable[agenda.Open], view_of: agenda.ViewOf) -> agenda.Writes:
            return carry_out(self._desk, list(opened), view_of, now)

        gathered = now - int(GATHER * SECOND)
        looked_at, lanes = await self._ledger.run(agenda.look, now, gathered, BATCH, decide)
        if looked_at:
            self._on_deliveries(lanes)
            self._on_events()
        return looked_at

    async def _idle_for(self) -> float:
        """Seconds until something is due."""
        hold = await self._ledger.run(rows.next_hold)
        review, nudged = await self._ledger.run(agenda.next_look)
        gathered = None if nudged is None else nudged + int(GATHER * SECOND)
        due = [at for at in (hold, review, gathered, await self._requests.next_due()) if at is not None]
        wait = (min(due) - self._clock.micros()) / SECOND if due else self._look_every
        return min(self._look_every, max(GATHER / 10, wait))
