"""What waits in a lane's line when it is withdrawn is not sent any more, whichever gateway heard of the withdrawal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.app import Gateway
from gateway.clock import Clock
from gateway.core.lifecycle import TOLD
from gateway.ledger.acts import Which
from gateway.repeats import Manner, Repeats, reaches_in_ledger
from tests.flow.desk import follow_up, notice
from tests.flow.running import Town, Window, neighbour, running
from tests.flow.test_dispatch import colleague, say
from tests.flow.test_lanes import set_back

UNSEEN = 0.6
"""Seconds: what waits for longer is not started without a look whether it is still to be made."""


@asynccontextmanager
async def held_up(window: Window) -> AsyncIterator[asyncio.Event]:
    """What the creditor gets now it takes only when the event is set."""
    goes_on = asyncio.Event()

    async def wait(request: web.BaseRequest) -> web.Response:
        await goes_on.wait()
        return await window.respond(request)

    async with window._misbehaving(wait):
        yield goes_on


@asynccontextmanager
async def who_hears_of_it(town: Town) -> AsyncIterator[Gateway]:
    """Another gateway where there can be one."""
    if town.ledger.embedded:
        yield town.gateway
    else:
        async with colleague(town) as other:
            yield other


async def _send_again(town: Town, id_: str) -> None:
    def carry_out(connection: Any) -> Any:
        repeats = Repeats(reaches_in_ledger(connection), town.gateway.config.tempo.policy, ())
        return repeats.carry_out(connection, Which((id_,)), Manner(), "Zoë", "storing", Clock().micros())

    _, lanes = await town.ledger.run(carry_out)
    town.gateway.dispatch.wake(lanes)


async def _tries(town: Town, id_: str, times: int) -> bool:
    """So many attempts on it are on record; the last one waits in its line."""
    return [one.delivery_id for one in await town.attempts()].count(id_) == times


async def _notices(town: Town) -> list[Any]:
    return [row for row in await town.deliveries() if row.soort == "kennisgeving"]


@pytest.mark.parametrize("back", [0, 200])
async def test_what_waits_in_its_line_when_it_is_withdrawn_is_never_sent(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    """Also where the clock is set back meanwhile."""
    one_by_one = neighbour("energie", limiet={"gelijktijdig": 1})
    async with running(tmp_path, ledger_url, [one_by_one], tempo={"antwoord_binnen": "10 s"}) as town:
        window = town.webhooks["energie"]
        await town.send(notice("SHV-1", 1, "energie"))
        (told,) = await town.reach("afgeleverd")
        async with who_hears_of_it(town) as other, held_up(window) as goes_on:
            await town.send(notice("SHV-2", 1, "energie"))
            await town.send(notice("SHV-3", 1, "energie"))
            new = (await _notices(town))[-1]
            await town.until(lambda: _tries(town, new.id, 1))
            await _send_again(town, told.id)
            await town.until(lambda: _tries(town, told.id, 2))
            await say(other, [follow_up("intrekking", name, 2, reden="dubbel") for name in ("SHV-1", "SHV-3")])
            await asyncio.sleep(UNSEEN)
            set_back(town, monkeypatch, back)
            await town.send(notice("SHV-4", 1, "energie"))
            goes_on.set()
            last = (await _notices(town))[-1]
            await town.until(lambda: _has(window, last.id))
        assert window.deliveries.count(told.id) == 1
        assert new.id not in window.deliveries
        states = {row.id: row.state for row in await town.deliveries()}
        assert (states[told.id] in TOLD, states[new.id]) == (True, "ingetrokken")


async def _has(window: Window, delivery: str) -> bool:
    return delivery in window.deliveries
