"""A broker that hangs up in the middle of the handshake is away, whatever the moment."""

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

import pytest
import uvloop
from aio_pika.exceptions import AMQPError
from pamqp import commands, frame

from gateway.amqp import Publisher
from gateway.amqp_client import connect
from gateway.topology import Broker, Topology

START = frame.marshal(commands.Connection.Start(), 0)
TUNE = frame.marshal(commands.Connection.Tune(2047, 131072, 60), 0)
SAID = pytest.mark.parametrize(
    "said", [[], [START[:20]], [START], [START, TUNE]], ids=["nothing", "half", "start", "tune"]
)


@contextmanager
def hangs_up_after(*said: bytes) -> Iterator[str]:
    """A broker, in a thread of its own, that says this much and is gone."""

    def greet(server: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                caller, _ = server.accept()
                with caller, suppress(OSError):
                    caller.sendall(b"".join(said))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        try:
            yield f"amqp://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


async def be_busy() -> None:
    """Hold up the loop, so that the end has come before anybody looks."""
    while True:
        time.sleep(0.003)  # noqa: ASYNC251
        await asyncio.sleep(0)


def run(story: Coroutine[None, None, None]) -> None:
    """On the event loop that `serve` has, while it has much to do."""

    async def beside_much() -> None:
        busy = asyncio.create_task(be_busy())
        await story
        busy.cancel()

    uvloop.run(beside_much())


@SAID
def test_who_connects_hears_that_it_is_away(said: list[bytes]) -> None:
    async def story(url: str) -> None:
        for _ in range(5):
            with pytest.raises((OSError, AMQPError)):
                await connect(url)

    with hangs_up_after(*said) as url:
        run(story(url))


@SAID
def test_who_publishes_tries_again(said: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    async def story(url: str) -> None:
        publishing = asyncio.create_task(Publisher(Broker(url, None, Topology())).run())
        await asyncio.wait([publishing], timeout=1.5)
        assert not publishing.done()
        publishing.cancel()

    with hangs_up_after(*said) as url:
        run(story(url))
    assert "broker_away" in capsys.readouterr().err
