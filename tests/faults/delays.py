"""I16 on a scaled clock: what a creditor that is away does not get in time is reported, also when it gets it later."""

import asyncio
from collections.abc import Sequence

from tests.faults.grounds import Grounds
from tests.faults.kills import ENGINES
from tests.faults.scene import Figures, open_scene

LATE_AFTER = 3.0
"""Seconds in the place of four hours."""
AWAY = 9.0


async def reported(grounds: Grounds, seed: int, engines: Sequence[str] = ENGINES) -> list[Figures]:
    """F20, of the clock: a creditor is away for three times as long as may go by without a report."""
    rounds = []
    for engine in engines:
        async with open_scene(grounds, "F20", engine, seed, late_after=LATE_AFTER) as scene:
            async with grounds.to_creditor.spoiled(refuses=True):
                grounds.to_creditor.cut()
                for _ in range(8):
                    scene.send(scene.load.dossier(("w-net", "w-antwoord"), ()))
                await asyncio.sleep(AWAY)
            rounds.append(await scene.end())
        told = sum(finding.checked for finding in rounds[-1].findings if finding.invariant == "I16")
        if not told:
            rounds[-1].faults.append("nothing was late enough to be looked at")
    return rounds
