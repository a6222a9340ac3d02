"""F1, F2: the gateway is killed, at every named point in turn and at any moment, and started again."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import count, cycle
from pathlib import Path

from gateway.ledger.register import revision
from gateway.sandbox.register import register_toml
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.nursery import Gateway
from tests.faults.opening import open_scene
from tests.faults.points import POINTS, SENDING, points_on
from tests.faults.scene import DIES_WITHIN, LOOK, Scene

PER_ROUND = 60
HITS = 3
"""A point is taken at its first hit, and in later turns at its second, third, …"""
ARMED = 0.8
"""Part of the lives that end at a point; the others end at any moment."""
PATIENCE = 1.6
"""Seconds after which a gateway that did not come to its point is killed where it is."""
FIRST = ("upgrade", "register", "renew", "release", "page")
"""What a process does once, or seldom: the first hit is waited for."""
BUSY = 12
"""Dossiers to `w-net` before a gateway is asked to stop: more than its lane has under way."""
PATIENT = {"renew": 5.0, "page": 5.0, "release": 5.0}
"""Seconds, where a point is not reached at once: lanes may still be those of a gateway that was killed, a creditor
takes his time over a page, what is under way ends first."""
AT_BIRTH = ("upgrade:before", "upgrade:inside", "upgrade:after", "register:before", "register:inside", "register:after")
"""In this order on an empty ledger: nothing is upgraded or registered by whoever comes after that."""
SLOW = {"latency": 0.4}
"""The line to `w-net`, so that an attempt takes longer than a third of a lease, claims are renewed, and some attempts
are under way together."""
LOADED, STARTED = "register_loaded", "started"
STARTS_WITHIN = 10.0
CLAIMS_WITHIN = 0.6
NOTICED_WITHIN = 5.0
LOSS_SHOWS = 0.5
"""Seconds in which a gateway notices that the reply does not come."""
NEVER = 6
"""A point for which so many lives were meant, and at which none ended, is not reached any more."""
ENGINES = ("sqlite", "postgresql")
TURNS = ("sqlite", "postgresql", "postgresql")
"""Two gateways at a time die on PostgreSQL, so more deaths fit in its rounds."""


def turns(points: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every point at its first hit, then every point at its second, …; without end."""
    for turn in count():
        for point in points:
            yield point, 1 if point.partition(":")[0] in FIRST else 1 + turn % HITS


async def anywhere(grounds: Grounds, seed: int, kills: int) -> AsyncIterator[Figures]:
    """F1. `kills` are spread over rounds, each on an empty ledger of one engine or the other."""
    meant, died = Counter[str](), Counter[str]()
    plans = {engine: turns(points_on(engine)) for engine in ENGINES}
    engines = cycle(TURNS)
    chance = random.Random(seed)
    while kills > 0:
        engine, now = next(engines), min(kills, PER_ROUND)
        async with open_scene(grounds, "F1", engine, seed, at_birth=AT_BIRTH) as scene:
            lives = 2 if engine == "postgresql" else 1
            await scene.gateway.kill()
            killer = Killer(scene, plans[engine], chance, meant, max(1, now - len(AT_BIRTH)))
            async with grounds.to_creditor.spoiled(**SLOW), asyncio.TaskGroup() as both:
                for gateway in scene.gateways[:lives]:
                    both.create_task(killer.kill_often(gateway))
            figures = await scene.end()
        kills -= now
        died.update(figures.points)
        if not kills:
            never = [point for point in POINTS if meant[point] >= NEVER and not died[point]]
            figures.faults += [f"never came to {point}" for point in never]
        yield figures


