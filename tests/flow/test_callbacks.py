"""A creditor's signed answer: who it is, then what it says, then what it is about; and each answer once."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.lifecycle import State
from gateway.core.standard_webhooks import new_secret
from gateway.ledger.schema import delivery, evidence, outbox, task
from tests.flow.doors import House, notice, open_doors

PAUSED = {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
NOWHERE = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


@pytest.fixture
async def house(ledger_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with open_doors(ledger_url, tmp_path) as made:
        yield made


@pytest.fixture
async def small(sqlite_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On SQLite only, for what the engine cannot change."""
    async with open_doors(sqlite_url, tmp_path) as made:
        yield made


async def told(house: House, creditor: str = "energie") -> str:
    """The delivery of a creditor that was sent a kennisgeving."""
    rows = await house.accept(notice("SHV-1", 1, "energie", "zorg", "bank"))
    return next(str(row.id) for row in rows if row.creditor == creditor)


async def test_an_answer_is_recorded_with_its_bytes_and_moves_the_delivery(house: House) -> None:
    delivery_id = await told(house)
    assert await house.answer("energie", {"bezorging": delivery_id, "antwoord": PAUSED}) == (
        202,
        {"bezorging": delivery_id},
    )
    (row,) = await house.rows(evidence)
    assert (row.creditor, row.kind, row.soort, row.source) == (
        "energie",
        "answer",
        "pauze_ingesteld",
        "webhook:antwoord-1",
    )
    status, found = await house.get(f"/v1/bezorgingen/{delivery_id}")
    assert status == 200
    assert (found["toestand"], found["bewijskracht"], found["antwoorden"]) == ("bevestigd", 3, [PAUSED])


async def test_a_replay_is_200_and_changes_nothing(house: House) -> None:
    body = {"bezorging": await told(house), "antwoord": PAUSED}
    assert (await house.answer("energie", body))[0] == 202
    before = await house.rows(outbox)
    assert [(await house.answer("energie", body, age=60))[0] for _ in range(3)] == [200, 200, 200]
    assert await house.rows(outbox) == before
    assert len(await house.rows(evidence)) == 1


async def test_the_same_id_with_another_body_is_409(house: House) -> None:
    delivery_id = await told(house)
    await house.answer("energie", {"bezorging": delivery_id, "antwoord": PAUSED})
    status, problem = await house.answer("energie", {"bezorging": delivery_id, "antwoord": {"soort": "klant_onbekend"}})
    assert (status, problem["status"]) == (409, 409)
    (row,) = [row for row in await house.rows(delivery) if row.id == delivery_id]
    assert row.state == State.CONFIRMED


async def test_simultaneous_replays_are_recorded_once(house: House) -> None:
    body = {"bezorging": await told(house), "antwoord": PAUSED}
    statuses = [status for status, _ in await asyncio.gather(*(house.answer("energie", body) for _ in range(8)))]
    assert sorted(statuses) == [200] * 7 + [202]
    assert len(await house.rows(evidence)) == 1


async def test_a_second_answer_becomes_the_current_one(house: House) -> None:
    delivery_id = await told(house)
    for nr, soort in enumerate(("ontvangen", "pauze_ingesteld", "klant_onbekend")):
        status, _ = await house.answer("energie", {"bezorging": delivery_id, "antwoord": {"soort": soort}}, f"a-{nr}")
        assert status == 202
    _, found = await house.get(f"/v1/bezorgingen/{delivery_id}")
    assert [one["soort"] for one in found["antwoorden"]] == ["ontvangen", "pauze_ingesteld", "klant_onbekend"]
    assert (found["toestand"], found["besluit"]) == ("geweigerd", "klant_onbekend")


async def test_an_agent_may_answer_for_its_principal_and_a_stranger_for_nobody(small: House) -> None:
    delivery_id = await told(small, "bank")
    assert (await small.answer("incasso", {"bezorging": delivery_id, "antwoord": PAUSED}))[0] == 202
    assert (await small.answer("energie", {"bezorging": delivery_id, "antwoord": PAUSED}))[0] == 404
    assert {row.creditor for row in await small.rows(evidence)} == {"incasso"}


@pytest.mark.parametrize("delivery_id", [NOWHERE, "onbekend", "", "\x00", NOWHERE.upper()])
async def test_an_unknown_delivery_is_404(small: House, delivery_id: str) -> None:
    status, problem = await small.answer("energie", {"bezorging": delivery_id, "antwoord": PAUSED})
    assert (status, problem["title"]) == (404, "Niet gevonden")


