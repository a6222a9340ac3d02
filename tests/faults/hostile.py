"""A creditor whose replies break HTTP in every way that F10 and F11 name; it takes the message before it does.

One hangs in TLS too: that is the line to `w-net` where it is mute, as every connection over it is a new one.
"""

import asyncio
import json
import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.core import standard_webhooks
from gateway.pki import Issued, write_secret
from gateway.sandbox.https_server import server_ssl
from tests.faults.sightings import Journal

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HUGE = 12 * 1024 * 1024
PIECE = 65_536
ENDLESS = 10 * 1024**3
GZIP_HEAD = bytes.fromhex("1f8b08000000000002ff")
"""RFC 1952 §2.3: deflate, nothing else said."""
STRETCH = 25_000_000
INFLATED = 42 * STRETCH


@cache
def gzip_bomb() -> bytes:
    """Zeros, INFLATED of them, in less than the gateway reads of a reply. The check value at the end is wrong: whoever
    notices that has inflated it all."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    stretch = packer.compress(bytes(STRETCH)) + packer.flush(zlib.Z_FULL_FLUSH)
    return GZIP_HEAD + stretch * (INFLATED // STRETCH) + packer.flush() + bytes(4) + INFLATED.to_bytes(4, "little")


REPLIES: Mapping[str, bytes] = {
    "agrees": b"HTTP/1.1 204 No Content\r\n\r\n",
    "truncates": HEAD + b'Content-Length: 400\r\n\r\n{"antwoord":',
    "bad_chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "smuggles": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no_http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "endless_head": b"HTTP/1.1 200 OK\r\n" + b"X-Lang: " + b"a" * 200_000 + b"\r\n\r\n",
    "huge": HEAD + b"Content-Length: %d\r\n\r\n" % HUGE + b" " * HUGE,
    "early_end": b"",
}
SILENT, DRIPS, RESETS = "silent", "drips", "resets"
KEEPS_BODY, BOMB, NEVER_ENDS = "keeps_body", "gzip_bomb", "never_ends"
MODES = (*REPLIES, SILENT, DRIPS, RESETS, KEEPS_BODY, BOMB, NEVER_ENDS)


class HostileCreditor:
    """`mode`: one of MODES, at any moment."""

    def __init__(self, certificate: Issued, journal: Journal, name: str) -> None:
        self.mode = "agrees"
        self.taken = 0
        """Bytes of the reply that never ends that somebody took, or the buffers on the way, at most."""
        self._tls: ssl.SSLContext = server_ssl(certificate)
        self._journal = journal
        self.name = name
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    def add(self, directory: Path) -> dict[str, Any]:
        """Its table in the register; nobody answers, so the second key has no other side."""
        path = directory / f"{self.name}.whsec"
        if not path.exists():
            write_secret(path, standard_webhooks.new_secret(os.urandom(32)).encode())
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return {"url": f"https://127.0.0.1:{port}/{self.name}", "sleutels": [f"file:{path}"]}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                self._journal.record(self.name, _key(head), body, json.loads(body)["data"]["soort"])
                if not await self._reply(writer):
                    break
        writer.close()

    async def _reply(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        mode = self.mode
        acts: Mapping[str, Callable[[], Any]] = {
            SILENT: lambda: asyncio.sleep(60),
            DRIPS: lambda: _drip(writer),
            RESETS: lambda: _reset(writer),
            KEEPS_BODY: lambda: _keep_body(writer),
            BOMB: lambda: _explode(writer),
            NEVER_ENDS: lambda: self._never_end(writer),
        }
        if mode in acts:
            await acts[mode]()
            return False
        for start in range(0, len(REPLIES[mode]), PIECE):  # no more than is read, and others get their turn
            writer.write(REPLIES[mode][start : start + PIECE])
            await writer.drain()
        return mode == "agrees"

    async def _never_end(self, writer: asyncio.StreamWriter) -> None:
        """ENDLESS bytes are offered; what is taken of them is counted."""
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % ENDLESS)
        piece = b" " * PIECE
        for taken in range(PIECE, ENDLESS + 1, PIECE):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # it is told only then that the connection is gone
            self.taken = max(self.taken, taken)


async def _keep_body(writer: asyncio.StreamWriter) -> None:
    """The head of a reply, and then silence."""
    writer.write(HEAD + b"Content-Length: 40\r\n\r\n")
    await asyncio.sleep(60)


async def _explode(writer: asyncio.StreamWriter) -> None:
    bomb = await asyncio.to_thread(gzip_bomb)
    writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    await writer.drain()


async def _drip(writer: asyncio.StreamWriter) -> None:
    """A byte a second: a reply that never ends."""
    for byte in HEAD * 10:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _header(head: bytes, name: str) -> str:
    lines = head.decode("latin-1").lower().split("\r\n")
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")


def _length(head: bytes) -> int:
    return int(_header(head, "content-length") or 0)


def _key(head: bytes) -> str:
    """What the creditor goes by to know a repetition."""
    return _header(head, "webhook-id")
