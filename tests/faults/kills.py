"""F1, F2: the gateway is killed, at every named point in turn and at any moment, and started again."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import count, cycle

from tests.faults.grounds import Grounds
from tests.faults.nursery import Gateway
from tests.faults.points import POINTS, SENDING
from tests.faults.scene import Figures, Scene, open_scene

PER_ROUND = 60
HITS = 3
"""A point is taken at its first hit, and in later turns at its second, third, …"""
ARMED = 0.8
"""Part of the lives that end at a point; the others end at any moment."""
PATIENCE = 1.6
"""Seconds after which a gateway that did not come to its point is killed where it is."""
ONCE = ("upgrade", "register")
"""Transactions that a process does once, at its start."""
ENGINES = ("sqlite", "postgresql")
TURNS = ("sqlite", "postgresql", "postgresql")
"""Two gateways at a time die on PostgreSQL, so more deaths fit in its rounds."""


def turns(points: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every point at its first hit, then every point at its second, …; without end."""
    for turn in count():
        for point in points:
            yield point, 1 if point.partition(":")[0] in ONCE else 1 + turn % HITS


async def anywhere(grounds: Grounds, seed: int, kills: int, bugs: Sequence[str] = ()) -> list[Figures]:
    """F1. `kills` are spread over rounds, each on an empty ledger of one engine or the other."""
    plans = {engine: turns([name for name in POINTS if not name.startswith("register")]) for engine in ENGINES}
    engines, rounds = cycle(TURNS), list[Figures]()
    chance = random.Random(seed)
    while kills > 0:
        engine, now = next(engines), min(kills, PER_ROUND)
        plan = plans[engine]
        async with open_scene(grounds, "F1", engine, seed, bugs=bugs) as scene:
            lives = 2 if engine == "postgresql" else 1
            await scene.gateway.kill()
            budget = [now]
            async with asyncio.TaskGroup() as both:
                for gateway in scene.gateways[:lives]:
                    both.create_task(_kill_often(scene, gateway, budget, plan, chance))
            rounds.append(await scene.end())
        kills -= now
    return rounds


async def _kill_often(
    scene: Scene, gateway: Gateway, budget: list[int], plan: Iterator[tuple[str, int]], chance: random.Random
) -> None:
    """One gateway's lives; `budget` is what is left for all."""
    while budget[0] > 0:
        budget[0] -= 1
        armed = chance.random() < ARMED
        point, hit = next(plan) if armed else ("", 1)
        await gateway.start(point, hit, scene.bugs)
        scene.send(scene.load.dossier())
        scene.send(scene.load.dossier(sorted({*_of(point.partition(":")[0].partition("_")[0]), "w-antwoord"}), ()))
        if not await gateway.died(PATIENCE if armed else chance.uniform(0.2, 2.0)):
            await gateway.kill()
        at = gateway.died_at()
        scene.figures.count_kill("gateway", at or "elsewhere")


async def between_send_and_record(grounds: Grounds, seed: int, kills: int = 12) -> list[Figures]:
    """F2. Each channel's gateway dies with the reply in hand; then the creditor's reply is lost as well."""
    rounds = []
    for engine in ENGINES:
        async with open_scene(grounds, "F2", engine, seed) as scene:
            await scene.gateway.kill()
            for channel, point in SENDING.items():
                await _die_with_the_reply(scene, channel, point, max(1, kills // (2 * len(SENDING))))
                async with grounds.neighbours.misbehaving(channel, "drops_reply"):
                    await scene.start()
                    scene.send(scene.load.dossier(_of(channel), ()))
                    await asyncio.sleep(1.0)
                await scene.gateway.kill()
                scene.figures.count_kill("gateway", "reply lost")
            rounds.append(await scene.end())
    return rounds


async def _die_with_the_reply(scene: Scene, channel: str, point: str, times: int) -> None:
    for _ in range(times):
        scene.send(scene.load.dossier(_of(channel), ("voortgang",)))
        await scene.gateway.start(point, 1, scene.bugs)
        if not await scene.gateway.died(8):
            scene.figures.notes.append(f"never came to {point}")
            await scene.gateway.kill()
        scene.figures.count_kill("gateway", scene.gateway.died_at() or "elsewhere")


def _of(channel: str) -> tuple[str, ...]:
    """Its creditors that answer."""
    found: dict[str, tuple[str, ...]] = {
        "webhook": ("w-antwoord", "w-terug"),
        "sftp": ("s-bevestigt",),
        "cjib": ("c-een",),
        "email": ("m-pagina",),
    }
    return found.get(channel, ())
