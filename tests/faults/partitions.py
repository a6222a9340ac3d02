"""F19: one of two gateways is cut off from the ledger, from the broker, or from both, and the other goes on without it.

The first gateway reaches both by way of the fault proxies, the second directly. It is cut off one way (deaf, mute),
both ways with resets, and by a line that loses a tenth of what passes. Each time the other must have its lanes within
TAKES_OVER_WITHIN, where it is the ledger that is gone, and new notices must go out on every channel meanwhile. In the
end I1 and I11 hold as after every fault.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from sqlalchemy import Connection, func, select

from gateway.ledger import schema
from gateway.ledger.lanes import owners
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.opening import open_scene
from tests.faults.proxy import Proxy
from tests.faults.scene import LOOK, Scene

WEATHERS: Mapping[str, Mapping[str, Any]] = {
    "deaf": {"deaf": True},
    "mute": {"mute": True},
    "reset": {"refuses": True},
    "lossy": {"loss": 0.1},
}
STILL_THERE = ("lossy",)
"""In which the gateway may go on as well as it can."""
TAKES_OVER_WITHIN = 5.0
"""Seconds. Lanes are held for 1.5 s here, and a transaction that stands still holds up the others for one more."""
SERVES_WITHIN, LIMPS_WITHIN = 10.0, 30.0
"""Seconds until a new notice is handed over on every channel by whoever is left; on a lossy line the one that is still
there has its lanes, and takes its time."""
BACK_WITHIN = 20.0
AT_LEAST = 3.0
"""Seconds that it is cut off, longer than the lease of what it has in hand."""
EVERY_CHANNEL = ("w-antwoord", "s-bevestigt", "c-een", "m-pagina")
BUNDLE = 4
"""Notices at a time: the one that is cut off may have some of them in hand."""


async def partitions(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """Every way to be cut off, from everything that there is to be cut off from."""
    routes = {
        "ledger": [grounds.to_ledger],
        "broker": [grounds.to_broker],
        "both": [grounds.to_ledger, grounds.to_broker],
    }
    proxied = ("ledger", "broker")
    async with open_scene(grounds, "F19", "postgresql", seed, proxied=proxied, indirect=("a",)) as scene:
        (first,) = await scene.read(_living)
        await scene.start(scene.gateways[1])
        partition = Partition(scene, first, routes["both"])
        scene.send(scene.load.dossier(EVERY_CHANNEL, ()))  # a lane is there when there is something in it
        await partition.is_back()
        for weather in WEATHERS:
            for name, proxies in routes.items():
                await partition.cut_off(weather, name, proxies)
        scene.figures.notes += partition.notes()
        yield await scene.end()


class Partition:
    """Of the gateway that is `cut` off (its id in the ledger); `proxies`: all that it goes by way of."""

    def __init__(self, scene: Scene, cut: str, proxies: Sequence[Proxy]) -> None:
        self._scene = scene
        self._cut = cut
        self._proxies = proxies
        self._taken_over: list[float] = []
        self._went_on: list[float] = []
        self._limped_on: list[float] = []

    def notes(self) -> list[str]:
        took = (
            ("the other gateway had all lanes", self._taken_over, TAKES_OVER_WITHIN),
            ("a new notice was out on every channel", self._went_on, SERVES_WITHIN),
            ("and on a lossy line", self._limped_on, LIMPS_WITHIN),
        )
        return [
            f"{what} after at most {max(seconds, default=0):.1f} s, {len(seconds)} times (allowed: {within:.0f} s)"
            for what, seconds, within in took
        ]

    async def cut_off(self, weather: str, name: str, proxies: Sequence[Proxy]) -> None:
        what, loses_lanes = f"{weather} to {name}", name != "broker" and weather not in STILL_THERE
        async with AsyncExitStack() as stack:
            for proxy in proxies:
                await stack.enter_async_context(proxy.spoiled(**WEATHERS[weather]))
                if weather == "reset":
                    proxy.cut()
            began = time.monotonic()
            if loses_lanes:
                await self._in_time(what, "lanes taken over", self._has_none, TAKES_OVER_WITHIN, self._taken_over)
            await self._goes_on(what, is_still_there=weather in STILL_THERE)
            await asyncio.sleep(max(0.0, began + AT_LEAST - time.monotonic()))
            if loses_lanes and not await self._scene.read(self._has_none):
                self._scene.figures.faults.append(f"{what}: who is cut off has lanes again")
        for proxy in proxies:
            proxy.cut()
        await self.is_back()

    async def is_back(self) -> None:
        """It has lanes and is connected to all."""
        began = time.monotonic()
        while not all(proxy.links for proxy in self._proxies) and time.monotonic() < began + BACK_WITHIN:
            await asyncio.sleep(LOOK)
        if not all(proxy.links for proxy in self._proxies):
            self._scene.figures.faults.append(f"not connected again within {BACK_WITHIN:.0f} s")
        await self._in_time("afterwards", "lanes shared", self._has_some, BACK_WITHIN, [])

    async def _goes_on(self, what: str, *, is_still_there: bool) -> None:
        notices = [self._scene.load.dossier(EVERY_CHANNEL, ()) for _ in range(BUNDLE)]
        ids = [notice[0].id for notice in notices]
        for notice in notices:
            self._scene.send(notice)
        within, kept = (LIMPS_WITHIN, self._limped_on) if is_still_there else (SERVES_WITHIN, self._went_on)
        await self._in_time(
            what, "a new notice on every channel", lambda look: _is_handed_over(look, ids), within, kept
        )

    def _has_none(self, connection: Connection) -> bool:
        """All lanes are the other's."""
        found = owners(connection)
        return bool(found) and self._cut not in found.values()

    def _has_some(self, connection: Connection) -> bool:
        return self._cut in owners(connection).values()

    async def _in_time(
        self, what: str, until: str, look: Callable[[Connection], bool], within: float, kept: list[float]
    ) -> None:
        try:
            kept.append(await self._scene.until(look, within))
        except TimeoutError:
            self._scene.figures.faults.append(f"{what}: {until} not within {within:.0f} s")


def _living(connection: Connection) -> Sequence[str]:
    return connection.execute(select(schema.gateway.c.id)).scalars().all()


def _is_handed_over(connection: Connection, event_ids: Sequence[str]) -> bool:
    """One of these notices, to everybody on EVERY_CHANNEL."""
    delivery, message = schema.delivery.c, schema.message.c
    query = (
        select(message.id)
        .where(message.event_id.in_(event_ids), delivery.message_id == message.id, delivery.soort == "kennisgeving")
        .where(delivery.handed_over_at.is_not(None))
        .group_by(message.id)
        .having(func.count() == len(EVERY_CHANNEL))
    )
    return connection.execute(query).first() is not None
