"""The RabbitMQ door: messages in (consume, commit, then ack), events out (publish with confirms).

In and out have a connection each, so that a broker that holds back publishers does not hold back acknowledgements.
Connections are ours to watch and to reopen: a robust connection that silently lost its consumer looks alive.
While the ledger is away the consumer is cancelled and what was received stays unacked; nothing is ever requeued in a
loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError
from aiormq import Channel as UnderlayChannel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.commands import Basic

from gateway.cancellation import or_cut_off
from gateway.core.notice import Sender
from gateway.core.validate import READABLE_BYTES
from gateway.intake import Arrival, Intake, Quarantined, Verdict
from gateway.ledger.engine import LedgerAway
from gateway.log import logger
from gateway.outbox import Publication
from gateway.queue_safety import look_at_queues, reasons_not_to_consume
from gateway.topology import Broker, Topology

log = logger(__name__)

STRUCTURED = "application/cloudevents+json"
_BINARY_PREFIXES = ("cloudEvents:", "cloudEvents_")

BATCH = 100
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to connect; the last one is repeated."""
WATCH = 2.0
"""Seconds between two looks at whether we still consume."""
CONFIRM_TIMEOUT = 30.0
READY_WITHIN = 1.0
"""Seconds that events wait for a broker that is away before they are given back to the outbox."""
HEADERS_KEPT = 50
HEADER_KEPT = 1000
"""Of a quarantined message: how many headers, and of how many characters."""
LEDGER_PAUSE = 0.5
AWAY = (OSError, AMQPError, ChannelInvalidStateError, TimeoutError)
"""How a lost broker shows, but for one: where it fell silent, aiormq cancels whatever waits for it (`or_cut_off`). The
use of a channel that is gone is a RuntimeError in aiormq."""


class TopologyRefused(Exception):
    """What stands on the broker may lose messages; the text says what."""


async def _forever(
    name: str, session: Callable[[], Awaitable[None]], refused: Callable[[str], None] = lambda _: None
) -> None:
    """Run sessions one after another, with a pause after each that failed. `refused` is told why the topology was; with
    nothing where it was something else."""
    failures = 0
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await or_cut_off(session())
        except (TopologyRefused, ChannelNotFoundEntity, ChannelPreconditionFailed, ChannelAccessRefused) as why:
            log.error("topology_refused", stap=name, reden=str(why))
            refused(str(why))
        except AWAY as why:
            log.warning("broker_away", stap=name, fout=type(why).__name__)
            refused("")
        if asyncio.get_running_loop().time() - started > max(PAUSES):
            failures = 0
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1


class Consumer:
    """Takes messages off the intake queue in batches and acknowledges them after the ledger has committed."""

    def __init__(self, broker: Broker, intake: Intake, senders: Mapping[str, Sender], prefetch: int) -> None:
        self._broker = broker
        self._intake = intake
        self._senders = senders
        self._prefetch = prefetch
        self._stopping = asyncio.Event()
        self.consuming = False
        """The intake queue has a consumer of ours now."""
        self.refused = ""
        """Why what stands on the broker is not consumed, as it was seen last."""

    async def run(self) -> None:
        """Until `stop`; consumes again by itself after any loss."""
        forever = asyncio.create_task(_forever("ontvangen", self._session, self._say_refused))
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((forever, stopped), return_when=asyncio.FIRST_COMPLETED)
            if forever.done():
                forever.result()
        finally:
            forever.cancel()
            stopped.cancel()
            await asyncio.gather(forever, return_exceptions=True)
            self.consuming = False

    def stop(self) -> None:
        """Take nothing more; what is unacknowledged goes back to the queue."""
        self._stopping.set()

    async def _session(self) -> None:
        async with self._broker.connection() as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await self._broker.prepare(channel)
            if reasons := reasons_not_to_consume(await look_at_queues(connection, self._broker)):
                raise TopologyRefused("; ".join(reasons))
            await channel.set_qos(prefetch_count=self._prefetch)
            await _Session(channel, self._broker.topology, self._intake, self._senders, self._say).run()

    def _say(self, consuming: bool) -> None:
        if consuming != self.consuming:
            log.info("consuming" if consuming else "not_consuming", wachtrij=self._broker.topology.intake)
        self.consuming = consuming
        self.refused = ""

    def _say_refused(self, reason: str) -> None:
        self.refused = reason


