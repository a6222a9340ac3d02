"""One run: the stories are told on virtual time until the last day is over, or until an invariant does not hold."""

import asyncio
import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from random import Random

from gateway.core.deadlines import day_of, end_of_day
from gateway.core.lane import SECOND
from gateway.ids import uuid7
from gateway.simulation.invariants import Daily
from gateway.simulation.loop import VirtualLoop
from gateway.simulation.population import AGENTS
from gateway.simulation.report import Report, report
from gateway.simulation.story import Story, tell
from gateway.simulation.temper import DAY, HOUR
from gateway.simulation.world import START, Plan, World

ADMITTED_UNTIL = 0.75
"""Part of the run in which dossiers begin, so that most of them also end in it."""

Progress = Callable[[date, int], None]
"""Told on the first of every month: that day, and how many deliveries have been made so far."""


def simulate(plan: Plan, on_month: Progress) -> Report:
    """Same plan, same report."""
    with (
        tempfile.TemporaryDirectory(prefix="kennisgeving-simulatie-") as directory,
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
        uuid7.drawing_on(Random(f"{plan.seed}:ids").randbytes),
    ):
        return runner.run(_run(plan, Path(directory), on_month))


async def _run(plan: Plan, directory: Path, on_month: Progress) -> Report:
    world = World(plan, directory / "grootboek.db")
    try:
        await world.prepare()
        _plan_stories(world)
        _plan_days(world, on_month)
        with _few_collections():
            await _until_ended(world)
        return report(world)
    finally:
        await world.aclose()


@contextmanager
def _few_collections() -> Iterator[None]:
    """What the run remembers stays until its end: to look through it again and again finds nothing, and takes long."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(before[0] * 20, before[1], before[2] * 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _until_ended(world: World) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(stage, name=name) for name, stage in world.stages().items()]
        await world.ended.wait()
        for task in running:
            task.cancel()


def _plan_stories(world: World) -> None:
    for story in stories(world.plan, [creditor.id for creditor in world.creditors if creditor.id not in AGENTS]):
        world.gemeenten.expect(story.tellings)
        for posting in story.postings:
            world.agenda.at(posting.at, partial(world.gemeenten.post, world.intake, [posting]))


def stories(plan: Plan, creditors: list[str]) -> Iterator[Story]:
    """Every dossier of this part of the run, admitted on some working day between nine and five."""
    chance = Random(f"{plan.seed}:toelatingen")
    for nr in range(1, plan.dossiers + 1):
        day = START + timedelta(days=int(chance.uniform(0, plan.days * ADMITTED_UNTIL)))
        day -= timedelta(days=max(0, day.weekday() - 4))
        starts = int((day.timestamp() + chance.uniform(9, 17) * HOUR) * SECOND)
        if nr % plan.parts == plan.part:
            yield tell(plan.seed, nr, starts, creditors)


def _plan_days(world: World, on_month: Progress) -> None:
    """At every midnight all is verified; the last one ends the run."""
    daily = Daily(world.verdict, world.policy)
    last = day_of(world.clock.start + int(world.plan.days * DAY) * SECOND)

    async def end_day(day: date) -> None:
        tomorrow = day + timedelta(days=1)
        daily.verify(world.ledger.raw, everything=tomorrow.day == 1 or tomorrow >= last)
        if tomorrow.day == 1:
            on_month(tomorrow, len(world.watch.lives))
        if tomorrow >= last:
            world.ended.set()
        else:
            plan_end(tomorrow)

    def plan_end(day: date) -> None:
        world.agenda.at(int(end_of_day(day).timestamp()) * SECOND, partial(end_day, day))

    plan_end(day_of(world.clock.start))
