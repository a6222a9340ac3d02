"""F6, F10, F11, F21: what lies between the gateway and the others."""

import asyncio
import random
import signal
from collections.abc import Sequence

from tests.faults.apart import TEMPO, cost_of
from tests.faults.grounds import Grounds
from tests.faults.hostile import MODES
from tests.faults.kills import ENGINES
from tests.faults.scene import Figures, open_scene


async def commits_lost(grounds: Grounds, seed: int, dossiers: int = 60, part: float = 0.2) -> list[Figures]:
    """F6. Some COMMITs reach PostgreSQL, and their answer never comes: what is done again must change nothing."""
    grounds.to_ledger.chance = random.Random(seed)
    before = grounds.to_ledger.commits_lost
    async with open_scene(grounds, "F6", "postgresql", seed, proxied=["ledger"]) as scene:
        async with grounds.to_ledger.spoiled(lost_commits=part):
            for _ in range(dossiers):
                scene.send(scene.load.dossier())
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)
        lost = grounds.to_ledger.commits_lost - before
        scene.figures.notes.append(f"{lost} answers to COMMIT lost")
        if not lost:
            scene.figures.faults.append("no answer to COMMIT was lost")
        return [await scene.end()]


async def bad_creditors(
    grounds: Grounds,
    seed: int,
    engines: Sequence[str] = ENGINES,
    modes: Sequence[str] = MODES,
    bugs: Sequence[str] = (),
    *,
    each_on_both: bool = True,
) -> list[Figures]:
    """F10, F11. A creditor that is slow, silent, or whose replies break HTTP; another behind a bad line: the others are
    served as quickly as without them. `each_on_both`: every mode on every engine; else they are dealt out."""
    rounds = []
    for nr, engine in enumerate(engines):
        dealt = modes if each_on_both else modes[nr :: len(engines)]
        async with open_scene(grounds, "F10", engine, seed, bugs=bugs, tempo=TEMPO) as scene:
            costs = {mode: await cost_of(scene, mode) for mode in dealt}
            worst = max(costs, key=lambda mode: costs[mode].sick - costs[mode].well)
            scene.figures.notes.append(f"p95 of a hand-over to others: {costs[worst]} ({worst}, the worst)")
            scene.figures.faults += [f"{mode}: {it}" for mode, it in costs.items() if it.is_too_high]
            rounds.append(await scene.end())
    return rounds


async def frozen(grounds: Grounds, seed: int, times: int = 4, bugs: Sequence[str] = ()) -> list[Figures]:
    """F21. One of two gateways stands still past its lease, the other takes over, the first goes on where it was."""
    async with open_scene(grounds, "F21", "postgresql", seed, bugs=bugs) as scene:
        first, second = scene.gateways
        await scene.start(second)
        async with grounds.to_creditor.spoiled(latency=0.4):
            for turn in range(times):
                stopped = (first, second)[turn % 2]
                for _ in range(6):
                    scene.send(scene.load.dossier())
                    scene.send(scene.load.dossier(("w-net", "w-antwoord"), ()))
                await asyncio.sleep(0.6)
                stopped.signal(signal.SIGSTOP)
                scene.figures.count_kill("stopped")
                await asyncio.sleep(5)
                stopped.signal(signal.SIGCONT)
                await asyncio.sleep(1)
        return [await scene.end()]
