"""The answer page: nothing is shown or changed before the reference is typed; then one decision, once, never lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway.core.lifecycle import State
from gateway.http.form import LABELS
from gateway.ledger.schema import answer_page, delivery, evidence, outbox, payload, transition
from tests.flow.doors import DAY, REFERENCE, TOKEN, Fields, House, notice, open_doors

PERSONAL = ("Anna", "Voorbeeld", "1987", "Dorpsstraat", "K-99812", "SHV-1", "F2026-118")
REFERENCED = {"referentie": REFERENCE}


@pytest.fixture
async def house(ledger_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with open_doors(ledger_url, tmp_path) as made:
        await opened(made)
        yield made


@pytest.fixture
async def small(sqlite_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On SQLite only, for what the engine cannot change."""
    async with open_doors(sqlite_url, tmp_path) as made:
        await opened(made)
        yield made


async def opened(house: House, **debtor: object) -> str:
    """A kennisgeving of which the mail went out: its answer page is open."""
    event = notice()
    event["data"]["hulpvrager"] |= debtor
    claims = [{"kenmerk": "V-1", "factuurnummer": "F2026-118", "bedrag": 1234.5}, {"factuurnummer": "F2026-119"}]
    event["data"]["schuldeisers"] = [{"schuldeiser": "bank", "klantnummer": REFERENCE, "vorderingen": claims}]
    (row, _) = await house.accept(event)  # bank, and its agent
    await house.open_page(row.id, REFERENCE, "Code 12 AB")
    return str(row.id)


async def everything(house: House) -> list[Any]:
    tables = (answer_page, delivery, evidence, outbox, transition)
    return [await house.rows(table) for table in tables]


async def the_delivery(house: House) -> Any:
    return (await house.rows(delivery))[0]


async def answer(house: House, **typed: str) -> tuple[int, str]:
    """Step 1, then step 2 with what the form holds and what is typed into it."""
    _, page = await house.visit("POST", data=REFERENCED)
    return await house.visit("POST", data={**Fields(page).filled, **typed})


