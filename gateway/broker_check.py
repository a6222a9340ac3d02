"""What `kennisgeving check` says of RabbitMQ: reachable, the topology there, and nothing in it that loses messages."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from aiohttp import BasicAuth, ClientSession, ClientTimeout

from gateway.amqp import Broker
from gateway.app import make_broker
from gateway.config import AmqpSettings
from gateway.contract import Finding, SecretMissing, SettingsRefused, client_ssl

_PATIENCE = ClientTimeout(total=10)
_OK = 200


async def check_broker(settings: AmqpSettings) -> AsyncIterator[Finding]:
    """Connects, looks, declares nothing."""
    try:
        broker = make_broker(settings)
        async with broker.connection() as connection:
            yield Finding(True, "RabbitMQ: bereikbaar")
            for kind, name in _objects(broker):
                yield await _look(connection, kind, name, made_at_start=settings.declare)
    except (SettingsRefused, SecretMissing) as why:
        yield Finding(False, f"[amqp] {why}")
        return
    except (OSError, AMQPError) as why:
        yield Finding(False, f"RabbitMQ: niet bereikbaar ({type(why).__name__})")
        return
    async for finding in _check_policy(settings, broker):
        yield finding


def _objects(broker: Broker) -> Iterator[tuple[str, str]]:
    names = broker.topology
    yield "uitwisseling", names.incoming
    yield "uitwisseling", names.outgoing
    yield "wachtrij", names.intake
    yield "wachtrij", names.parked


async def _look(connection: AbstractConnection, kind: str, name: str, *, made_at_start: bool) -> Finding:
    """A channel for each, because the broker closes it over what is absent."""
    channel = await connection.channel()
    try:
        await (channel.get_exchange(name) if kind == "uitwisseling" else channel.get_queue(name))
    except ChannelNotFoundEntity:
        return Finding(
            made_at_start, f"RabbitMQ: {kind} {name} ontbreekt" + ("; wordt bij de start gemaakt" * made_at_start)
        )
    except AMQPError as why:
        return Finding(None, f"RabbitMQ: {kind} {name} ({type(why).__name__})")
    await channel.close()
    return Finding(True, f"RabbitMQ: {kind} {name} is er")


async def _check_policy(settings: AmqpSettings, broker: Broker) -> AsyncIterator[Finding]:
    if settings.management_url is None:
        yield Finding(None, "RabbitMQ: argumenten en beleid van de wachtrij; noem [amqp] beheer_url")
        return
    try:
        status, queue = await _read_queue(settings, broker)
    except (aiohttp.ClientError, OSError, ValueError) as why:
        yield Finding(None, f"RabbitMQ: argumenten en beleid; beheer_url is niet bereikbaar ({type(why).__name__})")
        return
    if status != _OK:
        yield Finding(None, f"RabbitMQ: argumenten en beleid van de wachtrij; beheer_url antwoordt {status}")
        return
    for finding in judge_queue(queue, broker.topology.parked):
        yield finding


async def _read_queue(settings: AmqpSettings, broker: Broker) -> tuple[int, Mapping[str, Any]]:
    url = urlsplit(broker.url)
    vhost = unquote(url.path.removeprefix("/")) or "/"
    address = f"{(settings.management_url or '').rstrip('/')}/api/queues/{quote(vhost, safe='')}/{quote(broker.topology.intake)}"
    auth = BasicAuth(unquote(url.username or "guest"), unquote(url.password or "guest"))
    tls = client_ssl(settings.ca)
    async with ClientSession(auth=auth, timeout=_PATIENCE) as session:
        async with session.get(address, ssl=tls, allow_redirects=False) as reply:
            return reply.status, await reply.json() if reply.status == _OK else {}


def judge_queue(queue: Mapping[str, Any], parked: str) -> Iterator[Finding]:
    """What the management API says of the intake queue, against contract §1.1. A policy counts where no argument does."""
    policy = queue.get("effective_policy_definition") or {}
    in_force = dict(policy) | {key.removeprefix("x-"): value for key, value in (queue.get("arguments") or {}).items()}
    place = f"RabbitMQ: wachtrij {queue.get('name')}"
    wanted = {
        "queue-type": "quorum",
        "dead-letter-exchange": "",
        "dead-letter-routing-key": parked,
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    in_force.setdefault("queue-type", queue.get("type"))
    for key, value in wanted.items():
        found = in_force.get(key)
        yield Finding(
            found == value, f"{place}: {key} is {found!r}" + ("" if found == value else f", moet {value!r} zijn")
        )
    for key in ("message-ttl", "expires", "max-length", "max-length-bytes"):
        if key in in_force:
            yield Finding(False, f"{place}: {key} gooit berichten weg of weigert ze; haal het uit het beleid")
