"""A delivery over several channels: one at a time, under one reference, and an answer over any of them counts."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.clock import Clock
from gateway.core.standard_webhooks import sign, signing_key
from gateway.ledger import schema
from tests.flow.desk import notice
from tests.flow.running import Town, neighbour, running

SOON = "0.3 s"


def overlapping(attempts: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Attempts on one delivery of which one began before the one before it had ended."""
    pairs = pairwise(attempts)
    return [(one, after) for one, after in pairs if one.finished_at is None or after.started_at < one.finished_at]


@pytest.mark.parametrize("fault", ["hangs", "drops_reply", "answers_503"])
async def test_never_two_channels_at_once_and_never_back_to_the_former(
    ledger_url: str, tmp_path: Path, fault: str
) -> None:
    creditor = neighbour("energie", "webhook", "sftp", uitwijken_na=SOON)
    async with running(tmp_path, ledger_url, [creditor], tempo={"antwoord_binnen": "0.5 s"}) as town:
        window = town.webhooks["energie"]
        way = window.answers_with(503) if fault == "answers_503" else getattr(window, fault)()
        async with way:
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.hand_over()
            tried = len(window.starts)
        await asyncio.sleep(0.5)
        attempts = await town.attempts()
        channels = [one.channel for one in attempts]
        assert channels == sorted(channels, reverse=True)
        assert set(channels) == {"webhook", "sftp"}
        assert overlapping(attempts) == []
        assert len(window.starts) == tried
        assert town.sftp is not None
        assert len(town.sftp.received(row.id)) == 1


@pytest.mark.parametrize("over", ["webhook", "sftp"])
async def test_an_answer_counts_over_whichever_channel_it_comes(sqlite_url: str, tmp_path: Path, over: str) -> None:
    sftp = "sftp:answers" if over == "sftp" else "sftp"
    async with running(tmp_path, sqlite_url, [neighbour("energie", "webhook", sftp, uitwijken_na=SOON)]) as town:
        async with town.webhooks["energie"].drops_reply():  # it has the message, and we do not know
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.hand_over()
        assert row.channel == "sftp"
        if over == "webhook":
            assert await _calls_back(town, row.id) == 202
            assert [one.channel for one in await town.rows(schema.evidence)] == ["webhook"]
        (row,) = await town.reach("bevestigd")
        assert row.decision == "pauze_ingesteld"
        assert (await town.hears("antwoord-ontvangen"))["bezorging"] == row.id
        assert await town.tasks() == []


async def test_the_answer_of_an_api_of_which_the_reply_was_lost_counts_after_the_delivery_went_on(
    ledger_url: str, tmp_path: Path
) -> None:
    creditor = neighbour("energie", "cjib", "webhook", uitwijken_na=SOON)
    async with running(
        tmp_path, ledger_url, [creditor], tempo={"eerste_herhaling": "0.6 s", "hoogste_herhaling": "0.6 s"}
    ) as town:
        api = town.cjib
        assert api is not None

        async def has_it() -> bool:
            return bool(api.journal.receipts)

        async with api.drops_reply():
            await town.send(notice("SHV-1", 1, "energie"))
            await town.until(has_it)
        async with api.is_down():
            (row,) = await town.hand_over()
            assert row.channel == "webhook"
        (row,) = await town.reach("bevestigd")
        assert (row.channel, row.decision) == ("webhook", "pauze_ingesteld")
        assert {one.channel for one in await town.rows(schema.evidence)} == {"cjib"}
        assert (await town.hears("antwoord-ontvangen"))["bezorging"] == row.id
        assert await town.tasks() == []


async def test_other_content_under_our_key_is_told_at_once_though_another_channel_follows(
    sqlite_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", "sftp", "webhook")]) as town:
        assert town.sftp is not None
        async with town.sftp.is_down():
            await town.send(notice("SHV-1", 1, "energie"))
            row = await town.delivery("energie")
            final = town.sftp.accounts["energie"].inbox / f"kennisgeving_{row.id}.xml"
            final.write_bytes(b"iets anders")
        (row,) = await town.hand_over()
        assert (row.channel, row.state) == ("webhook", "afgeleverd")
        assert final.read_bytes() == b"iets anders"
        assert await town.tasks() == ["andere_inhoud"]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] == "other_content"]
    assert [(line["level"], line["bezorging"], line["code"]) for line in told] == [("error", row.id, "naambotsing")]


async def _calls_back(town: Town, delivery: str) -> int:
    """The creditor answers, signed, over the channel that was left."""
    table: Any = town.gateway.links.register.by_id["energie"].endpoints["webhook"]
    secret = Path(table["antwoord_sleutels"][0].removeprefix("file:")).read_bytes()
    answer = {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
    body = json.dumps({"bezorging": delivery, "antwoord": answer}).encode()
    stamp = Clock().micros() // 1_000_000
    headers = {
        "webhook-id": "antwoord-1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign([signing_key(secret)], "antwoord-1", stamp, body),
        "Content-Type": "application/json",
    }
    url = f"{town.url}/v1/antwoorden/energie"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers, ssl=town.anchor) as response,
    ):
        return response.status
