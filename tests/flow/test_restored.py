"""A dossier after a backup was put back: whatever may have gone out since is in doubt, and comes out of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from gateway.attested import put_down
from gateway.contract import DeliveryId, Inbound
from gateway.core.deadlines import AMSTERDAM
from gateway.core.lifecycle import State
from gateway.core.outcome import Evidence, Transient
from gateway.core.recovery import Manner
from gateway.core.retry import Policy
from gateway.invariants import Circumstances, verify
from gateway.ledger.tasks import LeftInDoubt, close
from gateway.recovery import Found, askable, put_back
from gateway.register import load_channels
from gateway.spool import Spool
from tests.flow.calendar import Calendar, open_calendar
from tests.flow.desk import SENDER, notice, progress, withdrawal

FAILED = Transient(Evidence("503"))


@pytest.fixture
async def calendar(sqlite_url: str) -> AsyncIterator[Calendar]:
    async with open_calendar(sqlite_url) as opened:
        yield opened
        await keeps_every_invariant(opened)


@pytest.fixture
async def either(ledger_url: str) -> AsyncIterator[Calendar]:
    """On each kind of ledger."""
    async with open_calendar(ledger_url) as opened:
        yield opened
        await keeps_every_invariant(opened)


async def keeps_every_invariant(calendar: Calendar) -> None:
    found = await calendar.desk.ledger.run(verify, Circumstances(calendar.desk.clock.at, Policy()))
    assert [finding for finding in found if finding.broken] == []


async def restored(calendar: Calendar, *, send_again: bool = False, since: int = 0) -> Found:
    """What is on record now is a backup that was put back, a little later."""
    desk = calendar.desk
    desk.clock.at += 1_000_000
    manner, asked = Manner(since, send_again), askable(load_channels())
    return await desk.ledger.run(put_back, manner, asked, "Noor", "schijf kapot", desk.clock.at, Policy(), ())


def at(moment: str) -> int:
    """epoch µs"""
    return int(datetime.fromisoformat(moment).replace(tzinfo=AMSTERDAM).timestamp()) * 1_000_000


async def delivery(calendar: Calendar, soort: str = "kennisgeving") -> Any:
    """The latest of this soort."""
    return [row for row in await calendar.desk.deliveries() if row.soort == soort][-1]


async def test_what_is_younger_than_the_backup_is_said_to_be_is_in_doubt_and_counted(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "incasso"))
    made = (await delivery(calendar)).created_at
    found = await restored(calendar, since=made - 1)
    assert (sum(found.counts.values()), found.later) == (2, 2)
    assert {row.state for row in await calendar.desk.deliveries()} == {State.IN_DOUBT}
    assert (await restored(calendar, since=made)).later == 0


# -- a withdrawal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [0, 2])
@pytest.mark.parametrize("creditor", ["energie", "incasso"])
async def test_who_may_have_the_notice_hears_of_its_withdrawal(
    calendar: Calendar, attempts: int, creditor: str
) -> None:
    await calendar.send(notice("SHV-1", 1, creditor))
    for day in range(attempts):
        await calendar.settle(await calendar.claim(creditor), FAILED)
        await calendar.go_to(f"2026-11-{24 + day}T09:00")
    assert (await delivery(calendar)).fence == attempts
    await restored(calendar)
    assert (await delivery(calendar)).state == State.IN_DOUBT
    await calendar.send(withdrawal())
    assert await calendar.hand_over(creditor) == ["intrekking"]
    assert await calendar.states() == [
        (creditor, "kennisgeving", State.WITHDRAWN),
        (creditor, "intrekking", State.CLOSED),
    ]
    assert await calendar.open_tasks() == []


async def test_who_was_never_tried_hears_of_no_withdrawal(calendar: Calendar) -> None:
    await restored(calendar)
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.send(withdrawal())
    assert await calendar.hand_over("energie") == []


# -- the word of a person --------------------------------------------------------------------------------------------


async def says_it_is_there(calendar: Calendar, *ids: str) -> int:
    """For how many deliveries it is put on record."""
    desk = calendar.desk
    made = await desk.ledger.run(put_down, ids, desk.events, "Noor", "gebeld", desk.clock.at)
    await calendar.look()
    return len(made.steps)


async def test_what_the_creditor_has_after_all_is_handed_over_and_all_that_waited_goes_on(either: Calendar) -> None:
    await either.send(notice("SHV-1", 1, "energie"))
    await restored(either)
    await either.send(progress("SHV-1", 2))
    await either.go_to("2026-11-24T12:00")
    assert await either.hand_over("energie") == []
    await either.told()
    assert await says_it_is_there(either, (await delivery(either)).id) == 1
    ((_, told),) = await either.told("bezorging-afgeleverd")
    assert (told["kanaal"], told["bewijskracht"], told["schuldeiser"]) == ("webhook", 1, "energie")
    assert await either.hand_over("energie") == ["voortgang"]
    assert await either.open_tasks() == []
    await either.jump_to("2026-12-20T12:00")
    assert await either.hand_over("energie") == ["herinnering"]
    assert (await delivery(either)).state == State.DELIVERED


async def test_what_expects_no_answer_has_ended_and_its_word_counts_once(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    await calendar.send(progress("SHV-1", 2))
    await restored(calendar)
    later = await delivery(calendar, "voortgang")
    assert await says_it_is_there(calendar, later.id, later.id) == 1
    assert (await delivery(calendar, "voortgang")).state == State.CLOSED
    assert await says_it_is_there(calendar, later.id, (await delivery(calendar)).id, "bestaat-niet") == 0


async def test_what_the_creditor_is_still_asked_about_is_left_to_the_gateway(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "incasso"))
    await restored(calendar)
    assert await says_it_is_there(calendar, (await delivery(calendar)).id) == 0


async def test_a_task_about_what_is_left_in_doubt_cannot_be_closed_away(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await restored(calendar)
    (task,) = await calendar.desk.tasks()
    with pytest.raises(LeftInDoubt, match=(await delivery(calendar)).id):
        await calendar.desk.ledger.run(close, task.id, "Noor", "geen idee", calendar.desk.clock.at)
    assert await calendar.open_tasks() == ["hersteld_onbekend"]


# -- what a backup makes new deliveries of -----------------------------------------------------------------------------


async def left_in_doubt(calendar: Calendar, *creditors: str) -> list[tuple[str, str]]:
    """(creditor, soort) of what nobody but a person looks at; nothing else goes to these creditors."""
    assert await calendar.hand_over(*creditors) == []
    rows = [row for row in await calendar.desk.deliveries() if row.state == State.IN_DOUBT]
    assert {row.next_action_at for row in rows} <= {None}
    asked = {row.delivery_id for row in await calendar.desk.tasks() if row.soort == "hersteld_onbekend"}
    assert {row.id for row in rows} <= asked
    return [(row.creditor, row.soort) for row in rows]


@pytest.mark.parametrize("creditor", ["energie", "incasso"])
async def test_a_message_that_waited_for_another_does_not_go_blindly(calendar: Calendar, creditor: str) -> None:
    await calendar.send(notice("SHV-1", 1, creditor))
    await calendar.hand_over(creditor)
    await calendar.send(progress("SHV-1", 3))
    await restored(calendar)
    await calendar.send(progress("SHV-1", 2))
    assert await calendar.claim(creditor)
    assert [row.versie for row in await calendar.desk.deliveries() if row.state == State.IN_DOUBT] == [3]
    await calendar.go_to("2026-11-23T12:00")
    assert await calendar.open_tasks() == ["hersteld_onbekend"]
    assert await says_it_is_there(calendar, (await delivery(calendar, "voortgang")).id) == 1
    assert await calendar.open_tasks() == []


async def test_what_comes_after_the_restore_waits_and_goes(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    await restored(calendar)
    await calendar.send(progress("SHV-1", 3))
    await calendar.send(progress("SHV-1", 2))
    assert await calendar.hand_over("energie") == ["voortgang", "voortgang"]


async def test_who_may_have_what_waited_hears_of_its_withdrawal(either: Calendar) -> None:
    await either.send(notice("SHV-1", 1, "energie"))
    await either.hand_over("energie")
    await either.send(notice("SHV-1", 3, "energie", "zorg"))
    await restored(either)
    await either.go_to("2026-11-23T12:00")
    assert await left_in_doubt(either, "energie", "zorg") == [("zorg", "kennisgeving")]
    await either.send(withdrawal(4))
    assert await either.hand_over("zorg") == ["intrekking"]
    assert await either.open_tasks() == []


@pytest.mark.parametrize(
    ("moment", "send_again", "goes", "doubted"),
    [
        ("2026-12-20", False, [], [("energie", "herinnering")]),
        ("2026-12-20", True, ["herinnering"], []),
        ("2026-11-24", False, ["herinnering"], []),
    ],
)
async def test_a_reminder_that_was_due_before_the_restore_may_have_gone(
    calendar: Calendar, moment: str, send_again: bool, goes: list[str], doubted: list[tuple[str, str]]
) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    calendar.desk.clock.at = at(moment)
    await restored(calendar, send_again=send_again)
    await calendar.jump_to("2026-12-21T12:00")
    assert await calendar.hand_over("energie") == goes
    assert await left_in_doubt(calendar, "energie") == doubted


async def test_whom_a_claim_went_to_may_have_been_told(either: Calendar) -> None:
    await either.send(notice("SHV-1", 1, "energie"))
    await either.hand_over("energie")
    (row,) = await either.desk.deliveries()
    raw = json.dumps({"soort": "overgedragen", "naar": "incasso"}).encode()
    await either.receipts.receive(Inbound("answer", "energie", DeliveryId(row.id), "bron", raw, raw))
    await restored(either)
    await either.look()
    assert await left_in_doubt(either, "energie", "incasso") == [("incasso", "kennisgeving")]


async def test_what_waited_in_the_gateways_own_queue_does_not_go_blindly(calendar: Calendar) -> None:
    desk = calendar.desk
    spool = Spool(desk.ledger, desk.sealer, desk.clock, {"gem-0363": SENDER})
    await spool.put("gem-0363", [json.dumps(notice("SHV-1", 1, "energie")).encode()])
    await restored(calendar)
    desk.clock.at += 1_000_000
    await spool.put("gem-0363", [json.dumps(notice("SHV-2", 1, "energie")).encode()])
    feeding = asyncio.create_task(spool.run(desk.intake))
    async with asyncio.timeout(10):
        while len(await desk.deliveries()) < 2:
            await asyncio.sleep(0.01)
    feeding.cancel()
    assert [row.state for row in await desk.deliveries()] == [State.IN_DOUBT, State.QUEUED]
    assert await calendar.hand_over("energie") == ["kennisgeving"]
    assert await left_in_doubt(calendar, "energie") == [("energie", "kennisgeving")]
