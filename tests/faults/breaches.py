"""Ways to spoil the logs of a round that was kept: each must turn the invariant red that it breaks."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        log.write("999990019\n")


BREACHES: Mapping[str, tuple[str, Spoil]] = {
    "a message that is not there": (
        "wat de broker bevestigde, is aangenomen of geweigerd",
        _sql("DELETE FROM message WHERE id = (SELECT min(id) FROM message)"),
    ),
    "an agent that nobody has": (
        "een kennisgeving heeft een bezorging voor wie zij noemt",
        _sql("UPDATE delivery SET agent_for = 'niemand' WHERE id = (SELECT min(id) FROM delivery)"),
    ),
    "a hand-over that nobody saw": (
        "wat afgeleverd heet, is gezien",
        _edited(SIGHTINGS, lambda line: None if "sighting" in line else line),
    ),
    "seen before it was meant": ("wat gezien is, was eerst voorgenomen", _sighting(at=1)),
    "other bytes": ("gezien is wat bevroren was", _sighting(digest="00")),
    "what is another's": ("niemand ziet iets van een ander", _sighting(canaries=["KAN1Zw-stilZ"])),
    "an attempt after a withdrawal": (
        "geen poging begint na de intrekking",
        _both(_edited(EVENTS, _withdrawn_long_ago), _edited(ROUND, _heard_long_ago)),
    ),
    "a decision that nobody took": (
        "elk besluit is door de schuldeiser genomen",
        _edited(SIGHTINGS, lambda line: None if "reply" in line else line),
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
    "a BSN in a log": ("niets persoonlijks in het log", _says_its_bsn),
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
