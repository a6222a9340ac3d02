"""F6, F10, F11, F21: what lies between the gateway and the others."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from gateway.invariants import Finding
from tests.faults.apart import AILMENTS, AT_MOST, SAME_WITHIN, TRIES, UNHURRIED, Cost, Pair, costs_of, pairs, warm_up
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.hostile import MODES, NEVER_ENDS
from tests.faults.kills import ENGINES, SLOW
from tests.faults.large import RSS_AT_MOST_MB
from tests.faults.opening import open_scene
from tests.faults.scene import Scene

LOST = 0.2
"""Part of the COMMITs."""
TAKEN_AT_MOST = 16 * 2**20
"""Bytes of a reply that never ends. The gateway reads 1 MiB; the kernel's buffers on both sides hold some more."""


async def commits_lost(grounds: Grounds, seed: int, dossiers: int) -> AsyncIterator[Figures]:
    """F6. Some COMMITs reach PostgreSQL, and their answer never comes: what is done again must change nothing."""
    grounds.to_ledger.chance = random.Random(seed)
    before = grounds.to_ledger.commits_lost
    async with open_scene(grounds, "F6", "postgresql", seed, proxied=["ledger"]) as scene:
        async with grounds.to_ledger.spoiled(lost_commits=LOST):
            for _ in range(dossiers):
                scene.send(scene.load.dossier())
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)
        lost = grounds.to_ledger.commits_lost - before
        scene.figures.notes.append(f"{lost} answers to COMMIT lost")
        if not lost:
            scene.figures.faults.append("no answer to COMMIT was lost")
        yield await scene.end()


async def bad_creditors(
    grounds: Grounds,
    seed: int,
    engines: Sequence[str] = ENGINES,
    modes: Sequence[str] = MODES,
    bugs: Sequence[str] = (),
    *,
    each_on_both: bool = True,
) -> AsyncIterator[Figures]:
    """F10, F11. Creditors that are slow, silent, or whose replies break HTTP or have no end, one behind a bad line, and
    a channel that hangs: the others are served as quickly as without them. `each_on_both`: every mode on every engine;
    else they are dealt out."""
    for nr, engine in enumerate(engines):
        dealt = modes if each_on_both else modes[nr :: len(engines)]
        first = 0 if each_on_both else nr * len(AILMENTS) // len(engines)
        async with open_scene(grounds, "F10", engine, seed, bugs=bugs, tempo=UNHURRIED) as scene:
            dealt_pairs = list(pairs(dealt, first))
            await warm_up(scene, dealt_pairs[0])
            costs = [(pair, await costs_of(scene, pair)) for pair in dealt_pairs]
            if NEVER_ENDS in dealt:
                await _judge_appetite(scene)
            figures = await scene.end()
            _note_costs(figures, costs)
            yield figures


def _note_costs(figures: Figures, costs: Iterable[tuple[Pair, Mapping[str, Cost]]]) -> None:
    allowed = f"allowed: {AT_MOST - 1:.0%} or {SAME_WITHIN * 1000:.0f} ms more, in one pair of {TRIES}"
    found = [(pair, what, cost) for pair, by_what in costs for what, cost in by_what.items()]
    figures.notes += [f"p95 of a hand-over, {what}: {cost} ({pair}; {allowed})" for pair, what, cost in found]
    broken = tuple(f"{pair}: {what}: {cost}" for pair, what, cost in found if cost.is_too_high)
    figures.findings.append(Finding("F10", "wie gezond is, wacht niet op wie ziek is", len(found), broken))


async def _judge_appetite(scene: Scene) -> None:
    """Of replies far beyond what a gateway may read."""
    taken, peak = int(await scene.grounds.neighbours.order("taken")), scene.gateway.peak_mb()
    scene.figures.notes.append(
        f"of a reply of 10 GB {taken / 2**20:.1f} MiB were taken (allowed, with what lies in buffers on the way: "
        f"{TAKEN_AT_MOST / 2**20:.0f} MiB), and memory was at most {peak} MB (allowed: {RSS_AT_MOST_MB} MB)"
    )
    if not 0 < taken <= TAKEN_AT_MOST:
        scene.figures.faults.append(f"{taken} bytes of an endless reply were taken")
    if peak > RSS_AT_MOST_MB:
        scene.figures.faults.append(f"the gateway grew to {peak} MB")


async def frozen(grounds: Grounds, seed: int, times: int = 4, bugs: Sequence[str] = ()) -> AsyncIterator[Figures]:
    """F21. One of two gateways stands still past its lease, the other takes over, the first goes on where it was."""
    async with open_scene(grounds, "F21", "postgresql", seed, bugs=bugs) as scene:
        first, second = scene.gateways
        await scene.start(second)
        async with grounds.to_creditor.spoiled(**SLOW):
            for turn in range(times):
                stopped = (first, second)[turn % 2]
                for _ in range(6):
                    scene.send(scene.load.dossier())
                    scene.send(scene.load.dossier(("w-net", "w-antwoord"), ()))
                await asyncio.sleep(0.6)
                if stopped.signal(signal.SIGSTOP):
                    scene.figures.count_kill("stopped")
                await asyncio.sleep(5)
                stopped.signal(signal.SIGCONT)
                await asyncio.sleep(1)
        yield await scene.end()