async def test_a_creditor_answers_in_two_steps(house: House) -> None:
    status, first = await house.visit()
    assert status == 200
    assert Fields(first).names == ["referentie"]
    status, second = await house.visit("POST", data=REFERENCED)
    assert status == 200
    assert "Anna Sophia Voorbeeld" in second
    form = Fields(second)
    assert form.choices["soort"] == list(LABELS)
    assert {"totEnMet", "klantnummer", "toelichting"} <= set(form.names)
    typed = {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22", "toelichting": "Akkoord,\r\ntot ziens"}
    status, third = await house.visit("POST", data={**form.filled, **typed})
    assert (status, "Bedankt" in third) == (200, True)
    row = await the_delivery(house)
    assert (row.state, row.proof, row.decision) == (State.CONFIRMED, 3, "pauze_ingesteld")
    _, found = await house.get(f"/v1/bezorgingen/{row.id}")
    assert found["antwoorden"] == [
        {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22", "reden": "Akkoord, tot ziens"}
    ]
    (told,) = await house.rows(evidence)
    assert told.creditor == "bank"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_changes_nothing_and_shows_nothing_personal(house: House, method: str) -> None:
    before = await everything(house)
    for _ in range(3):
        status, page = await house.visit(method)
        assert status == 200
        assert [word for word in PERSONAL if word in page] == []
    assert await everything(house) == before


@pytest.mark.parametrize("typed", [" k-99812", "K - 99 812 ", "CODE12ab", "code\u00a012 ab"])
async def test_spaces_and_capitals_do_not_matter(small: House, typed: str) -> None:
    assert (await small.visit("POST", data={"referentie": typed}))[0] == 200


async def test_a_wrong_reference_shows_the_first_step_again_and_five_lock_the_page(house: House) -> None:
    for nr in range(5):
        status, page = await house.visit("POST", data={"referentie": f"K-{nr}"})
        assert status == 403
        assert Fields(page).filled == {"referentie": ""}
        assert [word for word in PERSONAL if word in page] == []
    assert (await house.visit("POST", data=REFERENCED))[0] == 423
    assert (await house.visit())[0] == 423
    assert await house.rows(evidence) == []


async def test_guesses_made_at_once_are_all_counted(house: House) -> None:
    posts = [house.visit("POST", data={"referentie": f"K-{nr}"}) for nr in range(30)]
    statuses = [status for status, _ in await asyncio.gather(*posts)]
    assert statuses.count(403) == 5
    assert statuses.count(423) == 25
    (page,) = await house.rows(answer_page)
    assert page.wrong == 5


async def test_an_answer_with_a_wrong_reference_is_counted_and_not_taken(small: House) -> None:
    wrong = {"referentie": "K-0", "stap": "antwoord", "soort": "pauze_ingesteld"}
    assert [(await small.visit("POST", data=wrong))[0] for _ in range(6)] == [403] * 5 + [423]
    assert await small.rows(evidence) == []


async def test_an_empty_form_is_not_counted(small: House) -> None:
    for data in ({"referentie": ""}, {"referentie": "  "}, {"iets": "anders"}, {"soort": "pauze_ingesteld"}):
        assert (await small.visit("POST", data=data))[0] == 403
    (page,) = await small.rows(answer_page)
    assert page.wrong == 0


async def test_a_scanner_that_follows_the_link_and_submits_every_form_answers_nothing(small: House) -> None:
    _, page = await small.visit()
    for _ in range(10):
        await small.visit("POST", data=Fields(page).filled)
    assert await small.rows(evidence) == []
    assert (await the_delivery(small)).state == State.QUEUED
    assert (await answer(small, soort="ontvangen"))[0] == 200


async def test_after_the_first_decision_the_page_is_gone(house: House) -> None:
    assert (await answer(house, soort="klant_onbekend"))[0] == 200
    before = await everything(house)
    second = {**REFERENCED, "stap": "antwoord", "soort": "pauze_ingesteld"}
    assert (await house.visit())[0] == 410
    assert (await house.visit("POST", data=REFERENCED))[0] == 410
    assert (await house.visit("POST", data=second))[0] == 410
    assert await everything(house) == before


async def test_of_two_decisions_at_once_one_is_taken(house: House) -> None:
    forms = [{**REFERENCED, "stap": "antwoord", "soort": soort} for soort in list(LABELS) if soort != "ontvangen"]
    statuses = [status for status, _ in await asyncio.gather(*(house.visit("POST", data=form) for form in forms))]
    assert sorted(statuses) == [200] + [410] * (len(forms) - 1)
    (told,) = await house.rows(evidence)
    assert (await the_delivery(house)).decision == told.soort


async def test_a_crash_between_recording_and_closing_loses_nothing_and_decides_nothing_twice(small: House) -> None:
    await answer(small, soort="pauze_ingesteld")
    await small.change(update(answer_page).values(decided=False))
    assert (await answer(small, soort="klant_onbekend"))[0] == 410
    assert (await small.visit())[0] == 410
    assert (await the_delivery(small)).decision == "pauze_ingesteld"


async def test_received_is_no_decision_and_leaves_the_page_open(house: House) -> None:
    assert (await answer(house, soort="ontvangen"))[0] == 200
    assert (await the_delivery(house)).state == State.RECEIVED
    assert (await answer(house, soort="ontvangen"))[0] == 200
    assert (await answer(house, soort="pauze_ingesteld"))[0] == 200
    assert (await the_delivery(house)).state == State.CONFIRMED
    assert [row.soort for row in await house.rows(evidence)] == ["ontvangen", "pauze_ingesteld"]


async def test_an_expired_page_is_gone_even_when_it_is_locked(small: House) -> None:
    small.clock.at += 400 * DAY
    assert (await small.visit())[0] == 410
    assert (await small.visit("POST", data=REFERENCED))[0] == 410


@pytest.mark.parametrize("token", ["u" * 43, "kort", "t" * 500, "stijl.cs", "..%2Fv1", "%00" * 20])
async def test_an_unknown_token_is_404(small: House, token: str) -> None:
    status, page = await small.visit(token=token)
    assert status == 404
    assert "<h1>" in page
    assert (await small.visit("POST", token=token, data=REFERENCED))[0] in (404, 405)


async def test_the_stylesheet_is_no_token(small: House) -> None:
    async with small.session.get(f"{small.url}/antwoord/stijl.css") as response:
        assert (response.status, response.content_type) == (200, "text/css")


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({}, "soort"),
        ({"soort": "misschien"}, "soort"),
        ({"soort": "pauze_ingesteld", "totEnMet": "31-02-2027"}, "totEnMet"),
        ({"soort": "pauze_ingesteld", "totEnMet": "volgend jaar"}, "totEnMet"),
        ({"soort": "overgedragen", "naar": "x" * 201}, "naar"),
        ({"soort": "klant_onbekend", "klantnummer": "1" * 101}, "klantnummer"),
        ({"soort": "klant_onbekend", "toelichting": "x" * 1001}, "toelichting"),
        ({"soort": "klant_onbekend", "toelichting": "a\x00b"}, "toelichting"),
    ],
)
async def test_a_mistake_is_told_at_its_field_and_nothing_typed_is_lost(
    small: House, typed: dict[str, str], field: str
) -> None:
    whole = {"klantnummer": "K-1", "toelichting": 'Zie "brief" <b>2</b>', "vordering": "V-1", **typed}
    status, page = await answer(small, **whole)
    assert status == 400
    assert f'href="#{field}"' in page
    assert f'id="{field}-fout"' in page
    kept = Fields(page).filled
    given = {name: value for name, value in whole.items() if value != "misschien"}
    assert {name: kept.get(name) for name in given} == {**given}
    assert await small.rows(evidence) == []


