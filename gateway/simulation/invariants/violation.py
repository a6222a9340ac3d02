"""The first invariant that does not hold ends the run."""

from collections import Counter
from collections.abc import Callable

from msgspec import Struct


class Violation(Struct, frozen=True):
    """`what` is Dutch and names dossier or delivery; `at` in epoch µs."""

    invariant: str
    what: str
    at: int


class Verdict:
    """Nothing is raised where the violation is found, in the middle of the gateway's own work: who waits is told."""

    def __init__(self, now: Callable[[], int], on_violation: Callable[[], None]) -> None:
        self.now = now
        self._on_violation = on_violation
        self.violation: Violation | None = None
        self.checks: Counter[str] = Counter()
        """How often each invariant was looked at."""

    def broken(self, invariant: str, what: str) -> None:
        if self.violation is None:
            self.violation = Violation(invariant, what, self.now())
            self._on_violation()
