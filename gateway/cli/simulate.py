"""`kennisgeving simulate`."""

import sys
from datetime import date
from typing import Annotated

import msgspec

from gateway.cli.errors import WrongUse
from gateway.cli.options import AsJson, option
from gateway.cli.output import console, say, say_json, table
from gateway.simulation.halves import IN_ONE, simulate_all
from gateway.simulation.report import PerTemper, Report
from gateway.simulation.temper import Temper
from gateway.simulation.world import Plan

DAYS = 365
_MONTHS = ("januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober",
           "november", "december")  # fmt: skip
_TABLES = {
    "deliveries": "Bezorgingen, naar soort",
    "states": "Kennisgevingen, naar toestand aan het eind",
    "attempts": "Pogingen, naar uitkomst",
    "sightings": "Bij schuldeisers aangekomen",
    "answers": "Wat schuldeisers stuurden",
    "decisions": "Besluiten die gelden",
    "events": "Gebeurtenissen aan gemeenten",
    "tasks": "Taken voor een mens",
}


def simulate(
    *,
    dossiers: Annotated[int, option("--dossiers", "Hoeveel dossiers; standaard 1000.")] = 1000,
    years: Annotated[float, option("--jaar", "Hoeveel jaar; standaard 1, en 0.25 is drie maanden.")] = 1.0,
    seed: Annotated[int, option("--seed", "Hetzelfde getal geeft dezelfde uitvoer; standaard 42.")] = 42,
    as_json: AsJson = False,
) -> int:
    """1: an invariant does not hold, or a bug came out."""
    if dossiers < 1 or years * DAYS < 1:
        raise WrongUse("een simulatie heeft ten minste één dossier en één dag")
    report, bugs = simulate_all(Plan(dossiers, round(years * DAYS), seed), tell_progress)
    if as_json:
        say_json(msgspec.to_builtins(report))
    else:
        _say(report)
    return 1 if report.broken or bugs else 0


def tell_progress(part: int, month: date, deliveries: int) -> None:
    """On stderr: a line per month, and per half of a large run."""
    half = "" if part == 0 else " (tweede helft)"
    sys.stderr.write(f"{_MONTHS[month.month - 1]} {month.year}: {deliveries} bezorgingen{half}\n")


def _say(report: Report) -> None:
    creditors = sum(report.creditors.values())
    halves = "; in twee helften, elk met een eigen grootboek" if report.dossiers > IN_ONE else ""
    say(f"{report.dossiers} dossiers, {creditors} schuldeisers, {report.days} dagen, seed {report.seed}{halves}.")
    say()
    outcomes = sorted({outcome for counts in report.posted.values() for outcome in counts})
    say_counts("Berichten van gemeenten", report.posted, outcomes)
    kinds = [*(str(temper) for temper in Temper), "-"]
    for name, title in _TABLES.items():
        say_counts(title, getattr(report, name), kinds)
    checked = ", ".join(f"{name} {count}×" for name, count in report.checks.items())
    say(f"Gecontroleerd: {checked}.")
    say(f"Vingerafdruk van alles wat de gateway verliet: {report.trail}")
    say()
    say(_verdict(report))


def say_counts(title: str, counts: PerTemper, columns: list[str]) -> None:
    """A row per key, a column per kind of creditor that occurs, and the sum."""
    if not counts:
        return
    present = [column for column in columns if any(column in row for row in counts.values())]
    rows = [_row(name, row, present) for name, row in counts.items()]
    made = table(title, ["", *present, "samen"], rows)
    for column in made.columns[1:]:
        column.justify = "right"
    console().print(made)


def _row(name: str, counts: dict[str, int], columns: list[str]) -> list[str]:
    return [name, *(str(counts.get(column, "")) for column in columns), str(sum(counts.values()))]


def _verdict(report: Report) -> str:
    if report.broken is None:
        return "Alle invarianten hielden."
    broken = report.broken
    return f"GESCHONDEN: {broken.invariant}, op {broken.at}, met seed {broken.seed}: {broken.what}."