async def test_every_answer_of_the_contract_can_be_given(tmp_path: Path) -> None:
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as house:
        for nr, soort in enumerate(LABELS):
            (row, _) = await house.accept(notice(f"SHV-{nr}", 1, "bank"))
            await house.open_page(row.id, token=f"{nr}" * 43)
            form = {**REFERENCED, "stap": "antwoord", "soort": soort, "naar": "incasso" if nr == 2 else ""}
            assert (await house.visit("POST", token=f"{nr}" * 43, data=form))[0] == 200
        assert [row.soort for row in await house.rows(evidence)] == list(LABELS)


async def test_a_partial_pause_says_which_claims(small: House) -> None:
    await answer(small, soort="pauze_gedeeltelijk", vordering="F2026-119", totEnMet="31-12-2027")
    _, found = await small.get(f"/v1/bezorgingen/{(await the_delivery(small)).id}")
    (said,) = found["antwoorden"]
    assert said["vorderingen"] == [
        {"kenmerk": "V-1", "soort": "niet_in_aanmerking"},
        {"kenmerk": "F2026-119", "soort": "pauze_ingesteld", "totEnMet": "2027-12-31"},
    ]


async def test_what_a_sender_wrote_stays_text(tmp_path: Path) -> None:
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as house:
        await opened(house, achternaam="<script>alert(1)</script>\"'&{{ 7*7 }}")
        _, page = await house.visit("POST", data=REFERENCED)
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "{{ 7*7 }}" in page


async def test_an_erased_view_leaves_the_form(small: House) -> None:
    await small.change(payload.delete())
    status, page = await small.visit("POST", data=REFERENCED)
    assert status == 200
    assert "bewaren wij niet meer" in page
    assert (await answer(small, soort="klant_onbekend"))[0] == 200


@pytest.mark.parametrize("body", [b"referentie=%ff%fe", b"\xff=1", b"&".join([b"a=1"] * 500), b"x" * 40_000])
async def test_what_is_no_form_is_a_page_that_says_so(small: House, body: bytes) -> None:
    url = f"{small.url}/antwoord/{TOKEN}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with small.session.post(url, data=body, headers=kind) as response:
        assert response.status in (400, 413)
        assert response.content_type == "text/html"
    async with small.session.put(url, data=body) as response:
        assert (response.status, response.content_type) == (405, "text/html")
    async with small.session.post(url, json={}) as response:
        assert (response.status, response.content_type) == (415, "text/html")


async def test_the_pages_need_no_script_or_cookie_and_label_every_field(small: House) -> None:
    pages = [(await small.visit())[1], (await small.visit("POST", data=REFERENCED))[1], (await answer(small))[1]]
    for page in pages:
        assert '<html lang="nl">' in page
        assert not re.search(r"<script|style=|\son\w+=|https?://", page)
        (form,) = Fields(page).forms
        assert form == {"method": "post"}
        visible = re.findall(r'<(?:input|textarea) (?:type="(?:radio|checkbox)" )?id="([^"]+)"', page)
        assert set(visible) <= set(re.findall(r'<label for="([^"]+)"', page))
        described = {name for names in re.findall(r'aria-describedby="([^"]+)"', page) for name in names.split()}
        assert described <= set(re.findall(r'\sid="([^"]+)"', page))
        assert len(re.findall(r"<h1", page)) == 1
    async with small.session.get(f"{small.url}/antwoord/{TOKEN}") as response:
        assert "Set-Cookie" not in response.headers
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
