"""The embedded door: a queue in the ledger itself, for a gateway without a broker.

`put` is durable when it returns; a message leaves the spool only after intake has committed it, so a crash in between
offers it again and intake sees a duplicate.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.clock import Clock
from gateway.core.notice import Sender
from gateway.intake import Arrival, Intake
from gateway.ledger import spool
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.log import logger
from gateway.seal import SealBroken, Sealer, aad

log = logger(__name__)

BATCH = 100
LEDGER_PAUSE = 0.5
LOOK_EVERY = 1.0
"""Seconds between looks for messages that another process put here."""
_PLACE = aad("spool", "")


class Spool:
    def __init__(self, ledger: Ledger, sealer: Sealer, clock: Clock, senders: Mapping[str, Sender]) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._clock = clock
        self._senders = senders
        self._wake = asyncio.Event()

    async def put(self, sender: str, bodies: Sequence[bytes]) -> None:
        """Queue structured CloudEvents of the sender with this client id; raises LedgerAway."""
        now = self._clock.micros()
        rows = [(sender, self._sealer.seal(None, body, _PLACE), now) for body in bodies]
        await self._ledger.run(spool.put, rows)
        self._wake.set()

    async def run(self, intake: Intake) -> None:
        """Feed what is queued to intake, in order, for ever."""
        while True:
            try:
                taken = await self._round(intake)
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="wachtrij", reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
                continue
            if taken < BATCH:
                await self._sleep()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _round(self, intake: Intake) -> int:
        rows = await self._ledger.run(spool.first, BATCH)
        if rows:
            await intake.accept([self._arrival(row.sender, row.sealed, row.enqueued_at) for row in rows])
            await self._ledger.run(spool.take_off, [row.nr for row in rows])
        return len(rows)

    def _arrival(self, sender: str, sealed: bytes, queued_at: int) -> Arrival:
        try:
            body = self._sealer.open(None, sealed, _PLACE)
        except SealBroken:
            log.error("seal_broken", stap="wachtrij")
            body = b""
        known = self._senders.get(sender)
        return Arrival(door="spool", sender=known, body=body, user=sender, queued_at=queued_at)
