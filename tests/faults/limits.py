"""F4: a delivery limit on the intake queue, and a gateway that gives messages back without wanting to."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.opening import open_scene
from tests.faults.proxy import Proxy
from tests.faults.scene import LOOK, Scene
from tests.flow.outside.sender import connect
from tests.servers import RabbitMQ

DELIVERY_LIMIT = 3
MESSAGES = 3
IN_HAND_WITHIN = 20.0
LOST = "a connection that is lost"
PROBE = "kennisgeving.proef"


async def delivery_limit(grounds: Grounds, seed: int, bugs: Sequence[str] = ()) -> AsyncIterator[Figures]:
    """F4. The broker counts messages out while a gateway dies on them, and while it only loses its connection: parked,
    never dropped. With `bugs` it only dies."""
    with _limited(grounds.rabbitmq):
        yield await _dies_on_them(grounds, seed, bugs)
        if not bugs:
            yield await _loses_its_connection(grounds, seed)


@contextmanager
def _limited(rabbitmq: RabbitMQ) -> Iterator[None]:
    policy = f'{{"delivery-limit": {DELIVERY_LIMIT}}}'
    rabbitmq.ctl("set_policy", "grens", "^kennisgeving.intake$", policy, "--apply-to", "queues")
    try:
        yield
    finally:
        rabbitmq.ctl("clear_policy", "grens")


async def _dies_on_them(grounds: Grounds, seed: int, bugs: Sequence[str]) -> Figures:
    """Again and again: nobody could tell such a message from one that kills."""
    async with open_scene(grounds, "F4", "sqlite", seed, bugs=bugs) as scene:
        await scene.gateway.kill()
        sent = await _sent(scene)
        for _ in range(DELIVERY_LIMIT + 1):
            await scene.gateway.start("intake:before", 1, scene.bugs)
            await scene.dies(scene.gateway, "intake:before")
        await scene.start()
        parked = await _count_out(scene)
        if parked != sent:
            scene.figures.faults.append(f"{len(parked)} messages were parked, not the {len(sent)} that it died on")
        await _sent(scene)
        return await scene.end()


async def _loses_its_connection(grounds: Grounds, seed: int) -> Figures:
    """The ledger is silent, so that messages stay in hand; the line to the broker breaks, or the broker hangs up, more
    often than a message may come back. A broker that counts this parks the innocent; one that does not, keeps them."""
    async with open_scene(grounds, "F4", "postgresql", seed, proxied=["ledger", "broker"]) as scene:
        async with grounds.to_ledger.spoiled(mute=True):
            sent = await _sent(scene)
            for turn in range(DELIVERY_LIMIT + 1):
                await _in_hand(scene, turn + 1)
                if turn % 2:
                    await asyncio.to_thread(grounds.rabbitmq.ctl, "close_all_connections", "--vhost", "/", "proef")
                else:
                    grounds.to_broker.cut()
                scene.figures.count_kill("connection")
            await _in_hand(scene, DELIVERY_LIMIT + 2)
        grounds.to_ledger.cut()
        parked, counts = await _count_out(scene), await _ways_counted(grounds.rabbitmq)
        scene.figures.notes += [f"RabbitMQ counts {counted} for {way}" for way, counted in counts.items()]
        if parked != (sent if counts[LOST] else set()):
            scene.figures.faults.append(f"{len(parked)} of {len(sent)} messages were parked")
        await _sent(scene)
        return await scene.end()


async def _sent(scene: Scene) -> set[str]:
    """Ids of some messages, all of them confirmed."""
    before = set(scene.sender.confirmed)
    for _ in range(MESSAGES):
        scene.send(scene.load.dossier((), ()))
    await scene.sent()
    return scene.sender.confirmed.keys() - before


async def _in_hand(scene: Scene, sessions: int) -> None:
    """The gateway consumes for the so-manieth time, and nothing is left for it in the queue; raises TimeoutError."""
    url, gateway = scene.grounds.rabbitmq.url(), scene.gateway
    async with asyncio.timeout(IN_HAND_WITHIN):
        while gateway.said("consuming") < sessions or await waiting(url):
            await asyncio.sleep(LOOK)


async def waiting(url: str) -> int:
    """Messages in the intake queue that are in nobody's hands."""
    async with await connect(url) as broker, broker.channel() as channel:
        declared = await channel.declare_queue("kennisgeving.intake", passive=True)
        return declared.declaration_result.message_count or 0


async def _count_out(scene: Scene) -> set[str]:
    """What was parked is not expected in the ledger."""
    parked = await scene.parked()
    scene.counted_out |= parked
    scene.figures.notes.append(f"{len(parked)} of {len(scene.sender.confirmed)} messages counted out, all parked")
    return parked


# -- what the broker counts --------------------------------------------------------------------------------------------


async def _ways_counted(rabbitmq: RabbitMQ) -> dict[str, int]:
    """By how much one return of each kind brings a message nearer to the limit."""
    return {way: await _counted(rabbitmq, give_back) for way, give_back in _WAYS.items()}


async def _nack(message: AbstractIncomingMessage, _: Proxy) -> None:
    await message.nack(requeue=True)


async def _close_channel(message: AbstractIncomingMessage, _: Proxy) -> None:
    await message.channel.close()


async def _cut(_: AbstractIncomingMessage, line: Proxy) -> None:
    line.cut()


GiveBack = Callable[[AbstractIncomingMessage, Proxy], Awaitable[None]]
_WAYS: dict[str, GiveBack] = {
    "a nack": _nack,
    "a channel that is closed": _close_channel,
    LOST: _cut,
}


async def _counted(rabbitmq: RabbitMQ, give_back: GiveBack) -> int:
    async with Proxy(rabbitmq.port) as line, await connect(rabbitmq.url()) as broker, broker.channel() as channel:
        queue = await channel.declare_queue(PROBE, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"x"), PROBE)
        async with await connect(rabbitmq.url().replace(f":{rabbitmq.port}/", f":{line.port}/")) as through:
            await give_back(await _taken(through), line)
            again = await _taken(broker)
        await queue.delete(if_unused=False, if_empty=False)
        return int(str(again.headers.get("x-delivery-count", 0)))


async def _taken(broker: aio_pika.Connection) -> AbstractIncomingMessage:
    """The message of the probe, once it is there; raises TimeoutError."""
    queue = await (await broker.channel()).get_queue(PROBE, ensure=False)
    deadline = time.monotonic() + IN_HAND_WITHIN
    while (message := await queue.get(fail=False)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(LOOK)
    return message
