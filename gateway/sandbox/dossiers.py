"""Sample dossiers of fictitious people: for each a kennisgeving to many creditors, and a voortgang."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from random import Random
from typing import Any

from msgspec import Struct

from gateway.core.deadlines import AMSTERDAM
from gateway.ids import uuid7
from gateway.sandbox.register import Entry

PHASES = ("stabilisatie_loopt", "saldo_opgave_verzocht", "schuldregeling_gestart", "voorstel_verzonden")
PAUSES = ((8, "maanden"), (6, "maanden"), (240, "dagen"), (4, "maanden"))
_OTHER_NAME_EVERY = 5


class Dossier(Struct, frozen=True):
    """`creditors`: ids of those the messages address; the messages are CloudEvents in JSON."""

    gemeente: str
    town: str
    reference: str
    creditors: tuple[str, ...]
    notice: bytes
    progress: bytes

    def another_progress(self, versie: int) -> bytes:
        """A further voortgang, to be sent by hand."""
        event = json.loads(self.progress)
        event["id"] = f"{event['id']}-{versie}"
        event["data"]["versie"] = versie
        return json.dumps(event, ensure_ascii=False, indent=2).encode()


def gemeenten() -> tuple[str, ...]:
    """CBS codes, one per dossier."""
    return tuple(sample["gemeente"] for sample in _samples())


def dossiers(entries: Sequence[Entry], oin: str, run: str, now: datetime) -> list[Dossier]:
    """What the sender with this `oin` has to say; `run` keeps the references of one run apart from another's."""
    return [_dossier(sample, nr, entries, oin, f"DEMO-{run}-{nr:02d}", now) for nr, sample in enumerate(_samples(), 1)]


def _samples() -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = tomllib.loads(files(__package__).joinpath("dossiers.toml").read_text("utf-8"))[
        "dossier"
    ]
    return samples


def _dossier(
    sample: Mapping[str, Any], nr: int, entries: Sequence[Entry], oin: str, reference: str, now: datetime
) -> Dossier:
    chance = Random(nr)
    chosen = chance.sample(entries, sample["schuldeisers"])
    head = {"gemeente": sample["gemeente"], "dossierkenmerk": reference}
    notice = {**head, "versie": 1, **_notice(sample, chosen, chance, now)}
    progress = {
        **head,
        "versie": 2,
        "fase": PHASES[nr % len(PHASES)],
        "toelichting": "De inventarisatie van de schulden loopt; u hoeft nu niets te doen.",
    }
    return Dossier(
        gemeente=sample["gemeente"],
        town=sample["naam"],
        reference=reference,
        creditors=tuple(entry.id for entry in chosen),
        notice=_event("kennisgeving", oin, notice, now),
        progress=_event("voortgang", oin, progress, now),
    )


def _event(soort: str, oin: str, data: Mapping[str, Any], now: datetime) -> bytes:
    event = {
        "specversion": "1.0",
        "type": f"nl.schuldhulpverlening.{soort}.v1",
        "source": f"urn:nld:oin:{oin}:systeem:schuldhulp",
        "id": uuid7(int(now.timestamp() * 1_000_000)),
        "time": now.isoformat(timespec="seconds"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def _notice(sample: Mapping[str, Any], chosen: Sequence[Entry], chance: Random, now: datetime) -> dict[str, Any]:
    today = now.astimezone(AMSTERDAM).date()
    count, unit = chance.choice(PAUSES)
    return {
        "toelating": {
            "datum": str(today - timedelta(days=chance.randint(0, 5))),
            "kenmerk": f"BES-{_digits(chance, 6)}",
        },
        "pauze": {"ingangsdatum": str(today), "aantal": count, "eenheid": unit},
        "hulpvrager": {key: value for key, value in sample.items() if key not in ("gemeente", "naam", "schuldeisers")},
        "contactpersoon": {
            "naam": f"Team Schuldhulp {sample['naam']}",
            "telefoon": "+31 85 000 00 00",
            "email": "schuldhulp@gemeente.example",
        },
        "schuldeisers": [_creditor(entry, nr, chance) for nr, entry in enumerate(chosen)],
    }


def _creditor(entry: Entry, nr: int, chance: Random) -> dict[str, Any]:
    named = {"schuldeiser": _name(entry) if nr % _OTHER_NAME_EVERY == 0 else entry.id}
    number = {"klantnummer": f"K-{_digits(chance, 6)}"} if chance.random() < 2 / 3 else {}
    return {**named, **number, "vorderingen": [_claim(kind, chance) for kind in entry.practice.claims]}


def _name(entry: Entry) -> str:
    """By number, as a sender does whose own records have no register id."""
    kind = "kvk" if "kvk" in entry.table else "oin"
    return f"{kind}:{entry.table[kind]}"


def _claim(kind: str, chance: Random) -> dict[str, Any]:
    invoice = {"factuurnummer": f"F{_digits(chance, 7)}"} if chance.random() < 1 / 2 else {}
    return {"kenmerk": _digits(chance, 10), **invoice, "soort": kind, "bedrag": chance.randint(1500, 250_000) / 100}


def _digits(chance: Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))
