"""F18: messages that are far too large, a whole window of them at once."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from gateway.config import AmqpSettings
from gateway.core.errors import Code
from gateway.ledger import schema
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.inputs import publish_raw
from tests.faults.limits import waiting
from tests.faults.opening import open_scene
from tests.faults.scene import Scene
from tests.flow.outside.messages import CONTENT_TYPE

LARGE = 10 * 2**20
PUBLISHERS = 4
MORE_BODIES = 10
LARGE_PER_SECOND = 12
"""Bodies that RabbitMQ hands out, at least."""
RSS_AT_MOST_MB = 300
"""A gateway at rest has about 100; a window of 200 such bodies would be 2,000."""


async def large(grounds: Grounds, seed: int, bodies: int) -> AsyncIterator[Figures]:
    """F18. Bodies of 10 MB wait when the gateway starts, and its ledger is held by somebody else, so that it has its
    whole window of them in hand; some more come while it works. Each is refused politely, memory stays bounded,
    notices among them go on."""
    async with open_scene(grounds, "F18", "sqlite", seed) as scene:
        await scene.gateway.kill()
        body = b'{"a":"' + b"x" * LARGE + b'"}'
        shares = [bodies // PUBLISHERS] * PUBLISHERS
        await asyncio.gather(*(publish_raw(scene, [(body, CONTENT_TYPE)] * share) for share in shares))
        scene.send(scene.load.dossier((), ()))
        await scene.sent()
        began = time.monotonic()
        await scene.start()
        await _window_fills(scene, sum(shares) + 1)
        for _ in range(MORE_BODIES):
            await publish_raw(scene, [(body, CONTENT_TYPE)])
            scene.send(scene.load.dossier((), ()))
        expected = sum(shares) + MORE_BODIES
        await scene.until(lambda connection: _too_large(connection) >= expected, 90)
        await scene.sent()
        await scene.accepted(10)
        peak, took = scene.gateway.peak_mb(), time.monotonic() - began
        scene.figures.notes.append(f"{expected} bodies of 10 MB refused in {took:.0f} s, with at most {peak} MB")
        if peak > RSS_AT_MOST_MB:
            scene.figures.faults.append(f"the gateway grew to {peak} MB, over {RSS_AT_MOST_MB}")
        yield await scene.end()


async def _window_fills(scene: Scene, sent: int) -> None:
    """Somebody holds the ledger until the gateway has in hand what the broker gives it of what waits."""
    while not scene.gateway.said("consuming"):
        await asyncio.sleep(0.01)
    window = min(sent, AmqpSettings(url="").prefetch)
    with closing(sqlite3.connect(urlsplit(scene.ledger_url).path, isolation_level=None)) as ledger:
        ledger.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(window / LARGE_PER_SECOND)
        left = await waiting(scene.grounds.rabbitmq.url())
    scene.figures.notes.append(f"{sent - left} of {sent} messages were in hand at once")
    if sent - left < window:
        scene.figures.faults.append(f"the window of {window} never filled")


def _too_large(connection: Connection) -> int:
    """Refused for their size."""
    violations = connection.execute(select(schema.refusal.c.violations)).scalars()
    return sum(Code.TOO_LARGE in found for found in violations)
