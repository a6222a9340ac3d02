"""Messages of one test gemeente, as the contract has them: CloudEvents in JSON, about people who do not exist."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple

GEMEENTE = "0363"
SENDER = "gem-0363"
SENDER_OIN = "00000099000000363000"
SOURCE = f"urn:nld:oin:{SENDER_OIN}:systeem:schuldhulp"
CONTENT_TYPE = "application/cloudevents+json"


class Message(NamedTuple):
    id: str
    dossier: str
    versie: int
    routing_key: str
    body: bytes


def today() -> str:
    """The date in UTC: never later than that in Amsterdam, so that an admission of today is not in the future."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def kennisgeving(dossier: str, creditors: Sequence[str], versie: int = 1) -> Message:
    """A notice of 1 to 100 creditors, named by register id."""
    day = today()
    data = {
        "toelating": {"datum": day, "kenmerk": f"BES-{dossier}"},
        "pauze": {"ingangsdatum": day, "aantal": 4, "eenheid": "maanden"},
        "hulpvrager": {
            "voornamen": "Anna Sophia",
            "voorletters": "A.S.",
            "voorvoegsel": "van der",
            "achternaam": "Voorbeeld-O'Neill",
            "geboortedatum": "1987-03-14",
            "adres": {"straat": "Keizersgracht", "huisnummer": 12, "postcode": "1015CN", "woonplaats": "Amsterdam"},
            "adresGeheim": False,
        },
        "contactpersoon": {"naam": "Team Schuldhulp", "telefoon": "+31201234567"},
        "schuldeisers": [_claims(dossier, creditor) for creditor in creditors],
    }
    return _message("kennisgeving", dossier, versie, data)


def voortgang(dossier: str, versie: int) -> Message:
    """Progress for every creditor that was told of the dossier."""
    return _message("voortgang", dossier, versie, {"fase": "saldo_opgave_verzocht"})


def _claims(dossier: str, creditor: str) -> dict[str, object]:
    return {
        "schuldeiser": creditor,
        "klantnummer": f"K-{dossier}",
        "vorderingen": [{"factuurnummer": f"F-{creditor}-{dossier}", "soort": "energie"}],
    }


def _message(soort: str, dossier: str, versie: int, data: dict[str, object]) -> Message:
    event_id = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "type": f"nl.schuldhulpverlening.{soort}.v1",
        "source": SOURCE,
        "id": event_id,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "datacontenttype": "application/json",
        "data": {"gemeente": GEMEENTE, "dossierkenmerk": dossier, "versie": versie, **data},
    }
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return Message(event_id, dossier, versie, f"{GEMEENTE}.{soort}", body)
