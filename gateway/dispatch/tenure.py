"""Which lanes this gateway sends on, where several share a ledger, and how they tell each other of work.

Each lane has one owner, so that limits, windows and holds count for all gateways together. A gateway says every third
of its lease that it lives, on the database's clock, and takes and lets go of lanes then (core/spread.py). One that is
silent for a lease has lost its lanes; so it reckons itself, on its own clock, and starts nothing any more.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from gateway.cancellation import or_cut_off
from gateway.clock import Clock
from gateway.core.spread import Lane, spread
from gateway.ledger import lanes as rows
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.lanes import BELL, Owned, Rest
from gateway.log import logger

log = logger(__name__)

SHORTEST: Final = 1.5
LONGEST: Final = 5.0
PAUSE: Final = 0.5
LEAVE_WITHIN: Final = 2.0
"""A ledger that does not answer is not waited for; the lanes are free when our lease is over."""
LANES_IN_A_WORD: Final = 40
"""A notification holds at most 8,000 bytes."""


def lease_of_lanes(lease: float) -> float:
    """Seconds that lanes stay with a gateway that is silent: shorter than the lease of what it has in hand, for what
    waits in them waits for nobody."""
    return min(LONGEST, max(SHORTEST, lease / 4))


class Word(Struct, frozen=True):
    """What gateways tell each other: lanes with the instant (epoch µs) from which they have work, or that some are
    free."""

    by: str
    work: tuple[tuple[str, str, int], ...] = ()
    free: bool = False


class Tenure:
    """Construct, then `run`. On an embedded ledger every lane is ours and nothing of this happens.

    `on_taken` is called with lanes that became ours and how they stand, `on_leaving` with those to be let go, `on_lost`
    with those that others have; `is_idle` says that nothing of a lane is in hand; `on_work` that a lane has work.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        me: str,
        lease: float,
        *,
        on_taken: Callable[[Mapping[Lane, Rest]], None],
        on_leaving: Callable[[Collection[Lane]], None],
        is_idle: Callable[[Lane], bool],
        on_work: Callable[[Lane, int], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self.me = me
        self._lease = lease_of_lanes(lease)
        self._on_taken = on_taken
        self._on_leaving = on_leaving
        self._is_idle = is_idle
        self._on_work = on_work
        self._mine: dict[Lane, Owned] = {}
        self._leaving: set[Lane] = set()
        self._known: Collection[Lane] = ()
        self._until = 0.0
        self._wanted: set[Lane] = set()
        self._to_tell: dict[Lane, int] = {}
        self.is_ending = False
        """Nothing is begun any more."""
        self._has_left = False
        self._sharing = asyncio.Lock()
        self._now = asyncio.Event()
        self._tell_now = asyncio.Event()

    # -- looking ----------------------------------------------------------------------------------------------------

    def is_mine(self, lane: Lane) -> bool:
        return self._ledger.embedded or lane in self._mine

    def keeps(self, lane: Lane) -> bool:
        """It is ours, and is to stay so."""
        return self._ledger.embedded or (lane in self._mine and lane not in self._leaving)

    def may_send(self, lane: Lane) -> bool:
        """It is ours, is to stay so, and we have said in time that we live."""
        return self._ledger.embedded or (self.keeps(lane) and self._clock.monotonic() < self._until)

    def fence(self, lane: Lane) -> int | None:
        owned = self._mine.get(lane)
        return None if owned is None else owned.fence

    # -- telling ----------------------------------------------------------------------------------------------------

    def tell(self, lane: Lane, at: int) -> None:
        """This lane, which is not ours, has work from `at`."""
        self._to_tell[lane] = min(at, self._to_tell.get(lane, at))
        if lane in self._known:
            self._tell_now.set()
        else:
            self.want(lane)

    def want(self, lane: Lane) -> None:
        """This lane is to have an owner."""
        if lane not in self._known:
            self._wanted.add(lane)
            self._now.set()

    # -- running ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        if self._ledger.embedded:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(or_cut_off(self._share_forever()))
            tasks.create_task(or_cut_off(self._listen_forever()))
            tasks.create_task(or_cut_off(self._tell_forever()))

    def end(self) -> None:
        """Let go of every lane as soon as nothing of it is in hand."""
        self.is_ending = True
        self._now.set()

    async def leave(self) -> None:
        """We are gone: others may have at once what is left."""
        if self._ledger.embedded:
            return
        self._has_left = True
        self._mine.clear()
        try:
            async with asyncio.timeout(LEAVE_WITHIN), self._sharing:
                await self._ledger.run(rows.leave, self.me)
                await self._ledger.run(rows.ring, [self._say(Word(self.me, free=True))])
        except (LedgerAway, Contention, TimeoutError) as why:
            log.warning("ledger_away", stap="banen", reden=str(why))

    async def _share_forever(self) -> None:
        while not self._has_left:
            try:
                async with self._sharing:
                    await self._share()
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="banen", reden=str(why))
                await asyncio.sleep(PAUSE)
                continue
            try:
                async with asyncio.timeout(self._lease / 3):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _share(self) -> None:
        if self._has_left:
            return
        self._now.clear()
        began = self._clock.monotonic()
        wanted, left = set(self._wanted), [lane for lane in self._leaving if self._is_idle(lane)]
        shared = await self._ledger.run(
            rows.share, self.me, self._lease, wanted, left, spread, stays=not self.is_ending
        )
        self._wanted -= wanted
        lapsed, self._until = self._clock.monotonic() >= self._until, began + self._lease
        if left:
            await self._ledger.run(rows.ring, [self._say(Word(self.me, free=True))])
        self._follow(shared, lapsed)

    def _follow(self, shared: rows.Shared, lapsed: bool) -> None:
        """`lapsed`: we were silent for too long, and what is ours all the same begins anew."""
        before, self._mine, self._known = self._mine, dict(shared.mine), shared.known
        newly = {lane for lane in shared.surplus if lane not in self._leaving}
        self._leaving = set(shared.surplus)
        lost = [lane for lane in before if lane not in self._mine]
        if lost or newly:
            self._on_leaving([*lost, *newly])
            self._now.set()
        new = {lane for lane, one in self._mine.items() if lane not in before or before[lane].fence != one.fence}
        taken = {lane: one.rest for lane, one in self._mine.items() if lapsed or lane in new}
        for lane in self._mine:
            self._to_tell.pop(lane, None)
        if self._to_tell:
            self._tell_now.set()
        if taken:
            self._on_taken(taken)
        if lost or new:
            log.info("lanes_shared", aantal=len(self._mine))

    async def _listen_forever(self) -> None:
        while True:
            try:
                async with self._ledger.listening(BELL, self._hear) as ended:
                    await ended.wait()
            except LedgerAway as why:
                log.warning("ledger_away", stap="banen", reden=str(why))
            await asyncio.sleep(PAUSE)

    def _hear(self, said: str) -> None:
        word = msgspec.json.decode(said, type=Word)
        if word.by == self.me:
            return
        if word.free:
            self._now.set()
        for creditor, channel, at in word.work:
            if (creditor, channel) in self._mine:
                self._on_work((creditor, channel), at)
            elif (creditor, channel) not in self._known:
                self._now.set()

    async def _tell_forever(self) -> None:
        while True:
            await self._tell_now.wait()
            self._tell_now.clear()
            told = {lane: at for lane, at in self._to_tell.items() if lane in self._known}
            for lane in told:
                del self._to_tell[lane]
            try:
                await self._ledger.run(rows.ring, list(self._words(told)))
            except (LedgerAway, Contention) as why:  # who owns them finds the work at its next sweep
                log.warning("ledger_away", stap="banen", reden=str(why))

    def _words(self, told: Mapping[Lane, int]) -> Iterable[str]:
        work = [(*lane, at) for lane, at in told.items()]
        for first in range(0, len(work), LANES_IN_A_WORD):
            yield self._say(Word(self.me, tuple(work[first : first + LANES_IN_A_WORD])))

    def _say(self, word: Word) -> str:
        return msgspec.json.encode(word).decode()
