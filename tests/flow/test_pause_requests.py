"""A pause request: its gemeente hears of it, handles it or is reminded of it, and nobody else does."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url, select, update
from sqlalchemy.util import await_only

from gateway.core.notice import Sender
from gateway.intake import Accepted, Arrival, Duplicate, Refused, Verdict
from gateway.ledger import pause_requests as rows
from gateway.ledger.engine import Ledger
from gateway.ledger.pause_requests import Handled
from gateway.ledger.schema import dossier, metadata, refusal, task_step
from gateway.ledger.schema import pause_request as table
from gateway.pause_requests import WaitingRequests
from tests.flow.desk import PAUSE_BUTTON, SENDER, Desk, notice, open_desk, pause_request
from tests.flow.doors import House, open_doors

MONDAY_MORNING = int(datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp()) * 1_000_000
NEXT_MONDAY_MIDNIGHT = int(datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3600 * 1_000_000
NOWHERE = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


@pytest.fixture
async def desk(ledger_url: str) -> AsyncIterator[Desk]:
    async with open_desk(ledger_url) as made:
        made.clock.at = MONDAY_MORNING
        yield made


@pytest.fixture
async def house(ledger_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with open_doors(ledger_url, tmp_path) as made:
        yield made


async def ask(desk: Desk, *events: dict[str, Any]) -> list[Verdict]:
    return await desk.send(*events, sender=PAUSE_BUTTON)


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def waiting(desk: Desk, ledger: Ledger | None = None) -> WaitingRequests:
    return WaitingRequests(ledger or desk.ledger, desk.events, desk.clock, lambda: None)


async def after_the_term(desk: Desk) -> None:
    """It is so late that whoever waits has waited too long, and the clock has looked."""
    desk.clock.at = NEXT_MONDAY_MIDNIGHT + 2 * HOUR
    await waiting(desk).round()


async def waits(desk: Desk) -> list[str]:
    """References of the requests that were pointed out."""
    return [data["verzoekkenmerk"] for name, data in await desk.told() if name == "pauzeverzoek-wacht"]


def codes(verdict: Verdict) -> set[tuple[str, str]]:
    assert isinstance(verdict, Refused)
    return {(violation.pad, str(violation.code)) for violation in verdict.violations}


# -- taken in ---------------------------------------------------------------------------------------------------------


async def test_the_gemeente_is_told_the_reference_and_nobody_else_anything(desk: Desk) -> None:
    (verdict,) = await ask(desk, pause_request())
    assert isinstance(verdict, Accepted)
    ((name, data),) = await desk.told()
    tijdstip = data.pop("tijdstip")
    assert (name, data) == (
        "pauzeverzoek-ontvangen",
        {"gemeente": "0363", "verzoekkenmerk": "PK-1", "pauzeverzoek": verdict.message},
    )
    assert tijdstip.startswith("2026-11-23T08:00")
    assert (await desk.deliveries(), await desk.messages(), await desk.tasks()) == ([], [], [])
    assert await desk._all(dossier) == []


async def test_a_batch_may_hold_messages_of_both_kinds(desk: Desk) -> None:
    arrivals = [(PAUSE_BUTTON, pause_request()), (SENDER, notice()), (PAUSE_BUTTON, pause_request("PK-2"))]
    verdicts = await desk.intake.accept([Arrival("amqp", sender, encoded(event)) for sender, event in arrivals])
    assert [type(verdict) for verdict in verdicts] == [Accepted] * 3
    assert len(await desk.requests()) == 2
    assert len(await desk.deliveries()) == 2


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_the_same_request_again_is_a_duplicate_under_whatever_id(desk: Desk, in_one_batch: bool) -> None:
    again = [pause_request(), pause_request() | {"id": "een-ander"}]
    if in_one_batch:
        verdicts = await ask(desk, pause_request(), *again)
    else:
        verdicts = [*(await ask(desk, pause_request())), *(await ask(desk, again[0])), *(await ask(desk, again[1]))]
    assert verdicts[1:] == [Duplicate(), Duplicate()]
    assert len(await desk.requests()) == 1
    assert len(await desk.told()) == 1


@pytest.mark.parametrize(
    ("other", "pad"),
    [
        (pause_request("PK-2") | {"id": "PK-1"}, "/id"),
        (pause_request(voorkeur="email") | {"id": "PK-9"}, "/data/verzoekkenmerk"),
    ],
)
async def test_other_content_under_the_same_name_is_refused(desk: Desk, other: dict[str, Any], pad: str) -> None:
    await ask(desk, pause_request())
    (verdict,) = await ask(desk, other)
    assert codes(verdict) == {(pad, "ander_bericht_zelfde_id")}
    assert len(await desk.requests()) == 1
    assert len(await desk._all(refusal)) == 1


async def test_another_gemeente_may_have_the_same_reference(desk: Desk) -> None:
    verdicts = await ask(desk, pause_request(), pause_request(gemeente="0344") | {"id": "een-ander"})
    assert [type(verdict) for verdict in verdicts] == [Accepted, Accepted]


@pytest.mark.parametrize("first", ["message", "request"])
async def test_a_message_and_a_request_cannot_have_one_identity(desk: Desk, first: str) -> None:
    """Were a sender to have both roles after each other, by a change of the settings."""
    both = Sender("Was pauzeknop", PAUSE_BUTTON.oin, ("0363",))
    message = notice() | {"source": pause_request()["source"], "id": "PK-1"}
    sent = [(both, message), (PAUSE_BUTTON, pause_request())]
    (one, two) = sent if first == "message" else reversed(sent)
    assert isinstance((await desk.send(one[1], sender=one[0]))[0], Accepted)
    assert codes((await desk.send(two[1], sender=two[0]))[0]) == {("/id", "ander_bericht_zelfde_id")}


async def test_only_the_pause_button_may_ask(desk: Desk) -> None:
    own = pause_request() | {"source": notice()["source"]}
    (verdict,) = await desk.send(own)
    assert codes(verdict) == {("/type", "waarde_ongeldig")}
    assert await desk.requests() == []


async def test_nothing_of_the_debtor_is_at_rest_in_the_clear(desk: Desk, ledger_url: str) -> None:
    await ask(desk, pause_request(), pause_request("PK-2", voorkeur="email") | {"id": "PK-1"})
    await after_the_term(desk)
    at_rest = await everything(desk)
    if (file := make_url(ledger_url).database) and desk.ledger.embedded:
        at_rest += [path.read_bytes() for path in Path(file).parent.glob("*.db*")]
    assert any(b"PK-1" in value for value in at_rest)
    for secret in ("Proefpersoon", "Zoë", "612345678"):
        assert [value for value in at_rest if secret.encode() in value] == []


async def everything(desk: Desk) -> list[bytes]:
    """Every value in the ledger."""

    def read(connection: Connection) -> list[Any]:
        return [list(chain(*connection.execute(select(each)))) for each in metadata.sorted_tables]

    values = chain(*(await desk.ledger.run(read)))
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]


# -- handled ----------------------------------------------------------------------------------------------------------


async def test_a_kennisgeving_with_its_reference_handles_a_request(desk: Desk) -> None:
    await ask(desk, pause_request())
    (verdict,) = await desk.send(notice(verzoekkenmerk="PK-1"))
    assert isinstance(verdict, Accepted)
    (row,) = await desk.requests()
    assert (row.handled_by, row.handled_at, row.due_at) == (verdict.message, desk.clock.at, None)
    await after_the_term(desk)
    assert (await waits(desk), await desk.tasks()) == ([], [])


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_so_does_one_that_came_before_it(desk: Desk, in_one_batch: bool) -> None:
    events = [(SENDER, notice(verzoekkenmerk="PK-1")), (PAUSE_BUTTON, pause_request())]
    arrivals = [Arrival("amqp", sender, encoded(event)) for sender, event in events]
    batches = [arrivals] if in_one_batch else [[one] for one in arrivals]
    verdicts = [verdict for batch in batches for verdict in await desk.intake.accept(batch)]
    (row,) = await desk.requests()
    assert isinstance(verdicts[0], Accepted)
    assert (row.handled_by, row.due_at) == (verdicts[0].message, None)
    assert "pauzeverzoek-ontvangen" in [name for name, _ in await desk.told()]


@pytest.mark.parametrize(
    "event",
    [notice(), notice(verzoekkenmerk="PK-2"), notice(gemeente="0384", verzoekkenmerk="PK-1")],
    ids=["no reference", "another reference", "another gemeente"],
)
async def test_any_other_kennisgeving_does_not(desk: Desk, event: dict[str, Any]) -> None:
    await desk.send(event)
    await ask(desk, pause_request())
    await desk.send(event | {"id": "x", "data": event["data"] | {"versie": 2}})
    await after_the_term(desk)
    assert await waits(desk) == ["PK-1"]


async def test_a_kennisgeving_on_hold_handles_it_only_when_it_is_processed(desk: Desk) -> None:
    await desk.send(notice("SHV-1", 2, verzoekkenmerk="PK-1"))
    await ask(desk, pause_request())
    assert [row.handled_at for row in await desk.requests()] == [None]
    await desk.send(notice("SHV-1", 1))
    held = next(row for row in await desk.messages() if row.versie == 2)
    assert [row.handled_by for row in await desk.requests()] == [held.id]


async def test_a_kennisgeving_and_its_request_at_the_same_moment_find_each_other(desk: Desk) -> None:
    names = [f"PK-{nr}" for nr in range(25)]
    notices = [notice(f"SHV-{name}", 1, "energie", verzoekkenmerk=name) for name in names]
    sends = [*map(desk.send, notices), *(ask(desk, pause_request(name)) for name in names)]
    verdicts = await asyncio.gather(*sends)
    assert {type(verdict) for batch in verdicts for verdict in batch} == {Accepted}
    by_reference = {row.request: row.id for row in await desk.messages()}
    assert {row.kenmerk: row.handled_by for row in await desk.requests()} == by_reference
    await after_the_term(desk)
    assert await waits(desk) == []


@pytest.mark.parametrize("first", ["request", "kennisgeving"])
async def test_of_the_two_the_second_waits_until_the_first_is_committed(postgres_url: str, first: str) -> None:
    """SQLite has one writer."""
    key = ("0363", "PK-1")
    looked, may_end = asyncio.Event(), asyncio.Event()

    def begin(connection: Connection) -> None:
        if first == "request":
            rows.known_requests(connection, {key})
        else:
            rows.handle(connection, {key: Handled("x", 0, "gateway", "")})
        looked.set()
        await_only(may_end.wait())

    async with open_desk(postgres_url) as desk:
        one = asyncio.create_task(desk.ledger.run(begin))
        await looked.wait()
        sends = desk.send(notice(verzoekkenmerk="PK-1")) if first == "request" else ask(desk, pause_request())
        other = asyncio.create_task(sends)
        assert isinstance((await ask(desk, pause_request("PK-2")))[0], Accepted)
        assert not (await asyncio.wait([other], timeout=0.5))[0]
        may_end.set()
        await one
        assert isinstance((await other)[0], Accepted)


# -- waiting ----------------------------------------------------------------------------------------------------------


async def test_who_waits_five_working_days_is_pointed_out_once(desk: Desk) -> None:
    await ask(desk, pause_request())
    await desk.told()
    (row,) = await desk.requests()
    assert await waiting(desk).next_due() == row.due_at
    assert NEXT_MONDAY_MIDNIGHT <= row.due_at < NEXT_MONDAY_MIDNIGHT + 2 * HOUR
    desk.clock.at = row.due_at - 1
    await waiting(desk).round()
    assert (await desk.told(), await desk.tasks()) == ([], [])
    desk.clock.at = row.due_at
    for _ in range(2):
        await waiting(desk).round()
    ((name, data),) = await desk.told()
    assert (name, data["pauzeverzoek"], data["verzoekkenmerk"]) == ("pauzeverzoek-wacht", row.id, "PK-1")
    (task,) = await desk.tasks()
    assert (task.soort, task.gemeente, task.id) == ("pauzeverzoek_wacht", "0363", row.id)
    assert row.id in task.detail
    assert await waiting(desk).next_due() is None


async def test_two_clocks_at_once_point_out_each_request_once_and_not_all_at_midnight(
    desk: Desk, ledger_url: str
) -> None:
    names = {f"PK-{nr}" for nr in range(250)}
    await ask(desk, *map(pause_request, sorted(names)))
    await desk.told()
    due = [row.due_at for row in await desk.requests()]
    assert max(due) - min(due) > HOUR
    desk.clock.at = NEXT_MONDAY_MIDNIGHT + 2 * HOUR
    async with aclosing(Ledger(ledger_url)) as other:
        clocks = [waiting(desk), waiting(desk, other)]
        await asyncio.gather(*(clock.round() for clock in clocks * 2))
        for clock in clocks:
            await clock.round()
    told = await waits(desk)
    assert (len(told), set(told)) == (250, names)
    assert len(await desk.tasks()) == 250


async def test_a_kennisgeving_after_the_warning_closes_the_task(desk: Desk) -> None:
    await ask(desk, pause_request(), pause_request("PK-2"))
    await after_the_term(desk)
    await desk.send(notice(verzoekkenmerk="PK-1"))
    await desk.send(notice("SHV-1", 2, verzoekkenmerk="PK-1"))
    ids = {row.kenmerk: row.id for row in await desk.requests()}
    closed = {task.id: task.closed_at is not None for task in await desk.tasks()}
    assert closed == {ids["PK-1"]: True, ids["PK-2"]: False}
    (step,) = await steps(desk.ledger)
    assert (step.task_id, step.actor, step.step) == (ids["PK-1"], "gateway", "afgehandeld")
    assert step.reason == "De gemeente heeft een kennisgeving gestuurd."


async def steps(ledger: Ledger) -> Sequence[Any]:
    def read(connection: Connection) -> Sequence[Any]:
        return connection.execute(select(task_step).order_by(task_step.c.nr)).all()

    return await ledger.run(read)


# -- the API ----------------------------------------------------------------------------------------------------------


async def received(house: House, *events: dict[str, Any]) -> list[str]:
    """Ids of the requests, in order."""
    answers = [await house.post(event, "pauzeknop") for event in events]
    assert {status for status, _ in answers} == {202}
    return [body["bericht"] for _, body in answers]


async def say_handled(house: House, identifier: str, body: bytes = b"", client: str = "gem-0363") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {house.issuer.token(client)}", "Content-Type": "application/json"}
    url = f"{house.url}/v1/pauzeverzoeken/{identifier}/afhandeling"
    async with house.session.post(url, data=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def listed(house: House, query: str = "", client: str = "gem-0363") -> list[str]:
    status, page = await house.get(f"/v1/pauzeverzoeken{query}", client)
    assert status == 200
    return [line["verzoekkenmerk"] for line in page["pauzeverzoeken"]]


async def test_the_list_has_references_only_and_one_request_has_the_details(house: House) -> None:
    (identifier,) = await received(house, pause_request())
    _, page = await house.get("/v1/pauzeverzoeken")
    (line,) = page["pauzeverzoeken"]
    assert (page["volgende"], line.pop("tijdstip")[:4]) == (None, "2026")
    reference = {"id": identifier, "gemeente": "0363", "verzoekkenmerk": "PK-1", "afgehandeld": False}
    assert line == reference
    status, detail = await house.get(f"/v1/pauzeverzoeken/{identifier}")
    contact = {"naam": "Zoë Proefpersoon", "telefoon": "+31612345678"}
    detail.pop("tijdstip")
    assert (status, detail) == (200, {**reference, "contact": contact, "voorkeur": "telefoon"})


async def test_nobody_else_sees_a_request_or_can_handle_it(house: House) -> None:
    (identifier,) = await received(house, pause_request())
    for client in ("gem-0344", "pauzeknop"):
        assert await listed(house, client=client) == []
        assert await listed(house, "?gemeente=0363", client) == []
        assert (await house.get(f"/v1/pauzeverzoeken/{identifier}", client))[0] == 404
        assert (await say_handled(house, identifier, client=client))[0] == 404
    assert (await house.get(f"/v1/pauzeverzoeken/{NOWHERE}"))[0] == 404
    assert (await say_handled(house, NOWHERE))[0] == (await say_handled(house, "1"))[0] == 404
    async with house.session.get(f"{house.url}/v1/pauzeverzoeken/{identifier}") as response:
        assert response.status == 401
    assert [row.handled_at for row in await house.rows(table)] == [None]


async def test_the_list_can_be_limited_and_goes_on_where_it_ended(house: House) -> None:
    ids = await received(house, pause_request(), pause_request("PK-2", "0384"), pause_request("PK-3", "0344"))
    await say_handled(house, ids[0])
    assert await listed(house) == ["PK-1", "PK-2"]
    assert await listed(house, "?gemeente=GM0384") == ["PK-2"]
    assert await listed(house, "?open=ja") == ["PK-2"]
    assert await listed(house, "?open=nee") == ["PK-1"]
    assert await listed(house, f"?na={ids[0]}") == ["PK-2"]
    assert await listed(house, client="gem-0344") == ["PK-3"]
    assert (await house.get("/v1/pauzeverzoeken?open=jawel"))[0] == 400


async def test_a_long_list_comes_in_pages(house: House) -> None:
    arrivals = [Arrival("http", PAUSE_BUTTON, encoded(pause_request(f"PK-{nr}"))) for nr in range(150)]
    await house.intake.accept(arrivals)
    _, first = await house.get("/v1/pauzeverzoeken")
    _, second = await house.get(f"/v1/pauzeverzoeken?na={first['volgende']}")
    references = [line["verzoekkenmerk"] for line in first["pauzeverzoeken"] + second["pauzeverzoeken"]]
    assert (references, second["volgende"]) == ([f"PK-{nr}" for nr in range(150)], None)


async def test_the_gemeente_says_that_it_is_handled_and_may_say_so_again(house: House) -> None:
    (identifier,) = await received(house, pause_request())
    status, first = await say_handled(house, identifier)
    assert (status, first["id"], first["afgehandeld"]) == (200, identifier, True)
    house.clock.at += HOUR
    assert await say_handled(house, identifier, b" {} ") == (200, first)
    (row,) = await house.rows(table)
    assert (row.handled_by, row.due_at) == (SENDER.oin, None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "json_ongeldig"),
        (b"[]", 400, "waarde_ongeldig"),
        (b'{"opmerking": "gebeld"}', 400, "veld_onbekend"),
        (b'{"0612345678": 1}', 400, "veld_onbekend"),
        (b" " * 2000, 413, None),
    ],
)
async def test_more_than_that_cannot_be_said(house: House, body: bytes, status: int, code: str | None) -> None:
    (identifier,) = await received(house, pause_request())
    given, problem = await say_handled(house, identifier, body)
    assert given == status
    assert code is None or {fault["code"] for fault in problem["fouten"]} == {code}
    assert "0612345678" not in str(problem)
    assert [row.handled_at for row in await house.rows(table)] == [None]


async def test_saying_so_after_the_warning_closes_the_task(house: House) -> None:
    (identifier,) = await received(house, pause_request())
    await house.change(update(table).values(due_at=house.clock.at))
    await house.number_events()
    await WaitingRequests(house.ledger, house.events, house.clock, lambda: None).round()
    await say_handled(house, identifier)
    (step,) = await steps(house.ledger)
    assert (step.task_id, step.actor, step.step) == (identifier, SENDER.oin, "afgehandeld")
    assert "afgehandeld" in step.reason


async def test_over_http_other_content_is_a_conflict(house: House) -> None:
    await received(house, pause_request())
    assert await house.post(pause_request(), "pauzeknop") == (200, {"uitkomst": "bekend"})
    assert (await house.post(pause_request(voorkeur="email") | {"id": "x"}, "pauzeknop"))[0] == 409


async def test_what_can_no_longer_be_read_is_left_out(house: House) -> None:
    (identifier,) = await received(house, pause_request())
    await house.change(update(table).values(key=b"weg"))
    status, detail = await house.get(f"/v1/pauzeverzoeken/{identifier}")
    assert (status, detail["verzoekkenmerk"]) == (200, "PK-1")
    assert not {"contact", "voorkeur"} & set(detail)
