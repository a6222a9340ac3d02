"""The timers stage: what is due by the clock. Messages that waited long enough for a missing version are processed,
pause requests that wait for their gemeente are pointed out, and the agenda of dossiers is carried out (core/agenda.py
says what is due, chores.py makes the rows).

Timers live in the ledger: a dossier's next look (`review_at`), and nudges of whatever changed something in it. So they
survive a restart, and what became due in the meantime is done in its order. Several gateways share the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from sqlalchemy import Connection

from gateway.chores import Desk, carry_out
from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.core.recovery import Gap
from gateway.ledger import agenda, pause_requests
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
    """`end_wait` processes what a dossier (gemeente, dossierkenmerk) had on hold; `look_every` and `gather` in
    seconds."""

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
        gather: float = GATHER,
    ) -> None:
        self._ledger = ledger
        self._desk = desk
        self._clock = clock
        self._end_wait = end_wait
        self._requests = requests
        self._on_deliveries = on_deliveries
        self._on_events = on_events
        self._look_every = look_every
        self._gather = gather
        self._wake = asyncio.Event()
        self._turned: float | None = None

    def wake(self) -> None:
        """Something was put on hold, or changed in a dossier."""
        self._wake.set()

    def idle_for(self) -> float:
        """Seconds since they last went round; 0 where they do not run yet. With nothing to do it is `look_every` at
        most."""
        return 0.0 if self._turned is None else self._clock.monotonic() - self._turned

    async def run(self) -> None:
        self._turned = self._clock.monotonic()
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
            await asyncio.sleep(self._gather)

    async def round(self) -> float:
        """Process what is due; returns seconds until there is something again."""
        now = self._clock.micros()
        overdue, request = await self._ledger.run(_overdue, now)
        for gemeente, kenmerk in overdue:
            await self._end_wait(gemeente, kenmerk)
        if request is not None and request <= now:
            await self._requests.round()
        looked_at = BATCH
        while looked_at == BATCH:
            looked_at = await self._look()
        return await self._idle_for()

    async def _look(self) -> int:
        """Carry out the agenda of a batch of dossiers; returns how many there were."""
        now = self._clock.micros()

        def decide(opened: Iterable[agenda.Open], view_of: agenda.ViewOf, gap: Gap | None) -> agenda.Writes:
            return carry_out(self._desk, list(opened), view_of, now, gap)

        gathered = now - int(self._gather * SECOND)
        looked_at, lanes = await self._ledger.run(agenda.look, now, gathered, BATCH, decide)
        self._turned = self._clock.monotonic()
        if looked_at:
            self._on_deliveries(lanes)
            self._on_events()
        return looked_at

    async def _idle_for(self) -> float:
        """Seconds until something is due."""
        hold, request, review, nudged = await self._ledger.run(_next)
        gathered = None if nudged is None else nudged + int(self._gather * SECOND)
        due = [at for at in (hold, request, review, gathered) if at is not None]
        wait = (min(due) - self._clock.micros()) / SECOND if due else self._look_every
        return min(self._look_every, max(self._gather / 10, wait))


def _overdue(connection: Connection, now: int) -> tuple[list[tuple[str, str]], int | None]:
    """Dossiers whose held messages have waited long enough, and when the next pause request has."""
    return rows.overdue_holds(connection, now, BATCH), pause_requests.next_due(connection)


def _next(connection: Connection) -> tuple[int | None, int | None, int | None, int | None]:
    """When the next hold ends, the next pause request has waited too long and the next dossier is due, and the instant
    of the oldest nudge (epoch µs)."""
    return rows.next_hold(connection), pause_requests.next_due(connection), *agenda.next_look(connection)
