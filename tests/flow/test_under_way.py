"""What else may happen to a delivery while an attempt on it is under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.ledger import schema
from tests.flow.desk import notice, progress, withdrawal
from tests.flow.running import Town, Window, neighbour, running
from tests.flow.test_receipts import receive, said

ANSWER = b'{"antwoord": {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}}'
HAVE_IT = {"soort": "ontvangen"}
UNHURRIED = {"antwoord_binnen": "10 s"}
SEVERAL_REPEATS = 0.5
"""Seconds."""


@asynccontextmanager
async def first_replies(window: Window, status: int, body: bytes = b"") -> AsyncIterator[asyncio.Event]:
    """To the first request from now on the creditor replies so, and only when the event is set."""
    goes_on = asyncio.Event()
    first = len(window.starts) + 1

    async def reply(request: web.BaseRequest) -> web.Response:
        if len(window.starts) > first:
            return await window.respond(request)
        await request.read()
        await goes_on.wait()
        return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})

    async with window._misbehaving(reply):
        yield goes_on


async def _started(window: Window, times: int) -> bool:
    return len(window.starts) >= times


async def _state(town: Town, soort: str) -> Any:
    return next(row.state for row in await town.deliveries() if row.soort == soort)


async def until_state(town: Town, soort: str, state: str) -> None:
    async def look() -> bool:
        return bool(await _state(town, soort) == state)

    await town.until(look)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "ends"),
    [
        (504, b"", "tijdelijk", "afgeleverd_zonder_antwoord"),
        (404, b"", "geweigerd", "afgeleverd_zonder_antwoord"),
        (200, b"", "overgedragen", "afgeleverd_zonder_antwoord"),
        (200, ANSWER, "overgedragen", "bevestigd"),
    ],
    ids=["fails", "is refused", "succeeds", "is answered"],
)
async def test_what_the_creditor_has_is_not_sent_again_after_its_withdrawal_however_the_attempt_ends(
    ledger_url: str, tmp_path: Path, status: int, body: bytes, outcome: str, ends: str
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")], tempo=UNHURRIED) as town:
        window = town.webhooks["energie"]
        async with first_replies(window, status, body) as goes_on:
            await town.send(notice("SHV-1", 1, "energie"))
            await town.until(lambda: _started(window, 1))
            (row,) = await town.deliveries()
            assert await receive(town, said(row, HAVE_IT)) == ["recorded"]
            await town.send(withdrawal(2))
            await until_state(town, "kennisgeving", "afgeleverd_zonder_antwoord")
            await until_state(town, "intrekking", "afgeleverd_zonder_antwoord")
            goes_on.set()
            await town.try_out("energie", 2)
            await asyncio.sleep(SEVERAL_REPEATS)
        tried = [one.outcome for one in await town.attempts() if one.delivery_id == row.id]
        assert (tried, await _state(town, "kennisgeving")) == ([outcome], ends)


@pytest.mark.parametrize("status", [200, 404])
async def test_what_expects_no_answer_has_ended_when_the_creditor_says_before_its_reply_that_it_has_it(
    ledger_url: str, tmp_path: Path, status: int
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")], tempo=UNHURRIED) as town:
        window = town.webhooks["energie"]
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("afgeleverd")
        async with first_replies(window, status) as goes_on:
            await town.send(progress("SHV-1", 2))
            await town.until(lambda: _started(window, 2))
            news = (await town.deliveries())[-1]
            assert await receive(town, said(news, HAVE_IT), said(news, source="s-2")) == ["recorded"] * 2
            goes_on.set()
            await town.try_out("energie", 2)
        assert await _state(town, "voortgang") == "afgeleverd_zonder_antwoord"
        about = [name for name, data in await town.told() if data.get("bezorging") == news.id]
        assert about == ["ontvangst-bevestigd", *(["bezorging-afgeleverd"] if status == 200 else [])]


async def test_a_receipt_of_what_had_failed_ends_it_and_its_task(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        window = town.webhooks["energie"]
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("afgeleverd")
        async with window.refuses():
            await town.send(progress("SHV-1", 2))
            await until_state(town, "voortgang", "mislukt")
        news = (await town.deliveries())[-1]
        assert await receive(town, said(news)) == ["recorded"]
        assert await _state(town, "voortgang") == "afgeleverd_zonder_antwoord"
        await town.until(lambda: _all_closed(town))


async def _all_closed(town: Town) -> bool:
    tasks = await town.rows(schema.task)
    return bool(tasks) and all(row.closed_at for row in tasks)
