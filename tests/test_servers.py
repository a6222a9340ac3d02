"""The servers that the tests run on keep what the tests rely on."""

import aio_pika
import asyncpg
import pytest

from tests.conftest import Broker
from tests.servers import PostgreSQL


async def test_a_sender_publishes_for_its_own_gemeente_only(broker: Broker) -> None:
    async with await aio_pika.connect(broker.url()) as gateway, gateway.channel() as channel:
        await channel.declare_exchange("kennisgeving.in", "topic", durable=True)
    async with await aio_pika.connect(broker.url("gem-0344")) as sender:
        exchange = await (await sender.channel()).get_exchange("kennisgeving.in", ensure=False)
        await exchange.publish(aio_pika.Message(b"", user_id="gem-0344"), "0344.kennisgeving", mandatory=False)
        with pytest.raises(aio_pika.exceptions.ChannelClosed, match=r"0363\.kennisgeving"):
            await exchange.publish(aio_pika.Message(b"", user_id="gem-0344"), "0363.kennisgeving", mandatory=False)


async def test_postgresql_keeps_what_was_committed_over_a_crash(postgres: PostgreSQL, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.execute("CREATE TABLE kept (n integer)")
    postgres.kill()
    await connection.close()
    postgres.start()
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()