@pytest.mark.parametrize(
    ("antwoord", "pad", "code"),
    [
        ({}, "/antwoord/soort", "veld_ontbreekt"),
        ({"soort": "ja"}, "/antwoord/soort", "waarde_ongeldig"),
        ({"soort": "pauze_ingesteld", "totenmet": "2027-01-01"}, "/antwoord/totenmet", "veld_onbekend"),
        ({"soort": "pauze_ingesteld", "totEnMet": "2027-02-30"}, "/antwoord/totEnMet", "waarde_ongeldig"),
        ([], "/antwoord", "waarde_ongeldig"),
        (None, "/antwoord", "waarde_ongeldig"),
    ],
)
async def test_an_invalid_answer_is_400_and_not_recorded(small: House, antwoord: Any, pad: str, code: str) -> None:
    delivery_id = await told(small)
    status, problem = await small.answer("energie", {"bezorging": delivery_id, "antwoord": antwoord})
    assert (status, problem["fouten"][0]["pad"], problem["fouten"][0]["code"]) == (400, pad, code)
    assert await small.rows(evidence) == []
    assert await small.rows(task) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"bezorging": 7, "antwoord": {"soort": "ontvangen"}}',
        b'{"bezorging": "x"}',
        b'{"bezorging": "x", "antwoord": {"soort": "ontvangen"}, "meer": 1}',
        b'{"bezorging": "x", "bezorging": "y", "antwoord": {"soort": "ontvangen"}}',
        b'{"bezorging": "x", "antwoord": {"soort": "ontvangen", "soort": "klant_onbekend"}}',
        b'{"bezorging": "x", "antwoord": {"soort": "ontvangen", "saldo": {"bedrag": 1e999, "datum": "2026-01-01"}}}',
    ],
)
async def test_a_body_that_is_no_answer_is_400_before_the_delivery_is_looked_for(small: House, raw: bytes) -> None:
    status, problem = await small.answer("energie", raw)
    assert (status, problem["status"]) == (400, 400)
    assert problem["fouten"]


async def test_who_it_is_comes_before_what_it_says_and_what_it_says_before_what_it_is_about(small: House) -> None:
    wrong = new_secret(b"w" * 32)
    assert (await small.answer("energie", b"{", key=wrong))[0] == 401
    assert (await small.answer("energie", {"bezorging": NOWHERE, "antwoord": {}}))[0] == 400
    assert (await small.answer("energie", {"bezorging": NOWHERE, "antwoord": PAUSED}))[0] == 404


async def test_every_unproven_author_gets_the_same_401(small: House) -> None:
    delivery_id = await told(small)
    body = {"bezorging": delivery_id, "antwoord": PAUSED}
    own = small.secrets["energie"]
    raw = json.dumps(body).encode()
    refused = [
        await small.answer("energie", body, key=small.secrets["bank"]),
        await small.answer("zorg", body),  # has no keys for answers
        await small.answer("niemand", body, key=own),
        await small.answer("energie", body, age=301),
        await small.answer("energie", body, age=-301),
        await small.answer("energie", body, headers={"webhook-signature": ""}),
        await small.answer("energie", body, headers={"webhook-signature": "v1,%%%"}),
        await small.answer("energie", body, headers={"webhook-timestamp": "nu"}),
        await small.answer("energie", body, headers={"webhook-id": "een.ander"}),
        await small.answer("energie", raw, headers={"webhook-id": "antwoord-2"}),
    ]
    assert [status for status, _ in refused] == [401] * len(refused)
    assert len({json.dumps(problem) for _, problem in refused}) == 1
    assert await small.rows(evidence) == []
    assert (await small.answer("energie", body, age=299))[0] == 202


async def test_a_doubled_signature_header_is_401(small: House) -> None:
    body = json.dumps({"bezorging": await told(small), "antwoord": PAUSED}).encode()
    headers = small.signed("energie", body)
    doubled = [*headers.items(), ("webhook-id", headers["webhook-id"])]
    async with small.session.post(f"{small.url}/v1/antwoorden/energie", data=body, headers=doubled) as response:
        assert response.status == 401


async def test_a_changed_byte_is_401(small: House) -> None:
    body = json.dumps({"bezorging": await told(small), "antwoord": PAUSED}).encode()
    headers = small.signed("energie", body)
    changed = body.replace(b"07-22", b"08-22")
    async with small.session.post(f"{small.url}/v1/antwoorden/energie", data=changed, headers=headers) as response:
        assert response.status == 401


async def test_a_body_beyond_64_kib_is_413(small: House) -> None:
    assert (await small.answer("energie", b" " * 65_537))[0] == 413


async def test_a_new_register_entry_brings_new_keys(small: House) -> None:
    body = {"bezorging": await told(small), "antwoord": PAUSED}
    rotated = new_secret(b"r" * 32)
    assert (await small.answer("energie", body, key=rotated))[0] == 401
    await small.rotate("energie", rotated)
    assert (await small.answer("energie", body, key=rotated))[0] == 202
    assert (await small.answer("energie", body, "antwoord-2"))[0] == 401
