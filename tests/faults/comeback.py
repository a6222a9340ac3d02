"""F20: a creditor is away for long and comes back, on a scaled schedule: no storm meanwhile, and none afterwards.

While it is away every attempt is one connection at the proxy, which refuses it. A lane may fail once as wide as it is,
and then sends single probes: the first after `eerste_herhaling`, each after twice the wait of the one before, up to
`hoogste_herhaling`. When it is back, the proxy sees how many connections are in use at once, and the creditor's own log
how many messages come within a second: never more than its `limiet` allows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.kills import SLOW
from tests.faults.opening import open_scene
from tests.faults.scene import POLICY, Scene

AWAY = "w-net"
AT_ONCE, PER_SECOND = 3, 8
LIMITS = {AWAY: {"gelijktijdig": AT_ONCE, "per_seconde": PER_SECOND}}
DOSSIERS = 30
SLOW_FOR = 3.0
"""Seconds, at first after it is back."""
AWAY_FOR = 12.0
UNEVEN = 2
"""Messages that may come within a second beyond `limiet`: they leave at even distances, and the machine is busy."""
FEWEST_PROBES = 3


async def creditor_down(grounds: Grounds, seed: int, engines: Sequence[str]) -> AsyncIterator[Figures]:
    """F20. Three days away, an hour in a few tenths of a second."""
    for engine in engines:
        async with open_scene(grounds, "F20", engine, seed, limits=LIMITS) as scene:
            await _away(scene)
            async with grounds.to_creditor.spoiled(**SLOW):
                await asyncio.sleep(SLOW_FOR)
            figures = await scene.end()
            _judge_catch_up(scene)
            yield figures


async def _away(scene: Scene) -> None:
    proxy = scene.grounds.to_creditor
    async with proxy.spoiled(refuses=True):
        proxy.cut()
        for _ in range(DOSSIERS):
            scene.send(scene.load.dossier((AWAY,), ()))
        began = time.monotonic()
        await asyncio.sleep(AWAY_FOR)
        tried = [at for at in proxy.came if at >= began]
        proxy.most_at_once = 0
    first, allowed = 2 * AT_ONCE - 1, probes(time.monotonic() - began)
    scene.figures.notes.append(
        f"{len(tried)} attempts in {AWAY_FOR:.0f} s while it was away (allowed: {first} and {allowed} probes), "
        f"{DOSSIERS} deliveries"
    )
    if not FEWEST_PROBES <= len(tried) <= first + allowed:
        scene.figures.faults.append(f"{len(tried)} attempts while it was away")


def probes(seconds: float) -> int:
    """At most so many are due in so long an absence."""
    number, wait, at = 0, POLICY.first, POLICY.first
    while at <= seconds:
        number += 1
        wait = min(2 * wait, POLICY.highest)
        at += wait
    return number


def _judge_catch_up(scene: Scene) -> None:
    seen, _ = scene.grounds.neighbours.since(scene.offset)
    together, paced = scene.grounds.to_creditor.most_at_once, most_within_a_second([one.at for one in seen])
    scene.figures.notes.append(
        f"when it was back at most {together} connections at once (allowed: {AT_ONCE}), and {paced} messages within a "
        f"second (allowed: {PER_SECOND}, and {UNEVEN} for a busy machine)"
    )
    if not 1 < together <= AT_ONCE:
        scene.figures.faults.append(f"{together} connections at once when it was back")
    if not 1 < paced <= PER_SECOND + UNEVEN:
        scene.figures.faults.append(f"{paced} messages within a second when it was back")


def most_within_a_second(instants: Sequence[int]) -> int:
    """`instants`: epoch µs."""
    ordered = sorted(instants)
    return max((sum(1 for at in ordered if first <= at < first + 1_000_000) for first in ordered), default=0)
