"""Upkeep: leases are renewed, work that nobody woke us for is found, and what is overdue does not wait for a rest."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.dispatch.due import Due
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.settling import Settling
from gateway.dispatch.tenure import Tenure
from gateway.dispatch.unless_away import unless_away
from gateway.ledger import queue
from gateway.ledger.due import Wanted
from gateway.ledger.engine import Ledger
from gateway.links import Lane, Links

COMING_AT_MOST = 2000
"""Instants that one sweep looks ahead to."""
OVERDUE_AT_ONCE = 200
OVERDUE_AGAIN = 600.0
"""Seconds after which what is overdue in a lane that still rests is looked at again."""


class Upkeep:
    """`lease` in seconds: a sweep every half of it, or when asked for."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        clock: Clock,
        tenure: Tenure,
        in_hand: InHand,
        due: Due,
        settling: Settling,
        *,
        lease: float,
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._clock = clock
        self._tenure = tenure
        self._in_hand = in_hand
        self._due = due
        self._settling = settling
        self._lease = lease
        self._sweep_now = asyncio.Event()

    async def renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            if claims := self._in_hand.claims():
                until = self._in_hand.lease_end(self._clock.micros())
                await unless_away(self._ledger, queue.renew, claims, self._tenure.me, until)

    async def sweep_forever(self) -> None:
        """Find work that nobody woke us for: a restart, another gateway's lost leases, its retries; and what is overdue
        in lanes that rest."""
        while not self._tenure.is_ending:
            self._sweep_now.clear()
            lanes = await unless_away(self._ledger, queue.sweep)
            for lane, at in (lanes or {}).items():
                if self._tenure.is_mine(lane):
                    self._due.plan([lane], at)
                else:
                    self._tenure.want(lane)
            await self._plan_ahead()
            await self._pass_by_resting()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease / 2):
                    await self._sweep_now.wait()

    def sweep_soon(self) -> None:
        self._sweep_now.set()

    async def _plan_ahead(self) -> None:
        """What falls due before the next sweep in lanes of ours, so that what is spread in time stays spread."""
        now = self._clock.micros()
        until = now + int(self._lease / 2 * SECOND)
        coming = await unless_away(self._ledger, queue.coming, now, until, COMING_AT_MOST)
        for lane, at in coming or ():
            if self._tenure.is_mine(lane):
                self._due.plan([lane], at)

    async def _pass_by_resting(self) -> None:
        """What is overdue in a lane that rests goes to the next channel, or is given up; see core/lane.py."""
        now = self._clock.micros()
        resting = [lane for lane in sorted(self._in_hand.resting(now)) if self._tenure.may_send(lane)]
        if not resting:
            return
        asked = {
            lane: Wanted(OVERDUE_AT_ONCE, 0, self._late_since(lane, now), self._tenure.fence(lane)) for lane in resting
        }
        until = self._in_hand.lease_end(now)
        claims = await unless_away(self._ledger, queue.claim_overdue, asked, self._tenure.me, now, until)
        for claimed in claims or ():
            self._in_hand.hold(claimed)
        self._settling.defer(claims or (), OVERDUE_AGAIN)

    def _late_since(self, lane: Lane, now: int) -> int:
        """Who is on this channel since then or longer goes to the next one; 0: there is none."""
        entry = self._links.register.by_id.get(lane[0])
        if entry is None or self._links.open_channels(lane[0])[-1:] == (lane[1],):
            return 0
        return now - entry.fallback_after // timedelta(microseconds=1)