class Killer:
    """Of the gateways of a scene. `budget` is how many lives are left, `meant` counts those that were to end at a
    point."""

    def __init__(
        self, scene: Scene, plan: Iterator[tuple[str, int]], chance: random.Random, meant: Counter[str], budget: int
    ) -> None:
        self._scene = scene
        self._plan = plan
        self._chance = chance
        self._meant = meant
        self._budget = budget
        self._clerk = Clerk(scene)

    async def kill_often(self, gateway: Gateway) -> None:
        """One gateway's lives."""
        while self._budget > 0:
            self._budget -= 1
            if self._chance.random() >= ARMED:
                await self._live(gateway, "", 1, self._chance.uniform(0.2, 2.0))
                continue
            point, hit = next(self._plan)
            self._meant[point] += 1
            if point.startswith("register"):
                await self._live(gateway, "", 1, 0.0, partial(self._clerk.dies, point, gateway))
            elif point.startswith("release"):
                await self._live(gateway, point, hit, PATIENT["release"], partial(self._ask_to_stop, gateway))
            else:
                await self._live(gateway, point, hit, PATIENT.get(point.partition(":")[0], PATIENCE))

    async def _ask_to_stop(self, gateway: Gateway) -> None:
        """While more waits in a lane than can be under way: the rest is given back. Who has not started by then has
        nothing to give back, and goes on."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not gateway.said(STARTED):
            if await gateway.died(LOOK) or time.monotonic() > deadline:
                return
        for _ in range(BUSY):
            self._scene.send(self._scene.load.dossier(("w-net",), ()))
        await gateway.died(CLAIMS_WITHIN)
        gateway.signal(signal.SIGTERM)

    async def _live(
        self,
        gateway: Gateway,
        point: str,
        hit: int,
        patience: float,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Until the gateway comes to the point, or `patience` is over; then it is killed where it is."""
        scene = self._scene
        await gateway.start(point, hit, scene.bugs)
        scene.send(scene.load.dossier())
        channel = point.partition(":")[0].partition("_")[0]
        answering = {"w-net"} if channel == "renew" else {*_of(channel), "w-antwoord"}
        scene.send(scene.load.dossier(sorted(answering), ()))
        if meanwhile:
            await meanwhile()
        if not await gateway.died(patience):
            await gateway.kill()
        scene.figures.count_kill("gateway", gateway.died_at() or "elsewhere")


class Clerk:
    """Applies another register while gateways run, as an operator does, with `kennisgeving schuldeisers apply`: it is
    killed at a point, and carried out again."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._process = Gateway(scene.grounds.nursery, scene.directory, "clerk")
        self._process.config.write_text(scene.gateway.config.read_text())
        self._turn = asyncio.Lock()

    async def dies(self, point: str, gateway: Gateway) -> None:
        """All of the register is in force or nothing of it, also for the gateway, which goes on meanwhile."""
        async with self._turn:
            await self._loads(gateway, 1)
            before, loaded = await self._scene.read(revision), gateway.said(LOADED)
            apply = ("schuldeisers", "apply", "--bestand", str(self._written(before)))
            await self._process.start(point, 1, command=apply)
            await self._scene.dies(self._process, point, "schuldeisers apply")
            await self._expect(before + (point == "register:after"))
            await self._process.start(command=apply)
            if not await self._process.died(DIES_WITHIN) or self._process.code != 0:
                self._scene.figures.faults.append(f"schuldeisers apply: {self._process.last_lines()}")
            await self._expect(before + 1)
            await self._loads(gateway, loaded + 1)

    def _written(self, revision: int) -> Path:
        """A register in which every entry is other than in the one before."""
        limit = {"gelijktijdig": 6 + revision % 3}
        tables = [{**table, "limiet": limit} for table in self._scene.grounds.register()]
        path = self._scene.directory / f"schuldeisers-{revision}.toml"
        path.write_text(register_toml(tables))
        return path

    async def _expect(self, expected: int) -> None:
        found = await self._scene.read(revision)
        if found != expected:
            self._scene.figures.faults.append(f"revision {found} of the register is in force, not {expected}")

    async def _loads(self, gateway: Gateway, times: int) -> None:
        """Whoever lives puts it in force by itself, and says so."""
        deadline = time.monotonic() + NOTICED_WITHIN
        while gateway.said(LOADED) < times:
            if time.monotonic() > deadline:
                self._scene.figures.faults.append(f"{gateway.name} did not notice the register")
                return
            await asyncio.sleep(LOOK)


async def between_send_and_record(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F2. Each channel's gateway dies with the reply in hand; then the creditor's reply is lost as well."""
    for engine in ENGINES:
        async with open_scene(grounds, "F2", engine, seed) as scene:
            await scene.gateway.kill()
            for channel, point in SENDING.items():
                scene.send(scene.load.dossier(_of(channel), ("voortgang",)))
                await scene.gateway.start(point, 1, scene.bugs)
                await scene.dies(scene.gateway, point)
                await _die_without_a_reply(scene, channel)
            yield await scene.end()


async def _die_without_a_reply(scene: Scene, channel: str) -> None:
    """Only when something has come to a creditor."""
    neighbours = scene.grounds.neighbours
    async with neighbours.misbehaving(channel, "drops_reply"):
        before = neighbours.written
        await scene.start()
        scene.send(scene.load.dossier(_of(channel), ()))
        await scene.seen(*_of(channel), since=before)
        await asyncio.sleep(LOSS_SHOWS)
    if await scene.gateway.kill():
        scene.figures.count_kill("gateway", "reply lost")


def _of(channel: str) -> tuple[str, ...]:
    """Its creditors that answer."""
    found: dict[str, tuple[str, ...]] = {
        "webhook": ("w-antwoord", "w-terug"),
        "sftp": ("s-bevestigt",),
        "cjib": ("c-een",),
        "email": ("m-pagina",),
        "page": ("m-pagina",),
    }
    return found.get(channel, ())
