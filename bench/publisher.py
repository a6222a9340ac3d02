"""The sender's side of the benchmark: publishes notices with confirms, and has a queue of its own for the events."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

import aio_pika
from aiormq import Channel
from pamqp.commands import Basic

from tests.flow.outside.messages import CONTENT_TYPE, GEMEENTE, SENDER, Message

EVENTS = f"{SENDER}.bench"
IN_FLIGHT = 200


class Publisher:
    """A sender on one connection, logged in as the broker user SENDER."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def __aenter__(self) -> Self:
        self._broker = await aio_pika.connect(self._url)
        publishing, self._reading = await self._broker.channel(), await self._broker.channel()
        self._channel = cast(Channel, await publishing.get_underlay_channel())
        self._events = await self._reading.declare_queue(EVENTS, durable=True, arguments={"x-queue-type": "quorum"})
        await self._events.bind("kennisgeving.uit", f"{GEMEENTE}.#")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._broker.close()

    async def publish(self, message: Message) -> float:
        """Publish, wait for the broker's confirm, and return the moment of publishing on the monotonic clock."""
        async with self._slots:
            at = time.monotonic()
            await self._channel.basic_publish(
                message.body,
                exchange="kennisgeving.in",
                routing_key=message.routing_key,
                properties=Basic.Properties(
                    content_type=CONTENT_TYPE, delivery_mode=2, message_id=message.id, user_id=SENDER
                ),
                mandatory=True,
                wait=False,
            )
            return at

    async def publish_all(self, messages: Sequence[Message]) -> None:
        await asyncio.gather(*map(self.publish, messages))

    async def publish_paced(self, messages: Sequence[Message], per_second: float) -> dict[str, float]:
        """Publish on a steady clock whatever the answers do; dossier → moment of publishing."""
        start = time.monotonic()
        publishing = []
        for nr, message in enumerate(messages):
            await asyncio.sleep(start + nr / per_second - time.monotonic())
            publishing.append(asyncio.create_task(self.publish(message)))
        moments = await asyncio.gather(*publishing)
        return dict(zip((message.dossier for message in messages), moments, strict=True))

    async def events(self) -> int:
        """How many events wait in the sender's queue; nobody consumes them, so none is counted twice or missed."""
        declared = await self._reading.declare_queue(EVENTS, passive=True)
        return declared.declaration_result.message_count or 0

    async def forget_events(self) -> None:
        await self._events.purge()
