"""F3, F5: the broker and the database die and come back, under load."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator

from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.holdings import ports_to
from tests.faults.kills import ENGINES
from tests.faults.opening import open_scene
from tests.faults.scene import Scene

CONSUMES_WITHIN = 60.0


async def broker(grounds: Grounds, seed: int, kills: int, away: float) -> AsyncIterator[Figures]:
    """F3. `kill -9` again and again; the first time it is stopped in order and stays away for so many seconds. What
    waits meanwhile is scaled too: pauses and terms of minutes are seconds here, so that ten minutes are 75 seconds and
    more than every one of them."""
    for engine in ENGINES:
        async with open_scene(grounds, "F3", engine, seed) as scene:
            slowest = 0.0
            for turn in range(1 + max(1, kills // 2)):
                slowest = max(slowest, await _broker_dies(scene, away if turn == 0 else 0.0))
            scene.figures.notes.append(
                f"away for {away:.0f} s once; consumed again at most {slowest:.1f} s after the broker was up"
            )
            yield await scene.end()


async def _broker_dies(scene: Scene, away: float) -> float:
    """Seconds until a message that is sent afterwards is accepted. `away`: it is stopped in order, for so long."""
    rabbitmq = scene.grounds.rabbitmq
    for _ in range(3):
        scene.send(scene.load.dossier())
    await asyncio.sleep(random.uniform(0.0, 0.3))
    if away:
        await asyncio.to_thread(rabbitmq.stop)
        await asyncio.sleep(away)
    else:
        await asyncio.to_thread(rabbitmq.kill)
        scene.figures.count_kill("rabbitmq")
    await asyncio.to_thread(rabbitmq.start)
    began = time.monotonic()
    scene.send(scene.load.dossier(("w-antwoord",), ()))
    await scene.sent()
    await scene.accepted(CONSUMES_WITHIN)
    return time.monotonic() - began


async def database(grounds: Grounds, seed: int, kills: int) -> AsyncIterator[Figures]:
    """F5. `kill -9` of the postmaster with all its children, and of one backend, which makes it restart the others."""
    async with open_scene(grounds, "F5", "postgresql", seed) as scene:
        await scene.start(scene.gateways[1])
        slowest = 0.0
        for turn in range(kills):
            slowest = max(slowest, await _database_dies(scene, is_backend=turn % 3 == 2))
        scene.figures.notes.append(f"accepted again at most {slowest:.1f} s after the database was up")
        yield await scene.end()


async def _database_dies(scene: Scene, *, is_backend: bool) -> float:
    postgres = scene.grounds.postgres
    for _ in range(3):
        scene.send(scene.load.dossier())
    await asyncio.sleep(random.uniform(0.0, 0.4))
    if is_backend:
        if await asyncio.to_thread(_kill_backend, scene):
            scene.figures.count_kill("postgresql backend")
    else:
        await asyncio.to_thread(postgres.crash)
        scene.figures.count_kill("postgresql")
        await asyncio.to_thread(postgres.start)
    began = time.monotonic()
    scene.send(scene.load.dossier(("w-antwoord",), ()))
    await scene.sent()
    await scene.accepted(CONSUMES_WITHIN)
    return time.monotonic() - began


def _kill_backend(scene: Scene) -> bool:
    """Any that works for a gateway; whether there was one."""
    query = ["psql", "-qXAt", "-c", "SELECT client_port, pid FROM pg_stat_activity WHERE client_port > 0"]
    found = subprocess.run([*query, scene.ledger_url], capture_output=True, text=True, check=True).stdout
    backends = {int(port): int(pid) for port, _, pid in (line.partition("|") for line in found.splitlines())}
    ours = [gateway.pid for gateway in scene.gateways if gateway.runs]
    theirs = [port for pid in ours for port in ports_to(pid, scene.grounds.postgres.port) if port in backends]
    if theirs:
        os.kill(backends[theirs[0]], signal.SIGKILL)
    return bool(theirs)
