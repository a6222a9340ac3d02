"""A dossier after a backup was put back: whatever may have gone out since is in doubt, and comes out of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.lifecycle import State
from gateway.core.outcome import Evidence, Transient
from gateway.core.retry import Policy
from gateway.invariants import Circumstances, verify
from gateway.recovery import Found, Manner, askable, put_back
from gateway.register import load_channels
from tests.flow.calendar import Calendar, open_calendar
from tests.flow.desk import notice, withdrawal

FAILED = Transient(Evidence("503"))


@pytest.fixture
async def calendar(ledger_url: str) -> AsyncIterator[Calendar]:
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
