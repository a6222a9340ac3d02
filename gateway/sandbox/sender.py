"""A gemeente's side: messages in with confirms, events out, over RabbitMQ or over HTTP."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import aio_pika
import aiohttp
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from gateway.amqp_client import connect
from gateway.clock import Clock
from gateway.pki import make_key

CONTENT_TYPE = "application/cloudevents+json"
CONFIRM_TIMEOUT = 30.0
LOOK_EVERY = 0.2
"""Seconds between two looks at the event feed."""

Event = dict[str, Any]


class AmqpSender:
    """`async with AmqpSender(url) as sender`; raises OSError, AMQPError."""

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext | None = None,
        incoming: str = "kennisgeving.in",
        outgoing: str = "kennisgeving.uit",
    ) -> None:
        self.user = unquote(urlsplit(url).username or "guest")
        self._url = url
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def __aenter__(self) -> Self:
        self._connection = await connect(self._url, self._tls)
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def send(self, routing_key: str, body: bytes) -> None:
        """Returns once the broker has the message safely in a queue; raises DeliveryError where it does not."""
        message = aio_pika.Message(
            body,
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            user_id=self.user,
        )
        exchange = await self._open.get_exchange(self._incoming, ensure=False)
        await exchange.publish(message, routing_key, mandatory=True, timeout=CONFIRM_TIMEOUT)

    async def subscribe(self, binding: str = "#") -> AsyncIterator[Event]:
        """What is published from now on; on a queue of its own, that ends with the connection."""
        queue = await self._open.declare_queue(exclusive=True)
        await queue.bind(self._outgoing, binding)
        return _events_of(queue)

    @property
    def _open(self) -> AbstractChannel:
        if self._channel is None:
            raise ConnectionError("the sender is not connected")
        return self._channel


async def _events_of(queue: AbstractQueue) -> AsyncIterator[Event]:
    async with queue.iterator(no_ack=True) as messages:
        async for message in messages:
            yield json.loads(message.body)


class FeedReader:
    """`GET /v1/gebeurtenissen` for who has no queue."""

    def __init__(self, url: str, token: str) -> None:
        self._feed = f"{url}/v1/gebeurtenissen"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def events(self) -> AsyncIterator[Event]:
        """From the first event on, for ever."""
        after = "0"
        async with aiohttp.ClientSession(headers=self._headers, raise_for_status=True) as session:
            while True:
                async with session.get(self._feed, params={"na": after}) as reply:
                    page = await reply.json()
                for event in page["gebeurtenissen"]:
                    yield event
                if page["volgende"] == after:
                    await asyncio.sleep(LOOK_EVERY)
                after = page["volgende"]


class TokenIssuer:
    """Stands in for a sender's OAuth2 server: a key, its public half as a JWKS file, and tokens."""

    issuer = "https://tokens.voorbeeld.example"
    audience = "kennisgeving"

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._key = ECKey.import_key(make_key(directory / "tokens.key").read_bytes())
        self._clock = clock
        self.jwks = directory / "tokens.jwks.json"
        self.jwks.write_text(json.dumps(KeySet([self._key]).as_dict(private=False)))

    def token(self, client_id: str, seconds: int) -> str:
        """An access token (RFC 9068) for a client, valid for so many seconds."""
        now = self._clock.micros() // 1_000_000
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": client_id,
            "client_id": client_id,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims, self._key)
