"""A TCP proxy that spoils what passes, between the gateway and anything: `weather` says how, at any moment.

| weather | what the gateway meets |
|---|---|
| latency | every reply comes so many seconds later |
| rate | replies drip, so many bytes a second |
| deaf | what it sends goes nowhere |
| mute | no reply comes |
| refuses | connections are reset at once |
| cut_after | the connection is reset after so many bytes of reply |
| loss | that part of what passes is lost and comes RESENT_AFTER later; lost again, the connection is reset |
| lost_commits | that part of the COMMITs reaches PostgreSQL, and the connection is reset instead of the answer |
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

CHUNK = 65_536
RESENT_AFTER = 0.2
"""Seconds; the least that Linux waits before it sends again what was not acknowledged."""
COMMIT = b"COMMIT;\0"
AWAY = (OSError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Weather:
    latency: float = 0.0
    rate: int = 0
    deaf: bool = False
    mute: bool = False
    refuses: bool = False
    cut_after: int = 0
    loss: float = 0.0
    lost_commits: float = 0.0


@dataclass(eq=False)
class Link:
    """One connection through the proxy. `doomed`: a COMMIT passed whose answer must not arrive."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    replied: int = 0
    doomed: bool = False

    def cut(self) -> None:
        """Both sides see a reset."""
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass(eq=False)
class Proxy:
    """`async with Proxy(target) as proxy`: whoever connects to `proxy.port` reaches port `target` of this machine."""

    target: int
    chance: random.Random = field(default_factory=random.Random)
    weather: Weather = field(default_factory=Weather)
    links: set[Link] = field(default_factory=set)
    commits_lost: int = 0
    came: list[float] = field(default_factory=list)
    """When each connection was made, refused or not (`time.monotonic`)."""
    most_at_once: int = 0
    """Of those that passed."""
    port: int = 0
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    @asynccontextmanager
    async def spoiled(self, **changes: Any) -> AsyncIterator[None]:
        """That weather, for the length of the context."""
        before, self.weather = self.weather, replace(self.weather, **changes)
        try:
            yield
        finally:
            self.weather = before

    def cut(self) -> None:
        """Reset every connection that is open."""
        for link in list(self.links):
            link.cut()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.append(time.monotonic())
        if self.weather.refuses:
            writer.transport.abort()
            return
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server)
        self.links.add(link)
        self.most_at_once = max(self.most_at_once, len(self.links))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._up(reader, link))
                both.create_task(self._down(replies, link))
        except* AWAY:
            pass
        finally:
            link.cut()
            self.links.discard(link)

    async def _up(self, reader: asyncio.StreamReader, link: Link) -> None:
        while data := await reader.read(CHUNK):
            if self.weather.deaf:
                continue
            lost = self.weather.lost_commits
            if lost and COMMIT in data and self.chance.random() < lost:
                link.doomed = True
            await self._lose()
            link.server.write(data)
            await link.server.drain()
        with suppress(OSError):
            link.server.write_eof()

    async def _down(self, replies: asyncio.StreamReader, link: Link) -> None:
        while data := await replies.read(CHUNK):
            if link.doomed:
                self.commits_lost += 1
                raise ConnectionResetError
            weather = self.weather
            if weather.mute:
                continue
            if weather.latency:
                await asyncio.sleep(weather.latency)
            await self._lose()
            await self._reply(data, link)
        raise ConnectionResetError

    async def _lose(self) -> None:
        """Or not, as it happens; raises ConnectionResetError."""
        loss = self.weather.loss
        if loss and self.chance.random() < loss:
            await asyncio.sleep(RESENT_AFTER)
            if self.chance.random() < loss:
                raise ConnectionResetError

    async def _reply(self, data: bytes, link: Link) -> None:
        weather = self.weather
        if weather.cut_after:
            data = data[: max(0, weather.cut_after - link.replied)]
        link.replied += len(data)
        if weather.rate:
            for byte in data:
                link.client.write(bytes([byte]))
                await link.client.drain()
                await asyncio.sleep(1 / weather.rate)
        else:
            link.client.write(data)
            await link.client.drain()
        if weather.cut_after and link.replied >= weather.cut_after:
            raise ConnectionResetError
