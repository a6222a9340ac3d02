"""What `kennisgeving check` says of RabbitMQ: reachable, the topology there, and nothing in it that loses messages."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from gateway.amqp import Broker, Topology
from gateway.app import make_broker
from gateway.config import AmqpSettings
from gateway.contract import Finding, SecretMissing, SettingsRefused, client_ssl

PATIENCE = 10.0
_OK = 200
_INEQUIVALENT = re.compile(r"inequivalent arg '([a-z_-]+)'")
_NEVER_BY_POLICY = ("durable", "x-queue-type")
_LOSING = ("message-ttl", "expires", "max-length", "max-length-bytes")
"""Arguments and policies by which a queue drops or refuses messages."""


async def check_broker(settings: AmqpSettings) -> AsyncIterator[Finding]:
    """Connects, looks, declares nothing."""
    try:
        broker = make_broker(settings)
        async with broker.connection() as connection:
            yield Finding(True, "RabbitMQ: bereikbaar")
            for kind, name in _objects(broker.topology):
                yield await _look(connection, kind, name, made_at_start=settings.declare)
            if (finding := await _look_at_arguments(connection, broker.topology)) is not None:
                yield finding
    except (SettingsRefused, SecretMissing) as why:
        yield Finding(False, f"[amqp] {why}")
    except (OSError, AMQPError) as why:
        yield Finding(False, f"RabbitMQ: niet bereikbaar ({type(why).__name__})")
    else:
        for finding in await _look_at_queue(settings, broker):
            yield finding


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


async def _look_at_arguments(connection: AbstractConnection, names: Topology) -> Finding | None:
    """None: the intake queue is not there. What sets dead-lettering may be a policy, where we do not declare it."""
    place = f"RabbitMQ: wachtrij {names.intake}"
    try:
        await (await connection.channel()).get_queue(names.intake)
        differs = await _difference(connection, names.intake, names.intake_arguments)
        if differs and not names.declare:
            kind = await _difference(connection, names.intake, {"x-queue-type": "quorum"})
            if kind not in _NEVER_BY_POLICY:
                return Finding(None, f"{place}: {differs} is geen argument; een beleid kan het regelen, zie beheer_url")
            differs = kind
    except ChannelNotFoundEntity:
        return None
    except AMQPError as why:
        return Finding(None, f"{place}: argumenten niet te vergelijken ({type(why).__name__})")
    if differs:
        return Finding(False, f"{place}: {differs} is anders dan hier nodig is", unsafe=True)
    return Finding(True, f"{place}: duurzaam, met de juiste argumenten")


async def _difference(connection: AbstractConnection, name: str, arguments: Mapping[str, str]) -> str | None:
    """Declares a queue that is there already: the broker then only compares. The first thing that differs, or None."""
    channel = await connection.channel()
    try:
        await channel.declare_queue(name, durable=True, arguments=dict(arguments))
    except ChannelPreconditionFailed as why:
        differs = _INEQUIVALENT.search(str(why))
        return differs[1] if differs else "een argument"
    await channel.close()
    return None


async def _look_at_queue(settings: AmqpSettings, broker: Broker) -> list[Finding]:
    place = "RabbitMQ: argumenten en beleid van de wachtrij"
    if settings.management_url is None:
        return [Finding(None, f"{place}: noem [amqp] beheer_url")]
    try:
        status, queue = await _read_queue(settings.management_url, settings.ca, broker)
    except (aiohttp.ClientError, OSError, ValueError) as why:
        return [Finding(None, f"{place}: beheer_url is niet bereikbaar ({type(why).__name__})")]
    if status != _OK:
        return [Finding(None, f"{place}: beheer_url antwoordt {status}")]
    return list(judge_queue(queue, broker.topology))


async def _read_queue(management_url: str, ca: str | None, broker: Broker) -> tuple[int, Mapping[str, Any]]:
    """What the management API says of the intake queue, with the user of the AMQP address."""
    url = urlsplit(broker.url)
    vhost = quote(unquote(url.path.removeprefix("/")) or "/", safe="")
    address = f"{management_url.rstrip('/')}/api/queues/{vhost}/{quote(broker.topology.intake, safe='')}"
    login = aiohttp.encode_basic_auth(unquote(url.username or "guest"), unquote(url.password or "guest"))
    async with (
        ClientSession(headers={"Authorization": login}, timeout=ClientTimeout(total=PATIENCE)) as session,
        session.get(URL(address, encoded=True), ssl=client_ssl(ca), allow_redirects=False) as reply,
    ):
        return reply.status, await reply.json() if reply.status == _OK else {}


def judge_queue(queue: Mapping[str, Any], names: Topology) -> Iterator[Finding]:
    """The intake queue of the management API against contract §1.1; a policy counts where no argument does."""
    policy: Mapping[str, object] = queue.get("effective_policy_definition") or {}
    arguments: Mapping[str, object] = queue.get("arguments") or {}
    in_force = {**policy, **{key.removeprefix("x-"): value for key, value in arguments.items()}}
    for key, wanted in names.intake_arguments.items():
        name = key.removeprefix("x-")
        is_right = in_force.get(name) == wanted
        text = f'RabbitMQ: wachtrij {names.intake}: {name} is "{in_force.get(name, "")}"'
        yield Finding(is_right, text if is_right else f'{text}, moet "{wanted}" zijn', unsafe=not is_right)
    for name in _LOSING:
        if name in in_force:
            text = f"RabbitMQ: wachtrij {names.intake}: {name} gooit berichten weg of weigert ze"
            yield Finding(False, text, unsafe=True)
