"""The creditors of the benchmark: one process that takes POSTs as fast as one core can and remembers when.

    python -m bench.receiver --port 8099        POST anything with a "dossierkenmerk"
    POST /_/slow/50     answer after 50 ms from now on
    POST /_/sick/a/hang take what comes at /a and never answer; /busy: answer 429
    POST /_/clear       forget what was received
    GET  /_/count       {"distinct": n, "requests": n}
    GET  /_/log         [[dossierkenmerk, path, nanoseconds on the monotonic clock], …], first sightings only

The requests of one connection come one after the other, with a Content-Length: that is what HTTP clients without
pipelining send, and it saves the cost of a server framework on a machine where every program shares two cores.
"""

import argparse
import asyncio
import json
import re
import signal
import time
from collections.abc import Sequence
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
DOSSIER = re.compile(rb'"dossierkenmerk": ?"([^"]+)"')
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"


class Sightings:
    """What was received: (dossier, path) → monotonic nanoseconds of the first time."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.sick: dict[bytes, bytes] = {}
        """Path → how it is."""
        self.requests = 0
        self._first: dict[tuple[bytes, bytes], int] = {}

    def add(self, path: bytes, body: bytes) -> None:
        self.requests += 1
        found = DOSSIER.search(body)
        self._first.setdefault((found[1] if found else b"", path), time.monotonic_ns())

    def control(self, path: bytes) -> object:
        match path.split(b"/")[2:]:
            case [b"slow", milliseconds]:
                self.delay = int(milliseconds) / 1000
            case [b"sick", creditor, how]:
                self.sick[b"/" + creditor] = how
            case [b"clear"]:
                self.requests = 0
                self._first.clear()
            case [b"log"]:
                return [[dossier.decode(), path.decode(), at] for (dossier, path), at in self._first.items()]
            case _:
                pass
        return {"distinct": len(self._first), "requests": self.requests}


class Connection(asyncio.Protocol):
    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings
        self._pending = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (head := self._pending.find(HEAD_END)) >= 0:
            length = LENGTH.search(self._pending, 0, head + 2)
            end = head + len(HEAD_END) + (int(length[1]) if length else 0)
            if len(self._pending) < end:
                return
            request, self._pending = self._pending[:end], self._pending[end:]
            self._take(request, head + len(HEAD_END))

    def _take(self, request: bytes, body_at: int) -> None:
        path = request[: request.index(b"\r\n")].split(b" ")[1]
        if path.startswith(b"/_/"):
            body = json.dumps(self._sightings.control(path)).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            return
        match self._sightings.sick.get(path):
            case b"hang":
                return
            case b"busy":
                self._transport.write(BUSY)
                return
            case _:
                pass
        self._sightings.add(path, request[body_at:])
        if self._sightings.delay:
            self._loop.call_later(self._sightings.delay, self._transport.write, TAKEN)
        else:
            self._transport.write(TAKEN)


async def receive(port: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    sightings = Sightings()
    server = await loop.create_server(lambda: Connection(sightings), "127.0.0.1", port, backlog=1024)
    async with server:
        await ended.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.receiver")
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(receive(parser.parse_args(arguments).port))


if __name__ == "__main__":
    main()
