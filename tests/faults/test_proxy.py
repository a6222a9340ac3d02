"""The proxy does to a connection what its weather says, and nothing in fair weather."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import chain, repeat
from random import Random
from typing import Any

import pytest

from tests.faults.proxy import RESENT_AFTER, Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[1]) as made:
        yield made
    server.close()


async def said(proxy: Proxy, words: bytes = b"hallo", within: float = 0.3) -> bytes:
    """What comes back; raises ConnectionResetError where it is cut, TimeoutError where nothing comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(words)
        async with asyncio.timeout(within):
            return await reader.readexactly(len(words))
    finally:
        writer.transport.abort()


async def test_fair_weather_changes_nothing(proxy: Proxy) -> None:
    assert await said(proxy, b"x" * 100_000, within=3) == b"x" * 100_000


@pytest.mark.parametrize(
    ("weather", "error"),
    [
        ({"deaf": True}, TimeoutError),
        ({"mute": True}, TimeoutError),
        ({"refuses": True}, (ConnectionError, asyncio.IncompleteReadError)),
        ({"loss": 1.0}, (ConnectionError, asyncio.IncompleteReadError)),
        ({"cut_after": 3}, (ConnectionError, asyncio.IncompleteReadError)),
        ({"rate": 5}, TimeoutError),
    ],
)
async def test_bad_weather_is_felt_and_passes(proxy: Proxy, weather: dict[str, Any], error: Any) -> None:
    async with proxy.spoiled(**weather):
        with pytest.raises(error):
            await said(proxy)
    assert await said(proxy) == b"hallo"


async def test_latency_comes_before_every_reply(proxy: Proxy) -> None:
    async with proxy.spoiled(latency=0.2):
        began = time.monotonic()
        assert await said(proxy, within=2) == b"hallo"
        assert time.monotonic() - began >= 0.2


async def test_an_answer_to_commit_is_lost_and_no_other(proxy: Proxy) -> None:
    async with proxy.spoiled(lost_commits=1.0):
        assert await said(proxy, b"Q\0\0\0\x0bBEGIN;\0") == b"Q\0\0\0\x0bBEGIN;\0"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said(proxy, b"Q\0\0\0\x0cCOMMIT;\0")
    assert proxy.commits_lost == 1


class LostOnce(Random):
    """The first thing that passes is lost, and nothing after it."""

    def __init__(self) -> None:
        super().__init__(0)
        self._draws = chain([0.0], repeat(1.0))

    def random(self) -> float:
        return next(self._draws)


async def test_what_is_lost_once_comes_later_and_nothing_is_left_out(proxy: Proxy) -> None:
    proxy.chance = LostOnce()
    async with proxy.spoiled(loss=0.5):
        began = time.monotonic()
        assert await said(proxy, b"x" * 100_000, within=10) == b"x" * 100_000
        assert time.monotonic() - began >= RESENT_AFTER
