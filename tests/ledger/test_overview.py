"""Figures from a real ledger: what is within a period, once, whatever the size of the pages."""

from collections.abc import AsyncIterator, Collection
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from gateway import overviews
from gateway.clock import Clock
from gateway.core.answer import AnswerKind
from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.lifecycle import State
from gateway.core.overview import Coverage, Figures, Undecided
from gateway.core.pause import PauseTerm, encode_terms
from gateway.core.period import Period
from gateway.ids import first_id
from gateway.ledger import overview as rows
from gateway.ledger.engine import Ledger
from gateway.ledger.upgrade import upgrade
from gateway.overviews import Role, coverage, creditor_figures
from tests.ledger.notices import micros, put_delivery, put_dossier, put_message, put_notice

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
MIDDLE = micros(2026, 11, 16, 9)
BEFORE, FIRST = micros(2026, 10, 31, 22, 59), micros(2026, 10, 31, 23)
LAST, AFTER = micros(2026, 11, 30, 22, 59), micros(2026, 11, 30, 23)
COVENANT = Covenant("Modelconvenant 2024", binding=True, pause=Term(8, "maanden"))
TERMS = encode_terms((PauseTerm(date(2026, 11, 16), date(2027, 7, 15), date(2027, 7, 15), COVENANT),))
REGISTER = {
    "energie": Creditor(CreditorId("energie"), "Energie Voorbeeld", covenant=COVENANT, agents=(CreditorId("incasso"),)),
    "zorg": Creditor(CreditorId("zorg"), "Zorg Voorbeeld", answer_days=1),
    "incasso": Creditor(CreditorId("incasso"), "Incasso Voorbeeld"),
}
PAUSED: dict[str, Any] = {
    "state": State.CONFIRMED,
    "proof": 3,
    "decision": str(AnswerKind.PAUSED),
    "answered_at": MIDDLE + 3_600_000_000,
    "decided_at": MIDDLE + 3_600_000_000,
}
ENERGIE = Role("energie", is_agent=False)


class InDecember(Clock):
    def micros(self) -> int:
        return micros(2026, 12, 31)


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    yield made
    await made.aclose()


async def figures(ledger: Ledger, gemeenten: Collection[str] | None = None) -> dict[Role, Figures]:
    return await creditor_figures(ledger, REGISTER, InDecember(), (), NOVEMBER, gemeenten)


# -- what is counted --------------------------------------------------------------------------------------------------


async def test_a_notice_counts_in_the_period_in_which_it_came_in(ledger: Ledger) -> None:
    for at in (BEFORE, FIRST, LAST, AFTER):
        await ledger.run(put_notice, "0363", at, "energie")
    assert (await figures(ledger))[ENERGIE].notices == 2
    assert (await coverage(ledger, NOVEMBER, None))["0363"].dossiers == 2


async def test_everything_of_a_notice_comes_from_its_row(ledger: Ledger) -> None:
    short = {"paused_until": "2026-12-01", "terms": TERMS}
    await ledger.run(put_notice, "0363", MIDDLE, "energie", "zorg", **PAUSED)
    await ledger.run(put_notice, "0363", MIDDLE, "energie", **{**PAUSED, **short})
    await ledger.run(put_notice, "0363", MIDDLE, "zorg", proof=2)
    found = await figures(ledger)
    energie, zorg = found[ENERGIE], found[Role("zorg", is_agent=False)]
    assert (energie.notices, energie.received, energie.in_term, energie.median_seconds) == (2, 2, 2, 3600)
    assert (energie.bound, energie.kept, energie.broken) == (2, 1, 1)
    assert (zorg.told, zorg.received, zorg.answered, zorg.overdue, zorg.bound) == (2, 2, 1, 1, 0)


async def test_an_answer_to_a_reminder_counts_for_the_notice(ledger: Ledger) -> None:
    def put(connection: Connection) -> None:
        dossier = put_dossier(connection, "d", "0363", MIDDLE)
        notice = put_message(connection, dossier, MIDDLE)
        told = put_delivery(connection, dossier, notice, MIDDLE, state=State.CLOSED)
        put_delivery(connection, dossier, notice, AFTER, soort="herinnering", reminds=told, **PAUSED)

    await ledger.run(put)
    found = (await figures(ledger))[ENERGIE]
    assert (found.notices, found.answered, found.median_seconds) == (1, 1, 3600)


async def test_reminders_and_other_messages_are_no_notices(ledger: Ledger) -> None:
    def put(connection: Connection) -> None:
        dossier = put_dossier(connection, "d", "0363", MIDDLE)
        notice = put_message(connection, dossier, MIDDLE)
        told = put_delivery(connection, dossier, notice, MIDDLE)
        put_delivery(connection, dossier, notice, MIDDLE, soort="herinnering", reminds=told)
        progress = put_message(connection, dossier, MIDDLE, "voortgang", 2)
        put_delivery(connection, dossier, progress, MIDDLE, soort="voortgang", versie=2)

    await ledger.run(put)
    assert {role: one.notices for role, one in (await figures(ledger)).items()} == {ENERGIE: 1}


