"""Settling: what attempts ended in is decided and written, and what follows from it for their lanes."""

from collections.abc import Callable, Iterable

from gateway.batches import Batches
from gateway.clock import Clock
from gateway.core.lane import SECOND, Decision
from gateway.core.lifecycle import State
from gateway.core.outcome import Deferred, Outcome, evidence_of
from gateway.core.retry import Policy
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.lanes import Line
from gateway.dispatch.rendering import Ready, is_in_doubt
from gateway.dispatch.results import Ended, Results
from gateway.dispatch.tenure import Tenure
from gateway.ledger.engine import Ledger
from gateway.ledger.evidence import Record, Subject
from gateway.ledger.lanes import Owned
from gateway.ledger.queue import Claimed, Token
from gateway.ledger.settle import Locked, Result, Settlement, settle
from gateway.links import Lane, Links
from gateway.log import logger

log = logger(__name__)

REST_IN_LINE = 2 * SECOND
"""µs: where a lane rests for longer, what waits in it is given back to the ledger, deferred."""
RESTING = "baan_rust"
"""Code of what we defer because its lane rests."""


class Settling:
    """Settled in group commits; `on_batch` is told their size. `is_sending` says that attempts are under way; `wake` is
    told of lanes that have work because of what was settled, `on_events` and `on_agenda` as in `Dispatch`."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        results: Results,
        clock: Clock,
        tenure: Tenure,
        in_hand: InHand,
        *,
        policy: Policy,
        jitter: Callable[[], float],
        is_sending: Callable[[], bool],
        wake: Callable[[Iterable[Lane], int], None],
        on_events: Callable[[], None],
        on_agenda: Callable[[], None],
        on_batch: Callable[[str, int], None],
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._results = results
        self._clock = clock
        self._tenure = tenure
        self._in_hand = in_hand
        self._policy = policy
        self._jitter = jitter
        self._wake = wake
        self._on_events = on_events
        self._on_agenda = on_agenda
        # nobody waits for an outcome to be written, so the first waits for those that come with it
        self._settling = Batches(
            "afrekenen", self._settle, spoiled=self._leave_to_lease, more_coming=is_sending, on_batch=on_batch
        )

    async def run(self) -> None:
        await self._settling.run()

    async def drained(self) -> None:
        """Everything that has ended so far is on record."""
        await self._settling.drained()

    # -- what has ended ---------------------------------------------------------------------------------------------

    def attempted(self, ready: Ready, outcome: Outcome) -> None:
        """An attempt has ended: its lane learns from it too."""
        self._learn(ready.claimed.lane, outcome)
        self.end(ready.claimed, outcome, in_doubt=ready.in_doubt)

    def end(self, claimed: Claimed, outcome: Outcome, *, in_doubt: bool | None = None) -> None:
        """`in_doubt` None: it did not come to an attempt, so what was in doubt still is."""
        at = self._clock.micros()
        in_doubt = is_in_doubt(claimed) if in_doubt is None else in_doubt
        line = self._in_hand.line(claimed.lane)
        line.hold_after(outcome, at)
        self._in_hand.leave_line(claimed)
        self._settling.add(Ended(claimed, outcome, at, self._jitter(), in_doubt))
        self.make_way(line, at)

    def defer(self, claims: Iterable[Claimed], seconds: float) -> None:
        """Their lane rests: it costs them no retry, and who is overdue does not wait for it."""
        for claimed in claims:
            self.end(claimed, Deferred(seconds, RESTING))

    def make_way(self, line: Line[Ready], now: int) -> None:
        """Where the lane rests for long, nothing waits in it."""
        rest = line.rests_until(now) - now
        if rest > REST_IN_LINE:
            self.defer([ready.claimed for ready in line.empty()], rest / SECOND)

    def _learn(self, lane: Lane, outcome: Outcome) -> None:
        line, at = self._in_hand.line(lane), self._clock.micros()
        deaths = line.window.deaths
        line.learn(outcome, at, self._policy)
        if line.window.deaths > deaths:
            seconds = (line.window.dead_until - at) / SECOND
            log.warning("lane_dead", schuldeiser=lane[0], kanaal=lane[1], seconden=seconds)
        elif line.window.deaths < deaths:
            log.info("lane_alive", schuldeiser=lane[0], kanaal=lane[1])

    # -- on record --------------------------------------------------------------------------------------------------

    async def _settle(self, batch: list[Ended]) -> None:
        by_claim = {ended.claimed.token: ended for ended in batch}
        decisions: dict[Token, Decision] = {}

        def settle_one(locked: Locked) -> Settlement:
            settlement = self._results.settlement(by_claim[locked.id, locked.fence], locked)
            decisions[locked.id, locked.fence] = settlement.decision
            return settlement

        def late_one(result: Result, subject: Subject) -> Record | None:
            return self._results.late(by_claim[result.id, result.fence], subject)

        rests = self._rests({ended.claimed.lane for ended in batch})
        results = [self._results.result(ended) for ended in batch]
        released = await self._ledger.run(settle, results, settle_one, rests, late_one)
        for lane, written in rests.items():
            self._in_hand.line(lane).on_record = written.rest
        self._wake(released, 0)
        self._on_events()
        if any(result.has_answer for result in results) or any(one.reviews for one in decisions.values()):
            self._on_agenda()
        for ended in batch:
            self._in_hand.forget(ended.claimed)
            decision = decisions.get(ended.claimed.token)
            if decision is not None:
                self._follow(ended, decision)

    def _rests(self, lanes: Iterable[Lane]) -> dict[Lane, Owned]:
        """How those of them stand that the ledger has otherwise, where that is for us to say."""
        lines = {lane: self._in_hand.line(lane) for lane in lanes if self._tenure.is_mine(lane)}
        return {
            lane: Owned(self._tenure.fence(lane) or 0, line.rest)
            for lane, line in lines.items()
            if line.rest != line.on_record
        }

    def _leave_to_lease(self, ended: Ended) -> None:
        self._in_hand.forget(ended.claimed)

    def _follow(self, ended: Ended, decision: Decision) -> None:
        """Carry out what the decision says about the lane."""
        claimed, outcome = ended.claimed, ended.outcome
        creditor, channel = claimed.lane
        if decision.alarm == "eigen_fout":
            log.error("own_fault", schuldeiser=creditor, kanaal=channel, code=evidence_of(outcome).code)
        if decision.alarm == "andere_inhoud":
            code = evidence_of(outcome).code
            log.error("other_content", bezorging=claimed.id, schuldeiser=creditor, kanaal=channel, code=code)
        if decision.closes_channel:
            log.error("channel_closed", schuldeiser=creditor, kanaal=channel, code=evidence_of(outcome).code)
            self._links.close_lanes([claimed.lane])
        if decision.state is State.FAILED:
            code = evidence_of(outcome).code
            log.error("delivery_failed", bezorging=claimed.id, schuldeiser=creditor, kanaal=channel, code=code)
        if decision.next_action_at is not None:
            self._wake([(creditor, decision.channel)], decision.next_action_at)
