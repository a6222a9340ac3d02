"""What happened, as counts: per kind of message, of creditor, of event and of task."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, structs

from gateway.core.deadlines import AMSTERDAM
from gateway.core.lane import SECOND
from gateway.simulation.invariants import Violation
from gateway.simulation.population import tempers
from gateway.simulation.world import World

Counts = dict[str, int]
PerTemper = dict[str, Counts]


class Broken(Struct, frozen=True, rename={"invariant": "invariant", "what": "wat", "at": "tijdstip", "seed": "seed"}):
    """The violation that ended the run; `at` in RFC 3339, virtual."""

    invariant: str
    what: str
    at: str
    seed: int


class Report(
    Struct,
    frozen=True,
    rename={
        "creditors": "schuldeisers",
        "days": "dagen",
        "posted": "berichten",
        "deliveries": "bezorgingen",
        "states": "toestanden",
        "answers": "antwoorden",
        "decisions": "besluiten",
        "attempts": "pogingen",
        "sightings": "ontvangsten",
        "events": "gebeurtenissen",
        "tasks": "taken",
        "checks": "gecontroleerd",
        "trail": "vingerafdruk",
        "broken": "geschonden",
    },
):
    """Per kind of message, and per temper of creditor where it says so."""

    seed: int
    dossiers: int
    days: int
    creditors: Counts
    posted: PerTemper
    """soort → what became of it"""
    deliveries: PerTemper
    states: PerTemper
    """Of kennisgevingen."""
    answers: PerTemper
    decisions: PerTemper
    attempts: PerTemper
    sightings: PerTemper
    events: PerTemper
    tasks: PerTemper
    checks: Counts
    trail: str
    broken: Broken | None = None


def report(world: World) -> Report:
    kinds = tempers()
    return Report(
        seed=world.plan.seed,
        dossiers=world.plan.dossiers,
        days=world.plan.days,
        creditors=_sorted(Counter(str(kind) for kind in kinds.values())),
        posted=_nested(world.gemeenten.posted),
        checks=_sorted(world.verdict.checks),
        trail=world.trail.hexdigest(),
        broken=None if world.verdict.violation is None else _broken(world.verdict.violation, world.plan.seed),
        events=_nested(_by_temper(world.gemeenten.events)),
        sightings=_nested(_sightings(world)),
        **{name: _nested(_by_temper(_count(world, query))) for name, query in _QUERIES.items()},
    )


_KINDS = "CASE kind WHEN 'receipt' THEN 'ontvangstbevestiging' ELSE 'ongeldig' END"
_QUERIES = {
    "deliveries": "SELECT soort, creditor, count(*) FROM delivery GROUP BY 1, 2",
    "states": "SELECT state, creditor, count(*) FROM delivery WHERE soort = 'kennisgeving' GROUP BY 1, 2",
    "answers": f"SELECT coalesce(soort, {_KINDS}), creditor, count(*) FROM evidence GROUP BY 1, 2",  # noqa: S608
    "decisions": "SELECT decision, creditor, count(*) FROM delivery WHERE decision IS NOT NULL GROUP BY 1, 2",
    "attempts": """SELECT coalesce(outcome, 'loopt'), creditor, count(*) FROM attempt
        JOIN delivery ON delivery.id = delivery_id GROUP BY 1, 2""",
    "tasks": "SELECT soort, coalesce(creditor, ''), count(*) FROM task GROUP BY 1, 2",
}


def joined(reports: Sequence[Report]) -> Report:
    """Of the parts of one run: counts are added up; of what is broken, the first in virtual time."""
    parts = [structs.asdict(report) for report in reports]
    counts = {name: _sum([part[name] for part in parts]) for name, value in parts[0].items() if isinstance(value, dict)}
    broken = [report.broken for report in reports if report.broken is not None]
    return structs.replace(
        reports[0],
        **{**counts, "creditors": reports[0].creditors},
        trail=hashlib.sha256("".join(report.trail for report in reports).encode()).hexdigest(),
        broken=min(broken, key=lambda one: one.at, default=None),
    )


def _sum(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = sorted({name for part in parts for name in part})
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: _sum(values) if isinstance(values[0], dict) else sum(values) for name, values in found.items()}


def _count(world: World, query: str) -> Counter[tuple[str, str]]:
    """(what, creditor) → how many."""
    return Counter({(what, creditor): count for what, creditor, count in world.ledger.raw.execute(query)})


def _sightings(world: World) -> Counter[tuple[str, str]]:
    """(soort, temper); what came again is counted apart."""
    counts: Counter[tuple[str, str]] = Counter()
    for (creditor, soort, first), count in world.trail.sightings.items():
        counts[soort if first else f"{soort} (nog eens)", creditor] += count
    return _by_temper(counts)


def _by_temper(counts: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    """ "-": about no creditor in particular."""
    kinds = tempers()
    result: Counter[tuple[str, str]] = Counter()
    for (what, creditor), count in counts.items():
        result[what, str(kinds.get(creditor, "-"))] += count
    return result


def _nested(counts: Mapping[tuple[str, str], int]) -> PerTemper:
    result: PerTemper = {}
    for (what, whose), count in sorted(counts.items()):
        result.setdefault(what, {})[whose] = count
    return result


def _sorted(counts: Mapping[str, int]) -> Counts:
    return dict(sorted(counts.items()))


def _broken(violation: Violation, seed: int) -> Broken:
    at = datetime.fromtimestamp(violation.at / SECOND, UTC).astimezone(AMSTERDAM)
    return Broken(violation.invariant, violation.what, at.isoformat(timespec="seconds"), seed)
