"""The gemeente: publishes with confirms and keeps at it, reads its events from its queue and from the feed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
from aio_pika.connection import make_url
from aiormq.exceptions import AMQPException
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.flow.outside.messages import CONTENT_TYPE, GEMEENTE, SENDER, Message
from tests.flow.outside.verdict import Event

ISSUER = "https://uitgever.example"
AUDIENCE = "kennisgeving"
QUEUE = f"{SENDER}.uit"
PATIENCE = 0.2
CONNECT_WITHIN = 5.0
BROKER_AWAY = (AMQPException, aio_pika.exceptions.AMQPError, OSError, RuntimeError, TimeoutError)


async def connect(url: str) -> aio_pika.Connection:
    """A connection, closed also where it does not come about; else any thread that collects garbage would do it."""
    connection = aio_pika.Connection(make_url(url))
    try:
        await connection.connect(timeout=CONNECT_WITHIN)
    except BaseException:
        await connection.close()
        raise
    return connection


class Sender:
    """Keeps what it was told: `confirmed` messages by id, `events` by id, and ids that came again `altered`."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._log = log
        self._lock = asyncio.Lock()
        self._broker: aio_pika.abc.AbstractConnection | None = None
        self._channel: aio_pika.abc.AbstractChannel | None = None
        self.confirmed: dict[str, Message] = {}
        self.events: dict[str, Event] = {}
        self.altered: set[str] = set()

    async def subscribe(self) -> None:
        """Make the queue for the events; the gateway must have declared its exchange."""
        async with await connect(self._url) as broker, broker.channel() as channel:
            queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind("kennisgeving.uit", f"{GEMEENTE}.#")

    async def publish(self, message: Message) -> None:
        """Publish the same message again and again until the broker confirms it."""
        while message.id not in self.confirmed:
            try:
                exchange = await self._connected()
                await exchange.publish(_properties(message), message.routing_key, mandatory=True, timeout=10)
            except BROKER_AWAY:
                await asyncio.sleep(PATIENCE)
            else:
                self._confirm(message)

    def _confirm(self, message: Message) -> None:
        self.confirmed[message.id] = message
        line = {"id": message.id, "dossier": message.dossier, "versie": message.versie, "at": time.monotonic()}
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")

    async def _connected(self) -> aio_pika.abc.AbstractExchange:
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._broker = await connect(self._url)
                self._channel = await self._broker.channel(on_return_raises=True)
            return await self._channel.get_exchange("kennisgeving.in", ensure=False)

    async def listen(self) -> None:
        """Collect events until cancelled, over every loss of the broker."""
        while True:
            try:
                async with await connect(self._url) as broker, broker.channel() as channel:
                    await channel.set_qos(prefetch_count=200)
                    queue = await channel.get_queue(QUEUE, ensure=False)
                    async with queue.iterator() as messages:
                        async for message in messages:
                            self._hear(json.loads(message.body))
                            await message.ack()
            except BROKER_AWAY:
                await asyncio.sleep(PATIENCE)

    def _hear(self, event: dict[str, Any]) -> None:
        if self.events.setdefault(event["id"], event) != event:
            self.altered.add(event["id"])

    async def close(self) -> None:
        if self._broker is not None:
            await self._broker.close()


def _properties(message: Message) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.id,
        user_id=SENDER,
    )


class Issuer:
    """An OAuth2 issuer of one client: its key set in a file, and access tokens as RFC 9068 has them."""

    def __init__(self, directory: Path) -> None:
        self._key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
        (directory / "jwks.json").write_text(json.dumps({"keys": [self._key.as_dict(private=False)]}))
        self.settings = {"uitgever": ISSUER, "jwks": "file:jwks.json", "publiek": AUDIENCE}

    def token(self) -> str:
        now = int(time.clock_gettime(time.CLOCK_REALTIME))
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": SENDER,
            "client_id": SENDER,
            "azp": SENDER,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": f"{now}-{SENDER}",
        }
        return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": self._key.kid}, claims, self._key)


async def feed(url: str, issuer: Issuer) -> dict[str, Event]:
    """All events of `GET /v1/gebeurtenissen`, by id."""
    found: dict[str, Event] = {}
    headers = {"authorization": f"Bearer {issuer.token()}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:
        async for page in _pages(session, f"{url}/v1/gebeurtenissen"):
            found |= {event["id"]: event for event in page}
    return found


async def _pages(session: aiohttp.ClientSession, url: str) -> AsyncIterator[list[dict[str, Any]]]:
    query: Mapping[str, str] = {}
    while True:
        async with session.get(url, params=query) as reply:
            document = await reply.json(content_type=None)
        if not document["gebeurtenissen"]:
            return
        yield document["gebeurtenissen"]
        if not document["volgende"]:
            return
        query = {"na": str(document["volgende"])}


@asynccontextmanager
async def listening(sender: Sender) -> AsyncIterator[None]:
    """The sender's events are collected meanwhile."""
    task = asyncio.create_task(sender.listen())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sender.close()
