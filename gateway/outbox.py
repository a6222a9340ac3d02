"""The outbox stage: events get their feed number, are published with confirms, and are then done."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.events import Events
from gateway.ledger import outbox
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.outbox import Outgoing
from gateway.log import logger

log = logger(__name__)

BATCH = 400
LINGER = 0.02
"""Seconds that events gather after the first one: nobody waits for a single one, and a round costs the same."""
LEDGER_PAUSE = 0.5
SWEEP = 5.0
"""Seconds after which events of another gateway that vanished are looked for."""


class Publication(Struct, frozen=True):
    """One event on its way to the broker: structured CloudEvent, routing key `<gemeente>.<event>`."""

    id: str
    routing_key: str
    body: bytes


Publish = Callable[[Sequence[Publication]], Awaitable[Sequence[str]]]
"""Publishes all with confirms and returns the ids that the broker confirmed or that no queue wanted (returned)."""


class Outbox:
    """`publish` None: nobody listens but the feed, numbering is all there is to do.

    An event that was taken and is not said to be published within `lease` seconds (its gateway vanished) is published
    again, with the same id. `on_published` is told how many of each name are done.
    """

    def __init__(
        self,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        publish: Publish | None,
        *,
        lease: float,
        sweep: float = SWEEP,
        linger: float = LINGER,
        on_published: Callable[[Mapping[str, int]], None] = lambda _counts: None,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._publish = publish
        self._on_published = on_published
        self._lease = int(lease * SECOND)
        self._sweep = sweep
        self._linger = linger
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def wake(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Everything that was due by now has been numbered and published."""
        self.wake()
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                taken = await self._round()
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="gebeurtenissen", reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
                continue
            if taken < BATCH and not self._wake.is_set():
                self._idle.set()
            if taken < BATCH:
                await self._sleep()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(self._sweep):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._linger)

    async def _round(self) -> int:
        """One batch: take, publish, mark. Returns how many were taken."""
        now = self._clock.micros()
        again_at = None if self._publish is None else now + self._lease
        taken = await self._ledger.run(outbox.take_events, BATCH, now, again_at)
        if not taken:
            return 0
        done = {event.id for event in taken}
        if self._publish is not None:
            confirmed = await self._publish([self._publication(event) for event in taken])
            if confirmed:
                await self._ledger.run(outbox.published, confirmed)
            unconfirmed = done.difference(confirmed)
            done.intersection_update(confirmed)
            if unconfirmed:
                await self._ledger.run(outbox.postpone, list(unconfirmed), self._clock.micros())
        self._on_published(Counter(event.name for event in taken if event.id in done))
        return len(taken)

    def _publication(self, event: Outgoing) -> Publication:
        body = self._events.open(event.id, event.sealed, event.key)
        return Publication(event.id, f"{event.gemeente}.{event.name}", body)
