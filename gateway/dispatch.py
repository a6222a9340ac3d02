"""The dispatch stage: what is due is claimed, rendered once, frozen, sent over its lane, and settled.

    claim ─► render ─► freeze (intent on record) ─► lane ─► attempt ─► settle
      ▲                                                                  │
      └───────────── woken by intake, by release, by the clock ──────────┘

Between ledger and lane everything goes in group commits. A lane is one creditor on one channel with its own window
and rate; what it has claimed beyond that waits in its own line, so a slow creditor costs the others nothing. While a
lane rests (its peer asked for it, it is dead, or the fault is ours) nothing is sent on it; what waits is deferred by
us, and looked at only where its own time is up.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from heapq import heappop, heappush
from typing import Concatenate, ParamSpec, TypeVar

from msgspec import Struct
from sqlalchemy import Connection

from gateway.batches import LEDGER_PAUSE, Batches
from gateway.clock import Clock
from gateway.contract import Draft, Link
from gateway.core.creditor import Creditor, Limit
from gateway.core.lane import SECOND, Decision, Standing, asked_to_wait_until, decide, held_until
from gateway.core.lifecycle import State
from gateway.core.outcome import (
    Deferred,
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
from gateway.core.window import after, sign_of
from gateway.evidence import Testimony
from gateway.lanes import Line, Room
from gateway.ledger import lanes as lane_rows
from gateway.ledger import queue
from gateway.ledger.due import Wanted
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.lanes import Rest
from gateway.ledger.queue import Claimed
from gateway.ledger.settle import Locked, Result, Settlement, settle
from gateway.links import Lane, Links
from gateway.log import logger
from gateway.rendering import Ready, Rendering, is_in_doubt
from gateway.seal import Sealer, aad
from gateway.tenure import Tenure

log = logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

SLOW_RENDERS_AT_ONCE = 2
LOOK_AGAIN_AFTER = 500_000
"""µs after which an attempt that waited in its line is not started without a look whether it is still to be made."""
COMING_AT_MOST = 2000
"""Instants that one sweep looks ahead to."""
LOOK_AGAIN = 20_000
"""µs after which a lane is looked at again where another transaction held what was due."""
REST_IN_LINE = 2 * SECOND
"""µs: where a lane rests for longer, what waits in it is given back to the ledger, deferred."""
RESTING = "baan_rust"
"""Code of what we defer because its lane rests."""
GIVE_BACK_TRIES = 3
"""What the ledger does not take back then is left to its lease."""
OVERDUE_AT_ONCE = 200
OVERDUE_AGAIN = 600.0
"""Seconds after which what is overdue in a lane that still rests is looked at again."""


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

    `on_attempt` is told every attempt with its outcome, begin and end (epoch µs), `on_batch` every group commit by name
    and size. `lease` and `attempt_timeout` in seconds; `jitter` gives
    0 ≤ j < 1.
    """

    _stopping = False

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
        jitter: Callable[[], float] = random.random,
        on_attempt: Callable[[Claimed, Outcome, int, int], None] = lambda *_: None,
        on_batch: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._sealer = sealer
        self._testimony = testimony
        self._rendering = Rendering(sealer, testimony)
        self._clock = clock
        self._policy = policy
        self._lease = lease
        self._attempt_timeout = attempt_timeout
        self._on_events = on_events
        self._on_agenda = on_agenda
        self._jitter = jitter
        self._on_attempt = on_attempt
        self._lines: dict[Lane, Line[Ready]] = {}
        self._due: dict[Lane, list[int]] = {}
        """Lanes with work, and a heap of the instants from which there is some."""
        self._rests_changed: set[Lane] = set()
        """Lanes whose rest is other than the ledger has it."""
        self._tenure = Tenure(
            ledger,
            clock,
            owner,
            lease,
            on_taken=self._take_over,
            on_leaving=self._hand_over,
            is_idle=self._is_idle,
            on_work=self._heard,
        )
        self._held: dict[str, int] = {}
        """Claims of ours (delivery id → fence): what is renewed. What is not on it is left to its lease."""
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        """Slow renditions, and claims that are given back."""
        self._sweep_now = asyncio.Event()
        self._render_slots = asyncio.Semaphore(SLOW_RENDERS_AT_ONCE)
        self._claimed_last = asyncio.Event()
        self._freezing = Batches("vastleggen", self._freeze, spoiled=self._drop, on_batch=on_batch)
        self._settling = Batches(
            "afrekenen", self._settle, spoiled=self._forget, more_coming=self._is_sending, on_batch=on_batch
        )

    @property
    def me(self) -> str:
        """What this gateway is called in the ledger."""
        return self._tenure.me

    def wake(self, lanes: Iterable[Lane], at: int = 0) -> None:
        """These lanes have work from the instant `at` (epoch µs; 0: now); who owns them is told."""
        for lane in lanes:
            if self._tenure.is_mine(lane):
                self._heard(lane, at)
            else:
                self._tenure.tell(lane, at)

    def _heard(self, lane: Lane, at: int) -> None:
        if at == 0:
            self._line(lane).has_news = True
        self._plan([lane], at)

    def _plan(self, lanes: Iterable[Lane], at: int) -> None:
        """Look in these lanes of ours from the instant `at`."""
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
                line.remove(ready)
                self._drop(ready)

    def limits_changed(self) -> None:
        """Another register is in force: what its limits allow now may start."""
        for lane in self._lines:
            self._pump(lane)
        self._wake.set()

    def held(self) -> list[Lane]:
        """Lanes on which nothing may start now."""
        now = self._clock.micros()
        return [lane for lane, line in self._lines.items() if line.rests_until > now]

    def running(self) -> list[Lane]:
        """The lane of every attempt under way."""
        return [lane for lane, line in self._lines.items() for _ in range(line.active)]

    async def run(self) -> None:
        """Until cancelled; then `stop` must be awaited by who cancelled it."""
        if self._ledger.embedded:
            await self._ledger.run(queue.release_all, self._clock.micros())
            self._take_over(await self._ledger.run(lane_rows.rests))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tenure.run())
            tasks.create_task(self._freezing.run())
            tasks.create_task(self._settling.run())
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._sweep_forever())
            tasks.create_task(self._claim_forever())

    async def stop(self, patience: float) -> None:
        """To be awaited while `run` still runs: claim nothing more, give back what has not started, wait at most
        `patience` seconds for what is under way, and settle it."""
        self._stopping = True
        self._tenure.end()
        self._wake.set()
        try:
            async with asyncio.timeout(patience):
                await self._wind_up()
        except TimeoutError:
            log.warning("attempts_left", aantal=len(self._attempts))
        await self._give_back([ready for line in self._lines.values() for ready in line.waiting])
        await self._tenure.leave()

    async def _give_back(self, unstarted: Collection[Ready]) -> None:
        """To the ledger, for whoever claims it next."""
        claims = {ready.claimed.id: ready.claimed.fence for ready in unstarted}
        doubts = {ready.claimed.id for ready in unstarted if ready.in_doubt}
        for _ in range(GIVE_BACK_TRIES):
            if await self._try(queue.release, claims, self._clock.micros(), doubts) is not None:
                break
        self.wake({(ready.claimed.creditor, ready.claimed.channel) for ready in unstarted}, self._clock.micros())

    async def _wind_up(self) -> None:
        await self._claimed_last.wait()
        await asyncio.gather(*self._chores)
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

    def _rooms(self) -> dict[Lane, Room]:
        """Lanes of ours that have work now and room for it."""
        now = self._clock.micros()
        due = [lane for lane, instants in self._due.items() if instants[0] <= now]
        for lane in due:
            if not self._tenure.is_mine(lane):
                del self._due[lane]
        ready = [lane for lane in due if self._tenure.may_send(lane)]
        return {lane: room for lane in ready if (room := self._line(lane).room(now))}

    async def _sleep(self) -> None:
        """Until woken, or until the earliest lane is due."""
        now = self._clock.micros()
        waits = [max(instants[0], self._line(lane).rests_until) for lane, instants in self._due.items()]
        future = [at - now for at in waits if at > now]
        try:
            async with asyncio.timeout(min(future) / SECOND if future else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _claim(self, rooms: Mapping[Lane, Room]) -> None:
        now = self._clock.micros()
        wanted = {lane: self._wanted(lane, room) for lane, room in rooms.items()}
        for lane in rooms:
            self._tick_off(lane, now)
            self._line(lane).has_news = False
        try:
            claims, left = await self._ledger.run(
                queue.claim_and_look, wanted, self._tenure.me, now, self._lease_end(now)
            )
        except (LedgerAway, Contention):
            self._plan(rooms, now)
            raise
        got: dict[Lane, int] = dict.fromkeys(rooms, 0)
        for claimed in claims:
            got[claimed.creditor, claimed.channel] += 1
        self._plan((lane for lane, room in rooms.items() if got[lane] >= room.due), now)
        self._plan(left, now + LOOK_AGAIN)
        for claimed in claims:
            self._hold(claimed)
            with self._rendering_may_fail(claimed):
                self._prepare(claimed)

    def _wanted(self, lane: Lane, room: Room) -> Wanted:
        return Wanted(room.due, room.fresh, self._line(lane).window.fresh_since, self._tenure.fence(lane))

    def _hold(self, claimed: Claimed) -> None:
        self._held[claimed.id] = claimed.fence
        self._line((claimed.creditor, claimed.channel)).claimed += 1

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
            line = self._lines[lane] = Line(lambda: self._limit(lane[0]))
        return line

    def _limit(self, creditor: str) -> Limit:
        entry = self._links.register.by_id.get(creditor)
        return entry.limit if entry else Limit()

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
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
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
        held = await self._ledger.run(queue.freeze, [ready.intent for ready in batch], self._tenure.me, now)
        for ready in batch:
            ready.frozen_at = now
            if ready.claimed.id not in held:
                self._drop(ready)
                continue
            lane = (ready.claimed.creditor, ready.claimed.channel)
            line = self._line(lane)
            is_new = ready.claimed.before == State.QUEUED and line.is_fresh(ready.claimed.due_at)
            line.append(ready, fresh=is_new)
            if self._tenure.keeps(lane):
                self._pump(lane)
            else:  # it was claimed just before the lane was to go to another gateway
                self._hand_over([lane])

    # -- attempt ----------------------------------------------------------------------------------------------------

    def _is_sending(self) -> bool:
        """Nobody waits for an outcome to be written, so the first waits for those that come with it."""
        return bool(self._attempts)

    def _pump(self, lane: Lane) -> None:
        """Start what the lane's concurrency, rate and hold allow now."""
        line = self._line(lane)
        now = self._clock.micros()
        self._make_way(line, now)
        while self._may_start(lane) and (at := line.may_start_at(now)) is not None:
            if at > now:
                self._pump_later(lane, line, (at - now) / SECOND)
                return
            task = asyncio.create_task(self._work(lane, line, line.start(now)))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    def _may_start(self, lane: Lane) -> bool:
        return not self._stopping and self._tenure.may_send(lane)

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
                    outcome = await self._told_attempt(lane, ready)
                    self._learn(lane, line, outcome)
                    self._end(ready.claimed, outcome, in_doubt=ready.in_doubt)
                else:
                    self._drop(ready)
                line.active -= 1
                now = self._clock.micros()
                goes_on = self._may_start(lane) and line.may_start_at(now) == now
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

    def _learn(self, lane: Lane, line: Line[Ready], outcome: Outcome) -> None:
        """What an attempt says of its lane: a wider or narrower window, death, or life."""
        at, before = self._clock.micros(), line.window
        line.is_ours_to_mend &= isinstance(outcome, OwnFault | Deferred)
        line.window = after(before, sign_of(outcome), at, line.most, self._policy)
        line.asked_until = max(line.asked_until, asked := asked_to_wait_until(outcome, at))
        if before.deaths == line.window.deaths and not asked:
            return
        self._rests_changed.add(lane)
        if line.window.deaths > before.deaths:
            seconds = (line.window.dead_until - at) / SECOND
            log.warning("lane_dead", schuldeiser=lane[0], kanaal=lane[1], seconden=seconds)
        elif before.deaths:
            log.info("lane_alive", schuldeiser=lane[0], kanaal=lane[1])

    def _end(self, claimed: Claimed, outcome: Outcome, *, in_doubt: bool | None = None) -> None:
        """`in_doubt` None: it did not come to an attempt, so what was in doubt still is."""
        at = self._clock.micros()
        in_doubt = is_in_doubt(claimed) if in_doubt is None else in_doubt
        lane = (claimed.creditor, claimed.channel)
        line = self._line(lane)
        line.held_until = max(line.held_until, held_until(outcome, at))
        self._leave_line(claimed)
        line.is_ours_to_mend |= isinstance(outcome, OwnFault)
        self._settling.add(Ended(claimed, outcome, at, self._jitter(), in_doubt))
        self._make_way(line, at)

    def _make_way(self, line: Line[Ready], now: int) -> None:
        """Where the lane rests for long, nothing waits in it."""
        if line.rests_until - now > REST_IN_LINE:
            self._defer([ready.claimed for ready in line.empty()], (line.rests_until - now) / SECOND)

    def _defer(self, claims: Iterable[Claimed], seconds: float) -> None:
        """Their lane rests: it costs them no retry, and who is overdue does not wait for it."""
        for claimed in claims:
            self._end(claimed, Deferred(seconds, RESTING))

    async def _settle(self, batch: list[Ended]) -> None:
        by_claim = {(ended.claimed.id, ended.claimed.fence): ended for ended in batch}
        decisions: dict[str, Decision] = {}

        def settle_one(locked: Locked) -> Settlement:
            settlement = self._settlement(by_claim[locked.id, locked.fence], locked)
            decisions[locked.id] = settlement.decision
            return settlement

        rests = self._rests(self._rests_changed)
        released = await self._ledger.run(settle, [self._result(ended) for ended in batch], settle_one, rests)
        self._rests_changed -= {lane for lane, rest in rests.items() if rest == self._rest(lane)}
        self.wake(released)
        self._on_events()
        if any(decision.reviews for decision in decisions.values()):
            self._on_agenda()
        for ended in batch:
            self._forget(ended)
            decision = decisions.get(ended.claimed.id)
            if decision is not None:
                self._follow(ended, decision)

    def _rests(self, lanes: Iterable[Lane]) -> dict[Lane, Rest]:
        """How these lanes stand, where that is for us to say."""
        return {lane: self._rest(lane) for lane in lanes if self._tenure.is_mine(lane)}

    def _rest(self, lane: Lane) -> Rest:
        line = self._line(lane)
        return Rest.of(line.asked_until, line.window)

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

    # -- ownership --------------------------------------------------------------------------------------------------

    def _take_over(self, rests: Mapping[Lane, Rest]) -> None:
        """These lanes are ours from now on, and stand so."""
        for lane, rest in rests.items():
            line = self._line(lane)
            line.window = rest.window
            line.asked_until = rest.held_until
            line.held_until = max(line.held_until, rest.held_until)
            self._pump(lane)
        self._plan(rests, 0)
        self._sweep_now.set()

    def _hand_over(self, lanes: Collection[Lane]) -> None:
        """These lanes are another gateway's, or to be so: what has not started is given back."""
        for lane in lanes:
            unstarted = self._line(lane).empty()
            for ready in unstarted:
                self._drop(ready)
            if unstarted:
                task = asyncio.create_task(self._give_back(unstarted))
                self._chores.add(task)
                task.add_done_callback(self._chores.discard)

    def _is_idle(self, lane: Lane) -> bool:
        return self._line(lane).claimed == 0

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            if self._held:
                await self._try(queue.renew, list(self._held), self._tenure.me, self._lease_end(self._clock.micros()))

    async def _sweep_forever(self) -> None:
        """Find work that nobody woke us for: a restart, another gateway's lost leases, its retries; and what is overdue
        in lanes that rest."""
        while not self._stopping:
            self._sweep_now.clear()
            lanes = await self._try(queue.sweep)
            for lane, at in (lanes or {}).items():
                if self._tenure.is_mine(lane):
                    self._plan([lane], at)
                else:
                    self._tenure.want(lane)
            await self._plan_ahead()
            await self._pass_by_resting()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease / 2):
                    await self._sweep_now.wait()

    async def _plan_ahead(self) -> None:
        """What falls due before the next sweep in lanes of ours, so that what is spread in time stays spread."""
        now = self._clock.micros()
        coming = await self._try(queue.coming, now, now + int(self._lease / 2 * SECOND), COMING_AT_MOST)
        for lane, at in coming or ():
            if self._tenure.is_mine(lane):
                self._plan([lane], at)

    async def _pass_by_resting(self) -> None:
        """What is overdue in a lane that rests goes to the next channel, or is given up; see core/lane.py."""
        now = self._clock.micros()
        lines = sorted(self._lines.items())
        resting = [lane for lane, line in lines if line.rests_until > now and self._tenure.may_send(lane)]
        if not resting:
            return
        asked = {
            lane: Wanted(OVERDUE_AT_ONCE, 0, self._late_since(lane, now), self._tenure.fence(lane)) for lane in resting
        }
        claims = await self._try(queue.claim_overdue, asked, self._tenure.me, now, self._lease_end(now))
        for claimed in claims or ():
            self._hold(claimed)
        self._defer(claims or (), OVERDUE_AGAIN)

    def _late_since(self, lane: Lane, now: int) -> int:
        """Who is on this channel since then or longer goes to the next one; 0: there is none."""
        entry = self._links.register.by_id.get(lane[0])
        if entry is None or self._links.open_channels(lane[0])[-1:] == (lane[1],):
            return 0
        return now - entry.fallback_after // timedelta(microseconds=1)

    async def _try(
        self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Upkeep that can be left out this time when the ledger is away."""
        try:
            return await self._ledger.run(transaction, *args, **kwargs)
        except (LedgerAway, Contention) as why:
            log.warning("ledger_away", stap="onderhoud", reden=str(why))
            return None
