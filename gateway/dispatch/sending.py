"""Sending: attempts, as many at a time and as fast as their lane allows."""

import asyncio
from collections.abc import Callable

from gateway.cancellation import CutOff, or_cut_off
from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.core.lifecycle import State
from gateway.core.outcome import Evidence, Outcome, OwnFault, Uncertain
from gateway.dispatch.giving_back import GivingBack
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.lanes import Line
from gateway.dispatch.rendering import Ready
from gateway.dispatch.settling import Settling
from gateway.dispatch.tenure import Tenure
from gateway.dispatch.unless_away import unless_away
from gateway.ledger import queue
from gateway.ledger.engine import Ledger
from gateway.ledger.queue import Claimed
from gateway.links import Lane, Links
from gateway.log import logger

log = logger(__name__)

LOOK_AGAIN_AFTER = 0.5
"""Seconds after which an attempt that waited in its line is not started without a look whether it is still to be
made."""


class Sending:
    """`take` puts an attempt in its lane's line; `pump` starts what a lane allows, and is called whenever that may have
    changed. `attempt_timeout` in seconds; `on_attempt` is told every attempt with its outcome, begin and end."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        clock: Clock,
        tenure: Tenure,
        in_hand: InHand,
        settling: Settling,
        giving_back: GivingBack,
        *,
        attempt_timeout: float,
        on_attempt: Callable[[Claimed, Outcome, int, int], None],
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._clock = clock
        self._tenure = tenure
        self._in_hand = in_hand
        self._settling = settling
        self._giving_back = giving_back
        self._attempt_timeout = attempt_timeout
        self._on_attempt = on_attempt
        self._slots: set[asyncio.Task[None]] = set()

    @property
    def slots(self) -> int:
        """How many are at work, in all lanes together."""
        return len(self._slots)

    async def drained(self) -> None:
        """Every attempt that was under way has ended."""
        if self._slots:
            await asyncio.wait(self._slots)

    def take(self, ready: Ready) -> None:
        """Its intent is on record, so it may leave."""
        claimed = ready.claimed
        lane = claimed.lane
        line = self._in_hand.line(lane)
        line.append(ready, fresh=claimed.before == State.QUEUED and line.is_fresh(claimed.due_at))
        if self._tenure.keeps(lane):
            self.pump(lane)
        else:  # it was claimed just before the lane was to go to another gateway
            self._giving_back.hand_over([lane])

    def pump(self, lane: Lane) -> None:
        """Start what the lane's concurrency, rate and hold allow now."""
        line = self._in_hand.line(lane)
        now = self._clock.micros()
        self._settling.make_way(line, now)
        while self._may_start(lane) and (at := line.may_start_at(now)) is not None:
            if at > now:
                self._pump_later(lane, line, (at - now) / SECOND)
                return
            task = asyncio.create_task(self._work(lane, line, line.start(now)))
            self._slots.add(task)
            task.add_done_callback(self._slots.discard)

    def _may_start(self, lane: Lane) -> bool:
        return not self._tenure.is_ending and self._tenure.may_send(lane)

    def _pump_later(self, lane: Lane, line: Line[Ready], seconds: float) -> None:
        """One timer per lane, however many attempts wait in it."""

        def pump() -> None:
            line.is_timed = False
            self.pump(lane)

        if not line.is_timed:
            line.is_timed = True
            asyncio.get_running_loop().call_later(seconds, pump)

    async def _work(self, lane: Lane, line: Line[Ready], ready: Ready | None) -> None:
        """One slot of the lane: attempts, one after another, while there is something to start."""
        try:
            while ready is not None:
                await self._occupy(lane, line, ready)
                now = self._clock.micros()
                goes_on = self._may_start(lane) and line.may_start_at(now) == now
                ready = line.start(now) if goes_on else None
        finally:
            self.pump(lane)

    async def _occupy(self, lane: Lane, line: Line[Ready], ready: Ready) -> None:
        """One attempt, whatever it ends of. What came to no outcome is left to its lease: it may have left."""
        outcome = None
        try:
            if await self._is_still_ours(ready):
                outcome = await self._told_attempt(lane, ready)
        finally:
            if outcome is not None:
                self._settling.attempted(ready, outcome)
            else:
                self._in_hand.drop(ready)
            line.active -= 1

    async def _is_still_ours(self, ready: Ready) -> bool:
        """What waited long in its line may have been withdrawn by way of another gateway, or answered meanwhile. Where
        the ledger cannot say, it is left to its lease: what it came to could not be put on record either."""
        if self._clock.monotonic() - ready.frozen_at < LOOK_AGAIN_AFTER:
            return True
        claimed = ready.claimed
        held = await unless_away(self._ledger, queue.still_held, claimed.id, claimed.fence)
        return held is True

    async def _told_attempt(self, lane: Lane, ready: Ready) -> Outcome:
        began = self._clock.micros()
        outcome = await self._attempt(lane, ready)
        self._on_attempt(ready.claimed, outcome, began, self._clock.micros())
        return outcome

    async def _attempt(self, lane: Lane, ready: Ready) -> Outcome:
        link = self._links.link(lane)
        if link is None:
            return OwnFault(Evidence("instelling"))
        try:
            async with asyncio.timeout(self._attempt_timeout * 2):
                outcome = await or_cut_off(link.resolve(ready.parcel)) if ready.in_doubt else None
                if outcome is not None:
                    return outcome
                ready.in_doubt = False
                return await or_cut_off(link.send(ready.parcel))
        except TimeoutError:
            return Uncertain(Evidence("te_lang"))
        except CutOff:  # the link was closed, as when its register entry changes; it may have left before that
            return Uncertain(Evidence("verbroken"))
        except Exception as why:
            log.exception("adapter_raised", kanaal=lane[1], schuldeiser=lane[0], fout=type(why).__name__)
            return Uncertain(Evidence("fout_in_adapter"))
