"""A round in numbers, and what was wrong with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.invariants import Finding
from tests.faults.sightings import Sighting


@dataclass
class Figures:
    """What a round was, in numbers. `kills` by what died; `duplicates` by channel; `recovery` in seconds."""

    fault: str = ""
    engine: str = ""
    kills: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    notices: int = 0
    deliveries: int = 0
    sightings: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    events: int = 0
    losses: int = 0
    recovery: float = 0.0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What is wrong besides the invariants."""
    findings: list[Finding] = field(default_factory=list)

    def count_kill(self, what: str, point: str = "") -> None:
        self.kills[what] = self.kills.get(what, 0) + 1
        if point:
            self.points[point] = self.points.get(point, 0) + 1

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.broken]

    def count_sightings(self, seen: Iterable[Sighting]) -> None:
        """What comes again counts as a duplicate."""
        first: set[tuple[str, str]] = set()
        for one in seen:
            counted = self.duplicates if (one.delivery, one.channel) in first else self.sightings
            counted[one.channel] = counted.get(one.channel, 0) + 1
            first.add((one.delivery, one.channel))
