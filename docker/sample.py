"""Publishes the 25 sample dossiers as the first sender of docker/gateway.toml, and waits until all is handed over.

sample.py SECRETS     SECRETS: what docker/prepare.py made in the volume `authority`
"""

import asyncio
import json
import ssl
import sys
import tomllib
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractQueue

from gateway.clock import Clock
from gateway.sandbox.dossiers import Dossier, dossiers
from gateway.sandbox.register import entries
from gateway.sandbox.sender import AmqpSender

SETTINGS = Path(__file__).parent / "gateway.toml"
BROKER = "rabbitmq"
PATIENCE_SECONDS = 120


async def publish(made: Path) -> None:
    sender = tomllib.loads(SETTINGS.read_text())["afzender"][0]
    user = sender["amqp_gebruiker"]
    now = Clock().now()
    samples = dossiers(entries(), sender["oin"], f"{now:%y%m%d%H%M%S}", now)
    tls = ssl.create_default_context(cafile=made / "ca.pem")
    url = f"amqps://{user}:{quote((made / f'{user}.wachtwoord').read_text())}@{BROKER}/"
    async with await aio_pika.connect(url, ssl_context=tls) as listening, AmqpSender(url, tls) as sending:
        events = await _own_queue(listening, f"{user}.voorbeeld", sender["gemeenten"])
        for sample in samples:
            await sending.send(f"{sample.gemeente}.kennisgeving", sample.notice)
        print(f"{len(samples)} kennisgevingen afgegeven", flush=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            counts = await _until_handed_over(events, samples)
    for event, count in counts.most_common():
        print(f"{count:6} {event}")


async def _own_queue(connection: AbstractConnection, name: str, gemeenten: list[str]) -> AbstractQueue:
    channel = await connection.channel()
    queue = await channel.declare_queue(name, exclusive=True)
    for gemeente in gemeenten:
        await queue.bind("kennisgeving.uit", f"{gemeente}.#")
    return queue


async def _until_handed_over(events: AbstractQueue, samples: list[Dossier]) -> Counter[str]:
    """How often each event came, up to the last hand-over of these dossiers."""
    waiting = {sample.reference for sample in samples}
    open_deliveries: set[str] = set()
    counts: Counter[str] = Counter()
    async with events.iterator() as arriving:
        async for message in arriving:
            await message.ack()
            event = json.loads(message.body)
            name, data = event["type"].split(".")[2], event["data"]
            counts[name] += 1
            if name == "bericht-geaccepteerd":
                waiting.discard(data["dossierkenmerk"])
                open_deliveries |= {told["bezorging"] for told in data["schuldeisers"]}
            elif name == "bezorging-afgeleverd":
                open_deliveries.discard(data["bezorging"])
            if not waiting and not open_deliveries:
                break
    return counts


if __name__ == "__main__":
    asyncio.run(publish(Path(sys.argv[1])))
