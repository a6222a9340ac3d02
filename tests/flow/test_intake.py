"""What intake makes of a message: deliveries, a duplicate, a wait, a refusal. Nothing is lost, and nothing holds the
rest."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from gateway.core.lifecycle import State
from gateway.core.view import make_view
from gateway.intake import Accepted, Duplicate, Quarantined, Refused
from gateway.ledger.engine import LedgerAway
from tests.flow.desk import OTHER, Desk, notice, open_desk, progress

QUARTER = 900 * 1_000_000


@pytest.fixture
async def desk(ledger_url: str) -> AsyncIterator[Desk]:
    async with open_desk(ledger_url) as made:
        yield made


def _changed(path: str, value: object) -> dict[str, Any]:
    """A kennisgeving with one member of its data replaced; `path` with dots."""
    event = notice()
    *outer, last = path.split(".")
    place = event["data"]
    for name in outer:
        place = place[name]
    place[last] = value
    return event


async def test_each_creditor_gets_a_delivery_and_the_sender_is_told_their_ids(desk: Desk) -> None:
    (verdict,) = await desk.send(notice())
    assert isinstance(verdict, Accepted)
    deliveries = await desk.deliveries()
    assert {(one.creditor, one.soort, one.state) for one in deliveries} == {
        ("energie", "kennisgeving", State.QUEUED),
        ("zorg", "kennisgeving", State.QUEUED),
    }
    ((name, data),) = await desk.told()
    assert name == "bericht-geaccepteerd"
    assert data["bericht"] == {"source": notice()["source"], "id": "SHV-1-1"}
    assert {one["bezorging"] for one in data["schuldeisers"]} == {one.id for one in deliveries}


async def test_an_unknown_creditor_among_good_ones_becomes_a_task_and_the_others_go_out(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie", "kvk:00000000"))
    assert [one.creditor for one in await desk.deliveries()] == ["energie"]
    assert [(one.soort, one.creditor) for one in await desk.tasks()] == [("schuldeiser_onbekend", "kvk:00000000")]
    ((_, data),) = await desk.told()
    assert data["onbekend"] == ["kvk:00000000"]


async def test_an_agent_is_told_as_well_with_a_delivery_of_its_own(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "bank", "incasso"))
    assert {(one.creditor, one.agent_for) for one in await desk.deliveries()} == {
        ("bank", None),
        ("incasso", "bank"),
        ("incasso", None),
    }


async def test_the_same_message_again_is_a_duplicate_and_nobody_is_told_twice(desk: Desk) -> None:
    again = notice() | {"id": "another-id"}
    verdicts = await desk.send(notice(), notice(), again)
    assert isinstance(verdicts[0], Accepted)
    assert verdicts[1:] == [Duplicate(), Duplicate()]
    assert await desk.send(notice()) == [Duplicate()]
    assert len(await desk.told()) == 1
    assert len(await desk.deliveries()) == 2


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (notice() | {"data": notice("SHV-2")["data"]}, "ander_bericht_zelfde_id"),
        (_changed("verzoekkenmerk", "V-1") | {"id": "x"}, "versie_bestaat"),
        (progress("SHV-9", 1), "versie_een_geen_kennisgeving"),
        (notice("SHV-1", 2, "energie", "kvk:68750110"), "schuldeiser_dubbel"),
    ],
)
async def test_what_does_not_fit_what_is_known_is_refused(desk: Desk, second: dict[str, Any], code: str) -> None:
    await desk.send(notice())
    await desk.told()
    (verdict,) = await desk.send(second)
    assert isinstance(verdict, Refused)
    assert [violation.code for violation in verdict.violations] == [code]
    ((name, data),) = await desk.told()
    assert (name, data["fouten"][0]["code"]) == ("bericht-geweigerd", code)
    assert len(await desk.refusals()) == 1


BAD = [
    pytest.param(b'{"specversion": ', "", "json_ongeldig", id="broken JSON"),
    pytest.param(json.dumps(_changed("versie", "een")).encode(), "/data/versie", "waarde_ongeldig", id="wrong type"),
    pytest.param(json.dumps(_changed("onbekend", 1)).encode(), "/data/onbekend", "veld_onbekend", id="unknown field"),
    pytest.param(
        json.dumps(_changed("hulpvrager.bsn", "123456789")).encode(), "/data/hulpvrager/bsn", "bsn_elfproef", id="bsn"
    ),
    pytest.param(
        json.dumps(_changed("gemeente", "0344")).encode(), "/data/gemeente", "gemeente_niet_van_afzender", id="gemeente"
    ),
    pytest.param(json.dumps(_changed("verzoekkenmerk", "x" * 66_000)).encode(), "", "te_groot", id="a body of 65 KB"),
    pytest.param(json.dumps(notice() | {"type": "nl.x.y.v1"}).encode(), "/type", "type_onbekend", id="type"),
]


@pytest.mark.parametrize(("body", "path", "code"), BAD)
async def test_bad_input_is_on_record_the_sender_is_told_and_the_rest_goes_on(
    desk: Desk, body: bytes, path: str, code: str
) -> None:
    verdict = await desk.send_bytes(body)
    assert isinstance(verdict, Refused)
    assert (path, code) in {(violation.pad, str(violation.code)) for violation in verdict.violations}
    (kept,) = await desk.refusals()
    assert kept.kind == "geweigerd"
    assert body[:40] not in bytes(kept.body)
    ((name, data),) = await desk.told()
    assert (name, data["gemeente"]) == ("bericht-geweigerd", "0363")
    assert {"123456789", "xxxx"}.isdisjoint(json.dumps(data["fouten"]).split('"'))
    assert isinstance((await desk.send(notice("SHV-5")))[0], Accepted)


async def test_a_creditor_under_two_names_is_told_together_with_whatever_else_is_wrong(desk: Desk) -> None:
    bad = notice("SHV-1", 1, "energie", "kvk:68750110", "energie", versi=1, toelating={"datum": "2030-01-01"})
    (verdict,) = await desk.send(bad)
    assert isinstance(verdict, Refused)
    assert sorted((violation.pad, str(violation.code)) for violation in verdict.violations) == [
        ("/data/schuldeisers/1/schuldeiser", "schuldeiser_dubbel"),
        ("/data/schuldeisers/2/schuldeiser", "schuldeiser_dubbel"),
        ("/data/toelating/datum", "toelating_toekomst"),
        ("/data/versi", "veld_onbekend"),
    ]
    listed = {**progress("SHV-1", 2, "kvk:68750110", "energie"), "specversion": "0"}
    (verdict,) = await desk.send(listed)
    assert isinstance(verdict, Refused)
    assert [violation.pad for violation in verdict.violations] == ["/specversion", "/data/schuldeisers/1"]


@pytest.mark.parametrize(
    ("event", "dossier", "version"),
    [
        (_changed("onbekend", 1), "SHV-1", 1),
        (_changed("versie", "een"), "SHV-1", None),
        (_changed("dossierkenmerk", " "), None, 1),
        (progress("SHV-7", 1), "SHV-7", 1),
    ],
    ids=["schema", "version", "dossier", "planning"],
)
async def test_a_refusal_names_the_dossier_and_version_that_could_be_read(
    desk: Desk, event: dict[str, Any], dossier: str | None, version: int | None
) -> None:
    await desk.send(event)
    ((name, data),) = await desk.told()
    assert (name, data.get("dossierkenmerk"), data.get("versie")) == ("bericht-geweigerd", dossier, version)
    assert None not in data.values()


async def test_a_creditor_by_a_name_of_no_register_is_unknown_and_the_others_go(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie", "Jansen & Zn. (incasso)"))
    assert [one.creditor for one in await desk.deliveries()] == ["energie"]
    ((_, data),) = await desk.told()
    assert data["onbekend"] == ["Jansen & Zn. (incasso)"]
    assert [one.soort for one in await desk.tasks()] == ["schuldeiser_onbekend"]


async def test_one_bad_message_in_a_batch_does_not_hold_the_others(desk: Desk) -> None:
    verdicts = await desk.send(notice("SHV-1"), _changed("versie", 0), notice("SHV-2"))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Refused, Accepted]


async def test_a_message_that_brings_out_a_bug_of_ours_is_refused_and_holds_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(message: Any, *about: Any, **more: Any) -> Any:
        if message.dossier == "SHV-2":
            raise ValueError
        return make_view(message, *about, **more)

    monkeypatch.setattr("gateway.planning.make_view", stumble)
    verdicts = await desk.send(*(notice(f"SHV-{number}") for number in range(1, 4)))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Refused, Accepted]
    assert [kept.kind for kept in await desk.refusals()] == ["geweigerd"]


async def test_a_message_whose_dossier_cannot_be_read_is_refused_and_holds_no_other(desk: Desk) -> None:
    await desk.send(notice("SHV-2"))
    unknown = text("UPDATE delivery SET state = 'van morgen'")
    await desk.ledger.run(lambda connection: connection.execute(unknown))
    verdicts = await desk.send(notice("SHV-1"), progress("SHV-2", 2), notice("SHV-3"))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Refused, Accepted]
    assert [kept.kind for kept in await desk.refusals()] == ["geweigerd"]


async def test_a_message_that_the_ledger_can_never_take_is_refused_and_holds_no_other(postgres_url: str) -> None:
    async with open_desk(postgres_url) as desk:
        rule = "ALTER TABLE dossier ADD CONSTRAINT proef CHECK (kenmerk <> 'SHV-2')"
        await desk.ledger.run(lambda connection: connection.execute(text(rule)))
        verdicts = await desk.send(*(notice(f"SHV-{number}") for number in range(1, 4)))
        assert [type(verdict) for verdict in verdicts] == [Accepted, Refused, Accepted]
        assert [kept.kind for kept in await desk.refusals()] == ["geweigerd"]
        await desk.ledger.run(lambda connection: connection.execute(text("ALTER TABLE dossier DROP CONSTRAINT proef")))


ONLY_READS = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
READS_AND_WRITES = "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        pytest.param(ONLY_READS, READS_AND_WRITES, id="a standby"),
        pytest.param("ALTER TABLE payload RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO payload", id="schema"),
    ],
)
async def test_a_fault_of_the_ledger_refuses_no_valid_message(postgres_url: str, wrong: str, right: str) -> None:
    async with open_desk(postgres_url) as desk:
        await desk.ledger.run(lambda connection: connection.execute(text(wrong)))
        with pytest.raises(LedgerAway):
            await desk.send(notice("SHV-1"), notice("SHV-2"))
        await desk.ledger.run(lambda connection: connection.execute(text(right)))
        assert await desk.refusals() == []
        assert [type(verdict) for verdict in await desk.send(notice("SHV-1"), notice("SHV-2"))] == [Accepted] * 2


@pytest.mark.parametrize("user", [None, "vreemde"])
async def test_a_message_of_nobody_is_quarantined_with_a_task(desk: Desk, user: str | None) -> None:
    verdict = await desk.send_bytes(json.dumps(notice()).encode(), sender=None, user=user)
    assert verdict == Quarantined("afzender_onbekend")
    assert [one.kind for one in await desk.refusals()] == ["geparkeerd"]
    assert [one.soort for one in await desk.tasks()] == ["afzender_onbekend"]
    ((name, data),) = await desk.told()
    assert (name, data["gemeente"]) == ("bericht-geweigerd", "onbekend")


async def test_progress_goes_to_everyone_told_and_waits_for_their_kennisgeving(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "bank", "energie"))
    first = {(one.creditor, one.agent_for): one.id for one in await desk.deliveries()}
    await desk.send(progress())
    later = [one for one in await desk.deliveries() if one.versie == 2]
    assert {(one.creditor, one.agent_for): one.waits_for for one in later} == first


async def test_progress_can_be_limited_to_those_listed(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie", "zorg"))
    await desk.send(progress("SHV-1", 2, "kvk:68750110"))
    assert [one.creditor for one in await desk.deliveries() if one.versie == 2] == ["energie"]


async def test_progress_to_one_who_was_never_told_is_a_task(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie"))
    await desk.send(progress("SHV-1", 2, "zorg"))
    assert [one.creditor for one in await desk.deliveries()] == ["energie"]
    assert [(one.soort, one.creditor) for one in await desk.tasks()] == [("kennisgeving_niet_bezorgd", "zorg")]


async def test_a_version_beyond_the_next_waits_and_goes_when_the_missing_one_comes(desk: Desk) -> None:
    _, held = await desk.send(notice("SHV-1", 1), progress("SHV-1", 3))
    assert isinstance(held, Accepted)
    assert held.held
    assert {one.versie for one in await desk.deliveries()} == {1}
    await desk.send(progress("SHV-1", 2))
    assert [(one.versie, one.out_of_order, one.hold_until) for one in await desk.messages()] == [
        (1, False, None),
        (3, False, None),
        (2, False, None),
    ]
    second = {one.creditor: one.id for one in await desk.deliveries() if one.versie == 2}
    third = {one.creditor: one.waits_for for one in await desk.deliveries() if one.versie == 3}
    assert third == second


async def test_after_the_wait_a_later_version_goes_without_the_missing_one_and_is_flagged(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1), progress("SHV-1", 3))
    desk.clock.at += QUARTER
    await desk.intake.end_wait("0363", "SHV-1")
    assert [(one.versie, one.out_of_order) for one in await desk.messages()] == [(1, False), (3, True)]
    assert [name for name, _ in await desk.told()] == ["bericht-geaccepteerd"] * 2


async def test_progress_for_an_unknown_dossier_waits_and_is_then_refused(desk: Desk) -> None:
    (held,) = await desk.send(progress("SHV-9", 2))
    assert isinstance(held, Accepted)
    assert held.held
    assert await desk.told() == []
    desk.clock.at += QUARTER
    await desk.intake.end_wait("0363", "SHV-9")
    ((name, data),) = await desk.told()
    assert (name, data["fouten"][0]["code"]) == ("bericht-geweigerd", "dossier_onbekend")
    assert await desk.messages() == []
    assert len(await desk.refusals()) == 1


async def test_a_later_kennisgeving_adds_creditors_and_leaves_those_alone_whose_view_is_the_same(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie"))
    await desk.send(notice("SHV-1", 2, "energie", "zorg"))
    assert [(one.creditor, one.versie) for one in await desk.deliveries()] == [("energie", 1), ("zorg", 2)]
    (_, (_, data)) = await desk.told()
    assert data["ongewijzigd"] == ["energie"]


async def test_a_correction_goes_to_those_told_after_what_they_were_told_before(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 1, "energie"))
    await desk.send(notice("SHV-1", 2, "energie", contactpersoon={"naam": "Ander team"}))
    first, second = await desk.deliveries()
    assert (second.versie, second.waits_for) == (2, first.id)


async def test_a_sender_has_dossiers_of_his_own_gemeente_only(desk: Desk) -> None:
    await desk.send(notice("SHV-1"))
    other = notice("SHV-1", gemeente="0344") | {"source": "urn:nld:oin:00000099000000344000:systeem:x"}
    (verdict,) = await desk.send(other, sender=OTHER)
    assert isinstance(verdict, Accepted)
    assert len({one.dossier_id for one in await desk.messages()}) == 2
