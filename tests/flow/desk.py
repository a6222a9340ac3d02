"""Intake on a real ledger, with a small register; what it wrote is read back through the ledger."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.core.creditor import Creditor, CreditorId
from gateway.core.notice import Sender
from gateway.core.retry import Policy
from gateway.events import Events
from gateway.intake import Arrival, Intake, Verdict
from gateway.keys import Keys
from gateway.ledger import outbox
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import delivery, message, refusal, task
from gateway.ledger.schema import pause_request as pause_request_table
from gateway.ledger.upgrade import upgrade
from gateway.links import Links
from gateway.seal import Sealer

SENDER = Sender("Gemeente Voorbeeld", "00000099000000363000", ("0363", "0384"), "gem-0363", "gem-0363")
OTHER = Sender("Gemeente Elders", "00000099000000344000", ("0344",), "gem-0344", "gem-0344")
PAUSE_BUTTON = Sender("Pauzeknop", "00000099000000777000", (), "pauzeknop", "pauzeknop")
CREDITORS = [
    Creditor(CreditorId("energie"), "Energie Voorbeeld", kvk="68750110", channels=("webhook",)),
    Creditor(CreditorId("zorg"), "Zorg Voorbeeld", channels=("webhook",)),
    Creditor(CreditorId("cjib"), "CJIB Voorbeeld", oin="00000099000000004000", channels=("cjib",), bsn_basis="art. 1"),
    Creditor(CreditorId("incasso"), "Incasso Voorbeeld", channels=("sftp",)),
    Creditor(CreditorId("bank"), "Bank Voorbeeld", channels=("email",), agents=(CreditorId("incasso"),)),
]
NOTICE: dict[str, Any] = {
    "specversion": "1.0",
    "type": "nl.schuldhulpverlening.kennisgeving.v1",
    "source": "urn:nld:oin:00000099000000363000:systeem:schuldhulp",
    "id": "k-1",
    "time": "2026-11-23T09:15:00+01:00",
    "datacontenttype": "application/json",
    "data": {
        "gemeente": "0363",
        "dossierkenmerk": "SHV-1",
        "versie": 1,
        "toelating": {"datum": "2026-10-20"},
        "pauze": {"ingangsdatum": "2026-11-23", "aantal": 8, "eenheid": "maanden"},
        "hulpvrager": {
            "voornamen": "Anna Sophia",
            "achternaam": "Voorbeeld",
            "geboortedatum": "1987-03-14",
            "bsn": "999990019",
            "adres": {"straat": "Dorpsstraat", "huisnummer": 1, "postcode": "1015CN", "woonplaats": "Amsterdam"},
        },
        "contactpersoon": {"naam": "Team Schuldhulp"},
        "schuldeisers": [{"schuldeiser": "energie", "klantnummer": "K-1"}, {"schuldeiser": "zorg"}],
    },
}


def notice(dossier: str = "SHV-1", version: int = 1, *creditors: str, **data: object) -> dict[str, Any]:
    """A valid kennisgeving; `data` replaces members of its data."""
    event = deepcopy(NOTICE)
    event["id"] = f"{dossier}-{version}"
    event["data"] |= {"dossierkenmerk": dossier, "versie": version, **data}
    if creditors:
        event["data"]["schuldeisers"] = [{"schuldeiser": name} for name in creditors]
    return event


def progress(dossier: str = "SHV-1", version: int = 2, *creditors: str) -> dict[str, Any]:
    """A valid voortgang."""
    event = {**deepcopy(NOTICE), "id": f"{dossier}-{version}", "type": "nl.schuldhulpverlening.voortgang.v1"}
    event["data"] = {"gemeente": "0363", "dossierkenmerk": dossier, "versie": version, "fase": "stabilisatie_loopt"}
    if creditors:
        event["data"]["schuldeisers"] = list(creditors)
    return event


def pause_request(reference: str = "PK-1", gemeente: str = "0363", **data: object) -> dict[str, Any]:
    """A valid pauzeverzoek; `data` replaces members of its data."""
    event = {**deepcopy(NOTICE), "id": reference, "type": "nl.schuldhulpverlening.pauzeverzoek.v1"}
    event["source"] = f"urn:nld:oin:{PAUSE_BUTTON.oin}:systeem:pauzeknop"
    contact = {"naam": "Zoë Proefpersoon", "telefoon": "+31612345678"}
    event["data"] = {"gemeente": gemeente, "verzoekkenmerk": reference, "contact": contact, "voorkeur": "telefoon"}
    event["data"] |= data
    return event


def follow_up(soort: str, dossier: str = "SHV-1", version: int = 2, **data: object) -> dict[str, Any]:
    """A message after the kennisgeving; `data`: its own members."""
    event = {**deepcopy(NOTICE), "id": f"{dossier}-{version}", "type": f"nl.schuldhulpverlening.{soort}.v1"}
    event["data"] = {"gemeente": "0363", "dossierkenmerk": dossier, "versie": version, **data}
    return event


def extension(until: str, version: int = 2, *creditors: str) -> dict[str, Any]:
    listed = {"schuldeisers": list(creditors)} if creditors else {}
    return follow_up("verlenging", "SHV-1", version, totEnMet=until, **listed)


def ending(per: str, version: int = 2, *creditors: str) -> dict[str, Any]:
    listed = {"schuldeisers": list(creditors)} if creditors else {}
    return follow_up("beeindiging", "SHV-1", version, per=per, categorie="regeling_tot_stand", **listed)


def withdrawal(version: int = 2, *creditors: str) -> dict[str, Any]:
    listed = {"schuldeisers": list(creditors)} if creditors else {}
    return follow_up("intrekking", "SHV-1", version, reden="onjuist_dossier", **listed)


class StandingClock(Clock):
    """Time that a test moves."""

    def __init__(self, at: int = 1_795_000_000_000_000) -> None:
        self.at = at

    def micros(self) -> int:
        return self.at


@dataclass
class Desk:
    intake: Intake
    ledger: Ledger
    clock: StandingClock
    events: Events
    links: Links
    sealer: Sealer

    async def send(self, *events: dict[str, Any], sender: Sender | None = SENDER) -> list[Verdict]:
        self.clock.at += 1000
        return await self.intake.accept([Arrival("http", sender, json.dumps(event).encode()) for event in events])

    async def send_bytes(self, body: bytes, sender: Sender | None = SENDER, user: str | None = None) -> Verdict:
        (verdict,) = await self.intake.accept([Arrival("amqp", sender, body, user=user)])
        return verdict

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """(name, data) of the events not taken yet."""
        taken = await self.ledger.run(outbox.take_events, 1000, self.clock.at, None)
        bodies = [json.loads(self.events.open(event.id, event.sealed, event.key)) for event in taken]
        return [(body["type"].split(".")[2], body["data"]) for body in bodies]

    async def deliveries(self) -> list[Any]:
        return await self._all(delivery)

    async def messages(self) -> list[Any]:
        return await self._all(message)

    async def requests(self) -> list[Any]:
        return await self._all(pause_request_table)

    async def refusals(self) -> list[Any]:
        return await self._all(refusal)

    async def tasks(self) -> list[Any]:
        return await self._all(task)

    async def _all(self, table: Any) -> list[Any]:
        def read(connection: Connection) -> Sequence[Any]:
            return connection.execute(select(table).order_by(table.c.id)).all()

        return list(await self.ledger.run(read))


@asynccontextmanager
async def open_desk(
    ledger_url: str,
    clock: StandingClock | None = None,
    creditors: Sequence[Creditor] = CREDITORS,
    silent_at_most: float | None = None,
) -> AsyncIterator[Desk]:
    clock = clock or StandingClock()
    keys = Keys(os.urandom(32))
    sealer = Sealer(keys)
    events = Events("00000099000000001000", sealer)
    ledger = Ledger(ledger_url, silent_at_most=silent_at_most)
    await ledger.run(upgrade)
    links = Links({})
    await links.load(creditors, [])
    intake = Intake(
        ledger,
        links,
        sealer,
        keys,
        events,
        clock,
        senders=[SENDER, OTHER],
        policy=Policy(),
        closed_days=(),
        gap_wait=900,
        on_deliveries=lambda _lanes: None,
        on_events=lambda: None,
        on_agenda=lambda: None,
    )
    try:
        yield Desk(intake, ledger, clock, events, links, sealer)
    finally:
        await ledger.aclose()