class _Session:
    """One life of the channel."""

    def __init__(
        self,
        channel: AbstractChannel,
        topology: Topology,
        intake: Intake,
        senders: Mapping[str, Sender],
        say: Callable[[bool], None],
    ) -> None:
        self._channel = channel
        self._topology = topology
        self._intake = intake
        self._senders = senders
        self._say = say
        self._inbox: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        self._tag: str | None = None

    async def run(self) -> None:
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(self._watch())
        try:
            done, _ = await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._say(False)
            work.cancel()
            watch.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    async def _consume(self) -> None:
        """Messages come as they are: what is wrong with one is found in `_settle`, so an ack skips none."""
        begun = await (await self._underlay()).basic_consume(self._topology.intake, self._receive)
        self._tag = begun.consumer_tag
        self._say(True)

    async def _receive(self, message: DeliveredMessage) -> None:
        """A body beyond what is ever read is cut to where that shows, as over HTTP: the broker hands out hundreds at
        once. What a stranger sent stays whole, for it is parked unchanged."""
        if len(message.body) > READABLE_BYTES and self._sender(message) is not None:
            message = replace(message, body=message.body[: READABLE_BYTES + 1])
        self._inbox.put_nowait(message)

    def _sender(self, message: DeliveredMessage) -> Sender | None:
        return self._senders.get(message.header.properties.user_id or "")

    async def _pause(self) -> None:
        """Stop receiving; what is in hand stays unacked on the open channel."""
        if self._tag is not None:
            tag, self._tag = self._tag, None
            self._say(False)
            await (await self._underlay()).basic_cancel(tag)

    async def _underlay(self) -> UnderlayChannel:
        return cast(UnderlayChannel, await self._channel.get_underlay_channel())

    async def _watch(self) -> None:
        """Ends when the channel is gone or the broker has cancelled our consumer."""
        while True:
            await asyncio.sleep(WATCH)
            underlay = await self._underlay()
            lost = self._tag is not None and self._tag not in underlay.consumers
            if self._channel.is_closed or underlay.is_closed or lost:
                log.error("consumer_lost", wachtrij=self._topology.intake)
                return

    async def _work(self) -> None:
        await self._consume()
        while True:
            batch = [await self._inbox.get()]
            while len(batch) < BATCH and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            await self._settle(batch)

    async def _settle(self, batch: list[DeliveredMessage]) -> None:
        verdicts = await self._accept([_arrival(message, self._sender(message)) for message in batch])
        parked = [
            self._park(message, verdict.reason)
            for message, verdict in zip(batch, verdicts, strict=True)
            if isinstance(verdict, Quarantined)
        ]
        await asyncio.gather(*parked)
        tag = batch[-1].delivery_tag
        if tag is not None:
            await (await self._underlay()).basic_ack(tag, multiple=True)

    async def _accept(self, arrivals: list[Arrival]) -> Sequence[Verdict]:
        """The verdicts, however long the ledger is away."""
        while True:
            try:
                verdicts = await self._intake.accept(arrivals)
            except LedgerAway as why:
                log.warning("ledger_away", stap="ontvangen", reden=str(why))
                await self._pause()
                await asyncio.sleep(LEDGER_PAUSE)
                continue
            if self._tag is None:
                await self._consume()
            return verdicts

    async def _park(self, message: DeliveredMessage, reason: str) -> None:
        """Republish what nobody can be held to, unchanged, with the reason in a header."""
        properties = message.header.properties
        copy = aio_pika.Message(
            message.body,
            headers={**_plain(properties.headers or {}), "x-reden": reason},
            content_type=properties.content_type,
            message_id=properties.message_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._channel.default_exchange.publish(copy, self._topology.parked, timeout=CONFIRM_TIMEOUT)


def _plain(headers: Mapping[str, object]) -> dict[str, str | int | bool]:
    """Headers that can be sent on in one frame; what else a stranger put there is left behind."""
    plain = ((name, value) for name, value in headers.items() if isinstance(value, str | int | bool))
    return {name: value for name, value in islice(plain, HEADERS_KEPT) if len(str(value)) <= HEADER_KEPT}


def _arrival(message: DeliveredMessage, sender: Sender | None) -> Arrival:
    """The message as intake takes it: binary mode has the attributes in headers."""
    properties = message.header.properties
    attributes = {
        name.removeprefix(prefix): value
        for name, value in (properties.headers or {}).items()
        for prefix in _BINARY_PREFIXES
        if name.startswith(prefix)
    }
    content_type = properties.content_type or ""
    structured = content_type.startswith(STRUCTURED) or not attributes
    return Arrival(
        door="amqp",
        sender=sender,
        body=message.body,
        attributes=None if structured else attributes,
        content_type=content_type,
        user=properties.user_id,
    )


class Publisher:
    """Publishes events. While the broker is away it confirms nothing: the outbox keeps them, and the feed goes on."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._channel: AbstractChannel | None = None
        self._ready = asyncio.Event()

    async def run(self) -> None:
        await _forever("publiceren", self._session)

    async def _session(self) -> None:
        async with self._broker.connection() as connection:
            self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await self._broker.prepare(self._channel)
            self._ready.set()
            try:
                await self._channel.closed()
            finally:
                self._ready.clear()
                self._channel = None

    async def publish(self, publications: Sequence[Publication]) -> list[str]:
        """All at once with pipelined confirms; returns the ids confirmed, or returned because no queue wanted them."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                await self._ready.wait()
        except TimeoutError:
            return []
        if self._channel is None:
            return []
        confirmed = await asyncio.gather(*(self._publish(self._channel, one) for one in publications))
        return [one.id for one, sure in zip(publications, confirmed, strict=True) if sure]

    async def _publish(self, channel: AbstractChannel, one: Publication) -> bool:
        properties = Basic.Properties(
            content_type=STRUCTURED, delivery_mode=2, message_id=one.id, app_id="kennisgeving"
        )
        try:
            underlay = cast(UnderlayChannel, await channel.get_underlay_channel())
            publishing = underlay.basic_publish(
                one.body,
                exchange=self._broker.topology.outgoing,
                routing_key=one.routing_key,
                properties=properties,
                mandatory=True,
                timeout=CONFIRM_TIMEOUT,
                wait=False,
            )
            await or_cut_off(publishing)
        except PublishError:
            return True  # returned: no queue is bound, and the feed has it
        except DeliveryError:
            return False
        except AWAY as why:
            log.warning("event_unconfirmed", fout=type(why).__name__)
            return False
        return True
