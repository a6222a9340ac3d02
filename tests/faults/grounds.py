"""What stays up for the whole campaign: RabbitMQ, PostgreSQL, the creditors' process, the nursery of gateways."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import aio_pika

from gateway.pki import DevPki, make_dev_pki
from tests.faults import sightings
from tests.faults.nursery import Nursery
from tests.faults.proxy import Proxy
from tests.flow.outside.messages import GEMEENTE, SENDER
from tests.servers import PostgreSQL, RabbitMQ, free_port

QUEUES = ("kennisgeving.intake", "kennisgeving.geparkeerd", f"{SENDER}.uit")
EXCHANGES = ("kennisgeving.in", "kennisgeving.uit")


class Neighbourhood:
    """The creditors' process, and its log."""

    def __init__(self, directory: Path, gateway_url: str) -> None:
        self.log = directory / "sightings.jsonl"
        self._directory = directory
        self._url = gateway_url
        self._process: asyncio.subprocess.Process | None = None
        self.tables: list[dict[str, Any]] = []
        self.email: Mapping[str, Any] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "tests.faults.creditors", "--map", str(self._directory), "--url", self._url]
        with (self._directory / "creditors.log").open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=errors, limit=2**20, start_new_session=True
            )
        told = json.loads(await self._line())
        self.tables, self.email = told["tables"], told["email"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def order(self, *words: object) -> str:
        """`<channel> <fault>`, `hostile <mode> …`, `calm` or `taken`; returns what is said when it is so."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        await self._process.stdin.drain()
        return (await self._line()).decode().strip()

    async def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the creditors' process ended")
        return line

    @asynccontextmanager
    async def misbehaving(self, *words: object, and_also: Sequence[object] = ()) -> AsyncIterator[None]:
        """As two orders say, the second where there is one."""
        try:
            for order in filter(None, (words, and_also)):
                await self.order(*order)
            yield
        finally:
            await self.order("calm")

    @property
    def written(self) -> int:
        """Bytes of log so far."""
        return self.log.stat().st_size

    def since(self, offset: int) -> tuple[list[sightings.Sighting], list[sightings.Reply]]:
        return sightings.read(self.log, offset)

    def lines_since(self, offset: int) -> bytes:
        """Their log as it is written."""
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read()


@dataclass
class Grounds:
    """`ports`: of the two gateways. The proxies stand before `w-net`, PostgreSQL and RabbitMQ."""

    directory: Path
    rabbitmq: RabbitMQ
    postgres: PostgreSQL
    neighbours: Neighbourhood
    nursery: Nursery
    pki: DevPki
    ports: tuple[int, int]
    to_creditor: Proxy
    to_ledger: Proxy
    to_broker: Proxy
    rounds: int = 0

    @property
    def inboxes(self) -> Path:
        """Where the SFTP creditors have their files."""
        return self.directory / "sftp"

    async def sweep(self) -> None:
        """A broker without the queues and exchanges of the round before."""
        async with await aio_pika.connect(self.rabbitmq.url()) as connection, connection.channel() as channel:
            for exchange in EXCHANGES:
                await channel.exchange_delete(exchange)
            for queue in QUEUES:
                await channel.queue_delete(queue)

    def register(
        self, by_name: Collection[str] = (), limits: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    ) -> list[dict[str, Any]]:
        """`w-net` is reached by way of the proxy; `by_name`: webhooks that are reached by a name, and at one address;
        `limits`: the `limiet` of creditors."""
        tables: list[dict[str, Any]] = json.loads(json.dumps(self.neighbours.tables))
        for table in tables:
            if table["id"] == "w-net":
                table["webhook"]["url"] = f"https://127.0.0.1:{self.to_creditor.port}/w-net"
            if table["id"] in limits:
                table["limiet"] = dict(limits[table["id"]])
            if table["id"] in by_name:
                table["webhook"]["url"] = table["webhook"]["url"].replace("127.0.0.1", "localhost")
                table["netwerken"] = ["127.0.0.1/32"]
        return tables


@asynccontextmanager
async def open_grounds(
    directory: Path, rabbitmq: RabbitMQ | None = None, postgres: PostgreSQL | None = None
) -> AsyncIterator[Grounds]:
    """Everything but the gateways; on servers of its own, or on those that run."""
    pki = make_dev_pki(directory / "certs")
    ports = (free_port(), free_port())
    async with AsyncExitStack() as stack:
        rabbitmq = rabbitmq or stack.enter_context(RabbitMQ({SENDER: [GEMEENTE]}))
        postgres = postgres or stack.enter_context(PostgreSQL())
        url = f"https://127.0.0.1:{ports[0]}"
        neighbours = await stack.enter_async_context(Neighbourhood(directory, url))
        nursery = await stack.enter_async_context(Nursery())
        w_net = next(table for table in neighbours.tables if table["id"] == "w-net")
        port = int(w_net["webhook"]["url"].split(":")[2].split("/")[0])
        creditor, ledger, broker = [
            await stack.enter_async_context(Proxy(target)) for target in (port, postgres.port, rabbitmq.port)
        ]
        yield Grounds(directory, rabbitmq, postgres, neighbours, nursery, pki, ports, creditor, ledger, broker)
