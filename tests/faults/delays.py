"""I16 on a scaled clock: what a creditor that is away does not get in time is reported, also when it gets it later."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import Connection, func, select

from gateway.ledger import schema
from tests.faults.comeback import AWAY
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.opening import open_scene

LATE_AFTER = 3.0
"""Seconds in the place of four hours."""
THERE = "w-antwoord"
AWAY_FOR = 9.0
REPORT = "bezorging-vertraagd"


async def reported(grounds: Grounds, seed: int, engines: Sequence[str]) -> AsyncIterator[Figures]:
    """F20, of the clock: a creditor is away for three times as long as may go by without a report."""
    for engine in engines:
        async with open_scene(grounds, "F20", engine, seed, late_after=LATE_AFTER) as scene:
            async with grounds.to_creditor.spoiled(refuses=True):
                grounds.to_creditor.cut()
                for _ in range(8):
                    scene.send(scene.load.dossier((AWAY, THERE), ()))
                await asyncio.sleep(AWAY_FOR)
            figures = await scene.end()
            late = await scene.read(_reported)
            figures.notes.append(f"{late} deliveries to the creditor that was away were reported as delayed")
            if not late:
                figures.faults.append("nothing was reported as delayed")
            yield figures


def _reported(connection: Connection) -> int:
    """Deliveries to who was away of which there is a report; its event goes out in the same transaction."""
    milestone, delivery = schema.milestone.c, schema.delivery.c
    query = select(func.count()).where(milestone.name == REPORT, milestone.subject == delivery.id)
    found: int = connection.execute(query.where(delivery.creditor == AWAY)).scalar_one()
    return found
