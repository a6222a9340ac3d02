"""`/v1/overzicht` as a sender meets it: its own figures and nobody else's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from sqlalchemy import update

from gateway.core.lifecycle import State
from gateway.core.notice import Sender
from gateway.http.overviews import own_gemeenten
from gateway.ids import uuid7
from gateway.ledger.schema import delivery
from tests.flow.desk import OTHER, SENDER
from tests.flow.doors import House, notice, open_doors

CREDITORS, GEMEENTEN = "/v1/overzicht/schuldeisers", "/v1/overzicht/gemeenten"
HOUR = 3_600_000_000


@pytest.fixture
async def house(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(uuid7, "_last", 0)  # ids never go back, and another test may have been in a later year
    async with open_doors(ledger_url, tmp_path) as made:
        yield made


def elsewhere(dossier: str, *creditors: str) -> dict[str, Any]:
    """A kennisgeving of the other sender."""
    event = notice(dossier, 1, *creditors, gemeente="0344")
    return {**event, "source": f"urn:nld:oin:{OTHER.oin}:systeem:schuldhulp"}


def by_creditor(page: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["schuldeiser"]: one for one in page["schuldeisers"] if one["rol"] == "schuldeiser"}


async def test_a_sender_sees_the_figures_of_its_own_gemeenten_only(house: House) -> None:
    await house.post(notice("SHV-1", 1, "energie", "zorg"))
    await house.post(notice("SHV-2", 1, "energie", gemeente="0384"))
    await house.post(elsewhere("ELDERS-1", "energie", "cjib"), "gem-0344")
    seen = {}
    for client in ("gem-0363", "gem-0344"):
        status, page = await house.get(CREDITORS, client)
        assert status == 200
        seen[client] = {name: one["kennisgevingen"] for name, one in by_creditor(page).items()}
    assert seen == {"gem-0363": {"energie": 2, "zorg": 1}, "gem-0344": {"energie": 1, "cjib": 1}}
    _, own = await house.get(GEMEENTEN)
    _, other = await house.get(GEMEENTEN, "gem-0344")
    assert [(one["gemeente"], one["dossiers"], one["schuldeisers"]) for one in own["gemeenten"]] == [
        ("0363", 1, 2),
        ("0384", 1, 1),
    ]
    assert [(one["gemeente"], one["naam"]) for one in other["gemeenten"]] == [("0344", "Utrecht")]


async def test_one_gemeente_may_be_asked_for_and_anothers_is_empty(house: House) -> None:
    await house.post(notice("SHV-1", 1, "energie"))
    await house.post(notice("SHV-2", 1, "zorg", gemeente="0384"))
    await house.post(elsewhere("ELDERS-1", "cjib"), "gem-0344")
    for gemeente, creditors in (("GM0384", ["zorg"]), ("0363", ["energie"]), ("0344", []), ("0014", [])):
        _, page = await house.get(CREDITORS, params={"gemeente": gemeente})
        assert list(by_creditor(page)) == creditors
    assert (await house.get(GEMEENTEN, params={"gemeente": "0344"}))[1]["gemeenten"] == []


async def test_an_answer_is_in_the_figures(house: House) -> None:
    rows = await house.accept(notice("SHV-1", 1, "energie", "zorg"))
    (energie,) = (row.id for row in rows if row.creditor == "energie")
    answer = {"bezorging": energie, "antwoord": {"soort": "pauze_ingesteld"}}
    assert (await house.answer("energie", answer))[0] == 202
    found = by_creditor((await house.get(CREDITORS))[1])
    assert found["energie"]["naam"] == "Energie Voorbeeld"
    assert [found["energie"][key] for key in ("verteld", "ontvangen", "beantwoord", "pauzeIngesteld")] == [1, 1, 1, 1]
    assert (found["zorg"]["onderweg"], found["zorg"]["verteld"]) == (1, 0)
    (covered, *_) = (await house.get(GEMEENTEN))[1]["gemeenten"]
    assert covered["dekking"] == {"verteld": 0.5, "beantwoord": 0.5, "gepauzeerd": 0.5}


async def test_times_and_silence_are_counted_from_the_hand_over(house: House) -> None:
    rows = await house.accept(notice("SHV-1", 1, "energie", "zorg"))
    at = house.clock.at
    late = {"state": State.REFUSED, "decision": "klant_onbekend", "answered_at": at + 24 * 30 * HOUR, "decided_at": at}
    for row in rows:
        told = late if row.creditor == "energie" else {"state": State.CLOSED}
        await house.change(update(delivery).where(delivery.c.id == row.id).values(handed_over_at=at, proof=1, **told))
    house.clock.at += 24 * 60 * HOUR
    found = by_creditor((await house.get(CREDITORS))[1])
    assert (found["energie"]["teLaat"], found["energie"]["mediaanSeconden"]) == (1, 30 * 86_400)
    assert found["energie"]["geweigerd"]["klant_onbekend"] == 1
    assert (found["zorg"]["zonderAntwoord"], found["zorg"]["termijnVoorbij"]) == (1, 1)


async def test_an_agent_is_apart_from_the_same_creditor_in_its_own_right(house: House) -> None:
    await house.post(notice("SHV-1", 1, "bank", "incasso"))
    _, page = await house.get(CREDITORS)
    assert [(one["schuldeiser"], one["rol"]) for one in page["schuldeisers"]] == [
        ("bank", "schuldeiser"),
        ("incasso", "schuldeiser"),
        ("incasso", "vertegenwoordiger"),
    ]


async def test_a_gemeente_that_sent_nothing_is_not_there_yet(house: House) -> None:
    await house.post(notice("SHV-1", 1, "energie"))
    _, page = await house.get(GEMEENTEN)
    assert {one["gemeente"]: one["gebruik"] for one in page["gemeenten"]} == {"0363": "gebruikt", "0384": "nog_niet"}
    assert page["gebruik"] == {"gebruikt": 1, "nog_niet": 1, "niet_aangemeld": 0}
    assert sum(page["gebruik"].values()) == len(SENDER.gemeenten)


def test_the_pauzeknop_sees_no_figures() -> None:
    button = Sender("Pauzeknop", "00000099000000777000", ("0363",), client_id="pauzeknop")
    assert own_gemeenten(button, {}) == own_gemeenten(button, {"gemeente": "0363"}) == []
    assert own_gemeenten(SENDER, {}) == list(SENDER.gemeenten)


# -- period -----------------------------------------------------------------------------------------------------------


async def test_a_period_is_the_last_twelve_months_or_what_is_asked(house: House) -> None:
    await house.post(notice("SHV-1", 1, "energie"))
    today = str(house.clock.today())
    _, page = await house.get(CREDITORS)
    assert (page["tot"], len(page["schuldeisers"])) == (today, 1)
    for query, count in (
        ({"van": today}, 1),
        ({"tot": "2026-01-01"}, 0),
        ({"van": "2027-01-01", "tot": "2027-12-31"}, 0),
    ):
        status, page = await house.get(CREDITORS, params=query)
        assert (status, len(page["schuldeisers"])) == (200, count)
        assert {key: page[key] for key in query} == query


@pytest.mark.parametrize("path", [CREDITORS, GEMEENTEN])
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"van": "2026-11-02", "tot": "2026-11-01"}, {"/van", "/tot"}),
        ({"van": "2026-02-30"}, {"/van"}),
        ({"tot": "gisteren"}, {"/tot"}),
        ({"van": "0000-00-00", "tot": "9999-99-99"}, {"/van", "/tot"}),
        ({"van": "9999-12-31", "tot": "9999-12-31"}, {"/van", "/tot"}),
        ({"gemeente": "Amsterdam"}, {"/gemeente"}),
        ({"onbekend": "1"}, {"/onbekend"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
async def test_what_is_no_period_is_400_and_names_both_ends(
    house: House, path: str, query: dict[str, str], named: set[str]
) -> None:
    status, problem = await house.get(path, params=query)
    assert (status, {fault["pad"] for fault in problem["fouten"]}) == (400, named)


# -- form -------------------------------------------------------------------------------------------------------------


async def test_answers_are_as_the_openapi_document_says(house: House) -> None:
    await house.post(notice("SHV-1", 1, "energie", "bank"))
    _, document = await house.get("/v1/openapi.json")
    for path, name in ((CREDITORS, "OverzichtSchuldeisers"), (GEMEENTEN, "OverzichtGemeenten")):
        _, page = await house.get(path)
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(page)
        (line,) = (value for value in page.values() if isinstance(value, list))
        assert set(line[0]) == set(_line(document, name)["required"])


def _line(document: dict[str, Any], overview: str) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    of_lines: dict[str, Any] = schemas[overview]["properties"][overview.removeprefix("Overzicht").lower()]
    line: dict[str, Any] = schemas[of_lines["items"]["$ref"].rpartition("/")[2]]
    return line


async def test_without_a_token_there_are_no_figures(house: House) -> None:
    for path in (CREDITORS, GEMEENTEN):
        async with house.session.get(house.url + path) as response:
            assert response.status == 401
