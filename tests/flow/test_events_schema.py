"""Every event that the gateway makes is one that the published schema describes, of the first to the last field."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

import schemas
from gateway.contract import DeliveryId, Inbound
from gateway.core.answer import AnswerKind
from gateway.ledger import schema
from tests.core import examples
from tests.flow.desk import PAUSE_BUTTON, SENDER, notice, pause_request, progress
from tests.flow.running import Town, event_faults, neighbour, running

SOURCE = "urn:nld:oin:00000099000000001000:systeem:kennisgeving"
MADE = {
    "bericht-geaccepteerd",
    "bericht-geweigerd",
    "bezorging-afgeleverd",
    "ontvangst-bevestigd",
    "antwoord-ontvangen",
    "bezorging-mislukt",
    "pauzeverzoek-ontvangen",
    "pauzeverzoek-wacht",
}
"""Names of the events that are made today."""


async def make_events(town: Town) -> None:
    """Everything that makes an event, at least once."""
    one, other = town.webhooks["energie"], town.webhooks["zorg"]
    async with one.refuses(), other.answers_with(200, {"Content-Type": "application/json"}, FULL_REPLY):
        first = notice("SHV-1", 1, "energie", "zorg", "cjib", "kvk:00000000")
        await town.send(first, progress("SHV-1", 2), notice("SHV-1", 3, "energie", "zorg"))
        await town.reach("mislukt", "energie")
        await town.hand_over("zorg")
    await town.hears("antwoord-ontvangen", "cjib")
    bad = [b"{", b"[]", b'{"id": 3}', json.dumps(first | {"id": "nog een", "type": "nl.x.y"}).encode()]
    for body in bad:
        await town.send_bytes(body, SENDER)
    await town.send_bytes(bad[0], None)
    (row, *_) = [row for row in await town.deliveries("zorg") if row.versie == 1]
    for nr, answer in enumerate([{"soort": kind} for kind in AnswerKind] + [examples.read("antwoord-vol")]):
        raw = json.dumps(answer).encode()
        said = Inbound("answer", "zorg", DeliveryId(row.id), f"s-{nr}", raw, raw)
        assert (await town.gateway.receipts.receive(said)).kind == "recorded"
    await let_a_request_wait(town)


async def let_a_request_wait(town: Town) -> None:
    """Its five working days are over at once."""
    await town.send(pause_request(), sender=PAUSE_BUTTON)

    def hurry(connection: Connection) -> None:
        connection.execute(update(schema.pause_request).values(due_at=0))

    await town.ledger.run(hurry)
    town.gateway.timers.wake()
    assert (await town.hears("pauzeverzoek-wacht"))["verzoekkenmerk"] == "PK-1"


FULL_REPLY = b'{"antwoord": ' + examples.raw("antwoord-vol") + b"}"


async def test_every_event_is_as_the_schema_describes_it(ledger_url: str, tmp_path: Path) -> None:
    everybody = [neighbour("energie"), neighbour("zorg"), neighbour("cjib", "cjib", bsn_grondslag="art. 1")]
    async with running(tmp_path, ledger_url, everybody) as town:
        await make_events(town)
        events = await town.events()
    assert {name_of(event) for event in events} == MADE
    for event in events:
        assert event_faults(event) == [], name_of(event)
        own = schemas.validator(f"gebeurtenissen#/$defs/{name_of(event)}")
        assert [str(fault.instance_path) for fault in own.iter_errors(event["data"])] == []
        assert (event["source"], event["specversion"]) == (SOURCE, "1.0")
        assert event["time"] == event["data"]["tijdstip"]
        assert None not in event["data"].values()
    assert len({event["id"] for event in events}) == len(events)
    answers = [event["data"]["antwoord"] for event in events if name_of(event) == "antwoord-ontvangen"]
    kinds = {answer["soort"] for answer in answers}
    assert kinds == set(AnswerKind) - {AnswerKind.RECEIVED}
    assert as_objects(examples.read("antwoord-vol")) in answers


def name_of(event: Mapping[str, Any]) -> str:
    return str(event["type"]).split(".")[2]


def as_objects(answer: dict[str, Any]) -> dict[str, Any]:
    """A contact is told as an object (contract: events)."""
    contact = answer.get("contact")
    return {**answer, "contact": {"naam": contact}} if isinstance(contact, str) else answer


SPOILERS: list[Callable[[Any], object]] = [
    lambda event: event["data"].update(hulpvrager={"bsn": "999990019"}),
    lambda event: event["data"].pop("gemeente"),
    lambda event: event["data"].update(tijdstip="gisteren"),
    lambda event: event.update(type="nl.schuldhulpverlening.onbekend.v1"),
    lambda event: event.pop("id"),
]


@pytest.mark.parametrize("name", examples.names("gebeurtenis-"))
def test_the_schema_takes_no_more_than_it_describes(name: str) -> None:
    event = examples.read(name)
    assert event_faults(event) == []
    for spoil in SPOILERS:
        spoilt = deepcopy(event)
        spoil(spoilt)
        assert event_faults(spoilt)
