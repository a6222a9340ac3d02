"""The messages of one dossier as CloudEvents, and the fictitious people they are about."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from random import Random

import msgspec

from gateway.core.notice import Sender
from gateway.events import rfc3339
from gateway.simulation.population import kind_of_claim

PHASES = (
    "stabilisatie_loopt",
    "saldo_opgave_verzocht",
    "schuldregeling_gestart",
    "voorstel_verzonden",
    "regeling_tot_stand",
)
CATEGORIES = ("regeling_tot_stand", "wsnp", "traject_beeindigd")
REASONS = ("onjuist_dossier", "onjuiste_persoon", "dubbel", "anders")
PAUSES = ((8, "maanden"), (6, "maanden"), (240, "dagen"), (4, "maanden"))
_TEST_NUMBERS = ("999990007", "999990019", "999990020", "999990032", "999990044")
WRONG_NUMBER = "123456789"
_FIRST = ("Anna Sophia", "Jan Willem", "Zoë Renée", "Sjoerd", "Mohammed", "Fatma", "Łukasz", "Ngọc")
_LAST = ("Voorbeeld", "Verkeerd", "Proef-O'Neill", "Çelik", "Oefening", "Schijn", "Fictie")
_PREFIXES = (None, None, "van der", "de", "el", "van 't")

Data = dict[str, object]
_encode = msgspec.json.Encoder().encode


def event(soort: str, identifier: str, sender: Sender, at: int, data: Data) -> bytes:
    """A structured CloudEvent; `at` in epoch µs."""
    return _encode(
        {
            "specversion": "1.0",
            "type": f"nl.schuldhulpverlening.{soort}.v1",
            "source": f"urn:nld:oin:{sender.oin}:systeem:schuldhulp",
            "id": identifier,
            "time": rfc3339(at),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def notice(chance: Random, today: date, creditors: Sequence[Mapping[str, object]]) -> Data:
    count, unit = chance.choice(PAUSES)
    return {
        "toelating": {"datum": str(today - timedelta(days=chance.randint(0, 5)))},
        "pauze": {"ingangsdatum": str(today), "aantal": count, "eenheid": unit},
        "hulpvrager": _debtor(chance),
        "contactpersoon": {"naam": "Team Schuldhulp", "telefoon": "+31 85 000 00 00"},
        "schuldeisers": list(creditors),
    }


def pause_request(gemeente: str, reference: str) -> Data:
    contact = {"naam": "Anna Voorbeeld", "telefoon": "+31 85 000 00 00"}
    return {"gemeente": gemeente, "verzoekkenmerk": reference, "contact": contact, "voorkeur": "bellen"}


def named(chance: Random, creditor: str) -> Data:
    """A creditor as the sender names it, with its claims."""
    claims = [
        {"kenmerk": str(nr), "soort": kind_of_claim(creditor), "bedrag": chance.randint(1_500, 250_000) / 100}
        for nr in range(1, chance.randint(1, 3) + 1)
    ]
    return {"schuldeiser": creditor, "klantnummer": f"K-{chance.randint(100_000, 999_999)}", "vorderingen": claims}


def _debtor(chance: Random) -> Data:
    prefix = chance.choice(_PREFIXES)
    return {
        "voornamen": chance.choice(_FIRST),
        **({} if prefix is None else {"voorvoegsel": prefix}),
        "achternaam": chance.choice(_LAST),
        "geboortedatum": str(date(1950, 1, 1) + timedelta(days=chance.randint(0, 20_000))),
        "bsn": chance.choice(_TEST_NUMBERS),
        "adres": {
            "straat": "Proefkade",
            "huisnummer": chance.randint(1, 400),
            "postcode": f"{chance.randint(1000, 9999)}ZZ",
            "woonplaats": "Voorbeeldstad",
        },
        **({"adresGeheim": True} if chance.random() < 0.03 else {}),
    }
