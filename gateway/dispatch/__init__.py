"""The dispatch stage: what is due is claimed, rendered once, frozen, sent over its lane, and settled.

    claiming ─► preparing ─► sending ─► settling          each knows those after it, and none before
        ▲           │                     ▲   │
        │           └─ needs no attempt ──┘   │
        └── due ◄── wake ◄────────────────────┘           wake: also by intake, by the clock, by upkeep's sweep

They share what is `in_hand`. Between ledger and lane everything goes in group commits. A lane is one creditor on one
channel with its own window and rate; what it has claimed beyond that waits in its own line, so a slow creditor costs
the others nothing. While a lane rests (its peer asked for it, it is dead, or the fault is ours) nothing is sent on it;
what waits is deferred by us, and looked at only where its own time is up.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping

from gateway.cancellation import or_cut_off
from gateway.clock import Clock
from gateway.core.outcome import Outcome
from gateway.core.retry import Policy
from gateway.dispatch.claiming import Claiming
from gateway.dispatch.due import Due
from gateway.dispatch.giving_back import GivingBack
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.preparing import Preparing
from gateway.dispatch.rendering import Rendering
from gateway.dispatch.results import Results
from gateway.dispatch.sending import Sending
from gateway.dispatch.settling import Settling
from gateway.dispatch.tenure import Tenure
from gateway.dispatch.upkeep import Upkeep
from gateway.evidence import Testimony
from gateway.ledger import lanes as lane_rows
from gateway.ledger import queue
from gateway.ledger.engine import Ledger
from gateway.ledger.lanes import Rest
from gateway.ledger.queue import Claimed
from gateway.links import Lane, Links
from gateway.log import logger
from gateway.seal import Sealer

log = logger(__name__)


class Dispatch:
    """Construct, then `run`. `wake` tells it that lanes have new work; `on_events` is called when events were written,
    `on_agenda` when something changed that the clock may have plans with.

    `on_attempt` is told every attempt with its outcome, begin and end (epoch µs), `on_batch` every group commit by name
    and size. `lease` and `attempt_timeout` in seconds; `jitter` gives 0 ≤ j < 1.
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
        jitter: Callable[[], float] = random.random,
        on_attempt: Callable[[Claimed, Outcome, int, int], None] = lambda *_: None,
        on_batch: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._policy = policy
        self._due = due = Due()
        self._in_hand = in_hand = InHand(links, lease, on_room=due.look)
        self._giving_back = giving_back = GivingBack(ledger, clock, in_hand, wake=self.wake)
        self._tenure = tenure = Tenure(
            ledger,
            clock,
            owner,
            lease,
            on_taken=self._take_over,
            on_leaving=giving_back.hand_over,
            is_idle=in_hand.is_idle,
            on_work=self._heard,
        )
        self._settling = settling = Settling(
            ledger,
            links,
            Results(links, sealer, testimony, policy),
            clock,
            tenure,
            in_hand,
            policy=policy,
            jitter=jitter,
            is_sending=self._is_sending,
            wake=self.wake,
            on_events=on_events,
            on_agenda=on_agenda,
            on_batch=on_batch,
        )
        self._sending = sending = Sending(
            ledger,
            links,
            clock,
            tenure,
            in_hand,
            settling,
            giving_back,
            attempt_timeout=attempt_timeout,
            on_attempt=on_attempt,
        )
        rendering = Rendering(sealer, testimony)
        self._preparing = Preparing(
            ledger, links, rendering, clock, tenure, in_hand, sending, settling, on_batch=on_batch
        )
        self._claiming = Claiming(ledger, clock, tenure, in_hand, due, self._preparing)
        self._upkeep = Upkeep(ledger, links, clock, tenure, in_hand, due, settling, lease=lease)

    @property
    def me(self) -> str:
        """What this gateway is called in the ledger."""
        return self._tenure.me

    # -- told -------------------------------------------------------------------------------------------------------

    def wake(self, lanes: Iterable[Lane], at: int = 0) -> None:
        """These lanes have work from the instant `at` (epoch µs; 0: now); who owns them is told."""
        for lane in lanes:
            if self._tenure.is_mine(lane):
                self._heard(lane, at)
            else:
                self._tenure.tell(lane, at)

    def _heard(self, lane: Lane, at: int) -> None:
        if at == 0:
            self._in_hand.line(lane).has_news = True
        self._due.plan([lane], at)

    def withdraw(self, ids: Collection[str]) -> None:
        """These were withdrawn, or are sent again no more: what waits of them in a line here is not started."""
        self._in_hand.withdraw(ids)

    def limits_changed(self) -> None:
        """Another register is in force: what its limits allow now may start."""
        for lane in self._in_hand.lines:
            self._sending.pump(lane)
        self._due.look()

    def _take_over(self, rests: Mapping[Lane, Rest]) -> None:
        """These lanes are ours from now on, and stand so."""
        now = self._clock.micros()
        for lane, rest in rests.items():
            self._in_hand.line(lane).stand_as(rest, now, self._policy)
            self._sending.pump(lane)
        self._due.plan(rests, 0)
        self._upkeep.sweep_soon()

    # -- asked ------------------------------------------------------------------------------------------------------

    def held(self) -> list[Lane]:
        """Lanes on which nothing may start now."""
        return self._in_hand.resting(self._clock.micros())

    def running(self) -> list[Lane]:
        """The lane of every attempt under way."""
        return self._in_hand.running()

    def _is_sending(self) -> bool:
        return self._sending.slots > 0

    # -- running ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; then `stop` must be awaited by who cancelled it."""
        if self._ledger.embedded:
            await self._ledger.run(queue.release_all, self._clock.micros())
            self._take_over(await self._ledger.run(lane_rows.rests))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(or_cut_off(self._tenure.run()))
            tasks.create_task(or_cut_off(self._preparing.run()))
            tasks.create_task(or_cut_off(self._settling.run()))
            tasks.create_task(or_cut_off(self._upkeep.renew_forever()))
            tasks.create_task(or_cut_off(self._upkeep.sweep_forever()))
            tasks.create_task(or_cut_off(self._claiming.run()))

    async def stop(self, patience: float) -> None:
        """To be awaited while `run` still runs: claim nothing more, give back what has not started, wait at most
        `patience` seconds for what is under way, and settle it."""
        self._tenure.end()
        self._due.look()
        try:
            async with asyncio.timeout(patience):
                await self._wind_up()
        except TimeoutError:
            log.warning("attempts_left", aantal=self._sending.slots)
        await self._giving_back.give_back(self._in_hand.waiting())
        await self._tenure.leave()

    async def _wind_up(self) -> None:
        await self._claiming.ended()
        await self._giving_back.drained()
        await self._preparing.drained()
        await self._sending.drained()
        await self._settling.drained()
