"""Claiming: what is due in lanes of ours, as far as there is room for it."""

import asyncio
from collections.abc import Mapping

from gateway.batches import LEDGER_PAUSE
from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.dispatch.due import Due
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.lanes import Room
from gateway.dispatch.preparing import Preparing
from gateway.dispatch.tenure import Tenure
from gateway.ledger import queue
from gateway.ledger.due import Wanted
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.links import Lane
from gateway.log import logger

log = logger(__name__)

LOOK_AGAIN = 20_000
"""µs after which a lane is looked at again where another transaction held what was due."""


class Claiming:
    def __init__(
        self, ledger: Ledger, clock: Clock, tenure: Tenure, in_hand: InHand, due: Due, preparing: Preparing
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tenure = tenure
        self._in_hand = in_hand
        self._due = due
        self._preparing = preparing
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        """Until this gateway is ending."""
        while not self._tenure.is_ending:
            rooms = self._rooms()
            if not rooms:
                await self._sleep()
                continue
            try:
                await self._claim(rooms)
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="claimen", reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
        self._has_ended.set()

    async def ended(self) -> None:
        """Nothing is claimed any more."""
        await self._has_ended.wait()

    def _rooms(self) -> dict[Lane, Room]:
        """Lanes of ours that have work now and room for it."""
        now = self._clock.micros()
        due = self._due.by(now)
        for lane in due:
            if not self._tenure.is_mine(lane):
                self._due.forget(lane)
        ready = [lane for lane in due if self._tenure.may_send(lane)]
        return {lane: room for lane in ready if (room := self._in_hand.line(lane).room(now))}

    async def _sleep(self) -> None:
        """Until woken, or until the earliest lane is due."""
        now = self._clock.micros()
        waits = [max(at, self._in_hand.line(lane).rests_until(now)) for lane, at in self._due.earliest()]
        future = [at - now for at in waits if at > now]
        await self._due.changed(min(future) / SECOND if future else None)

    async def _claim(self, rooms: Mapping[Lane, Room]) -> None:
        now = self._clock.micros()
        wanted = {lane: self._wanted(lane, room) for lane, room in rooms.items()}
        for lane in rooms:
            self._due.tick_off(lane, now)
            self._in_hand.line(lane).has_news = False
        try:
            claims, left = await self._ledger.run(
                queue.claim_and_look, wanted, self._tenure.me, now, self._in_hand.lease_end(now)
            )
        except (LedgerAway, Contention):
            self._due.plan(rooms, 0)
            raise
        got: dict[Lane, int] = dict.fromkeys(rooms, 0)
        for claimed in claims:
            got[claimed.lane] += 1
        self._due.plan((lane for lane, room in rooms.items() if got[lane] >= room.due), 0)
        self._due.plan(left, now + LOOK_AGAIN)
        for claimed in claims:
            self._in_hand.hold(claimed)
            self._preparing.prepare(claimed)

    def _wanted(self, lane: Lane, room: Room) -> Wanted:
        return Wanted(room.due, room.fresh, self._in_hand.line(lane).window.fresh_since, self._tenure.fence(lane))
