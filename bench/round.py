"""One round of one program: start it on empty queues and an empty ledger, put it to work, read the measures."""

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import aiohttp
import asyncpg

from bench.bare import INTAKE
from bench.measure import Latency, Run, cpu_seconds, peak_memory
from bench.programs import CREDITORS, PROGRAMS, Program
from bench.publisher import EVENTS, Publisher
from tests.flow.outside.messages import SENDER, Message, kennisgeving
from tests.servers import PostgreSQL, RabbitMQ, free_port

QUEUES = (INTAKE, "kennisgeving.geparkeerd", EVENTS)
STUCK_AFTER = 60.0
SLOW = 50  # milliseconds

Progress = Callable[[str, int, int], None]
"""Is told what is going on, how many deliveries of it are done, and of how many."""


class WorkLost(Exception):
    """Not everything that was published came out at the other side."""


@dataclass(frozen=True)
class Load:
    """How much: notices in the burst, in the burst on slow creditors and one by one, and seconds of a steady stream."""

    burst: int
    slow: int
    single: int
    seconds: int
    rates: tuple[int, ...] = (10, 50)

    @classmethod
    def sized(cls, burst: int) -> "Load":
        return cls(burst, slow=burst // 4, single=10, seconds=max(3, burst // 300))


class Creditors:
    """The receiver's control addresses."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def slow(self, milliseconds: int) -> None:
        await self._session.post(f"{self._url}/_/slow/{milliseconds}")

    async def clear(self) -> None:
        await self._session.post(f"{self._url}/_/clear")

    async def sicken(self, creditor: str, how: str) -> None:
        """`hang`, `busy`, or well again."""
        await self._session.post(f"{self._url}/_/sick/{creditor}/{how}")

    async def received(self) -> list[tuple[str, float]]:
        """Dossier and moment on the monotonic clock, one per delivery."""
        return [(dossier, at) for dossier, _, at in await self.sightings()]

    async def sightings(self) -> list[tuple[str, str, float]]:
        """Dossier, path and moment on the monotonic clock, one per delivery."""
        async with self._session.get(f"{self._url}/_/log") as reply:
            return [(dossier, path, at / 1e9) for dossier, path, at in await reply.json(content_type=None)]


class Stage:
    """The servers and the creditors, the same ones for every program."""

    def __init__(self, rabbitmq: RabbitMQ, postgres: PostgreSQL, receiver: str, creditors: Creditors) -> None:
        self.rabbitmq = rabbitmq
        self.receiver = receiver
        self.creditors = creditors
        self._postgres = postgres
        self._numbers = itertools.count(1)

    def ledger(self) -> str:
        return self._postgres.create_database(f"ledger{next(self._numbers)}")

    async def clear(self) -> None:
        """Remove every queue: a used one is not as quick as a new one."""
        async with await aio_pika.connect(self.rabbitmq.url()) as broker, broker.channel() as channel:
            for queue in QUEUES:
                await channel.queue_delete(queue)


@asynccontextmanager
async def stage(rabbitmq: RabbitMQ, postgres: PostgreSQL) -> AsyncIterator[Stage]:
    port = free_port()
    receiver = _start_receiver(port)
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            yield Stage(rabbitmq, postgres, url, Creditors(url, session))
    finally:
        receiver.terminate()
        receiver.wait()


def _start_receiver(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.receiver", "--port", str(port)])


async def run(where: Stage, which: str, load: Load, progress: Progress) -> Run:
    """All measures of one program, from its start to its end."""
    await where.clear()
    ledger = where.ledger()
    with tempfile.TemporaryDirectory(prefix="kennisgeving-bench-") as directory:
        program = PROGRAMS[which](Path(directory), where.rabbitmq.url(), ledger, where.receiver)

        def told(what: str, done: int, of: int) -> None:
            progress(f"{program.name}: {what}", done, of)

        try:
            pid = await program.start()
            async with Publisher(where.rabbitmq.url(SENDER)) as publisher:
                found = await Round(where.creditors, program, pid, ledger, publisher, told).play(load)
            program.stop()
            return found
        finally:
            program.kill()


class Round:
    def __init__(
        self, creditors: Creditors, program: Program, pid: int, ledger: str, publisher: Publisher, progress: Progress
    ) -> None:
        self._creditors = creditors
        self._program = program
        self._pid = pid
        self._ledger = ledger
        self._publisher = publisher
        self._progress = progress
        self._dossiers = itertools.count(1)
        self._published = 0

    async def play(self, load: Load) -> Run:
        await self._burst("warming up", 20)
        settled, cpu = await self._burst("burst", load.burst)
        memory = peak_memory(self._pid)
        paced = {rate: Latency.of(await self._paced(rate, rate * load.seconds)) for rate in load.rates}
        single = Latency.of(await self._paced(2, load.single))
        await self._creditors.slow(SLOW)
        slow, _ = await self._burst(f"burst, creditors take {SLOW} ms", load.slow)
        await self._creditors.slow(0)
        return Run(self._program.name, settled, cpu, slow, memory, single.p50, paced)

    async def _burst(self, what: str, notices: int) -> tuple[float, float]:
        """Deliveries settled per second, and microseconds of the program's CPU for each."""
        messages = await self._prepare(notices)
        cpu, start = cpu_seconds(self._pid), time.monotonic()
        publishing = asyncio.create_task(self._publisher.publish_all(messages))
        await self._settled(what, notices)
        took = time.monotonic() - start
        await publishing
        deliveries = notices * len(CREDITORS)
        await self._all_received(deliveries)
        return deliveries / took, 1e6 * (cpu_seconds(self._pid) - cpu) / deliveries

    async def _paced(self, rate: int, notices: int) -> list[float]:
        """Seconds from publish to receipt of every delivery, at `rate` notices per second."""
        messages = await self._prepare(notices)
        self._progress(f"{rate} notices/s", 0, 0)
        published = await self._publisher.publish_paced(messages, rate)
        await self._settled(f"{rate} notices/s", notices)
        received = await self._all_received(notices * len(CREDITORS))
        return [at - published[dossier] for dossier, at in received]

    async def _prepare(self, notices: int) -> Sequence[Message]:
        await self._publisher.forget_events()
        await self._creditors.clear()
        self._published += notices
        return [kennisgeving(f"SHV-{next(self._dossiers):07}", CREDITORS) for _ in range(notices)]

    async def _settled(self, what: str, notices: int) -> None:
        """Wait for the last event in its queue and the last outcome in the ledger."""
        expected = notices * self._program.events_per_notice
        moved, seen = time.monotonic(), -1
        while seen < expected:
            now = await self._publisher.events()
            if now != seen:
                moved, seen = time.monotonic(), now
                self._progress(what, seen, expected)
            elif time.monotonic() > moved + STUCK_AFTER:
                raise WorkLost(f"{self._program.name}, {what}: {seen} of {expected} events")
            await asyncio.sleep(0.02)
        ledger = await asyncpg.connect(self._ledger)
        try:
            while await ledger.fetchval(self._program.outcomes) < self._published * len(CREDITORS):
                if time.monotonic() > moved + STUCK_AFTER:
                    raise WorkLost(f"{self._program.name}, {what}: outcomes are missing in the ledger")
                await asyncio.sleep(0.01)
        finally:
            await ledger.close()

    async def _all_received(self, deliveries: int) -> list[tuple[str, float]]:
        received = await self._creditors.received()
        if len(received) != deliveries:
            raise WorkLost(f"{self._program.name}: creditors received {len(received)} of {deliveries}")
        return received
