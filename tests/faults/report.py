"""`docs/guarantee-report.md`, written by the run itself: what was done, how often, and what came of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.campaign import FAULTS
from tests.faults.figures import Figures
from tests.faults.points import POINTS
from tests.faults.teeth import TEETH, Bite

REPORT = Path(__file__).parents[2] / "docs" / "guarantee-report.md"
OUTSIDE = (
    "Not part of the campaign: I18, I21 and I22, which wait for the chained audit log; F9, F13 and F23, of which other",
    "tests show a part (clocks, TLS, upgrades, restored backups); F22, which waits for adapters in a process of their",
    "own.",
)


def write(path: Path, seed: int, rounds: Sequence[Figures], bites: Sequence[Bite], seconds: float) -> None:
    path.write_text("\n".join(_lines(seed, rounds, bites, seconds)) + "\n")


def _lines(seed: int, rounds: Sequence[Figures], bites: Sequence[Bite], seconds: float) -> list[str]:
    kills = _sum(one.kills for one in rounds)
    return [
        "# What the fault campaign found",
        "",
        f"Written by `make faults` itself: seed {seed}, {seconds / 60:.0f} minutes, on one machine with real gateways,",
        "RabbitMQ, PostgreSQL and creditors. The invariants are in `gateway/invariants/__init__.py` and",
        "`tests/faults/verdict.py`.",
        "",
        *_table(("", "number"), _totals(rounds, kills)),
        "",
        f"**{_headline(rounds)}**",
        "",
        *unseen(rounds),
        *OUTSIDE,
        "",
        "## Faults",
        "",
        "A line per fault, its rounds together. Recovery is the longest time from the last fault of a round until all",
        "was accepted, delivered and told.",
        "",
        *_table(
            (
                "fault",
                "what",
                "killed or stopped",
                "messages",
                "deliveries",
                "seen again",
                "lost",
                "recovery",
                "verdict",
            ),
            [_fault(name, [one for one in rounds if one.fault == name]) for name in FAULTS],
        ),
        "",
        *(line for one in rounds for line in _notes(one)),
        "",
        "## Crash points",
        "",
        "How often the gateway died at each point, in all faults together.",
        "",
        *_table(("point", "deaths"), sorted(_points(rounds).items())),
        "",
        "## Seen again, by channel",
        "",
        "Deliveries that a creditor saw more than once, always the same bytes under the same key.",
        "",
        *_table(("channel", "deliveries seen", "seen again"), _channels(rounds)),
        "",
        "## Invariants",
        "",
        *_table(("invariant", "what must hold", "looked at", "broken"), _invariants(rounds)),
        "",
        "I19 (what is done again after a lost answer to COMMIT changes nothing) looks at rounds in which one was lost.",
        "What the clock does is scaled: a withdrawal waits 6 s, not 2 minutes, for an attempt that a kill left",
        "open, a lane rests 2 s, not a minute, after a fault of our own, retries begin at 0.2 s, and a lease is 2 s. A",
        "gateway that is stopped stands still for 5 s in F21, and for 1 to 5 s in F24.",
        "RabbitMQ stays away for 75 s, not ten minutes, which is longer than all of these.",
        "",
        "## Teeth",
        "",
        *_teeth(seed, bites),
    ]


def write_teeth(path: Path, seed: int, bites: Sequence[Bite]) -> None:
    """The last section of a report anew, after a run of the teeth alone."""
    kept = path.read_text().partition("## Teeth\n")[0]
    path.write_text(kept + "\n".join(["## Teeth", "", *_teeth(seed, bites)]) + "\n")


def _teeth(seed: int, bites: Sequence[Bite]) -> list[str]:
    return [
        f"Bugs put into the gateway for the length of a round (seed {seed}): the campaign must see each.",
        "",
        *_table(("bug", "what", "turned red", "caught"), [_bite(bug, bites) for bug in TEETH]),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    ruler = "|" + "|".join("---" for _ in head) + "|"
    return [_row(head), ruler, *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _totals(rounds: Sequence[Figures], kills: Counter[str]) -> list[tuple[str, object]]:
    names = {"gateway": "gateways killed", "rabbitmq": "RabbitMQ killed", "postgresql": "PostgreSQL killed",
             "postgresql backend": "PostgreSQL backends killed", "stopped": "gateways stopped for 1 to 5 seconds",
             "connection": "connections to RabbitMQ cut",
             "power": "power cuts", "schuldeisers apply": "`kennisgeving schuldeisers apply` killed"}  # fmt: skip
    return [
        ("rounds, each with an empty ledger", sum(not is_skipped(one) for one in rounds)),
        *((says, kills[name]) for name, says in names.items()),
        ("messages confirmed", sum(one.notices for one in rounds)),
        ("deliveries", sum(one.deliveries for one in rounds)),
        ("events", sum(one.events for one in rounds)),
        ("seen again by creditors", sum(_sum(one.duplicates for one in rounds).values())),
        ("lost", sum(one.losses for one in rounds)),
        ("longest recovery, seconds", f"{max((one.recovery for one in rounds), default=0):.1f}"),
    ]


def _headline(rounds: Sequence[Figures]) -> str:
    """All is well only where all was tried."""
    red = [one for one in rounds if one.broken or one.faults]
    if red:
        return f"{len(red)} of {len(rounds)} rounds are red."
    tried, skipped = {one.fault for one in rounds}, {one.fault for one in rounds if is_skipped(one)}
    missing = [name for name in FAULTS if name not in tried or name in skipped]
    if missing:
        return f"Every invariant held in the rounds that were run. Not run, or not all of it: {', '.join(missing)}."
    return "Every invariant held in every round."


def unseen(rounds: Sequence[Figures]) -> list[str]:
    """What the headline does not cover."""
    found = [f"{invariant} ({what})" for invariant, what, checked, _ in _invariants(rounds) if not checked]
    return [f"In no round there was anything to look at for: {'; '.join(found)}."] if found else []


def is_skipped(one: Figures) -> bool:
    """This machine would not let us."""
    return any(note.startswith("SKIPPED") for note in one.notes)


def _fault(name: str, rounds: Sequence[Figures]) -> tuple[object, ...]:
    if not rounds or all(map(is_skipped, rounds)):
        return (name, FAULTS[name].title, *"------", "**skipped**" if rounds else "**not run**")
    kills = _sum(one.kills for one in rounds)
    broken = sorted({finding.invariant for one in rounds for finding in one.broken})
    part = any(map(is_skipped, rounds))
    wrong = broken + [fault for one in rounds for fault in one.faults]
    return (
        name,
        FAULTS[name].title,
        ", ".join(f"{number} {what}" for what, number in sorted(kills.items())) or "-",
        sum(one.notices for one in rounds),
        sum(one.deliveries for one in rounds),
        sum(_sum(one.duplicates for one in rounds).values()),
        sum(one.losses for one in rounds),
        f"{max(one.recovery for one in rounds):.1f} s",
        f"RED: {'; '.join(wrong).splitlines()[0]}" if wrong else "held, part **skipped**" if part else "held",
    )


def _notes(one: Figures) -> list[str]:
    if one.fault == "F24" and one.notes:
        return [f"- F24: {'; '.join(one.notes)}"]
    return [f"- {one.fault}, {one.engine or '-'}: {note}" for note in one.notes]


def _points(rounds: Sequence[Figures]) -> dict[str, int]:
    deaths = _sum(one.points for one in rounds)
    return {**dict.fromkeys(POINTS, 0), **deaths}


def _channels(rounds: Sequence[Figures]) -> list[tuple[str, int, int]]:
    seen, again = _sum(one.sightings for one in rounds), _sum(one.duplicates for one in rounds)
    return [(channel, seen[channel], again[channel]) for channel in sorted(seen)]


def _invariants(rounds: Sequence[Figures]) -> list[tuple[object, ...]]:
    checked, broken = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in rounds:
        for finding in one.findings:
            key = (finding.invariant, finding.what)
            checked[key] += finding.checked
            broken[key] += len(finding.broken)
    by_number = sorted(checked, key=lambda key: (key[0][0] == "F", int(key[0][1:]), key[1]))
    return [(*key, checked[key], broken[key]) for key in by_number]


def _bite(bug: str, bites: Sequence[Bite]) -> tuple[str, str, str, str]:
    one = next((one for one in bites if one.bug == bug), None)
    if one is None or one.skipped:
        return (f"`{bug}`", TEETH[bug].what, one.skipped if one else "-", "**not tried**")
    red = f"broke off: {one.broke_off.splitlines()[0]}" if one.broke_off else ", ".join(one.broken) or "-"
    return (f"`{bug}`", one.what, red, "yes" if one.caught else "**NO**")
