"""F24: two faults at a time, drawn at random, for as many minutes as wanted; the seed says which."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from tests.faults.causes import causes
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.hostile import MODES
from tests.faults.opening import open_scene
from tests.faults.points import POINTS
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene

LASTS = 75.0
"""Seconds between two verdicts."""
COMES_WITHIN = 3.0
"""Seconds for a gateway to come to its crash point."""
QUEUES_SETTLE = 2.0
"""Seconds. Where a new quorum queue lies is on the disk of RabbitMQ 3.10 half a second after it was declared; killed
before that, the broker answers for this queue with an internal error for ever ("could not be restarted,
{error,enoent}"), and no client can do anything about it."""
Trouble = Callable[[Scene, random.Random], Awaitable[None]]


async def mixed(grounds: Grounds, seed: int, minutes: float) -> AsyncIterator[Figures]:
    """Rounds with a verdict each, until the time is over. One that breaks off is red, and keeps no other from its
    turn."""
    chance = random.Random(seed)
    until = time.monotonic() + minutes * 60
    while (began := time.monotonic()) < until:
        try:
            yield await _round(grounds, chance, until)
        except Exception as why:  # noqa: BLE001 - this one is red, and the others are to be seen too
            yield Figures("F24", "postgresql", faults=list(causes(why)))
            await _start_anew(grounds)
            await asyncio.sleep(min(until, began + LASTS) - time.monotonic())


async def _start_anew(grounds: Grounds) -> None:
    """Nobody knows what is up, after a round that broke off."""
    for server in (grounds.rabbitmq, grounds.postgres):
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


async def _round(grounds: Grounds, chance: random.Random, until: float) -> Figures:
    proxied = ["ledger", "broker"]
    async with open_scene(grounds, "F24", "postgresql", chance.randrange(10**6), proxied=proxied) as scene:
        await scene.start(scene.gateways[1])
        over = asyncio.Event()
        keepers = [asyncio.create_task(_kept_alive(scene, nr, over)) for nr in (0, 1)]
        try:
            await _troubles(scene, chance, min(LASTS, until - time.monotonic()))
        finally:
            over.set()
            await asyncio.gather(*keepers)
        return await scene.end()


async def _troubles(scene: Scene, chance: random.Random, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pair = chance.sample(sorted(TROUBLES), 2)
        scene.figures.notes.append(" + ".join(pair))
        for _ in range(4):
            scene.send(scene.load.dossier())
        ended = await asyncio.gather(*(TROUBLES[name](scene, chance) for name in pair), return_exceptions=True)
        for why in filter(None, ended):  # both are over: what was taken down is up again
            raise why


async def _kept_alive(scene: Scene, nr: int, over: asyncio.Event) -> None:
    """As a supervisor would; it keeps off while somebody else starts it."""
    gateway = scene.gateways[nr]
    while not over.is_set():
        if not gateway.runs and not gateway.taken:
            gateway.died_at()
            await gateway.start(bugs=scene.bugs)
        await asyncio.sleep(0.1)


async def _gateway_dies(scene: Scene, chance: random.Random) -> None:
    gateway = chance.choice(scene.gateways)
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        if await gateway.kill():
            scene.figures.count_kill("gateway", "elsewhere")


async def _gateway_comes_to_a_point(scene: Scene, chance: random.Random) -> None:
    """Or is killed where it is: no point is left for it to come to when all is quiet."""
    gateway = chance.choice(scene.gateways)
    gateway.taken = True
    try:
        if await gateway.kill():
            scene.figures.count_kill("gateway", "elsewhere")
        await gateway.start(chance.choice(sorted(POINTS)), chance.randint(1, 3), scene.bugs)
        await gateway.died(COMES_WITHIN)
        ran = await gateway.kill()
        if (at := gateway.died_at()) or ran:
            scene.figures.count_kill("gateway", at or "elsewhere")
    finally:
        gateway.taken = False


async def _gateway_stands_still(scene: Scene, chance: random.Random) -> None:
    gateway = chance.choice(scene.gateways)
    if gateway.signal(signal.SIGSTOP):
        scene.figures.count_kill("stopped")
        await asyncio.sleep(chance.uniform(1, 5))
        gateway.signal(signal.SIGCONT)


async def _broker_dies(scene: Scene, _: random.Random) -> None:
    await asyncio.sleep(QUEUES_SETTLE)
    await asyncio.to_thread(scene.grounds.rabbitmq.kill)
    scene.figures.count_kill("rabbitmq")
    await asyncio.to_thread(scene.grounds.rabbitmq.start)


async def _database_dies(scene: Scene, _: random.Random) -> None:
    await asyncio.to_thread(scene.grounds.postgres.crash)
    scene.figures.count_kill("postgresql")
    await asyncio.to_thread(scene.grounds.postgres.start)


async def _spoil(proxy: Proxy, chance: random.Random, weathers: list[dict[str, object]]) -> None:
    weather = chance.choice(weathers)
    async with proxy.spoiled(**weather):
        if "refuses" in weather:
            proxy.cut()
        await asyncio.sleep(chance.uniform(2, 5))
    if not weather.keys() & {"latency", "lost_commits"}:
        proxy.cut()


async def _ledger_cut_off(scene: Scene, chance: random.Random) -> None:
    lost: dict[str, object] = {"lost_commits": 0.3}
    await _spoil(scene.grounds.to_ledger, chance, [{"deaf": True}, {"mute": True}, {"refuses": True}, lost, lost])


async def _broker_cut_off(scene: Scene, chance: random.Random) -> None:
    await _spoil(scene.grounds.to_broker, chance, [{"deaf": True}, {"mute": True}, {"refuses": True}])


async def _line_is_bad(scene: Scene, chance: random.Random) -> None:
    weathers: list[dict[str, object]] = [{"latency": 0.5}, {"rate": 200}, {"cut_after": 2500}, {"refuses": True}]
    await _spoil(scene.grounds.to_creditor, chance, weathers)


async def _creditor_is_hostile(scene: Scene, chance: random.Random) -> None:
    await scene.grounds.neighbours.order("hostile", chance.choice(MODES))
    await asyncio.sleep(chance.uniform(2, 4))
    await scene.grounds.neighbours.order("hostile", "agrees")


async def _everything_comes_twice(scene: Scene, chance: random.Random) -> None:
    for _ in range(chance.randint(2, 4)):
        scene.send(scene.load.dossier(), copies=4)
    await asyncio.sleep(2)


TROUBLES: Mapping[str, Trouble] = {
    "gateway killed": _gateway_dies,
    "gateway killed at a point": _gateway_comes_to_a_point,
    "gateway stopped": _gateway_stands_still,
    "broker killed": _broker_dies,
    "database killed": _database_dies,
    "ledger cut off": _ledger_cut_off,
    "broker cut off": _broker_cut_off,
    "bad line to a creditor": _line_is_bad,
    "hostile creditor": _creditor_is_hostile,
    "duplicates": _everything_comes_twice,
}
