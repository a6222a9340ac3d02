"""A sender at the broker: it publishes what it likes, also what no client library would, and keeps its events."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.commands import Basic

from tests.conftest import Broker

STRUCTURED = "application/cloudevents+json"
PARKED = "kennisgeving.geparkeerd"
INTAKE = "kennisgeving.intake"
CONFIRMED_WITHIN = 10.0


class Postbox:
    """`events`: those that came in, by id; `came`: the messages they came in."""

    def __init__(self, channel: AbstractChannel, user: str) -> None:
        self._channel = channel
        self._user = user
        self.events: dict[str, Mapping[str, Any]] = {}
        self.came: list[AbstractIncomingMessage] = []

    async def publish(self, body: bytes | Mapping[str, Any], key: str = "0363.kennisgeving", **properties: Any) -> None:
        """Confirmed when it returns. `properties` go over those of an ordinary message."""
        ordinary = {"content_type": STRUCTURED, "delivery_mode": 2, "user_id": self._user}
        underlay = await self._channel.get_underlay_channel()
        await underlay.basic_publish(
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            exchange="kennisgeving.in",
            routing_key=key,
            properties=Basic.Properties(**{**ordinary, **properties}),
            mandatory=True,
            timeout=CONFIRMED_WITHIN,
        )

    async def listen(self, queue: str, binding: str) -> None:
        """Keep what is published from now on, on a queue that survives the broker."""
        declared = await self._channel.declare_queue(queue, durable=True)
        await declared.bind("kennisgeving.uit", binding)
        await declared.consume(self._take)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        self.events[event["id"]] = event
        self.came.append(message)
        await message.ack()

    def told(self, name: str) -> list[Mapping[str, Any]]:
        """The data of the events of this name."""
        wanted = f"nl.schuldhulpverlening.{name}.v1"
        return [event["data"] for event in self.events.values() if event["type"] == wanted]

    async def waiting(self, queue: str) -> int:
        """How many messages stand in a queue and are with nobody."""
        declared = await self._channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def fetch(self, queue: str) -> AbstractIncomingMessage:
        """The first message of a queue, taken off it."""
        found = await (await self._channel.get_queue(queue, ensure=False)).get(no_ack=True, fail=True)
        assert found is not None
        return found


@asynccontextmanager
async def postbox(broker: Broker, user: str = "gem-0363", binding: str | None = "0363.#") -> AsyncIterator[Postbox]:
    """`binding`: which events come in, on the queue `<user>.uit`; the gateway must have made its exchanges."""
    async with await aio_pika.connect(broker.url(user)) as connection:
        box = Postbox(await connection.channel(publisher_confirms=True, on_return_raises=True), user)
        if binding is not None:
            await box.listen(f"{user}.uit", binding)
        yield box


# -- what no client library would write --------------------------------------------------------------------------------

CONTENT_TYPE, HEADERS, TIMESTAMP, USER_ID = 1 << 15, 1 << 13, 1 << 6, 1 << 4
"""Property flags, in the order of the properties (AMQP 0-9-1 §4.2.6.1)."""


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def nested_table(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = short(b"a") + b"F" + long(inner)
    return long(inner)


ODD_PROPERTIES = {
    "a content type that is no text": (CONTENT_TYPE, short(b"\xff\xfe")),
    "a header whose name is no text": (HEADERS, long(short(b"\xff") + b"t\x01")),
    "headers nested 1,000 deep": (HEADERS, nested_table(1000)),
    "a moment far away": (TIMESTAMP, struct.pack(">Q", 1 << 63)),
    "a header with a moment far away": (HEADERS, long(short(b"k") + b"T" + struct.pack(">Q", 1 << 62))),
}


async def publish_odd(broker: Broker, user: str, flags: int, properties: bytes, body: bytes) -> None:
    """One message to `kennisgeving.in` with these bytes as its properties, and the user after them."""
    url = urlsplit(broker.url(user))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    login = long(b"\0" + user.encode() + b"\0" + (url.password or "").encode())
    writer.write(b"AMQP\x00\x00\x09\x01")
    await _frame(reader)
    writer.write(_method(0, 10, 11, long(b"") + short(b"PLAIN") + login + short(b"en_US")))
    tune = await _frame(reader)
    writer.write(_method(0, 10, 31, tune[4:10] + b"\0\0") + _method(0, 10, 40, short(b"/") + b"\0\0"))
    await _frame(reader)
    writer.write(_method(1, 20, 10, short(b"")))
    await _frame(reader)
    writer.write(_method(1, 85, 10, b"\0"))  # confirms
    await _frame(reader)
    header = struct.pack(">HHQH", 60, 0, len(body), flags | USER_ID) + properties + short(user.encode())
    writer.write(_method(1, 60, 40, b"\0\0" + short(b"kennisgeving.in") + short(b"0363.kennisgeving") + b"\0"))
    writer.write(_wrap(2, 1, header) + _wrap(3, 1, body))
    confirmed = await _frame(reader)
    writer.close()
    await writer.wait_closed()
    assert confirmed[:4] == struct.pack(">HH", 60, 80), "the broker does not take it either"


def _method(channel: int, class_id: int, method_id: int, arguments: bytes) -> bytes:
    return _wrap(1, channel, struct.pack(">HH", class_id, method_id) + arguments)


def _wrap(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(7)
    payload = await reader.readexactly(int.from_bytes(head[3:], "big"))
    await reader.readexactly(1)
    return payload