async def test_a_correction_is_no_second_notice_and_adds_only_who_is_new(ledger: Ledger) -> None:
    def put(connection: Connection) -> None:
        dossier = put_dossier(connection, "d", "0363", BEFORE)
        first = put_message(connection, dossier, BEFORE)
        put_delivery(connection, dossier, first, BEFORE)
        later = put_message(connection, dossier, MIDDLE, versie=2)
        put_delivery(connection, dossier, later, MIDDLE, versie=2, **PAUSED)
        put_delivery(connection, dossier, later, MIDDLE, "zorg", versie=2)

    await ledger.run(put)
    assert list(await figures(ledger)) == [Role("zorg", is_agent=False)]
    assert await coverage(ledger, NOVEMBER, None) == {"0363": Coverage(dossiers=0, creditors=1, told=1)}
    october = Period(date(2026, 10, 1), date(2026, 10, 31))
    told = await creditor_figures(ledger, REGISTER, InDecember(), (), october, None)
    assert (told[ENERGIE].notices, told[ENERGIE].outcomes[AnswerKind.PAUSED]) == (1, 1)


async def test_a_withdrawal_is_seen_by_who_was_told_of_it(ledger: Ledger) -> None:
    def put(connection: Connection) -> None:
        dossier = put_notice(connection, "0363", MIDDLE, "energie", "zorg")
        withdrawal = put_message(connection, dossier, AFTER, "intrekking", 2)
        put_delivery(connection, dossier, withdrawal, AFTER, soort="intrekking", versie=2, state=State.CLOSED)

    await ledger.run(put)
    found = await figures(ledger)
    assert found[ENERGIE].outcomes == {Undecided.WITHDRAWN: 1}
    assert found[Role("zorg", is_agent=False)].outcomes == {Undecided.SILENT: 1}


async def test_an_agent_counts_under_its_own_id_and_by_the_covenant_of_its_principal(ledger: Ledger) -> None:
    await ledger.run(put_notice, "0363", MIDDLE, "incasso", agent_for="energie", **PAUSED)
    await ledger.run(put_notice, "0363", MIDDLE, "incasso", **PAUSED)
    found = await figures(ledger)
    assert {role: one.kept for role, one in found.items()} == {
        Role("incasso", is_agent=True): 1,
        Role("incasso", is_agent=False): 0,
    }
    assert (await coverage(ledger, NOVEMBER, None))["0363"].creditors == 1


async def test_a_creditor_that_left_the_register_still_counts(ledger: Ledger) -> None:
    await ledger.run(put_notice, "0363", MIDDLE, "vertrokken")
    assert (await figures(ledger))[Role("vertrokken", is_agent=False)].told == 1


# -- whose ------------------------------------------------------------------------------------------------------------


async def test_only_the_gemeenten_that_are_asked_for_count(ledger: Ledger) -> None:
    for gemeente in ("0363", "0344", "0518"):
        await ledger.run(put_notice, gemeente, MIDDLE, "energie")
    assert (await figures(ledger, ["0363", "0518"]))[ENERGIE].notices == 2
    assert await figures(ledger, []) == {}
    assert set(await coverage(ledger, NOVEMBER, ["0344"])) == {"0344"}


async def test_a_gemeente_uses_the_gateway_once_a_message_was_processed(ledger: Ledger) -> None:
    await ledger.run(put_notice, "0363", BEFORE, "energie")
    await ledger.run(put_dossier, "waits", "0344", MIDDLE, 0)
    assert await ledger.run(rows.gemeenten_in_use, None) == {"0363"}
    assert await ledger.run(rows.gemeenten_in_use, ["0344"]) == set()


# -- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scan", "dossiers"), [(1, 1), (2, 3), (3, 2), (7, 100), (8, 4), (1000, 1000)])
async def test_each_notice_counts_once_whatever_the_pages(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, scan: int, dossiers: int
) -> None:
    monkeypatch.setattr(overviews, "SCAN", scan)
    monkeypatch.setattr(overviews, "DOSSIERS", dossiers)

    def put(connection: Connection) -> None:
        for nr in range(7):
            dossier = put_notice(connection, f"000{nr % 2}", MIDDLE + nr, "energie", "zorg")
            later = put_message(connection, dossier, MIDDLE + 100 + nr, versie=2)
            put_delivery(connection, dossier, later, MIDDLE + 100 + nr, versie=2)

    await ledger.run(put)
    assert {role.creditor: one.notices for role, one in (await figures(ledger)).items()} == {"energie": 7, "zorg": 7}
    covered = await coverage(ledger, NOVEMBER, None)
    assert {code: (one.dossiers, one.creditors) for code, one in covered.items()} == {"0000": (4, 8), "0001": (3, 6)}
    assert (await figures(ledger, ["0001"]))[ENERGIE].notices == 3


def test_no_table_is_scanned(tmp_path: Path) -> None:
    """By SQLite's own plan, for it needs no rows to choose an index."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.run_now(upgrade)
    asked: list[tuple[str, tuple[object, ...]]] = []

    def look(connection: Connection) -> list[str]:
        event.listen(connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        rows.notifications(connection, first_id(FIRST), first_id(AFTER), ["0363"], 10)
        rows.sent(connection, ["d"])
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given) for sql, given in tuple(asked)]
        return [str(row[3]) for plan in plans for row in plan]

    steps = ledger.run_now(look)
    assert len(asked) >= 3
    assert [step for step in steps if step.startswith("SCAN") and "json_each" not in step] == []
    assert any("message USING" in step and "id>? AND id<?" in step for step in steps)
