"""What `kennisgeving check` says of RabbitMQ: reachable, the topology there, and nothing in it that loses messages."""

from collections.abc import AsyncIterator, Iterator

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from gateway.app import make_broker
from gateway.config import AmqpSettings
from gateway.contract import Finding, SecretMissing, SettingsRefused
from gateway.queue_safety import look_at_queues
from gateway.topology import Topology


async def check_broker(settings: AmqpSettings) -> AsyncIterator[Finding]:
    """Connects, looks, declares nothing."""
    try:
        broker = make_broker(settings)
        async with broker.connection() as connection:
            yield Finding(True, "RabbitMQ: bereikbaar")
            for kind, name in _objects(broker.topology):
                yield await _look(connection, kind, name, made_at_start=settings.declare)
            found = await look_at_queues(connection, broker)
            for finding in (*found.arguments, *found.policies):
                yield finding
    except (SettingsRefused, SecretMissing) as why:
        yield Finding(False, f"[amqp] {why}")
    except (OSError, AMQPError) as why:
        yield Finding(False, f"RabbitMQ: niet bereikbaar ({type(why).__name__})")


def _objects(names: Topology) -> Iterator[tuple[str, str]]:
    yield "uitwisseling", names.incoming
    yield "uitwisseling", names.outgoing
    yield "wachtrij", names.intake
    yield "wachtrij", names.parked


async def _look(connection: AbstractConnection, kind: str, name: str, *, made_at_start: bool) -> Finding:
    """On a channel of its own, because the broker closes it over what is absent."""
    place = f"RabbitMQ: {kind} {name}"
    channel = await connection.channel()
    try:
        await (channel.get_exchange(name) if kind == "uitwisseling" else channel.get_queue(name))
    except ChannelNotFoundEntity:
        return Finding(made_at_start, f"{place}: ontbreekt" + ", wordt bij de start gemaakt" * made_at_start)
    except AMQPError as why:
        return Finding(None, f"{place}: {type(why).__name__}")
    await channel.close()
    return Finding(True, f"{place}: is er")
