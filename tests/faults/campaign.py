"""The faults by name, how much of each a run takes, and the run itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from tests.faults import (
    comeback,
    delays,
    disks,
    failing_disk,
    inputs,
    kills,
    large,
    limits,
    mix,
    names,
    network,
    outages,
    partitions,
)
from tests.faults.causes import causes
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.kills import ENGINES


class Effort(NamedTuple):
    """How much is done. `kills` of the gateway in F1, `servers`: of RabbitMQ and PostgreSQL each, `minutes` of F24,
    `bodies` of 10 MB in F18; `away`: seconds that RabbitMQ is stopped in F3; `each_on_both`: every way to be a bad
    creditor on both engines, else on one or the other."""

    kills: int
    servers: int
    minutes: float
    bodies: int
    away: float
    each_on_both: bool = True
    only: frozenset[str] = frozenset()
    """Empty: every fault."""


ENDS_WITHIN = 1500.0
"""Seconds that one fault may take, twice what the longest takes; F24 has its minutes beyond that."""
FULL = Effort(1000, 20, 20.0, 200, 75.0)
CI = Effort(60, 2, 1.0, 40, 8.0, each_on_both=False)
QUICK = Effort(16, 1, 0.0, 40, 8.0, each_on_both=False, only=frozenset({"F1", "F6", "F16"}))
Run = Callable[[Grounds, int, Effort], AsyncIterator[Figures]]
"""Round by round: one that is over counts, whatever becomes of those after it."""


class Fault(NamedTuple):
    title: str
    run: Run


async def _in_turn(*runs: AsyncIterator[Figures]) -> AsyncIterator[Figures]:
    for run in runs:
        async for figures in run:
            yield figures


def _full_or_failing(grounds: Grounds, seed: int, _: Effort) -> AsyncIterator[Figures]:
    return _in_turn(disks.full(grounds, seed), failing_disk.failing(grounds, seed))


def _down_for_long(grounds: Grounds, seed: int, much: Effort) -> AsyncIterator[Figures]:
    away, late = (ENGINES, ENGINES) if much.each_on_both else (ENGINES[1:], ENGINES[:1])
    return _in_turn(comeback.creditor_down(grounds, seed, away), delays.reported(grounds, seed, late))


FAULTS: Mapping[str, Fault] = {
    "F1": Fault("gateway killed anywhere", lambda g, seed, much: kills.anywhere(g, seed, much.kills)),
    "F2": Fault("killed between send and record", lambda g, seed, much: kills.between_send_and_record(g, seed)),
    "F3": Fault("RabbitMQ killed", lambda g, seed, much: outages.broker(g, seed, much.servers, much.away)),
    "F4": Fault("delivery limit reached", lambda g, seed, much: limits.delivery_limit(g, seed)),
    "F5": Fault("PostgreSQL killed", lambda g, seed, much: outages.database(g, seed, much.servers * 3 // 2)),
    "F6": Fault("answers to COMMIT lost", lambda g, seed, much: network.commits_lost(g, seed, 30 + much.servers * 3)),
    "F7": Fault("power cut", lambda g, seed, much: disks.power_cut(g, seed, min(disks.POWER_CUTS, much.servers))),
    "F8": Fault("disk full or failing", _full_or_failing),
    "F10": Fault(
        "creditors slow, hostile (with F11)",
        lambda g, seed, much: network.bad_creditors(g, seed, each_on_both=much.each_on_both),
    ),
    "F12": Fault("names that lead nowhere", lambda g, seed, much: names.astray(g, seed)),
    "F14": Fault("answer files half written", lambda g, seed, much: inputs.half_files(g, seed)),
    "F15": Fault("poison messages", lambda g, seed, much: inputs.poisoned(g, seed)),
    "F16": Fault("duplicates at two gateways", lambda g, seed, much: inputs.duplicates(g, seed)),
    "F17": Fault("out of order", lambda g, seed, much: inputs.out_of_order(g, seed)),
    "F18": Fault("bodies of 10 MB", lambda g, seed, much: large.large(g, seed, much.bodies)),
    "F19": Fault("one gateway cut off", lambda g, seed, much: partitions.partitions(g, seed)),
    "F20": Fault("a creditor down for long", _down_for_long),
    "F21": Fault("gateway frozen past its lease", lambda g, seed, much: network.frozen(g, seed)),
    "F24": Fault("two at a time", lambda g, seed, much: mix.mixed(g, seed, much.minutes)),
}


def chosen(names: Iterable[str], effort: Effort) -> Iterator[str]:
    wanted = {name.upper() for name in names} or effort.only or set(FAULTS)
    yield from (name for name in FAULTS if name in wanted)


async def carry_out(
    grounds: Grounds,
    names: Iterable[str],
    seed: int,
    effort: Effort,
    tell: Callable[[str], None],
    note: Callable[[list[Figures]], None],
) -> list[Figures]:
    """Every fault by itself: one that cannot be carried out is told, and counts as broken where it broke off. `note`
    gets all rounds so far after each."""
    rounds: list[Figures] = []

    def take(figures: Figures) -> None:
        rounds.append(figures)
        tell(_line(figures))

    for name in names:
        tell(f"{name:<5}{FAULTS[name].title} (seed {seed})")
        began, before = time.monotonic(), len(rounds)
        await _one(grounds, name, seed, effort, take)
        if len(rounds) == before:
            take(Figures(name, faults=["not one round was run"]))
        tell(f"    {time.monotonic() - began:.0f} s")
        note(rounds)
    return rounds


async def _one(grounds: Grounds, name: str, seed: int, effort: Effort, take: Callable[[Figures], None]) -> None:
    """`take` gets its rounds as they end, and where it breaks off what says why."""
    try:
        async with asyncio.timeout(ENDS_WITHIN + effort.minutes * 60):
            async for figures in FAULTS[name].run(grounds, seed, effort):
                take(figures)
    except (disks.MountRefused, names.NamespaceRefused) as why:
        take(Figures(name, notes=[f"SKIPPED: this machine does not let us ({why})"]))
    except Exception as why:  # noqa: BLE001 - the other faults are to be seen too, and this one is red
        take(Figures(name, faults=list(causes(why))))


def _line(figures: Figures) -> str:
    killed = ", ".join(f"{number} × {what}" for what, number in sorted(figures.kills.items())) or "nothing killed"
    again = sum(figures.duplicates.values())
    line = (
        f"    {figures.engine or '-':<11}{killed}; {figures.notices} messages, {figures.deliveries} deliveries, "
        f"{again} seen again, {figures.losses} lost; at rest after {figures.recovery:.1f} s"
    )
    notes = [f"      {note}" for note in figures.notes]
    wrong = [f"      WRONG: {fault}" for fault in figures.faults]
    broken = [
        f"      BROKEN {one.invariant}: {one.what}: {len(one.broken)} of {one.checked}: {', '.join(one.broken[:4])}"
        for one in figures.broken
    ]
    return "\n".join([line, *notes, *wrong, *broken])
