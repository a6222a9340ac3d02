"""What the gemeente sends in a round: dossiers with a canary per creditor, follow-ups, withdrawals that overtake."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.creditors import NAMES
from tests.faults.sightings import canary
from tests.flow.outside.messages import GEMEENTE, SOURCE, Message, today

BSN = "999990019"
NAME = "Zeldzaamachternaam"
ADDRESS = "Onvindbaarstraat"
SECRETS = frozenset({BSN.encode(), NAME.encode(), ADDRESS.encode()})
"""Of a debtor: in no log, no event and no name of a file."""


class Load:
    """Makes messages, the same ones for the same seed but for their ids. `addressed`: message id → the creditors of its
    dossier."""

    def __init__(self, seed: int, number: int) -> None:
        self._chance = random.Random(f"{seed}-{number}")
        self._number = number
        self._made = 0
        self.addressed: dict[str, frozenset[str]] = {}
        self.dossiers: dict[str, frozenset[str]] = {}

    def dossier(self, creditors: Sequence[str] = (), follow_ups: Sequence[str] | None = None) -> list[Message]:
        """A kennisgeving to some creditors, and now and then what follows it, to be sent in this order."""
        nr = self._number * 10_000 + self._made
        self._made += 1
        told = list(creditors) or self._chance.sample(NAMES, self._chance.randint(2, 4))
        name = f"SHV-{nr}"
        self.dossiers[name] = frozenset(told)
        if follow_ups is None:
            follow_ups = self._chance.choices([(), ("voortgang",), ("intrekking",), ("voortgang", "intrekking")],
                                              (12, 5, 2, 1))[0]  # fmt: skip
        messages = [self._message("kennisgeving", name, 1, _notice(nr, told))]
        for versie, soort in enumerate(follow_ups, start=2):
            messages.append(self._message(soort, name, versie, _FOLLOW_UP[soort]))
        return messages

    def _message(self, soort: str, dossier: str, versie: int, data: Mapping[str, Any]) -> Message:
        identifier = f"{self._number}-{len(self.addressed)}-{self._chance.randrange(10**9)}"
        event = {
            "specversion": "1.0",
            "type": f"nl.schuldhulpverlening.{soort}.v1",
            "source": SOURCE,
            "id": identifier,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "datacontenttype": "application/json",
            "data": {"gemeente": GEMEENTE, "dossierkenmerk": dossier, "versie": versie, **data},
        }
        self.addressed[identifier] = self.dossiers[dossier]
        return Message(identifier, dossier, versie, f"{GEMEENTE}.{soort}", json.dumps(event).encode())


_FOLLOW_UP: Mapping[str, Mapping[str, Any]] = {
    "voortgang": {"fase": "saldo_opgave_verzocht"},
    "intrekking": {"reden": "dubbel"},
}


def _notice(nr: int, creditors: Sequence[str]) -> dict[str, Any]:
    day = today()
    return {
        "toelating": {"datum": day},
        "pauze": {"ingangsdatum": day, "aantal": 4, "eenheid": "maanden"},
        "hulpvrager": {
            "voornamen": "Anna",
            "achternaam": NAME,
            "geboortedatum": "1987-03-14",
            "bsn": BSN,
            "adres": {"straat": ADDRESS, "huisnummer": 12, "postcode": "1015CN", "woonplaats": "Amsterdam"},
        },
        "contactpersoon": {"naam": "Team Schuldhulp"},
        "schuldeisers": [_claim(nr, creditor) for creditor in creditors],
    }


def _claim(nr: int, creditor: str) -> dict[str, Any]:
    claim = {"kenmerk": canary(nr, creditor), "soort": "energie"}
    return {"schuldeiser": creditor, "klantnummer": canary(nr, creditor), "vorderingen": [claim]}
