"""What the demo shows: how far it is, what every creditor got and answered, and what to try next."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from gateway.cli.demo.play import TOKEN_SECONDS, Progress
from gateway.cli.demo.stage import SENDER, Stage
from gateway.cli.demo.verdict import addressed, by_creditor
from gateway.cli.output import console, say, table
from gateway.cli.timeline import Story, in_words
from gateway.sandbox.register import Entry

_WAYS: Final = {
    "in_antwoord": "in het antwoord op het bericht",
    "terugmelding": "ondertekende terugmelding",
    "bestand": "bestand in outbox",
    "bevestiging_en_bestand": "ontvangstbevestiging, daarna bestand",
    "pagina": "antwoordpagina uit de e-mail",
    "bij_navraag": "op navraag bij de API",
    "niet": "antwoordt niet",
}
_REDRAW: Final = 0.1
_LINE_EVERY: Final = 1.0
_LISTED: Final = 20


class Measure(Struct, frozen=True):
    """One bar: how much of how many."""

    name: str
    total: int
    done: Callable[[], int]


def measures(stage: Stage, progress: Progress) -> list[Measure]:
    """Messages, deliveries per channel, answers."""
    channel_of = {entry.id: entry.channels[0] for entry in stage.entries}
    answering = {entry.id for entry in stage.entries if entry.does_answer}
    due = addressed(stage.entries, stage.dossiers)
    totals = Counter(channel_of[creditor] for _, _, creditor, _ in due)

    def delivered(channel: str) -> Callable[[], int]:
        told = progress.told
        return lambda: sum(id_ in told and channel_of[told[id_].creditor] == channel for id_ in progress.handed_over)

    answers = sum(soort == "kennisgeving" and creditor in answering for _, soort, creditor, _ in due)
    return [
        Measure("aangenomen", 2 * len(stage.dossiers), lambda: len(progress.accepted)),
        *(Measure(f"bezorgd {channel}", total, delivered(channel)) for channel, total in sorted(totals.items())),
        Measure("beantwoord", answers, lambda: len(progress.answered)),
    ]


@asynccontextmanager
async def displayed(shown: Sequence[Measure]) -> AsyncIterator[None]:
    """Keeps it in view while the block runs: bars on a terminal, else now and then a line."""
    draw = asyncio.create_task(_bars(shown) if console().is_terminal else _lines(shown))
    try:
        yield
    finally:
        draw.cancel()
        await asyncio.gather(draw, return_exceptions=True)


async def _bars(shown: Sequence[Measure]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console()) as bars:
        tasks: list[tuple[TaskID, Measure]] = [(bars.add_task(one.name, total=one.total), one) for one in shown]
        try:
            while True:
                _update(bars, tasks)
                await asyncio.sleep(_REDRAW)
        finally:
            _update(bars, tasks)


def _update(bars: Bars, tasks: Iterable[tuple[TaskID, Measure]]) -> None:
    for task, measure in tasks:
        bars.update(task, completed=measure.done())


async def _lines(shown: Sequence[Measure]) -> None:
    try:
        while True:
            await asyncio.sleep(_LINE_EVERY)
            _say_line(shown)
    finally:
        _say_line(shown)


def _say_line(shown: Sequence[Measure]) -> None:
    say("  " + "  ".join(f"{one.name} {one.done()}/{one.total}" for one in shown))


def creditor_table(stage: Stage, stories: Iterable[Story]) -> Table:
    """Per creditor: how many messages it received, how many notices it answered, how, and with what."""
    receipts = stage.creditors.receipts()
    told = by_creditor(stories)

    def row(entry: Entry) -> tuple[str, ...]:
        mine = told.get(entry.id, [])
        decisions = Counter(in_words(one.row.decision) for one in mine if one.row.decision)
        asked = sum(one.row.soort == "kennisgeving" for one in mine)
        return (
            entry.table["naam"],
            entry.table["sector"],
            entry.channels[0],
            str(sum(bool(receipts.get(one.row.id)) for one in mine)),
            f"{decisions.total()}/{asked}",
            _WAYS[entry.practice.answers],
            ", ".join(f"{word} {count}" for word, count in decisions.most_common()),
        )

    columns = ("schuldeiser", "sector", "kanaal", "ontvangen", "beantwoord", "hoe", "besluiten")
    made = table("Wat elke schuldeiser ontving en antwoordde", columns, map(row, stage.entries))
    made.columns[3].justify = made.columns[4].justify = "right"
    return made


def say_faults(faults: Sequence[str], directory: Path) -> None:
    say(f"NIET IN ORDE: {len(faults)} dingen ontbreken of kloppen niet.")
    for fault in faults[:_LISTED]:
        say(f"  {fault}")
    if len(faults) > _LISTED:
        say(f"  … en nog {len(faults) - _LISTED}")
    say(f"Logboek en gegevens: {directory}")


def say_next_once() -> None:
    say("Verder:")
    say("  kennisgeving demo               hetzelfde, en de gateway blijft bereikbaar")
    say("  kennisgeving demo --amqp amqp://… --ledger postgresql://…   over RabbitMQ en PostgreSQL")
    say("  kennisgeving --help             alle opdrachten")


def say_next_up(stage: Stage, shown: Story) -> None:
    """For who wants to look around while it stays up."""
    config, dossier = stage.settings, shown.dossier
    message = config.with_name("voortgang.json")
    message.write_bytes(next(one for one in stage.dossiers if one.reference == dossier.kenmerk).another_progress(3))
    say(f"De gateway blijft bereikbaar op {stage.url}; stoppen met Ctrl-C. In een ander venster:")
    say()
    say(f"  export TOKEN={stage.issuer.token(SENDER, TOKEN_SECONDS)}")
    say(f'  curl -H "Authorization: Bearer $TOKEN" "{stage.url}/v1/gebeurtenissen?na=0"')
    say(f'  curl -H "Authorization: Bearer $TOKEN" "{stage.url}/v1/dossiers?gemeente={dossier.gemeente}"')
    say('  curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/cloudevents+json" \\')
    say(f'       --data-binary "@{message}" "{stage.url}/v1/berichten"')
    say(f"  curl {stage.url}/readyz")
    say(f"  curl {stage.url}/v1/openapi.json")
    say()
    say(f"  export KENNISGEVING_CONFIG={config}")
    say(f"  kennisgeving dossier show {dossier.gemeente} {dossier.kenmerk}")
    say("  kennisgeving bezorging list --toestand geweigerd")
    say("  kennisgeving schuldeisers list")
