"""I17: attempts of one delivery on one channel keep to the schedule."""

from functools import cache

from msgspec import Struct

from gateway.core.lane import OWN_FAULT_PAUSE, SECOND
from gateway.core.retry import Policy

SPENDING = ("tijdelijk", "onzeker")
"""Outcomes after which the schedule says when to try again."""


class Pace(Struct):
    """The attempts so far on `channel`."""

    channel: str
    attempts: int = 0
    failures: int = 0

    def fault(
        self,
        channel: str,
        started_at: int,
        before: tuple[str | None, int | None] | None,
        horizon: tuple[int, int],
        policy: Policy,
    ) -> str | None:
        """What is wrong with an attempt that starts at `started_at`. `before`: outcome and end of the former one;
        `horizon`: when the delivery was made and when it is given up; that last attempt may come early."""
        if channel != self.channel:
            self.channel, self.attempts, self.failures, before = channel, 0, 0, None
        self.attempts += 1
        if before is None:
            return None
        outcome, finished_at = before
        self.failures += outcome in SPENDING
        if finished_at is None:
            return "een poging terwijl de vorige nog loopt"
        waited = started_at - finished_at
        if waited < self._least(outcome, policy) and started_at < horizon[1]:
            return f"poging {self.attempts} kwam al na {waited / SECOND:.0f} s"
        if self.failures >= most_attempts((horizon[1] - horizon[0]) // SECOND, policy):
            return f"{self.failures + 1} pogingen zijn er te veel"
        return None

    def _least(self, outcome: str | None, policy: Policy) -> int:
        if outcome in SPENDING:
            return int(wait(self.failures, policy) * SECOND)
        return int(OWN_FAULT_PAUSE * SECOND) if outcome == "eigen_fout" else 0


def wait(failures: int, policy: Policy) -> float:
    """The shortest wait in seconds after so many failures."""
    return float(min(policy.first * 2 ** min(failures - 1, 40), policy.highest))


@cache
def most_attempts(horizon: int, policy: Policy) -> int:
    """Within `horizon` seconds; the last one is made at its end."""
    attempts, elapsed = 1, 0.0
    while elapsed < horizon:
        elapsed += wait(attempts, policy)
        attempts += 1
    return attempts + 1
