"""Connections to the broker, without two weaknesses of the client library.

The broker passes on the properties that a sender put on a message (AMQP 0-9-1 §4.2.5): short strings that are no UTF-8,
tables nested a thousand deep, moments far beyond the year 9999. A client that ends its connection over one of them gets
the same message again, and again, and the queue stands still behind it. Here what cannot be read costs itself alone.

A connection that the broker closes in the middle of the handshake, as when it is going down, shows as the end of
an iteration, which no caller takes for a lost connection.
"""

import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from pamqp import decode
from pamqp.common import FieldValue

CONNECT_WITHIN = 10.0
Read = Callable[..., tuple[int, FieldValue]]
"""From the bytes that are left to how many it took and the value."""

_LENGTHS: Final[Mapping[str, Callable[[bytes], int]]] = {
    "shortstr": lambda rest: 1 + rest[0],
    "table": lambda rest: 4 + int.from_bytes(rest[:4], "big"),
    "timestamp": lambda _: 8,
}
_UNREADABLE = (ValueError, OverflowError, OSError, RecursionError)


async def connect(url: str, tls: ssl.SSLContext | None = None) -> AbstractConnection:
    """Raises OSError, AMQPError; within CONNECT_WITHIN seconds."""
    _tolerate()
    try:
        return await aio_pika.connect(url, ssl_context=tls, timeout=CONNECT_WITHIN)
    except StopAsyncIteration as why:
        raise ConnectionResetError("closed in the middle of the handshake") from why


@cache
def _tolerate() -> None:
    """From now on such a property reads as absent, in every connection of this process."""
    for kind, length in _LENGTHS.items():
        decode.METHODS[kind] = _tolerant(decode.METHODS[kind], length)


def _tolerant(read: Read, length: Callable[[bytes], int]) -> Read:
    def read_or_skip(rest: bytes) -> tuple[int, FieldValue]:
        try:
            return read(rest)
        except _UNREADABLE:
            return length(rest), None

    return read_or_skip
