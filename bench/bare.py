"""The bare limit: the least a Python program can do for the same work, and nothing else.

    python -m bench.bare --amqp URL --ledger URL --receiver URL

One process on uvloop: consumes from the intake queue, writes notice and deliveries in batches and acks them together,
POSTs 64 at a time over kept connections, writes outcome and attempt in batches, publishes one confirmed event per
delivery, many in flight. It validates, seals, signs and orders nothing, retries nothing, and a crash loses what it
has in memory. What the gateway takes beyond this program is the price of what it promises.
"""

import argparse
import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

import aio_pika
import aiohttp
import asyncpg
import msgspec
import uvloop
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

BATCH = 100
LINGER = 0.003
AHEAD = 1000
AT_ONCE = 64
PREFETCH = 200
INTAKE = "kennisgeving.intake"
INTAKE_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "kennisgeving.geparkeerd",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
TABLES = """
CREATE TABLE notice (id uuid PRIMARY KEY, event_id text NOT NULL UNIQUE, body bytea NOT NULL);
CREATE TABLE delivery (
    id uuid PRIMARY KEY, notice uuid NOT NULL, creditor text NOT NULL, state text NOT NULL, settled timestamptz
);
CREATE INDEX ON delivery (notice);
CREATE TABLE attempt (delivery uuid, nr int, code int, finished timestamptz, PRIMARY KEY (delivery, nr));
"""
ADD_NOTICES = """
WITH notices AS (INSERT INTO notice SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[]))
INSERT INTO delivery SELECT id, notice, creditor, 'due'
    FROM unnest($4::uuid[], $5::uuid[], $6::text[]) AS added (id, notice, creditor)
"""
ADD_OUTCOMES = """
WITH done AS (SELECT * FROM unnest($1::uuid[], $2::int[]) AS done (id, code)),
    attempts AS (INSERT INTO attempt SELECT id, 1, code, now() FROM done)
UPDATE delivery SET state = 'sent', settled = now() FROM done WHERE delivery.id = done.id
"""

Item = TypeVar("Item")


class Claims(msgspec.Struct):
    schuldeiser: str
    vorderingen: msgspec.Raw


class Data(msgspec.Struct):
    gemeente: str
    dossierkenmerk: str
    versie: int
    hulpvrager: msgspec.Raw
    pauze: msgspec.Raw
    contactpersoon: msgspec.Raw
    schuldeisers: list[Claims]


class Notice(msgspec.Struct):
    id: str
    type: str
    data: Data


class Delivery(NamedTuple):
    id: uuid.UUID
    notice: Notice
    claims: Claims

    def body(self) -> bytes:
        """What the creditor gets: of the size and shape that the gateway sends."""
        data = self.notice.data
        view = {
            "kenmerk": str(self.id),
            "gemeente": data.gemeente,
            "dossierkenmerk": data.dossierkenmerk,
            "versie": data.versie,
            "hulpvrager": data.hulpvrager,
            "vorderingen": self.claims.vorderingen,
            "pauze": data.pauze,
            "contactpersoon": data.contactpersoon,
        }
        return encode({"specversion": "1.0", "id": str(self.id), "type": self.notice.type, "data": view})

    def event(self, event_id: str) -> bytes:
        data = self.notice.data
        facts = {
            "gemeente": data.gemeente,
            "dossierkenmerk": data.dossierkenmerk,
            "versie": data.versie,
            "schuldeiser": self.claims.schuldeiser,
            "bezorging": str(self.id),
        }
        event_type = "nl.schuldhulpverlening.bezorging-afgeleverd.v1"
        return encode({"specversion": "1.0", "id": event_id, "type": event_type, "data": facts})


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Notice).decode


