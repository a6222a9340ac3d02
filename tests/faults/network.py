"""F6, F10, F11, F19, F20, F21: what lies between the gateway and the others."""

import asyncio
import random
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.faults.grounds import Grounds
from tests.faults.hostile import MODES
from tests.faults.kills import ENGINES
from tests.faults.proxy import Proxy
from tests.faults.scene import Figures, Scene, open_scene

SICK = ("w-net", "w-vijand")
HEALTHY = ("w-antwoord", "s-bevestigt", "c-een")


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
        return [await scene.end()]


async def bad_creditors(grounds: Grounds, seed: int, seconds: float = 2.5) -> list[Figures]:
    """F10, F11. A creditor that is slow, silent, or whose replies break HTTP; another behind a bad line."""
    weathers: list[Mapping[str, Any]] = [
        {"latency": 1.0},
        {"rate": 20},
        {"mute": True},
        {"deaf": True},
        {"refuses": True},
        {"cut_after": 3000},
    ]
    async with open_scene(grounds, "F10", "sqlite", seed) as scene:
        quick = await _hand_over_time(scene)
        worst = 0.0
        for nr, mode in enumerate(MODES):
            async with (
                grounds.neighbours.misbehaving("hostile", mode),
                grounds.to_creditor.spoiled(**weathers[nr % len(weathers)]),
            ):
                grounds.to_creditor.cut()
                for _ in range(4):
                    scene.send(scene.load.dossier(SICK))
                worst = max(worst, await _hand_over_time(scene))
                await asyncio.sleep(seconds)
        scene.figures.notes.append(f"healthy creditors: {quick:.2f} s alone, at worst {worst:.2f} s beside sick ones")
        return [await scene.end()]


async def _hand_over_time(scene: Scene) -> float:
    """Seconds until a dossier for healthy creditors is with them."""
    for _ in range(3):
        scene.send(scene.load.dossier(HEALTHY, ()))
    await scene.sent()
    await asyncio.sleep(0.05)
    return await scene.handed_over(*HEALTHY, within=30)


async def partitions(grounds: Grounds, seed: int, seconds: float = 4.0) -> list[Figures]:
    """F19. One of two gateways is cut off from the ledger, from the broker, from both, one way and both ways."""
    async with open_scene(grounds, "F19", "postgresql", seed, proxied=["ledger", "broker"]) as scene:
        await scene.start(scene.gateways[1])
        for weather in ({"deaf": True}, {"mute": True}, {"refuses": True}):
            for proxies in ([grounds.to_ledger], [grounds.to_broker], [grounds.to_ledger, grounds.to_broker]):
                await _cut_off(scene, proxies, weather, seconds)
        return [await scene.end()]


async def _cut_off(scene: Scene, proxies: Sequence[Proxy], weather: dict[str, bool], seconds: float) -> None:
    async with AsyncExitStack() as stack:
        for proxy in proxies:
            await stack.enter_async_context(proxy.spoiled(**weather))
            if "refuses" in weather:
                proxy.cut()
        for _ in range(4):
            scene.send(scene.load.dossier())
            await asyncio.sleep(seconds / 4)
    for proxy in proxies:
        proxy.cut()
    await asyncio.sleep(1)


async def creditor_down(grounds: Grounds, seed: int, seconds: float = 12.0) -> list[Figures]:
    """F20. A creditor is away for long, on a scaled schedule: no storm while it is, none when it is back."""
    rounds = []
    for engine in ENGINES:
        async with open_scene(grounds, "F20", engine, seed) as scene:
            async with grounds.to_creditor.spoiled(refuses=True):
                grounds.to_creditor.cut()
                for _ in range(25):
                    scene.send(scene.load.dossier(("w-net",), ()))
                before = grounds.to_creditor.connections
                await asyncio.sleep(seconds)
                tried = grounds.to_creditor.connections - before
            scene.figures.notes.append(f"{tried} connections in {seconds:.0f} s while it was away, 25 deliveries")
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
