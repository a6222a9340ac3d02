"""Whether the queues on the broker can lose a message: what they are made of, and what a policy makes of them.

Arguments are compared by the broker itself, which names the first one that differs. Policies are told by its management
API only. Looking declares nothing that is not there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiohttp import ClientSession, ClientTimeout
from msgspec import Struct
from yarl import URL

from gateway.contract import Finding
from gateway.topology import PARKED_ARGUMENTS, Broker, Management, Topology

NOT_NAMED = "RabbitMQ: argumenten en beleid van de wachtrijen: noem [amqp] beheer_url"
PATIENCE = 10.0
_OK = 200
_INEQUIVALENT = re.compile(r"inequivalent arg '([a-z_-]+)'")
_NEVER_BY_POLICY = ("durable", "auto_delete", "x-queue-type")
_LOSING = ("message-ttl", "expires", "max-length", "max-length-bytes")
"""Arguments and policies by which a queue drops or refuses messages."""


class Queues(Struct, frozen=True):
    """What was found. `policies` counts arguments too, as the management API tells both."""

    arguments: list[Finding]
    policies: list[Finding]


async def look_at_queues(connection: AbstractConnection, broker: Broker) -> Queues:
    """Raises OSError and AMQPError where the connection is lost meanwhile."""
    names = broker.topology
    try:
        looks = (await _look_at_intake(connection, names), await _look_at_parked(connection, names))
    except RuntimeError as why:  # aiormq's word for a connection that is gone
        raise ConnectionResetError(str(why)) from why
    return Queues([finding for finding in looks if finding is not None], await _look_at_policies(broker))


def reasons_not_to_consume(found: Queues) -> list[str]:
    """What can lose a message; or, where arguments leave it to a policy, why the management API that should tell of it
    does not."""
    unsafe = [finding.text for finding in (*found.arguments, *found.policies) if finding.unsafe]
    if unsafe or all(finding.ok for finding in found.arguments):
        return unsafe
    return [finding.text for finding in found.policies if finding.ok is None and finding.text != NOT_NAMED]


async def _look_at_intake(connection: AbstractConnection, names: Topology) -> Finding | None:
    """None: it is not there. What sets dead-lettering may be a policy, where we do not declare it."""
    place = f"RabbitMQ: wachtrij {names.intake}"
    try:
        await (await connection.channel()).get_queue(names.intake)
        differs = await _difference(connection, names.intake, names.intake_arguments)
        if differs and not names.declare:
            kind = await _difference(connection, names.intake, {"x-queue-type": "quorum"})
            differs = next((one for one in (kind, differs) if one and _is_never_by_policy(one)), differs)
            if not _is_never_by_policy(differs):
                return Finding(None, f"{place}: {differs} is geen argument; een beleid kan het regelen, zie beheer_url")
    except ChannelNotFoundEntity:
        return None
    except AMQPError as why:
        return Finding(None, f"{place}: argumenten niet te vergelijken ({type(why).__name__})")
    if differs:
        return Finding(False, f"{place}: {differs} is anders dan hier nodig is", unsafe=True)
    return Finding(True, f"{place}: duurzaam, met de juiste argumenten")


async def _look_at_parked(connection: AbstractConnection, names: Topology) -> Finding | None:
    """None: it is not there."""
    place = f"RabbitMQ: wachtrij {names.parked}"
    try:
        await (await connection.channel()).get_queue(names.parked)
        differs = await _difference(connection, names.parked, PARKED_ARGUMENTS)
    except ChannelNotFoundEntity:
        return None
    except AMQPError as why:
        return Finding(None, f"{place}: argumenten niet te vergelijken ({type(why).__name__})")
    if differs is None:
        return Finding(True, f"{place}: duurzaam, geen argument dat berichten weggooit")
    if names.declare or _is_never_by_policy(differs):
        return Finding(False, f"{place}: {differs} is anders dan hier nodig is", unsafe=True)
    return Finding(None, f"{place}: {differs} is er meer dan hier nodig is; zie beheer_url")


def _is_never_by_policy(argument: str) -> bool:
    return argument in _NEVER_BY_POLICY or argument.removeprefix("x-") in _LOSING


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


async def _look_at_policies(broker: Broker) -> list[Finding]:
    if broker.management is None:
        return [Finding(None, NOT_NAMED)]
    names = broker.topology
    try:
        intake, parked = await _read_queues(broker.management, broker.url, names.intake, names.parked)
    except (aiohttp.ClientError, OSError, ValueError) as why:
        place = "RabbitMQ: argumenten en beleid van de wachtrijen"
        return [Finding(None, f"{place}: beheer_url is niet bereikbaar ({type(why).__name__})")]
    return [
        *(_unread(names.intake, intake) if isinstance(intake, int) else judge_queue(intake, names)),
        *(_unread(names.parked, parked) if isinstance(parked, int) else judge_parked(parked, names)),
    ]


def _unread(queue: str, status: int) -> Iterator[Finding]:
    yield Finding(None, f"RabbitMQ: argumenten en beleid van wachtrij {queue}: beheer_url antwoordt {status}")


async def _read_queues(management: Management, url: str, *queues: str) -> list[Mapping[str, Any] | int]:
    """What the management API says of each queue, or the status with which it does not, to the user of the AMQP
    address."""
    parts = urlsplit(url)
    vhost = quote(unquote(parts.path.removeprefix("/")) or "/", safe="")
    login = aiohttp.encode_basic_auth(unquote(parts.username or "guest"), unquote(parts.password or "guest"))
    found: list[Mapping[str, Any] | int] = []
    async with ClientSession(headers={"Authorization": login}, timeout=ClientTimeout(total=PATIENCE)) as session:
        for queue in queues:
            address = URL(f"{management.url.rstrip('/')}/api/queues/{vhost}/{quote(queue, safe='')}", encoded=True)
            async with session.get(address, ssl=management.tls, allow_redirects=False) as reply:
                found.append(await reply.json() if reply.status == _OK else reply.status)
    return found


def judge_queue(queue: Mapping[str, Any], names: Topology) -> Iterator[Finding]:
    """The intake queue of the management API against contract §1.1; a policy counts where no argument does."""
    in_force = _in_force(queue)
    for key, wanted in names.intake_arguments.items():
        name = key.removeprefix("x-")
        is_right = in_force.get(name) == wanted
        text = f'RabbitMQ: wachtrij {names.intake}: {name} is "{in_force.get(name, "")}"'
        yield Finding(is_right, text if is_right else f'{text}, moet "{wanted}" zijn', unsafe=not is_right)
    yield from _losses(in_force, names.intake)


def judge_parked(queue: Mapping[str, Any], names: Topology) -> Iterator[Finding]:
    """Whether the management API tells of anything by which a message leaves the parked queue unseen."""
    losses = list(_losses(_in_force(queue), names.parked))
    yield from losses or [Finding(True, f"RabbitMQ: wachtrij {names.parked}: gooit niets weg")]


def _in_force(queue: Mapping[str, Any]) -> Mapping[str, object]:
    policy: Mapping[str, object] = queue.get("effective_policy_definition") or {}
    arguments: Mapping[str, object] = queue.get("arguments") or {}
    return {**policy, **{key.removeprefix("x-"): value for key, value in arguments.items()}}


def _losses(in_force: Mapping[str, object], queue: str) -> Iterator[Finding]:
    for name in _LOSING:
        if name in in_force:
            text = f"RabbitMQ: wachtrij {queue}: {name} gooit berichten weg of weigert ze"
            yield Finding(False, text, unsafe=True)
