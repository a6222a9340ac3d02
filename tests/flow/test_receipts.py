"""What creditors tell us: recorded once with its proof, in any state, from whom it may come from, on every channel."""

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Row

from gateway.clock import Clock
from gateway.contract import DeliveryId, Inbound
from gateway.core.lifecycle import TOLD
from gateway.core.standard_webhooks import sign, signing_key
from gateway.ledger import schema
from gateway.ledger.evidence import Callback
from gateway.ledger.queue import claim
from gateway.sandbox.bericht_xml import write_answer, write_receipt
from gateway.sandbox.decisions import know_nobody
from gateway.seal import aad
from tests.flow.desk import notice, progress, withdrawal
from tests.flow.running import Town, neighbour, running
from tests.servers import PostgreSQL

PAUSE = {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
UNKNOWN = {"soort": "klant_onbekend"}


def said(row: Row[Any], answer: object = None, source: str = "s-1", creditor: str | None = "energie") -> Inbound:
    """An answer about a delivery; None: a receipt."""
    raw = json.dumps({"over": row.id, "antwoord": answer}).encode()
    body = None if answer is None else json.dumps(answer).encode()
    return Inbound("receipt" if answer is None else "answer", creditor, DeliveryId(row.id), source, raw, body)


async def handed_over(town: Town, *creditors: str) -> Row[Any]:
    """A kennisgeving for them that they have; the first one's delivery."""
    await town.send(notice("SHV-1", 1, *creditors))
    await town.hand_over(*creditors)
    return await town.delivery(creditors[0])


async def receive(town: Town, *inbound: Inbound) -> list[str]:
    return [(await town.gateway.receipts.receive(one)).kind for one in inbound]


async def evidence(town: Town) -> Sequence[Row[Any]]:
    return await town.rows(schema.evidence)


# -- every channel ---------------------------------------------------------------------------------------------------

CHANNELS = ["webhook:in_reply", "webhook:by_callback", "sftp:answers", "sftp:confirms", "email:answers", "cjib"]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_answer_is_kept_with_its_bytes_moves_the_delivery_and_is_told(
    sqlite_url: str, tmp_path: Path, channel: str
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", channel)]) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.reach("bevestigd")
        assert (row.decision, row.proof, row.next_action_at) == ("pauze_ingesteld", 3, None)
        kept = [one for one in await evidence(town) if one.kind == "answer" and one.soort == "pauze_ingesteld"]
        (dossier,) = await town.rows(schema.dossier)
        raw = town.gateway.sealer.open(dossier.key, kept[0].raw, aad("evidence", kept[0].id, "raw"))
        assert sha256(raw).digest() == kept[0].digest
        wire = town.gateway.sealer.open(dossier.key, kept[0].answer, aad("evidence", kept[0].id, "answer"))
        told = await town.hears("antwoord-ontvangen", "energie")
        assert told["antwoord"] == json.loads(wire)
        assert told["antwoord"]["totEnMet"]
        assert (told["bezorging"], len(kept), kept[0].creditor) == (row.id, 1, "energie")
        moves = [one for one in await town.rows(schema.transition) if one.after == "bevestigd" != one.before]
        assert [one.happening for one in moves] == ["bevestigend_antwoord"]


async def test_a_receipt_comes_before_the_answer_and_is_told_by_itself(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", "sftp")]) as town:
        row = await handed_over(town, "energie")
        assert town.sftp is not None
        outbox = town.sftp.accounts["energie"].outbox
        (outbox / "ontvangst.xml").write_bytes(write_receipt(row.id))
        (received,) = await town.reach("ontvangen")
        assert received.proof == 2
        (outbox / "antwoord.xml").write_bytes(write_answer(row.id, PAUSE))
        await town.reach("bevestigd")
        names = [name for name, _ in await town.told("energie")]
        assert names == ["bezorging-afgeleverd", "ontvangst-bevestigd", "antwoord-ontvangen"]


async def test_an_api_that_says_received_at_once_hands_over_at_level_two(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", "cjib")]) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("bevestigd")
        assert (await town.hears("bezorging-afgeleverd"))["bewijskracht"] == 2
        names = [name for name, _ in await town.told("energie")]
        assert names == ["bezorging-afgeleverd", "ontvangst-bevestigd", "antwoord-ontvangen"]


async def test_a_refusal_is_an_answer_like_any_other(sqlite_url: str, tmp_path: Path) -> None:
    everybody = [
        neighbour("energie", "webhook:in_reply", decide=know_nobody),
        neighbour("zorg", "sftp:answers", decide=know_nobody),
    ]
    async with running(tmp_path, sqlite_url, everybody) as town:
        await town.send(notice("SHV-1", 1, "energie", "zorg"))
        rows = await town.reach("geweigerd")
        assert {row.decision for row in rows} == {"klant_onbekend"}
        assert await town.tasks() == ["antwoord_weigert"] * 2


# -- from whom -------------------------------------------------------------------------------------------------------


async def test_an_answer_of_another_creditor_is_refused_and_changes_nothing(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg", "sftp")]) as town:
        row = await handed_over(town, "energie", "zorg")
        before = await town.events()
        assert await receive(town, said(row, PAUSE, creditor="zorg"), said(row, creditor="zorg")) == ["not_yours"] * 2
        assert await receive(town, said(row, {"soort": "onzin"}, creditor="zorg")) == ["not_yours"]
        assert town.sftp is not None
        outbox = town.sftp.accounts["zorg"].outbox
        (outbox / "antwoord.xml").write_bytes(write_answer(row.id, PAUSE))
        await town.until(lambda: _appears(outbox / "afgekeurd", "*.xml"))
        assert await town.delivery("energie") == row
        assert await evidence(town) == []
        assert await town.events() == before


async def _appears(directory: Path, pattern: str) -> list[Path]:
    return sorted(directory.glob(pattern)) if directory.is_dir() else []


async def test_an_agent_answers_for_the_creditor_that_it_acts_for(sqlite_url: str, tmp_path: Path) -> None:
    everybody = [neighbour("energie", vertegenwoordigers=["incasso"]), neighbour("incasso")]
    async with running(tmp_path, sqlite_url, everybody) as town:
        row = await handed_over(town, "energie")
        assert await receive(town, said(row, PAUSE, creditor="incasso")) == ["recorded"]
        (kept,) = await evidence(town)
        assert kept.creditor == "incasso"
        assert (await town.delivery("energie")).state == "bevestigd"


async def test_a_callback_with_another_creditors_key_finds_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie"), neighbour("zorg")]) as town:
        row = await handed_over(town, "energie", "zorg")
        body = json.dumps({"bezorging": row.id, "antwoord": PAUSE}).encode()
        statuses = [
            await _call_back(town, "zorg", "zorg", body),
            await _call_back(town, "energie", "zorg", body),
            await _call_back(town, "energie", "energie", body),
            await _call_back(town, "energie", "energie", body),
        ]
        assert statuses == [404, 401, 202, 200]
        assert [one.creditor for one in await evidence(town)] == ["energie"]


async def _call_back(town: Town, creditor: str, key_of: str, body: bytes) -> int:
    """The status of an answer signed with a creditor's key."""
    now = Clock().micros() // 1_000_000
    key = signing_key((town.directory / "webhook" / f"{key_of}-antwoord.whsec").read_bytes())
    signature = sign([key], "msg-1", now, body)
    headers = {"webhook-id": "msg-1", "webhook-timestamp": str(now), "webhook-signature": signature}
    address = f"{town.url}/v1/antwoorden/{creditor}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=town.anchor)) as session,
        session.post(address, data=body, headers=headers) as reply,
    ):
        return reply.status


# -- again, later, other -----------------------------------------------------------------------------------------------


async def test_what_is_said_again_is_recorded_once(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        verdicts = await asyncio.gather(*(town.gateway.receipts.receive(said(row, PAUSE)) for _ in range(8)))
        assert sorted(verdict.kind for verdict in verdicts) == ["recorded", *["repeated"] * 7]
        assert len(await evidence(town)) == 1
        assert [name for name, _ in await town.told("energie")].count("antwoord-ontvangen") == 1


async def test_a_webhook_id_stands_for_one_body(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        first, other = said(row, PAUSE, "webhook:1"), said(row, UNKNOWN, "webhook:1")
        kinds = []
        for one in (first, first, other):
            signed = Callback("energie", "1", sha256(one.raw).digest())
            kinds.append((await town.gateway.receipts.receive(one, signed)).kind)
        assert kinds == ["recorded", "repeated", "conflict"]
        assert (await town.delivery("energie")).decision == "pauze_ingesteld"


async def test_of_contradictory_answers_the_last_one_counts_and_all_are_kept(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        for nr, (answer, state) in enumerate([(PAUSE, "bevestigd"), (UNKNOWN, "geweigerd"), (PAUSE, "bevestigd")]):
            assert await receive(town, said(row, answer, f"s-{nr}")) == ["recorded"]
            now = await town.delivery("energie")
            assert (now.state, now.decision) == (state, answer["soort"])
        assert [one.soort for one in await evidence(town)] == ["pauze_ingesteld", "klant_onbekend", "pauze_ingesteld"]
        answers = [data["antwoord"]["soort"] for name, data in await town.told() if name == "antwoord-ontvangen"]
        assert answers == ["pauze_ingesteld", "klant_onbekend", "pauze_ingesteld"]


async def test_an_answer_that_comes_before_our_own_send_is_on_record_stands(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        window = town.webhooks["energie"]
        async with window.hangs():
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("bezig")
            await town.until(lambda: _is_asked(town))
            assert await receive(town, said(row, PAUSE)) == ["recorded"]
            assert (await town.delivery("energie")).state == "bevestigd"
        (ended,) = await town.try_out("energie")
        assert (ended.outcome, ended.stale) == ("onzeker", False)
        now = await town.delivery("energie")
        assert (now.state, now.proof, now.next_action_at, now.owner) == ("bevestigd", 3, None, None)
        assert len(window.starts) == 1


async def _is_asked(town: Town) -> bool:
    return bool(town.webhooks["energie"].starts)


@pytest.mark.parametrize("answer", ["pauze_ingesteld", "onzin"])
async def test_an_answer_in_the_reply_to_an_attempt_that_another_gateway_took_over_counts_once(
    ledger_url: str, tmp_path: Path, answer: str
) -> None:
    says = neighbour("energie", "webhook:in_reply", decide=lambda _view: {**PAUSE, "soort": answer})
    async with running(tmp_path, ledger_url, [says], tempo={"lease": "60 s"}) as town:
        async with town.webhooks["energie"].takes(0.3):
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("bezig")
            await town.until(lambda: _is_asked(town))
            later = row.next_action_at + 1
            (taken,) = await town.ledger.run(claim, {("energie", "webhook"): 1}, "ander", later, later + 60_000_000)
            await town.until(lambda: _ended(town))
        (ended,) = await town.attempts()
        assert (ended.nr, ended.stale, ended.outcome) == (taken.fence - 1, True, "overgedragen")
        now = await town.delivery("energie")
        if answer == "onzin":
            assert (now.state, await town.tasks()) == ("bezig", ["antwoord_ongeldig"])
        else:
            assert (now.state, now.decision, now.proof, now.next_action_at) == ("bevestigd", answer, 3, None)
            assert [name for name, _ in await town.told("energie")] == ["antwoord-ontvangen"]
        (kept,) = await evidence(town)
        assert (kept.source, kept.channel) == (f"antwoord:{taken.fence - 1}", "webhook")


async def _ended(town: Town) -> bool:
    return all(one.outcome for one in await town.attempts())


async def test_a_hand_over_that_is_recorded_after_the_answer_is_told_as_well(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        async with town.webhooks["energie"].takes(0.2):
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("bezig")
            await town.until(lambda: _is_asked(town))
            await receive(town, said(row, UNKNOWN))
            await town.until(lambda: _ended(town))
        now = await town.delivery("energie")
        assert (now.state, now.decision) == ("geweigerd", "klant_onbekend")
        names = [name for name, _ in await town.told("energie")]
        assert sorted(names) == ["antwoord-ontvangen", "bezorging-afgeleverd"]


async def test_an_answer_ends_the_attempts(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        async with town.webhooks["energie"].answers_with(503, {"Retry-After": "1"}):
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("wacht_op_poging")
            await receive(town, said(row, PAUSE))
        await town.send(notice("SHV-2", 1, "energie"))
        await town.until(lambda: _has(town, "afgeleverd"))
        assert town.webhooks["energie"].received(row.id) == []


async def _has(town: Town, state: str) -> bool:
    return state in {row.state for row in await town.deliveries()}


async def test_an_answer_to_what_had_failed_counts(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        async with town.webhooks["energie"].refuses():
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("mislukt")
        await receive(town, said(row, PAUSE))
        assert (await town.delivery("energie")).state == "bevestigd"


# -- wrong -------------------------------------------------------------------------------------------------------------


async def test_an_invalid_answer_in_a_reply_is_kept_for_a_person_and_nothing_is_sent_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    nonsense = b'{"antwoord": {"soort": "onzin-kanarie"}}'
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        window = town.webhooks["energie"]
        async with window.answers_with(200, {"Content-Type": "application/json"}, nonsense):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.reach("afgeleverd")
        (kept,) = await evidence(town)
        assert (kept.kind, kept.soort, kept.answer) == ("invalid", None, None)
        assert await town.tasks() == ["antwoord_ongeldig"]
        assert [name for name, _ in await town.told("energie")] == ["bezorging-afgeleverd"]
        assert len(window.starts) == 1


async def test_an_invalid_answer_later_is_kept_and_its_author_hears_field_and_rule_only(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        verdict = await town.gateway.receipts.receive(said(row, {"soort": "onzin-kanarie", "totEnMet": 3}))
        assert verdict.kind == "invalid"
        assert [line.partition(":")[0] for line in verdict.reasons] == ["/soort", "/totEnMet"]
        assert "kanarie" not in str(verdict)
        assert (await town.delivery("energie")).state == "afgeleverd"
        assert [one.kind for one in await evidence(town)] == ["invalid"]
        assert await town.tasks() == ["antwoord_ongeldig"]


async def test_what_a_person_wrote_is_for_a_person(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        assert await receive(town, Inbound("human", None, DeliveryId(row.id), "<id@x>", b"Geachte heer")) == [
            "recorded"
        ]
        assert await town.tasks() == ["antwoord_van_mens"]
        assert await town.delivery("energie") == row


# -- what came back ----------------------------------------------------------------------------------------------------


def came_back(row: Row[Any], source: str = "dsn:1") -> Inbound:
    return Inbound("bounce", None, DeliveryId(row.id), source, b"550 5.1.1", code="5.1.1")


async def test_what_came_back_after_its_withdrawal_goes_nowhere_and_is_for_a_person(
    ledger_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie", "webhook", "sftp")]) as town:
        row = await handed_over(town, "energie")
        await town.send(withdrawal(2))
        await town.hand_over()
        assert await receive(town, came_back(row)) == ["recorded"]
        notice_now, _ = await town.deliveries()
        assert (notice_now.state, notice_now.next_action_at) == ("mislukt", None)
        assert "teruggekomen" in await town.tasks()


async def test_what_came_back_goes_by_the_next_channel_at_once(ledger_url: str, tmp_path: Path) -> None:
    patient = neighbour("energie", "webhook", "sftp")
    async with running(tmp_path, ledger_url, [patient], tempo={"lease": "60 s"}) as town:
        row = await handed_over(town, "energie")
        assert await receive(town, came_back(row), came_back(row)) == ["recorded", "repeated"]
        await town.until(lambda: _is_on(town, "sftp"))
        now = await town.delivery("energie")
        assert (now.state, now.channel_since > row.channel_since) == ("afgeleverd", True)
        assert town.sftp is not None
        assert len(town.sftp.received(row.id)) == 1
        channels = [data["kanaal"] for name, data in await town.told() if name == "bezorging-afgeleverd"]
        assert channels == ["webhook", "sftp"]


async def _is_on(town: Town, channel: str) -> bool:
    row = await town.delivery("energie")
    return bool(row.channel == channel and row.state == "afgeleverd")


async def test_what_follows_a_kennisgeving_goes_after_it_where_both_came_back(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie", "sftp", "webhook")]) as town:
        window = town.webhooks["energie"]
        await town.send(notice("SHV-1", 1, "energie"), progress("SHV-1", 2))
        await town.hand_over()
        both = await town.deliveries()
        async with window.answers_with(503):
            assert await receive(town, *map(came_back, both)) == ["recorded"] * 2
            await town.until(lambda: _is_refused_twice(town, both[0].id))
        await town.until(lambda: _all_on(town, "webhook"))
        assert window.deliveries == [row.id for row in both]
        assert await town.tasks() == []
        outcomes = {one.outcome for one in await town.attempts() if one.delivery_id == both[1].id}
        assert outcomes == {"overgedragen"}


async def _is_refused_twice(town: Town, id_: str) -> bool:
    tried = [one for one in await town.attempts() if one.delivery_id == id_ and one.outcome == "tijdelijk"]
    return len(tried) >= 2


async def _all_on(town: Town, channel: str) -> bool:
    return all(row.channel == channel and row.state in TOLD for row in await town.deliveries())


async def test_what_came_back_on_the_last_channel_fails_with_a_task(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        row = await handed_over(town, "energie")
        assert await receive(town, came_back(row)) == ["recorded"]
        assert (await town.delivery("energie")).state == "mislukt"
        assert await town.tasks() == ["teruggekomen"]
        assert (await town.hears("bezorging-mislukt"))["bezorging"] == row.id


async def test_a_bounce_after_stronger_proof_or_before_another_attempt_moves_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    both = [neighbour("energie", "webhook:in_reply", "sftp"), neighbour("zorg", "webhook", "sftp")]
    async with running(tmp_path, sqlite_url, both) as town:
        async with town.webhooks["zorg"].answers_with(503, {"Retry-After": "1"}):
            await town.send(notice("SHV-1", 1, "energie", "zorg"))
            (answered,) = await town.reach("bevestigd", "energie")
            (waiting,) = await town.reach("wacht_op_poging", "zorg")
            assert await receive(town, came_back(answered), came_back(waiting)) == ["recorded", "recorded"]
            assert await town.delivery("energie") == answered
            assert await town.delivery("zorg") == waiting
        await town.hand_over("zorg")


# -- nothing is lost ---------------------------------------------------------------------------------------------------


async def test_a_file_stays_where_it_is_until_its_answer_is_on_record(
    postgres: PostgreSQL, postgres_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, postgres_url, [neighbour("zorg", "sftp")]) as town:
        row = await handed_over(town, "zorg")
        assert town.sftp is not None
        outbox = town.sftp.accounts["zorg"].outbox
        await asyncio.to_thread(postgres.kill)
        try:
            (outbox / "antwoord.xml").write_bytes(write_answer(row.id, PAUSE))
            await asyncio.sleep(0.5)  # several looks at the outbox
            assert (outbox / "antwoord.xml").exists()
        finally:
            await asyncio.to_thread(postgres.start)
        await town.until(lambda: _appears(outbox / "archief", "*.xml"))
        await town.reach("bevestigd")
        assert len(await evidence(town)) == 1
