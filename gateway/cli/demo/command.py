"""The command itself: from an empty directory to a verdict."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from msgspec import Struct

from gateway.app import Gateway
from gateway.cli.demo.play import Progress, play, sender_of
from gateway.cli.demo.report import (
    creditor_table,
    displayed,
    measures,
    say_faults,
    say_next_once,
    say_next_up,
)
from gateway.cli.demo.stage import SENDER, Stage, set_stage
from gateway.cli.demo.verdict import account_of, missing
from gateway.cli.dossiers import look_of
from gateway.cli.errors import WrongUse
from gateway.cli.ledger import run
from gateway.cli.options import flag, option
from gateway.cli.output import console, say
from gateway.cli.timeline import Story, read_stories, timeline
from gateway.clock import Clock
from gateway.log import configure

PATIENCE: Final = 120.0
"""Seconds after which what is not complete is called missing."""
_READY_WITHIN: Final = 30.0
_LOOK_EVERY: Final = 0.05


class Wishes(Struct, frozen=True):
    """What was asked for."""

    directory: Path
    once: bool
    amqp: str | None
    ledger: str | None

    @property
    def user(self) -> str:
        """The sender's name at the broker: whoever its address names."""
        return unquote(urlsplit(self.amqp).username or "guest") if self.amqp else SENDER


def demo(
    *,
    once: Annotated[bool, flag("--once", "Stop als alles bezorgd en beantwoord is.")] = False,
    amqp: Annotated[str | None, option("--amqp", "Over deze RabbitMQ; deze gebruiker is gateway en afzender.")] = None,
    ledger: Annotated[str | None, option("--ledger", "Met dit grootboek: postgresql://… of sqlite:///…")] = None,
    directory: Annotated[Path | None, option("--map", "Bewaar alles hierin, ook na afloop; moet leeg zijn.")] = None,
) -> int:
    """0 only if every delivery reached its creditor and every answer is recorded; if not, the directory stays."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    place = _empty(directory) if directory else Path(tempfile.mkdtemp(prefix="kennisgeving-demo-"))
    code = 0
    try:
        with (place / "gateway.log").open("w", encoding="utf-8") as log:
            configure(log)
            sys.excepthook = sys.__excepthook__  # there is someone watching
            code = run(_demo(Wishes(place, once, amqp, ledger)))
    finally:
        if code == 0 and directory is None:
            shutil.rmtree(place)
    return code


async def _demo(wishes: Wishes) -> int:
    clock = Clock()
    began = clock.monotonic()
    async with set_stage(wishes.directory, clock, wishes.amqp, wishes.ledger, wishes.user) as stage:
        gateway = Gateway(stage.config, clock)
        async with sender_of(stage, gateway, wishes.amqp) as sender, _running(gateway, stage.url):
            say(_opening(stage, wishes))
            progress = Progress(stage.dossiers, {entry.id for entry in stage.entries if entry.does_answer})
            try:
                async with displayed(measures(stage, progress)), asyncio.timeout(PATIENCE):
                    await play(progress, sender)
            except TimeoutError:
                say(f"Na {PATIENCE:.0f} seconden is niet alles klaar.")
            stories = await _stories(gateway, stage)
            faults = missing(account_of(stage, stories, progress))
            await _report(gateway, stage, stories)
            if faults:
                say_faults(faults, wishes.directory)
            else:
                say(_closing(stories, progress, clock.monotonic() - began))
            if wishes.once:
                say_next_once()
            else:
                await _stay(stage, stories)
    return 1 if faults else 0


@asynccontextmanager
async def _running(gateway: Gateway, url: str) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run())
        try:
            async with asyncio.timeout(_READY_WITHIN), aiohttp.ClientSession() as session:
                await _until_ready(session, url)
            yield
        finally:
            gateway.stop()


async def _until_ready(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        if await _is_ready(session, url):
            return
        await asyncio.sleep(_LOOK_EVERY)


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as reply:
            return reply.ok
    except aiohttp.ClientConnectionError:
        return False


async def _stories(gateway: Gateway, stage: Stage) -> list[Story]:
    found = [
        await gateway.ledger.run(read_stories, gateway.sealer, gemeenten=(dossier.gemeente,), kenmerk=dossier.reference)
        for dossier in stage.dossiers
    ]
    return [story for stories in found for story in stories]


async def _report(gateway: Gateway, stage: Stage, stories: list[Story]) -> None:
    console().print(creditor_table(stage, stories))
    if stories:
        console().print(timeline(_smallest(stories), await gateway.ledger.run(look_of, gateway.config.tempo)))
        say()


async def _stay(stage: Stage, stories: list[Story]) -> None:
    """Until Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop, stopped.set)
    if stories:
        say_next_up(stage, _smallest(stories))
    await stopped.wait()


def _smallest(stories: list[Story]) -> Story:
    return min(stories, key=lambda story: len(story.told))


def _opening(stage: Stage, wishes: Wishes) -> str:
    broker = "RabbitMQ" if wishes.amqp else "een ingebouwde wachtrij"
    ledger = "PostgreSQL" if (wishes.ledger or "").startswith("postgresql") else "SQLite"
    return (
        f"{len(stage.dossiers)} dossiers, {len(stage.entries)} schuldeisers, over {broker} en met {ledger}.\n"
        "De schuldeisers zijn vier echte servers op deze machine (HTTPS, mTLS-API, SFTP, SMTP) die alles controleren."
    )


def _closing(stories: list[Story], progress: Progress, seconds: float) -> str:
    deliveries = sum(len(story.told) for story in stories)
    return (
        f"In orde: {deliveries} bezorgingen in {len(stories)} dossiers bereikten hun schuldeiser ongewijzigd, "
        f"{len(progress.answered)} antwoorden zijn vastgelegd, "
        f"de gemeenten kregen {progress.counts.total()} gebeurtenissen; in {seconds:.1f} s."
    )


def _empty(directory: Path) -> Path:
    """Raises WrongUse where there is something in it already."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise WrongUse(f"{directory} is niet leeg")
    return directory.absolute()
