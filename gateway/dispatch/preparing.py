"""Preparing: bytes for a claim, rendered once; they leave only when they are on record with the attempt."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.batches import Batches
from gateway.clock import Clock
from gateway.contract import Draft, Link
from gateway.core.outcome import Evidence, OwnFault, RefusedForGood
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.rendering import Ready, Rendering
from gateway.dispatch.sending import Sending
from gateway.dispatch.settling import Settling
from gateway.dispatch.tenure import Tenure
from gateway.ledger import queue
from gateway.ledger.engine import Ledger
from gateway.ledger.queue import Claimed
from gateway.links import Links
from gateway.log import logger

log = logger(__name__)

SLOW_RENDERS_AT_ONCE = 2


class Preparing:
    """Frozen in group commits; `on_batch` is told their size."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        rendering: Rendering,
        clock: Clock,
        tenure: Tenure,
        in_hand: InHand,
        sending: Sending,
        settling: Settling,
        *,
        on_batch: Callable[[str, int], None],
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._rendering = rendering
        self._clock = clock
        self._tenure = tenure
        self._in_hand = in_hand
        self._sending = sending
        self._settling = settling
        self._slow_renders: set[asyncio.Task[None]] = set()
        self._render_slots = asyncio.Semaphore(SLOW_RENDERS_AT_ONCE)
        self._freezing = Batches("vastleggen", self._freeze, spoiled=in_hand.drop, on_batch=on_batch)

    async def run(self) -> None:
        await self._freezing.run()

    async def drained(self) -> None:
        """What was claimed so far is on record, or has ended."""
        await asyncio.gather(*self._slow_renders)
        await self._freezing.drained()

    def prepare(self, claimed: Claimed) -> None:
        """Bytes for the claim: those frozen before, or a first rendition; some claims need no attempt at all."""
        with self._rendering_may_fail(claimed):
            self._prepare(claimed)

    def _prepare(self, claimed: Claimed) -> None:
        if claimed.notice_failed:
            return self._settling.end(claimed, RefusedForGood(Evidence("kennisgeving_mislukt")))
        if claimed.lane in self._links.closed:
            return self._settling.end(claimed, RefusedForGood(Evidence("kanaal_gesloten")))
        if claimed.creditor not in self._links.register.by_id:
            return self._settling.end(claimed, RefusedForGood(Evidence("niet_in_register")))
        link = self._links.link(claimed.lane)
        if link is None:
            return self._settling.end(claimed, OwnFault(Evidence("instelling")))
        if claimed.frozen is not None:
            return self._freezing.add(self._rendering.again(claimed, claimed.frozen))
        draft = self._rendering.draft(claimed)
        if not link.slow_render:
            return self._freezing.add(self._rendering.first(claimed, link.render(draft)))
        task = asyncio.create_task(self._render_slowly(claimed, link, draft))
        self._slow_renders.add(task)
        task.add_done_callback(self._slow_renders.discard)
        return None

    async def _render_slowly(self, claimed: Claimed, link: Link, draft: Draft) -> None:
        with self._rendering_may_fail(claimed):
            async with self._render_slots:
                rendition = await asyncio.to_thread(link.render, draft)
            self._freezing.add(self._rendering.first(claimed, rendition))

    @contextmanager
    def _rendering_may_fail(self, claimed: Claimed) -> Iterator[None]:
        """A bug in an adapter, or a row that does not open: a fault of ours. Nothing has left, and nobody else may
        notice."""
        try:
            yield
        except Exception as why:
            fout = type(why).__name__
            log.exception("not_rendered", kanaal=claimed.channel, schuldeiser=claimed.creditor, fout=fout)
            self._settling.end(claimed, OwnFault(Evidence("niet_opgemaakt"), this_only=True))

    async def _freeze(self, batch: list[Ready]) -> None:
        now, began = self._clock.micros(), self._clock.monotonic()
        held = await self._ledger.run(queue.freeze, [ready.intent for ready in batch], self._tenure.me, now)
        for ready in batch:
            ready.frozen_at = began
            if ready.claimed.token in held:
                self._sending.take(ready)
            else:
                self._in_hand.drop(ready)
