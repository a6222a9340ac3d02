"""Every kind of message reaches every kind of creditor: real servers, which check what they get by the contract."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from gateway.ledger.schema import delivery, dossier
from tests.flow.desk import ending, extension, notice, progress, withdrawal
from tests.flow.running import Town, neighbour, running

MONTH = 31 * 24 * 3600 * 1_000_000
CHANNELS = {"energie": "webhook", "zorg": "sftp", "winkel": "email", "cjib": "cjib"}
STORY = ["kennisgeving", "herinnering", "voortgang", "verlenging", "beeindiging", "intrekking"]


def _seen(town: Town, creditor: str) -> list[str]:
    """What this creditor took and found in order, in the order in which it came."""
    webhook = town.webhooks.get("energie")
    desks: dict[str, Any] = {"energie": webhook, "zorg": town.sftp, "winkel": town.mail, "cjib": town.cjib}
    return [receipt.soort for receipt in desks[creditor].journal.receipts if receipt.creditor == creditor]


async def _have(town: Town, soort: str, *creditors: str) -> None:
    async def look() -> bool:
        return all(_seen(town, creditor)[-1:] == [soort] for creditor in creditors)

    await town.until(look)

    async def settled() -> bool:
        rows = [row for row in await town.deliveries() if row.soort == soort]
        return bool(rows) and all(row.handed_over_at for row in rows)

    await town.until(settled)


async def _a_month_passes(town: Town) -> None:
    """The ledger as it is when what was handed over today was handed over a month ago."""

    def age(connection: Connection) -> None:
        connection.execute(update(delivery).values(handed_over_at=delivery.c.handed_over_at - MONTH))
        connection.execute(update(dossier).values(review_at=1))

    await town.ledger.run(age)
    town.gateway.timers.wake()


async def test_an_api_that_told_nobody_what_it_calls_a_notice_gets_the_withdrawal_all_the_same(
    sqlite_url: str, tmp_path: Path
) -> None:
    """It took the notice, its reply was lost, and before it could be asked the notice was withdrawn."""
    slow = {"eerste_herhaling": "1 uur", "hoogste_herhaling": "1 uur"}
    async with running(tmp_path, sqlite_url, [neighbour("cjib", "cjib")], tempo=slow) as town:
        assert town.cjib is not None
        async with town.cjib.drops_reply():
            await town.send(notice("SHV-1", 1, "cjib"))
            (attempt,) = await town.try_out("cjib")
        assert attempt.outcome == "onzeker"
        await town.send(withdrawal())
        await _have(town, "intrekking", "cjib")
        first, last = await town.deliveries()
        assert (first.soort, first.state, first.reference) == ("kennisgeving", "ingetrokken", None)
        (case,) = town.cjib.cases("cjib")
        assert [(case.kenmerk, [view["soort"] for view in case.messages])] == [(first.id, ["intrekking"])]
        assert last.reference.endswith(case.id)
        assert await town.tasks() == []


async def test_the_whole_story_reaches_every_channel_in_order(sqlite_url: str, tmp_path: Path) -> None:
    creditors = [neighbour(name, channel) for name, channel in CHANNELS.items()]
    async with running(tmp_path, sqlite_url, creditors) as town:
        await town.send(
            notice(
                "SHV-1",
                1,
                schuldeisers=[{"schuldeiser": name, "klantnummer": "K-1"} for name in CHANNELS],
                pauze={"ingangsdatum": "2026-11-23", "aantal": 2, "eenheid": "maanden"},
            )
        )
        await _have(town, "kennisgeving", *CHANNELS)
        await town.hears("antwoord-ontvangen", "cjib")
        await _a_month_passes(town)
        await _have(town, "herinnering", "energie", "zorg", "winkel")
        later = [progress("SHV-1", 2), extension("2027-05-22", 3), ending("2027-04-01", 4), withdrawal(5)]
        for soort, event in zip(STORY[2:], later, strict=True):
            await town.send(event)
            await _have(town, soort, *CHANNELS)
        answered = [soort for soort in STORY if soort != "herinnering"]
        seen = {creditor: _seen(town, creditor) for creditor in CHANNELS}
        assert seen == {**dict.fromkeys(CHANNELS, STORY), "cjib": answered}
