"""The dispatch stage: what is due is claimed, rendered once, frozen, sent over its lane, and settled.

    claim ─► render ─► freeze (intent on record) ─► lane ─► attempt ─► settle
      ▲                                                                  │
      └───────────── woken by intake, by release, by the clock ──────────┘

Between ledger and lane everything goes in group commits. A lane is one creditor on one channel with its own
concurrency and rate; what it has claimed beyond that waits in its own line, so a slow creditor costs the others
nothing.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Concatenate, ParamSpec, TypeVar

from msgspec import Struct
from sqlalchemy import Connection

from gateway.batches import LEDGER_PAUSE, Batches
from gateway.clock import Clock
from gateway.contract import Draft, Link
from gateway.core.creditor import Creditor, Limit
from gateway.core.lane import SECOND, Decision, Standing, decide, held_until
from gateway.core.lifecycle import State
from gateway.core.outcome import (
    Evidence,
    HandedOver,
    Outcome,
    OwnFault,
    RefusedForGood,
    Transient,
    Uncertain,
    evidence_of,
    name_of,
)
from gateway.core.retry import Policy
from gateway.evidence import Testimony
from gateway.lanes import Line
from gateway.ledger import queue
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.queue import Claimed
from gateway.ledger.settle import Locked, Result, Settlement, settle
from gateway.links import Lane, Links
from gateway.log import logger
from gateway.rendering import Ready, Rendering, is_in_doubt
from gateway.seal import Sealer, aad

log = logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BUSY_FROM = 16
"""With so many attempts under way it pays to let a batch gather."""
SLOW_RENDERS_AT_ONCE = 2
LOOK_AGAIN_AFTER = 500_000
"""µs after which an attempt that waited in its line is not started without a look whether it is still to be made."""
COMING_AT_MOST = 2000
"""Instants that one sweep looks ahead to."""
LOOK_AGAIN = 20_000
"""µs after which a lane is looked at again where another transaction held what was due."""


class Ended(Struct, frozen=True):
    """An attempt that has ended; `at` in epoch µs."""

    claimed: Claimed
    outcome: Outcome
    at: int
    jitter: float
    in_doubt: bool
    """It came no further than to ask whether an earlier attempt had arrived, or not that far."""


class Dispatch:
    """Construct, then `run`. `wake` tells it that lanes have new work; `on_events` is called when events were written,
    `on_agenda` when something changed that the clock may have plans with.

    `lease` and `attempt_timeout` in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        sealer: Sealer,
        testimony: Testimony,
        clock: Clock,
        *,
        owner: str,
        policy: Policy,
        lease: float,
        attempt_timeout: float,
        on_events: Callable[[], None],
        on_agenda: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._sealer = sealer
        self._testimony = testimony
        self._rendering = Rendering(sealer, testimony)
        self._clock = clock
        self._owner = owner
        self._policy = policy
        self._lease = lease
        self._attempt_timeout = attempt_timeout
        self._on_events = on_events
        self._on_agenda = on_agenda
        self._lines: dict[Lane, Line[Ready]] = {}
        self._due: dict[Lane, list[int]] = {}
        """Lanes with work, and a heap of the instants from which there is some."""
        self._held: dict[str, int] = {}
        """Claims of ours (delivery id → fence): what is renewed. What is not on it is left to its lease."""
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._renders: set[asyncio.Task[None]] = set()
        self._render_slots = asyncio.Semaphore(SLOW_RENDERS_AT_ONCE)
        self._stopping = False
        self._claimed_last = asyncio.Event()
        self._freezing = Batches("vastleggen", self._freeze, spoiled=self._drop, more_coming=self._is_busy)
        self._settling = Batches("afrekenen", self._settle, spoiled=self._forget, more_coming=self._is_sending)

    def wake(self, lanes: Iterable[Lane], at: int = 0) -> None:
        """These lanes have work from the instant `at` (epoch µs; 0: now)."""
        for lane in lanes:
            instants = self._due.setdefault(lane, [])
            if not instants or instants[0] != at:
                heappush(instants, at)
        self._wake.set()

    def withdraw(self, ids: Collection[str]) -> None:
        """These deliveries were withdrawn: those that wait in a line here are not started any more."""
        for line in self._lines.values():
            gone = [ready for ready in line.waiting if ready.claimed.id in ids]
            for ready in gone:
                line.waiting.remove(ready)
                self._drop(ready)

    async def run(self) -> None:
        """Until cancelled; then `stop` must be awaited by who cancelled it."""
        if self._ledger.embedded:
            await self._ledger.run(queue.release_all, self._clock.micros())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._freezing.run())
            tasks.create_task(self._settling.run())
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._sweep_forever())
            tasks.create_task(self._claim_forever())

    async def stop(self, patience: float) -> None:
        """To be awaited while `run` still runs: claim nothing more, give back what has not started, wait at most
        `patience` seconds for what is under way, and settle it."""
        self._stopping = True
        self._wake.set()
        try:
            async with asyncio.timeout(patience):
                await self._wind_up()
        except TimeoutError:
            log.warning("attempts_left", aantal=len(self._attempts))
        unstarted = [ready for line in self._lines.values() for ready in line.waiting]
        claims = {ready.claimed.id: ready.claimed.fence for ready in unstarted}
        doubts = {ready.claimed.id for ready in unstarted if ready.in_doubt}
        await self._try(queue.release, claims, self._clock.micros(), doubts)

    async def _wind_up(self) -> None:
        await self._claimed_last.wait()
        await asyncio.gather(*self._renders)
        await self._freezing.drained()
        if self._attempts:
            await asyncio.wait(self._attempts)
        await self._settling.drained()

    # -- claim ------------------------------------------------------------------------------------------------------

    async def _claim_forever(self) -> None:
        while not self._stopping:
            rooms = self._rooms()
            if not rooms:
                await self._sleep()
                continue
            try:
                await self._claim(rooms)
            except (LedgerAway, Contention) as why:
                log.warning("ledger_away", stap="claimen", reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
        self._claimed_last.set()

    def _rooms(self) -> dict[Lane, int]:
        """Lanes that have work now and room for it."""
        now = self._clock.micros()
        ready = [lane for lane, instants in self._due.items() if instants[0] <= now]
        return {lane: room for lane in ready if (room := self._line(lane).room(now))}

    async def _sleep(self) -> None:
        """Until woken, or until the earliest lane is due."""
        now = self._clock.micros()
        waits = [max(instants[0], self._line(lane).held_until) for lane, instants in self._due.items()]
        future = [at - now for at in waits if at > now]
        try:
            async with asyncio.timeout(min(future) / SECOND if future else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _claim(self, rooms: dict[Lane, int]) -> None:
        now = self._clock.micros()
        for lane in rooms:
            self._tick_off(lane, now)
        try:
            claims, left = await self._ledger.run(queue.claim_and_look, rooms, self._owner, now, self._lease_end(now))
        except (LedgerAway, Contention):
            self.wake(rooms)
            raise
        got: dict[Lane, int] = dict.fromkeys(rooms, 0)
        for claimed in claims:
            got[claimed.creditor, claimed.channel] += 1
        self.wake(lane for lane, room in rooms.items() if got[lane] == room)
        self.wake(left, now + LOOK_AGAIN)
        for claimed in claims:
            self._held[claimed.id] = claimed.fence
            self._line((claimed.creditor, claimed.channel)).claimed += 1
            with self._rendering_may_fail(claimed):
                self._prepare(claimed)

    def _tick_off(self, lane: Lane, now: int) -> None:
        """What is due by now is looked for now."""
        instants = self._due[lane]
        while instants and instants[0] <= now:
            heappop(instants)
        if not instants:
            del self._due[lane]

    def _lease_end(self, now: int) -> int:
        return now + int(self._lease * SECOND)

    def _line(self, lane: Lane) -> Line[Ready]:
        line = self._lines.get(lane)
        if line is None:
            entry = self._links.register.by_id.get(lane[0])
            line = self._lines[lane] = Line(entry.limit if entry else Limit())
        return line

    # -- render and freeze ------------------------------------------------------------------------------------------

    def _prepare(self, claimed: Claimed) -> None:
        """Bytes for the claim: those frozen before, or a first rendition; some claims need no attempt at all."""
        if claimed.notice_failed:
            return self._end(claimed, RefusedForGood(Evidence("kennisgeving_mislukt")))
        lane = (claimed.creditor, claimed.channel)
        if lane in self._links.closed:
            return self._end(claimed, RefusedForGood(Evidence("kanaal_gesloten")))
        if claimed.creditor not in self._links.register.by_id:
            return self._end(claimed, RefusedForGood(Evidence("niet_in_register")))
        link = self._links.link(lane)
        if link is None:
            return self._end(claimed, OwnFault(Evidence("instelling")))
        if claimed.frozen is not None:
            return self._freezing.add(self._rendering.again(claimed, claimed.frozen))
        draft = self._rendering.draft(claimed)
        if not link.slow_render:
            return self._freezing.add(self._rendering.first(claimed, link.render(draft)))
        task = asyncio.create_task(self._render_slowly(claimed, link, draft))
        self._renders.add(task)
        task.add_done_callback(self._renders.discard)
        return None

    async def _render_slowly(self, claimed: Claimed, link: Link, draft: Draft) -> None:
        with self._rendering_may_fail(claimed):
            async with self._render_slots:
                rendition = await asyncio.to_thread(link.render, draft)
            self._freezing.add(self._rendering.first(claimed, rendition))

    @contextmanager
    def _rendering_may_fail(self, claimed: Claimed) -> Iterator[None]:
        """A bug in an adapter, or a row that does not open: nothing has left, and nobody else may notice."""
        try:
            yield
        except Exception as why:
            fout = type(why).__name__
            log.exception("not_rendered", kanaal=claimed.channel, schuldeiser=claimed.creditor, fout=fout)
            self._end(claimed, Transient(Evidence("fout_in_adapter")))

    async def _freeze(self, batch: list[Ready]) -> None:
        now = self._clock.micros()
        held = await self._ledger.run(queue.freeze, [ready.intent for ready in batch], self._owner, now)
        for ready in batch:
            ready.frozen_at = now
            if ready.claimed.id not in held:
                self._drop(ready)
                continue
            lane = (ready.claimed.creditor, ready.claimed.channel)
            self._line(lane).waiting.append(ready)
            self._pump(lane)

    # -- attempt ----------------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        return len(self._attempts) >= BUSY_FROM

    def _is_sending(self) -> bool:
        """Nobody waits for an outcome to be written, so the first waits for those that come with it."""
        return bool(self._attempts)

    def _pump(self, lane: Lane) -> None:
        """Start what the lane's concurrency, rate and hold allow now."""
        line = self._line(lane)
        now = self._clock.micros()
        while not self._stopping and (at := line.may_start_at(now)) is not None:
            if at > now:
                self._pump_later(lane, line, (at - now) / SECOND)
                return
            task = asyncio.create_task(self._work(lane, line, line.start(now)))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    def _pump_later(self, lane: Lane, line: Line[Ready], seconds: float) -> None:
        """One timer per lane, however many attempts wait in it."""

        def pump() -> None:
            line.is_timed = False
            self._pump(lane)

        if not line.is_timed:
            line.is_timed = True
            asyncio.get_running_loop().call_later(seconds, pump)

    async def _work(self, lane: Lane, line: Line[Ready], ready: Ready | None) -> None:
        """One slot of the lane: attempts, one after another, while there is something to start."""
        try:
            while ready is not None:
                if await self._is_still_ours(ready):
                    outcome = await self._attempt(lane, ready)
                    self._end(ready.claimed, outcome, in_doubt=ready.in_doubt)
                else:
                    self._drop(ready)
                line.active -= 1
                now = self._clock.micros()
                goes_on = not self._stopping and line.may_start_at(now) == now
                ready = line.start(now) if goes_on else None
        finally:
            self._pump(lane)

    async def _is_still_ours(self, ready: Ready) -> bool:
        """What waited long in its line may have been withdrawn by way of another gateway."""
        if self._ledger.embedded or self._clock.micros() - ready.frozen_at < LOOK_AGAIN_AFTER:
            return True
        claimed = ready.claimed
        held = await self._try(queue.still_held, claimed.id, claimed.fence)
        return held is not False

    async def _attempt(self, lane: Lane, ready: Ready) -> Outcome:
        link = self._links.link(lane)
        if link is None:
            return OwnFault(Evidence("instelling"))
        try:
            async with asyncio.timeout(self._attempt_timeout * 2):
                outcome = await link.resolve(ready.parcel) if ready.in_doubt else None
                if outcome is not None:
                    return outcome
                ready.in_doubt = False
                return await link.send(ready.parcel)
        except TimeoutError:
            return Uncertain(Evidence("te_lang"))
        except Exception as why:
            log.exception("adapter_raised", kanaal=lane[1], schuldeiser=lane[0], fout=type(why).__name__)
            return Uncertain(Evidence("fout_in_adapter"))

    # -- settle -----------------------------------------------------------------------------------------------------

    def _end(self, claimed: Claimed, outcome: Outcome, *, in_doubt: bool | None = None) -> None:
        """`in_doubt` None: it did not come to an attempt, so what was in doubt still is."""
        at = self._clock.micros()
        in_doubt = is_in_doubt(claimed) if in_doubt is None else in_doubt
        line = self._line((claimed.creditor, claimed.channel))
        line.held_until = max(line.held_until, held_until(outcome, at))
        self._leave_line(claimed)
        self._settling.add(Ended(claimed, outcome, at, random.random(), in_doubt))

    async def _settle(self, batch: list[Ended]) -> None:
        by_claim = {(ended.claimed.id, ended.claimed.fence): ended for ended in batch}
        decisions: dict[str, Decision] = {}

        def settle_one(locked: Locked) -> Settlement:
            settlement = self._settlement(by_claim[locked.id, locked.fence], locked)
            decisions[locked.id] = settlement.decision
            return settlement

        released = await self._ledger.run(settle, [self._result(ended) for ended in batch], settle_one)
        self.wake(released)
        self._on_events()
        if any(decision.reviews for decision in decisions.values()):
            self._on_agenda()
        for ended in batch:
            self._forget(ended)
            decision = decisions.get(ended.claimed.id)
            if decision is not None:
                self._follow(ended, decision)

    def _settlement(self, ended: Ended, locked: Locked) -> Settlement:
        claimed, outcome = ended.claimed, ended.outcome
        entry = self._links.register.by_id.get(claimed.creditor)
        standing = Standing(
            state=locked.state,
            soort=claimed.soort,
            tries=locked.tries,
            channel=locked.channel,
            channel_since=locked.channel_since,
            created_at=claimed.created_at,
            give_up_at=claimed.give_up_at,
            proof=locked.proof,
            channels=() if claimed.notice_failed else self._links.open_channels(claimed.creditor),
            fallback_after=entry.fallback_after if entry else Creditor.fallback_after,
            stands=locked.stands,
            in_doubt=ended.in_doubt,
        )
        decision = decide(standing, outcome, ended.at, ended.jitter, self._policy)
        return self._testimony.settlement(claimed, decision, outcome, locked.decision, ended.at)

    def _result(self, ended: Ended) -> Result:
        claimed, outcome = ended.claimed, ended.outcome
        evidence = evidence_of(outcome)
        place = aad("attempt", claimed.id, str(claimed.fence))
        return Result(
            id=claimed.id,
            fence=claimed.fence,
            channel=claimed.channel,
            outcome=name_of(outcome),
            code=evidence.code,
            reply=self._sealer.seal(claimed.key, evidence.reply, place) if evidence.reply else None,
            finished_at=ended.at,
            reference=outcome.reference if isinstance(outcome, HandedOver) else None,
        )

    def _follow(self, ended: Ended, decision: Decision) -> None:
        """Carry out what the decision says about the lane."""
        lane = (ended.claimed.creditor, ended.claimed.channel)
        if decision.alarm:
            log.error("own_fault", schuldeiser=lane[0], kanaal=lane[1], code=evidence_of(ended.outcome).code)
        if decision.closes_channel:
            log.error("channel_closed", schuldeiser=lane[0], kanaal=lane[1], code=evidence_of(ended.outcome).code)
            self._links.close_lane(lane)
        if decision.state is State.FAILED:
            code = evidence_of(ended.outcome).code
            log.error("delivery_failed", bezorging=ended.claimed.id, schuldeiser=lane[0], kanaal=lane[1], code=code)
        if decision.next_action_at is not None:
            self.wake([(ended.claimed.creditor, decision.channel)], decision.next_action_at)

    def _drop(self, ready: Ready) -> None:
        """It will not be attempted by us: another gateway has it, or it is left to its lease."""
        self._leave_line(ready.claimed)
        self._forget(ready)

    def _leave_line(self, claimed: Claimed) -> None:
        """It takes no place in its lane's line any more."""
        self._line((claimed.creditor, claimed.channel)).claimed -= 1
        self._wake.set()

    def _forget(self, item: Ready | Ended) -> None:
        """Its lease is not renewed any more."""
        if self._held.get(item.claimed.id) == item.claimed.fence:
            del self._held[item.claimed.id]

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            if self._held:
                await self._try(queue.renew, list(self._held), self._owner, self._lease_end(self._clock.micros()))

    async def _sweep_forever(self) -> None:
        """Find work that nobody woke us for: a restart, another gateway's lost leases, its retries."""
        while not self._stopping:
            lanes = await self._try(queue.sweep)
            now = self._clock.micros()
            until = now + int(self._lease / 2 * SECOND)
            coming = await self._try(queue.coming, now, until, COMING_AT_MOST)
            for lane, at in (*(lanes or {}).items(), *(coming or ())):
                self.wake([lane], at)
            await asyncio.sleep(self._lease / 2)

    async def _try(
        self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Upkeep that can be left out this time when the ledger is away."""
        try:
            return await self._ledger.run(transaction, *args, **kwargs)
        except (LedgerAway, Contention) as why:
            log.warning("ledger_away", stap="onderhoud", reden=str(why))
            return None
