"""From an attempt that has ended to what the ledger records of it."""

from msgspec import Struct

from gateway.core.creditor import Creditor
from gateway.core.lane import Standing, decide
from gateway.core.outcome import HandedOver, Outcome, evidence_of, name_of
from gateway.core.retry import Policy
from gateway.evidence import Testimony
from gateway.ledger.evidence import Record, Subject
from gateway.ledger.queue import Claimed
from gateway.ledger.settle import Locked, Result, Settlement
from gateway.links import Links
from gateway.seal import Sealer, aad


class Ended(Struct, frozen=True):
    """An attempt that has ended; `at` in epoch µs."""

    claimed: Claimed
    outcome: Outcome
    at: int
    jitter: float
    in_doubt: bool
    """It came no further than to ask whether an earlier attempt had arrived, or not that far."""


class Results:
    def __init__(self, links: Links, sealer: Sealer, testimony: Testimony, policy: Policy) -> None:
        self._links = links
        self._sealer = sealer
        self._testimony = testimony
        self._policy = policy

    def result(self, ended: Ended) -> Result:
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
            has_answer=isinstance(outcome, HandedOver) and outcome.answer is not None,
        )

    def late(self, ended: Ended, subject: Subject) -> Record | None:
        """What its answer means, where its claim was lost."""
        return self._testimony.late_answer(subject, ended.claimed, ended.outcome, ended.at)

    def settlement(self, ended: Ended, locked: Locked) -> Settlement:
        """What it means for the delivery, which is under lock."""
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
            came_back=locked.came_back,
            in_doubt=ended.in_doubt,
        )
        decision = decide(standing, outcome, ended.at, ended.jitter, self._policy)
        return self._testimony.settlement(claimed, decision, outcome, locked.decision, ended.at)
