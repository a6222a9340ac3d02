"""Ways to spoil the logs of a round that was kept: each must turn the invariant red that it breaks."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.load import BSN, NAME
from tests.faults.saved import EVENTS, ROUND, SIGHTINGS, judged

Spoil = Callable[[Path], None]


def _sql(statement: str) -> Spoil:
    def spoil(directory: Path) -> None:
        with sqlite3.connect(directory / "ledger.db") as ledger:
            assert ledger.execute(statement).rowcount > 0, statement
        ledger.close()

    return spoil


def _edited(name: str, edit: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Spoil:
    """Each line of JSON as `edit` has it; None: without it."""

    def spoil(directory: Path) -> None:
        path = directory / name
        before = [json.loads(line) for line in path.read_text().splitlines()]
        after = [edited for line in before if (edited := edit(line)) is not None]
        assert after != before, name
        path.write_text("".join(json.dumps(line) + "\n" for line in after))

    return spoil


def _sighting(**changes: Any) -> Spoil:
    return _edited(SIGHTINGS, lambda line: {"sighting": line["sighting"] | changes} if "sighting" in line else line)


def _both(*spoils: Spoil) -> Spoil:
    def spoil(directory: Path) -> None:
        for one in spoils:
            one(directory)

    return spoil


def _about_another(event: dict[str, Any]) -> dict[str, Any]:
    if event["type"].split(".")[2] != "bezorging-afgeleverd":
        return event
    return event | {"data": event["data"] | {"bezorging": "een andere"}}


def _withdrawn_long_ago(event: dict[str, Any]) -> dict[str, Any]:
    """A hand-over that is told as a withdrawal."""
    said = event["type"].replace(".bezorging-afgeleverd.", ".bezorging-ingetrokken.")
    return event | {"type": said}


def _heard_long_ago(kept: dict[str, Any]) -> dict[str, Any]:
    return kept | {"heard": dict.fromkeys(kept["heard"], 1)}


def _says_its_bsn(directory: Path) -> None:
    with (directory / "a.log").open("a") as log:
        log.write(f"{BSN}\n")


BREACHES: Mapping[str, tuple[str, Spoil]] = {
    "a message that is not there": (
        "wat de broker bevestigde, is aangenomen of geweigerd",
        _sql("DELETE FROM message WHERE id = (SELECT min(id) FROM message)"),
    ),
    "an agent that nobody has": (
        "een bericht heeft een bezorging voor wie het is, en voor niemand anders",
        _sql("UPDATE delivery SET agent_for = 'niemand' WHERE id = (SELECT min(id) FROM delivery)"),
    ),
    "progress for somebody else": (
        "een bericht heeft een bezorging voor wie het is, en voor niemand anders",
        _sql("UPDATE delivery SET creditor = 'w-vreemd' WHERE soort = 'voortgang'"),
    ),
    "a withdrawal that forgets somebody": (
        "een bericht heeft een bezorging voor wie het is, en voor niemand anders",
        _both(
            _sql("UPDATE message SET soort = 'intrekking'"),
            _sql("UPDATE delivery SET message_id = 'x' WHERE id = (SELECT min(id) FROM delivery)"),
        ),
    ),
    "a message in the queue": ("de wachtrijen zijn leeg", _edited(ROUND, lambda kept: kept | {"parked": 1})),
    "a hand-over that nobody saw": (
        "wat afgeleverd heet, is gezien",
        _edited(SIGHTINGS, lambda line: None if "sighting" in line else line),
    ),
    "seen before it was meant": ("wat gezien is, was eerst voorgenomen", _sighting(at=1)),
    "versions backwards": ("voor het eerst gezien op volgorde", _sql("UPDATE delivery SET versie = 10 - versie")),
    "other bytes": ("gezien is wat bevroren was", _sighting(digest="00")),
    "what is another's": ("niemand ziet iets van een ander", _sighting(canaries=["KAN1Zw-stilZ"])),
    "an attempt after a withdrawal": (
        "geen poging begint na de intrekking",
        _both(_edited(EVENTS, _withdrawn_long_ago), _edited(ROUND, _heard_long_ago)),
    ),
    "an attempt at what a withdrawal forgot": (
        "geen poging begint na de intrekking",
        _both(_sql("UPDATE message SET soort = 'intrekking'"), _edited(ROUND, _heard_long_ago)),
    ),
    "an answer that was taken and is not there": (
        "een aangenomen antwoord is vastgelegd",
        _sql("DELETE FROM evidence"),
    ),
    "a decision that counts twice": (
        "elk besluit staat niet vaker vast dan het genomen is",
        _sql(
            "INSERT INTO evidence SELECT id || 'x', delivery_id, creditor, channel, kind, soort, source || 'x', digest,"
            " raw, answer, received_at FROM evidence WHERE kind = 'answer' AND soort <> 'ontvangen'"
        ),
    ),
    "a decision that nobody took": (
        "elk besluit is door de schuldeiser genomen",
        _edited(SIGHTINGS, lambda line: None if "reply" in line else line),
    ),
    "events that never came": (
        "de afzender kreeg elke gebeurtenis, en geen andere",
        _edited(EVENTS, lambda event: None if ".bezorging-afgeleverd." in event["type"] else event),
    ),
    "an event that came again as another": (
        "de afzender kreeg elke gebeurtenis, en geen andere",
        _edited(ROUND, lambda kept: kept | {"altered": ["een"]}),
    ),
    "events about the wrong delivery": (
        "elke verandering is één keer gemeld, over de juiste bezorging",
        _edited(EVENTS, _about_another),
    ),
    "a dossier that is complete in silence": (
        "een dossier dat volledig is, is één keer zo gemeld",
        _edited(EVENTS, lambda event: None if ".dossier-volledig." in event["type"] else event),
    ),
    "a retry that counted twice": (
        "wat opnieuw gebeurde nadat een antwoord op COMMIT verloren ging, telt één keer",
        _both(_edited(ROUND, lambda kept: kept | {"commits_lost": 1}), _sql("UPDATE delivery SET tries = tries + 1")),
    ),
    "a hole in the feed": (
        "wat opnieuw gebeurde nadat een antwoord op COMMIT verloren ging, telt één keer",
        _both(
            _edited(ROUND, lambda kept: kept | {"commits_lost": 1}),
            _sql("UPDATE outbox SET nr = nr + 1 WHERE nr = (SELECT max(nr) FROM outbox)"),
        ),
    ),
    "a BSN in a log": ("niets persoonlijks of geheims in log of bestandsnaam", _says_its_bsn),
    "an answer token in the name of a file": (
        "niets persoonlijks of geheims in log of bestandsnaam",
        _edited(ROUND, lambda kept: kept | {"names": [*kept["secrets"]]}),
    ),
    "a name in an event": (
        "niets persoonlijks in een gebeurtenis",
        _edited(EVENTS, lambda event: event | {"data": event["data"] | {"melding": NAME}}),
    ),
    "a delivery under way": ("alles is klaar", _sql("UPDATE delivery SET state = 'bezig'")),
    "a delivery given up": ("niets is opgegeven", _sql("UPDATE delivery SET state = 'mislukt'")),
}


async def unseen(directory: Path, copies: Path) -> list[str]:
    """Those of BREACHES that a round on SQLite, sound in itself, can have without what they break turning red."""
    missed = []
    for nr, (breach, (what, spoil)) in enumerate(BREACHES.items()):
        copy = copies / str(nr)
        shutil.copytree(directory, copy)
        spoil(copy)
        found = await judged(copy, f"sqlite:///{copy / 'ledger.db'}")
        if what not in {finding.what for finding in found if finding.broken}:
            missed.append(breach)
    return missed
