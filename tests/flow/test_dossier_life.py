"""The whole life of a dossier on a real ledger: five messages, answers, terms, reminders, tasks, on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.lifecycle import State
from gateway.core.outcome import Evidence, OwnFault, RefusedForGood, Transient, Uncertain
from gateway.intake import Accepted, Refused
from gateway.ledger.engine import Ledger
from tests.flow.calendar import RECEIVED, Calendar, calendar_of, open_calendar
from tests.flow.desk import Desk, ending, extension, notice, progress, withdrawal

MONTHS_8 = Term(8, "maanden")
COVENANT = Covenant("Modelconvenant 2024", binding=True, pause=MONTHS_8, second_term=MONTHS_8)
PREMIUM = Covenant("ZN", binding=True, pause=Term(120, "dagen"), scope=("zorgpremie",))


def _creditor(id_: str, covenant: Covenant | None = None, **more: Any) -> Creditor:
    return Creditor(CreditorId(id_), f"{id_.title()} Voorbeeld", covenant=covenant, channels=("webhook",), **more)


CREDITORS = [
    _creditor("energie", COVENANT, kvk="68750110"),
    _creditor("zorg", PREMIUM),
    _creditor("winkel"),
    _creditor("bank", agents=(CreditorId("incasso"),), bsn_basis="art. 1"),
    _creditor("incasso"),
    _creditor("deurwaarder"),
]
PREMIUM_CLAIM = {"schuldeiser": "zorg", "klantnummer": "Z-1", "vorderingen": [{"soort": "zorgpremie"}]}


def _corrected(version: int, *creditors: str) -> dict[str, Any]:
    event = notice("SHV-1", version, *creditors)
    event["data"]["hulpvrager"] |= {"achternaam": "Verbeterd"}
    return event


@pytest.fixture
async def calendar(ledger_url: str) -> AsyncIterator[Calendar]:
    async with open_calendar(ledger_url, creditors=CREDITORS) as made:
        yield made


# -- corrections -----------------------------------------------------------------------------------------------------


async def test_a_correction_reaches_all_who_were_told_and_whose_view_changed(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.hand_over("energie", "winkel")
    corrected = notice("SHV-1", 2, "zorg")
    corrected["data"]["hulpvrager"] |= {"achternaam": "Verbeterd"}
    await calendar.desk.told()
    await calendar.send(corrected)
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert {one["schuldeiser"] for one in data["schuldeisers"]} == {"zorg", "energie", "winkel"}
    assert (await calendar.view("winkel", "kennisgeving"))["hulpvrager"]["achternaam"] == "Verbeterd"


async def test_who_sees_nothing_new_in_a_correction_is_listed_as_unchanged(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.hand_over("energie", "winkel")
    await calendar.desk.told()
    await calendar.send(notice("SHV-1", 2, "zorg"))
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert [one["schuldeiser"] for one in data["schuldeisers"]] == ["zorg"]
    assert sorted(data["ongewijzigd"]) == ["energie", "winkel"]


# -- extension -------------------------------------------------------------------------------------------------------


async def test_an_extension_is_refused_for_who_has_a_shorter_term_and_goes_to_the_others(calendar: Calendar) -> None:
    first = notice("SHV-1", 1, pauze={"ingangsdatum": "2026-11-23", "aantal": 4, "eenheid": "maanden"})
    first["data"]["schuldeisers"] = [{"schuldeiser": "energie"}, PREMIUM_CLAIM, {"schuldeiser": "winkel"}]
    await calendar.send(first)
    await calendar.hand_over("energie", "zorg", "winkel")
    await calendar.desk.told()
    await calendar.go_to("2027-03-10")
    await calendar.desk.told()
    await calendar.send(extension("2027-07-22"))
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert [one["schuldeiser"] for one in data["schuldeisers"]] == ["energie", "winkel"]
    assert data["geweigerdVoor"] == [{"schuldeiser": "zorg", "code": "pauze_te_lang"}]
    assert (await calendar.view("winkel", "verlenging"))["pauze"] == {
        "ingangsdatum": "2026-11-23",
        "totEnMet": "2027-07-22",
        "grondslag": "verzoek",
    }
    assert (await calendar.view("energie", "verlenging"))["pauze"]["grondslag"] == "convenant"


async def test_an_extension_changes_nothing_for_who_pauses_that_long_already(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.hand_over("energie", "winkel")
    await calendar.desk.told()
    await calendar.send(extension("2027-07-22", 2))
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert ([one["schuldeiser"] for one in data["schuldeisers"]], data["ongewijzigd"]) == (["winkel"], ["energie"])


async def test_a_correction_keeps_what_an_extension_asked(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.send(extension("2027-07-22", 2))
    await calendar.hand_over("winkel")
    corrected = notice("SHV-1", 3, "winkel")
    corrected["data"]["hulpvrager"] |= {"achternaam": "Verbeterd"}
    await calendar.send(corrected)
    assert (await calendar.view("winkel", "kennisgeving"))["pauze"]["totEnMet"] == "2027-07-22"


# -- ending ----------------------------------------------------------------------------------------------------------


async def test_an_ending_tells_when_and_a_neutral_category_and_nothing_else(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    await calendar.answer("energie", "pauze_ingesteld", totEnMet="2027-07-22")
    await calendar.go_to("2027-06-01")
    await calendar.send(ending("2027-06-15", 2))
    view = await calendar.view("energie", "beeindiging")
    assert {name: view[name] for name in ("per", "categorie")} == {
        "per": "2027-06-15",
        "categorie": "regeling_tot_stand",
    }
    assert not {"pauze", "vorderingen", "fase", "reden"} & view.keys()
    await calendar.desk.told()
    await calendar.go_to("2027-06-14T23:59")
    assert await calendar.told("pauze-geeindigd") == []
    await calendar.go_to("2027-06-16")
    ((_, data),) = await calendar.told("pauze-geeindigd")
    assert (data["schuldeiser"], data["totEnMet"]) == ("energie", "2027-06-14")


# -- withdrawal ------------------------------------------------------------------------------------------------------


async def test_what_was_not_sent_is_never_sent_and_nobody_hears_of_it(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.send(withdrawal())
    assert {state for _, _, state in await calendar.states()} == {State.WITHDRAWN}
    assert await calendar.hand_over("energie", "winkel") == []
    told = [(name, data.get("schuldeiser")) for name, data in await calendar.told()]
    assert told[0] == ("bericht-geaccepteerd", None)
    assert sorted(one for one in told if one[0] == "bezorging-ingetrokken") == [
        ("bezorging-ingetrokken", "energie"),
        ("bezorging-ingetrokken", "winkel"),
    ]


async def test_who_was_told_hears_that_it_is_withdrawn_and_waits_for_nothing(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.hand_over("energie")
    await calendar.send(withdrawal())
    assert await calendar.hand_over("energie", "winkel") == ["intrekking"]
    assert await calendar.states("energie") == [
        ("energie", "kennisgeving", State.CLOSED),
        ("energie", "intrekking", State.CLOSED),
    ]
    assert "reden" not in await calendar.view("energie", "intrekking")
    await calendar.go_to("2027-09-01")
    assert {name for name, _ in await calendar.told()}.isdisjoint({"antwoord-verlopen", "pauze-loopt-af"})


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (RECEIVED, ["intrekking"]),
        (Uncertain(Evidence("verbroken")), ["intrekking"]),
        (OwnFault(Evidence("mtls_geweigerd")), ["intrekking"]),  # known only when the request had left
        (OwnFault(Evidence("instelling")), []),
        (Transient(Evidence("503")), []),
        (RefusedForGood(Evidence("404")), []),
    ],
)
async def test_an_attempt_under_way_decides_whether_the_creditor_hears_of_the_withdrawal(
    calendar: Calendar, outcome: Any, told: list[str]
) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    claims = await calendar.claim("winkel")
    await calendar.send(withdrawal())
    assert await calendar.hand_over("winkel") == []
    await calendar.settle(claims, outcome)
    assert await calendar.hand_over("winkel") == told
    (first, second) = await calendar.states("winkel")
    assert first == ("winkel", "kennisgeving", State.WITHDRAWN)
    assert second == ("winkel", "intrekking", State.CLOSED if told else State.WITHDRAWN)


async def test_an_attempt_that_never_ends_does_not_keep_the_withdrawal_from_its_creditor(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.claim("winkel")
    await calendar.send(withdrawal())
    await calendar.go_to("2026-11-23T12:00")
    assert await calendar.hand_over("winkel") == ["intrekking"]


async def test_after_a_withdrawal_nothing_more_is_taken(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.send(withdrawal())
    for late in (progress("SHV-1", 3), notice("SHV-1", 4, "energie"), extension("2027-07-22", 5)):
        (verdict,) = await calendar.send(late)
        assert isinstance(verdict, Refused)
        assert [str(one.code) for one in verdict.violations] == ["na_intrekking"]


async def test_a_withdrawal_for_some_leaves_the_others(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie", "winkel"))
    await calendar.hand_over("energie", "winkel")
    await calendar.send(withdrawal(2, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.desk.told()
    await calendar.send(progress("SHV-1", 3))
    assert await calendar.hand_over("energie", "winkel") == ["voortgang"]
    await calendar.send(notice("SHV-1", 4, "winkel", "zorg"))
    named = [data for name, data in await calendar.told() if name == "bericht-geaccepteerd"][-1]
    assert named["geweigerdVoor"] == [{"schuldeiser": "winkel", "code": "na_intrekking"}]
    assert [one["schuldeiser"] for one in named["schuldeisers"]] == ["zorg"]


@pytest.mark.parametrize("failed_before", [False, True])
async def test_a_kennisgeving_that_comes_after_a_later_withdrawal_is_refused_for_who_that_named(
    calendar: Calendar, failed_before: bool
) -> None:
    await calendar.send(notice("SHV-1", 1, *(["winkel"] if failed_before else []), "energie"))
    await calendar.hand_over("winkel", outcome=RefusedForGood(Evidence("404")))
    await calendar.send(withdrawal(3, "winkel"))
    await calendar.go_to("2026-11-23T12:00")
    before = await calendar.states("winkel")
    await calendar.desk.told()
    await calendar.send(_corrected(2, "winkel", "zorg"))
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert data["geweigerdVoor"] == [{"schuldeiser": "winkel", "code": "na_intrekking"}]
    assert "winkel" not in {one["schuldeiser"] for one in data["schuldeisers"]}
    assert await calendar.states("winkel") == before
    await calendar.send(notice("SHV-1", 4, "winkel"))
    assert await calendar.hand_over("winkel") == ["kennisgeving"]


async def test_what_comes_late_in_the_batch_of_the_withdrawal_is_refused_too(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.send(progress("SHV-1", 3))
    await calendar.go_to("2026-11-23T12:00")
    await calendar.send(withdrawal(4, "winkel"), notice("SHV-1", 2, "winkel"))
    assert await calendar.states("winkel") == []


@pytest.mark.parametrize("answer", [{"soort": "ontvangen"}, {"soort": "overgedragen", "naar": "deurwaarder"}])
async def test_nothing_follows_what_was_withdrawn_and_turns_out_to_have_arrived(
    calendar: Calendar, answer: dict[str, str]
) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel", "energie"))
    await calendar.hand_over("winkel", outcome=RefusedForGood(Evidence("404")))
    await calendar.send(withdrawal(2, "winkel"))
    assert await calendar.answer("winkel", **answer) == "recorded"
    await calendar.go_to("2027-01-20")
    await calendar.send(progress("SHV-1", 3), notice("SHV-1", 4, "zorg"))
    assert await calendar.hand_over("winkel", "deurwaarder") == []
    await calendar.send(withdrawal(5, "winkel"))
    assert await calendar.hand_over("winkel") == ["intrekking"]  # it has the notice: it may be told


async def test_what_is_asked_anew_after_a_withdrawal_is_told_also_where_it_says_the_same(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel", "energie"))
    await calendar.hand_over("winkel", outcome=RefusedForGood(Evidence("404")))
    await calendar.send(withdrawal(2, "winkel"))
    await calendar.answer("winkel", "ontvangen")
    await calendar.send(notice("SHV-1", 3, "winkel"))
    assert await calendar.hand_over("winkel") == ["kennisgeving"]
    await calendar.go_to("2026-12-09")
    assert await calendar.hand_over("winkel") == ["herinnering"]


async def test_a_withdrawal_that_overtakes_its_notice_waits_for_it(calendar: Calendar) -> None:
    (held,) = await calendar.send(withdrawal())
    assert held == Accepted(held.message, held=True)
    await calendar.send(notice("SHV-1", 1, "winkel"))
    assert await calendar.hand_over("winkel") == []
    assert await calendar.states() == [("winkel", "kennisgeving", State.WITHDRAWN)]


# -- late ------------------------------------------------------------------------------------------------------------


async def test_a_late_message_does_not_undo_a_newer_one(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.send(progress("SHV-1", 4))
    await calendar.go_to("2026-11-23T12:00")
    assert await calendar.hand_over("winkel") == ["voortgang"]
    await calendar.desk.told()
    await calendar.send(progress("SHV-1", 3))
    ((_, data),) = await calendar.told("bericht-geaccepteerd")
    assert (data["schuldeisers"], data["ongewijzigd"]) == ([], ["winkel"])
    assert await calendar.hand_over("winkel") == []


# -- answers ---------------------------------------------------------------------------------------------------------


async def test_silence_brings_one_reminder_then_a_task_and_is_never_a_pause(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.go_to("2026-12-08")
    assert await calendar.hand_over("winkel") == []
    await calendar.go_to("2026-12-08T09:00")
    view = await calendar.view("winkel", "herinnering")
    (first, _) = await calendar.desk.deliveries()
    assert (view["herinnertAan"], view["versie"], view["pauze"]["totEnMet"]) == (first.id, 1, "2027-03-22")
    assert await calendar.hand_over("winkel") == ["herinnering"]
    await calendar.go_to("2026-12-15T23:00")
    assert await calendar.told("antwoord-verlopen") == []
    await calendar.go_to("2026-12-16T09:00")
    ((_, data),) = await calendar.told("antwoord-verlopen")
    assert (data["schuldeiser"], data["bezorging"]) == ("winkel", first.id)
    assert await calendar.open_tasks() == ["antwoord_verlopen"]
    assert {state for _, _, state in await calendar.states()} == {State.CLOSED}
    await calendar.go_to("2027-04-01")
    assert [name for name, _ in await calendar.told() if name.startswith("pauze-g")] == []
    assert len(await calendar.desk.deliveries()) == 2


async def test_an_answer_to_either_counts_for_both(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel", "energie"))
    await calendar.hand_over("winkel", "energie")
    await calendar.go_to("2026-12-08T09:00")
    await calendar.hand_over("winkel", "energie")
    await calendar.desk.told()
    assert await calendar.answer("winkel", "pauze_ingesteld", to="herinnering") == "recorded"
    assert await calendar.answer("energie", "geen_samenwerking") == "recorded"
    assert {state for _, _, state in await calendar.states("winkel")} == {State.CONFIRMED}
    assert {state for _, _, state in await calendar.states("energie")} == {State.REFUSED}
    names = [name for name, _ in await calendar.told()]
    assert names.count("antwoord-ontvangen") == 2
    await calendar.go_to("2027-01-15")
    assert await calendar.told("antwoord-verlopen") == []


async def test_a_reminder_that_was_not_sent_yet_is_not_sent_after_the_answer(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.go_to("2026-12-08T09:00")
    await calendar.answer("winkel", "pauze_ingesteld")
    assert await calendar.hand_over("winkel") == []


async def test_a_late_answer_closes_the_task_that_its_absence_made(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.go_to("2026-12-08T09:00")
    await calendar.hand_over("winkel")
    await calendar.go_to("2026-12-20")
    assert await calendar.open_tasks() == ["antwoord_verlopen"]
    await calendar.answer("winkel", "pauze_ingesteld")
    assert await calendar.open_tasks() == []
    assert (await calendar.states("winkel"))[0][2] == State.CONFIRMED


async def test_a_contradiction_is_kept_stands_and_is_a_task(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.answer("winkel", "pauze_ingesteld")
    await calendar.answer("winkel", "geen_samenwerking")
    (row,) = await calendar.desk.deliveries()
    assert (row.state, row.decision) == (State.REFUSED, "geen_samenwerking")
    assert await calendar.open_tasks() == ["antwoord_tegenstrijdig", "antwoord_weigert"]
    assert row.answered_at < row.decided_at


async def test_a_claim_that_was_transferred_is_told_to_its_agent_once_with_the_same_view(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "bank"))
    await calendar.hand_over("bank", "incasso")
    await calendar.answer("bank", "overgedragen", naar="deurwaarder")
    await calendar.answer("bank", "overgedragen", naar="deurwaarder", reden="nog eens")
    assert await calendar.hand_over("deurwaarder") == ["kennisgeving"]
    principal, agent = await calendar.view("bank", "kennisgeving"), await calendar.view("deurwaarder", "kennisgeving")
    assert agent["namens"] == "Bank Voorbeeld"
    assert principal["hulpvrager"].pop("bsn") == "999990019"
    assert {**agent, "kenmerk": "", "namens": ""} == {**principal, "kenmerk": "", "namens": ""}
    # what comes later reaches it as well, and it is the one who must answer
    await calendar.send(progress("SHV-1", 2))
    assert await calendar.hand_over("deurwaarder") == ["voortgang"]
    await calendar.go_to("2026-12-09")
    reminded = [creditor for creditor, soort, _ in await calendar.states() if soort == "herinnering"]
    assert reminded == ["deurwaarder"]


async def test_a_claim_that_went_to_somebody_unknown_is_a_task(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.hand_over("winkel")
    await calendar.answer("winkel", "overgedragen", naar="Bureau Onbekend")
    assert await calendar.open_tasks() == ["overgedragen_aan_onbekende"]


# -- the clock -------------------------------------------------------------------------------------------------------


async def test_a_delivery_without_progress_is_reported_after_four_hours_and_is_a_task_after_a_day(
    calendar: Calendar,
) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel"))
    await calendar.settle(await calendar.claim("winkel"), Transient(Evidence("503")))
    await calendar.desk.told()
    await calendar.go_to("2026-11-23T13:10")
    assert await calendar.told() == []
    await calendar.go_to("2026-11-23T13:30")
    ((name, data),) = await calendar.told()
    assert (name, data["schuldeiser"]) == ("bezorging-vertraagd", "winkel")
    await calendar.go_to("2026-11-24T10:00")
    assert await calendar.open_tasks() == ["bezorging_vertraagd"]
    await calendar.hand_over("winkel")
    assert await calendar.open_tasks() == []


async def test_a_dossier_is_complete_when_all_have_it_and_when_all_answered(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "winkel", "energie"))
    await calendar.hand_over("winkel")
    assert await calendar.told("dossier-volledig") == []
    await calendar.hand_over("energie")
    ((_, data),) = await calendar.told("dossier-volledig")
    assert (data["stand"], data["versie"]) == ("bezorgd", 1)
    assert data["aantallen"] == {"schuldeisers": 2, "bezorgd": 2, "beantwoord": 0, "mislukt": 0}
    await calendar.answer("winkel", "pauze_ingesteld")
    await calendar.answer("energie", "klant_onbekend")
    await calendar.answer("energie", "pauze_ingesteld")
    ((_, data),) = await calendar.told("dossier-volledig")
    assert (data["stand"], data["aantallen"]["beantwoord"]) == ("beantwoord", 2)


async def test_after_a_standstill_everything_is_done_in_its_order_and_once(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie")
    await calendar.answer("energie", "pauze_ingesteld", totEnMet="2027-07-22")
    await calendar.desk.told()
    await calendar.jump_to("2027-08-01T12:00")
    told = [(name, data.get("dagen")) for name, data in await calendar.told()]
    assert [one for one in told if one[0].startswith("pauze")] == [
        ("pauze-loopt-af", 30),
        ("pauze-loopt-af", 14),
        ("pauze-geeindigd", None),
    ]
    await calendar.look()
    await calendar.go_to("2027-12-01")
    assert await calendar.told() == []


async def test_news_is_asked_for_until_it_comes(calendar: Calendar) -> None:
    await calendar.send(notice("SHV-1", 1, "energie"))
    await calendar.hand_over("energie", outcome=RECEIVED)
    await calendar.desk.told()
    await calendar.go_to("2027-01-22T09:00")
    ((_, data),) = await calendar.told("voortgang-verschuldigd")
    assert data["dossierkenmerk"] == "SHV-1"
    await calendar.send(progress("SHV-1", 2))
    await calendar.hand_over("energie")
    await calendar.go_to("2027-03-22")
    assert await calendar.told("voortgang-verschuldigd") == []
    await calendar.go_to("2027-03-24")
    assert len(await calendar.told("voortgang-verschuldigd")) == 1


async def test_two_gateways_on_one_ledger_do_what_is_due_once(postgres_url: str) -> None:
    """200 dossiers whose terms all end at once, and two gateways that look at them at the same time."""
    async with open_calendar(postgres_url, creditors=CREDITORS) as one:
        other_ledger = Ledger(postgres_url)
        desk = Desk(one.desk.intake, other_ledger, one.desk.clock, one.desk.events, one.desk.links, one.desk.sealer)
        other = calendar_of(desk)
        try:
            await one.desk.send(*(notice(f"SHV-{nr}", 1, "winkel") for nr in range(200)))
            await one.settle(await one.claim("winkel"))
            while await one.desk.told():
                pass
            one.desk.clock.at += 200 * 24 * 3600 * 1_000_000
            await asyncio.gather(*(side.timers.round() for side in (one, other) for _ in range(3)))
            await one.look()
            rows = await one.desk.deliveries()
            reminded = [row.reminds for row in rows if row.soort == "herinnering"]
            assert (len(reminded), len(set(reminded))) == (200, 200)
            told = []
            while batch := await one.desk.told():
                told += [(name, data["dossierkenmerk"], data.get("dagen")) for name, data in batch]
            due = [entry for entry in told if entry[0] == "pauze-loopt-af"]
            assert (len(due), len(set(due))) == (400, 400)
        finally:
            await other_ledger.aclose()
