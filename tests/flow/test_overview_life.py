"""The figures of dossiers that the gateway itself carried through months of virtual time."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from gateway.core.answer import AnswerKind
from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.overview import Coverage, Figures, Undecided
from gateway.core.period import Period
from gateway.ids import uuid7
from gateway.overviews import Role, coverage, creditor_figures
from tests.flow.calendar import RECEIVED, Calendar, open_calendar
from tests.flow.desk import notice, withdrawal

COVENANT = Covenant("Modelconvenant 2024", binding=True, pause=Term(8, "maanden"))
PREMIUM = Covenant("ZN", binding=True, pause=Term(120, "dagen"), scope=("zorgpremie",))
NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
DAY = 86_400


def _creditor(id_: str, covenant: Covenant | None = None, **more: Any) -> Creditor:
    return Creditor(CreditorId(id_), f"{id_.title()} Voorbeeld", covenant=covenant, channels=("webhook",), **more)


CREDITORS = [
    _creditor("energie", COVENANT),
    _creditor("zorg", PREMIUM),
    _creditor("winkel"),
    _creditor("bank", COVENANT),
    _creditor("deurwaarder"),
]


@pytest.fixture
async def calendar(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Calendar]:
    monkeypatch.setattr(uuid7, "_last", 0)  # ids never go back, and another test may have been in a later year
    async with open_calendar(ledger_url, creditors=CREDITORS) as made:
        yield made


async def figures(calendar: Calendar, over: Period = NOVEMBER) -> dict[Role, Figures]:
    desk = calendar.desk
    return await creditor_figures(desk.ledger, desk.links.register.by_id, desk.clock, (), over, None)


def of(found: dict[Role, Figures], creditor: str, *, is_agent: bool = False) -> Figures:
    return found[Role(creditor, is_agent)]


async def test_silence_a_reminder_and_an_answer_to_it_make_one_notice(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.go_to("2026-12-08T09:00")
    assert await calendar.hand_over("winkel") == ["herinnering"]
    silent = of(await figures(calendar), "winkel")
    assert (silent.notices, silent.told, silent.overdue, silent.outcomes) == (1, 1, 1, {Undecided.SILENT: 1})
    await calendar.answer("winkel", "klant_onbekend", to="herinnering")
    answered = of(await figures(calendar), "winkel")
    assert (answered.notices, answered.late, answered.overdue) == (1, 1, 0)
    assert answered.outcomes == {AnswerKind.CLIENT_UNKNOWN: 1}
    assert 14 * DAY <= (answered.median_seconds or 0) <= 16 * DAY


async def test_a_correction_after_the_answer_is_no_new_notice_and_no_silence(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie", outcome=RECEIVED)
    await calendar.answer("energie", "pauze_ingesteld", totEnMet="2027-07-22")
    await calendar.go_to("2026-12-02")
    corrected = notice("SHV-1", 2, "energie")
    corrected["data"]["hulpvrager"] |= {"achternaam": "Verbeterd"}
    await calendar.send(corrected)
    assert await calendar.hand_over("energie") == ["kennisgeving"]
    await calendar.go_to("2027-01-31")
    energie = of(await figures(calendar), "energie")
    assert (energie.notices, energie.received, energie.in_term, energie.overdue) == (1, 1, 1, 0)
    assert (energie.bound, energie.kept, energie.broken) == (1, 1, 0)
    assert await figures(calendar, Period(date(2026, 12, 1), date(2027, 1, 31))) == {}


@pytest.mark.parametrize(("until", "kept"), [("2027-07-22", True), ("2027-07-21", False), (None, True)])
async def test_a_binding_covenant_is_kept_by_the_day_that_was_asked(
    calendar: Calendar, until: str | None, kept: bool
) -> None:
    """Eight months from 23 November, told that day."""
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    await calendar.answer("energie", "pauze_ingesteld", **({"totEnMet": until} if until else {}))
    found = of(await figures(calendar), "energie")
    assert (found.kept, found.broken) == (int(kept), int(not kept))


async def test_a_covenant_for_other_claims_binds_nobody(calendar: Calendar) -> None:
    premium = {"schuldeiser": "zorg", "klantnummer": "Z-1", "vorderingen": [{"soort": "zorgpremie"}]}
    other = {"schuldeiser": "zorg", "klantnummer": "Z-2", "vorderingen": [{"soort": "fysiotherapie"}]}
    for nr, listed in enumerate((premium, other)):
        await calendar.send(notice(f"SHV-{nr}", 1, schuldeisers=[listed]))
        await calendar.hand_over("zorg")
        await calendar.answer("zorg", "geen_samenwerking")
    found = of(await figures(calendar), "zorg")
    assert (found.notices, found.bound, found.broken) == (2, 1, 1)


async def test_a_transferred_claim_is_a_notice_to_the_agent_as_well(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "bank"))
    await calendar.hand_over("bank")
    await calendar.go_to("2026-12-03")
    await calendar.answer("bank", "overgedragen", naar="deurwaarder")
    assert await calendar.hand_over("deurwaarder") == ["kennisgeving"]
    found = await figures(calendar)
    assert (of(found, "bank").outcomes, of(found, "bank").kept) == ({AnswerKind.TRANSFERRED: 1}, 1)
    agent = of(found, "deurwaarder", is_agent=True)
    assert (agent.told, agent.outcomes) == (1, {Undecided.SILENT: 1})
    assert await coverage(calendar.desk.ledger, NOVEMBER, None) == {
        "0363": Coverage(dossiers=1, creditors=1, told=1, answered=1)
    }


async def test_a_withdrawn_notice_is_withdrawn_for_who_was_told_and_who_was_not(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel", "bank"))
    await calendar.hand_over("energie", "bank")
    await calendar.answer("bank", "pauze_ingesteld")
    await calendar.send(withdrawal())
    assert await calendar.hand_over("energie", "winkel", "bank") == ["intrekking", "intrekking"]
    await calendar.go_to("2027-01-31")
    found = await figures(calendar)
    assert {role.creditor: one.told for role, one in found.items()} == {"energie": 1, "winkel": 0, "bank": 1}
    assert all(one.outcomes == {Undecided.WITHDRAWN: 1} for one in found.values())
    assert sum(one.overdue + one.bound for one in found.values()) == 0
    assert await coverage(calendar.desk.ledger, NOVEMBER, None) == {"0363": Coverage(dossiers=1)}