class Batches(Generic[Item]):
    """What was added, in lists of at most BATCH; a list that is not full waits `linger` seconds for more."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._waiting: list[Item] = []
        self._some = asyncio.Event()

    def add(self, item: Item) -> None:
        self._waiting.append(item)
        self._some.set()

    async def __aiter__(self) -> AsyncIterator[list[Item]]:
        while True:
            await self._some.wait()
            if len(self._waiting) < BATCH:
                await asyncio.sleep(self._linger)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._waiting:
                self._some.clear()
            yield batch


class Bare:
    def __init__(self, ledger: str, receiver: str, session: aiohttp.ClientSession) -> None:
        self._ledger = ledger
        self._receiver = receiver
        self._session = session
        self._arrived: Batches[DeliveredMessage] = Batches(0)
        self._due: asyncio.Queue[Delivery] = asyncio.Queue(AHEAD)
        self._done: Batches[tuple[Delivery, int]] = Batches(LINGER)

    async def run(self, incoming: Channel, outgoing: Channel) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._accept(incoming))
            tasks.create_task(self._settle(outgoing, tasks))
            for _ in range(AT_ONCE):
                tasks.create_task(self._deliver())
            await incoming.basic_qos(prefetch_count=PREFETCH)
            await incoming.basic_consume(INTAKE, self._take)

    async def _take(self, message: DeliveredMessage) -> None:
        self._arrived.add(message)

    async def _accept(self, incoming: Channel) -> None:
        ledger = await asyncpg.connect(self._ledger)
        async for batch in self._arrived:
            notices = [(uuid.uuid4(), decode(message.body), message.body) for message in batch]
            added = [
                (notice_id, Delivery(uuid.uuid4(), notice, claims))
                for notice_id, notice, _ in notices
                for claims in notice.data.schuldeisers
            ]
            await ledger.execute(
                ADD_NOTICES,
                [notice_id for notice_id, _, _ in notices],
                [notice.id for _, notice, _ in notices],
                [body for _, _, body in notices],
                [delivery.id for _, delivery in added],
                [notice_id for notice_id, _ in added],
                [delivery.claims.schuldeiser for _, delivery in added],
            )
            await incoming.basic_ack(batch[-1].delivery_tag or 0, multiple=True, wait=False)
            for _, delivery in added:
                await self._due.put(delivery)

    async def _deliver(self) -> None:
        headers = {"content-type": "application/cloudevents+json"}
        while True:
            delivery = await self._due.get()
            url = f"{self._receiver}/{delivery.claims.schuldeiser}"
            async with self._session.post(url, data=delivery.body(), headers=headers) as reply:
                await reply.read()
                self._done.add((delivery, reply.status))

    async def _settle(self, outgoing: Channel, tasks: asyncio.TaskGroup) -> None:
        ledger = await asyncpg.connect(self._ledger)
        async for batch in self._done:
            await ledger.execute(ADD_OUTCOMES, [delivery.id for delivery, _ in batch], [code for _, code in batch])
            for delivery, _ in batch:
                tasks.create_task(self._tell(outgoing, delivery))

    async def _tell(self, outgoing: Channel, delivery: Delivery) -> None:
        event_id = str(uuid.uuid4())
        await outgoing.basic_publish(
            delivery.event(event_id),
            exchange="kennisgeving.uit",
            routing_key=f"{delivery.notice.data.gemeente}.bezorging-afgeleverd",
            properties=Basic.Properties(delivery_mode=2, message_id=event_id),
            mandatory=True,
            wait=False,
        )


async def declare(channel: aio_pika.abc.AbstractChannel) -> None:
    """The topology of the contract, so that the broker has the same work as with the gateway."""
    exchange = await channel.declare_exchange("kennisgeving.in", aio_pika.ExchangeType.TOPIC, durable=True)
    await channel.declare_exchange("kennisgeving.uit", aio_pika.ExchangeType.TOPIC, durable=True)
    await channel.declare_queue("kennisgeving.geparkeerd", durable=True, arguments={"x-queue-type": "quorum"})
    intake = await channel.declare_queue(INTAKE, durable=True, arguments=INTAKE_ARGUMENTS)
    await intake.bind(exchange, "#")


async def work(amqp: str, ledger: str, receiver: str) -> None:
    """Run until SIGTERM; `ledger` is an empty PostgreSQL database."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    tables = await asyncpg.connect(ledger)
    await tables.execute(TABLES)
    await tables.close()
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with (
        await aio_pika.connect(amqp) as broker,
        broker.channel(publisher_confirms=False) as incoming,
        broker.channel() as outgoing,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        await declare(incoming)
        consuming = cast(Channel, await incoming.get_underlay_channel())
        publishing = cast(Channel, await outgoing.get_underlay_channel())
        await Bare(ledger, receiver, session).run(consuming, publishing)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bare")
    for name in ("--amqp", "--ledger", "--receiver"):
        parser.add_argument(name, required=True)
    try:
        uvloop.run(work(**vars(parser.parse_args(arguments))))
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
