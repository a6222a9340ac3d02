"""I9 from outside: after a withdrawal is committed no attempt begins, whatever the ledger says of its intent.

The ledger names an instant before the commit, and a commit may wait for others. It is over for certain when the sender
hears of it, so that is what counts. An attempt on record is an intent; it may wait in its lane's line after that. When
it really began is in the gateway's log, a line per attempt with its end and how long it took; of one that was killed
half-way there is no line, only what the creditor saw. An attempt that began before the withdrawal may end after it, and
be seen after it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from gateway.core.lane import SECOND
from tests.faults.books import Books, Witness
from tests.faults.sightings import Sighting
from tests.flow.outside.verdict import name

MARGIN = 2 * SECOND
"""µs. What has waited for less than half a second in its line is started without a look whether another gateway took a
withdrawal (gateway/dispatch/sending.py); the rest is for a machine that is busy."""
LONGEST = 4 * SECOND
"""µs that one attempt may take: twice `antwoord_binnen` of the campaign."""
GRAIN = SECOND
"""µs by which clock and log may differ on what belongs together."""


class Begun(Struct, frozen=True):
    """An attempt that ended, by the log of its gateway; instants in epoch µs."""

    delivery: str
    channel: str
    nr: int
    at: int
    ended: int


def begun(logs: bytes) -> list[Begun]:
    """Every attempt of which the gateways' logs tell; a line that a kill tore is none."""
    found = []
    for line in logs.splitlines():
        if b'"attempt"' in line:
            try:
                said: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            ended = int(datetime.fromisoformat(said["tijd"]).timestamp() * SECOND)
            took = said["duur_ms"] * SECOND // 1000
            found.append(Begun(said["bezorging"], said["kanaal"], said["poging"], ended - took, ended))
    return found


def heard_of(books: Books, witness: Witness) -> dict[str, int]:
    """Delivery id → when the sender heard that it is never sent any more: that it is withdrawn itself, or that the
    withdrawal of its dossier was accepted, which counts for all that was sent before, whatever became of it."""
    withdrawn_by = {one.event_id: one.dossier_id for one in books.messages if one.soort == "intrekking"}
    overtaken: defaultdict[str, list[str]] = defaultdict(list)
    for id_, one in books.deliveries.items():
        if one.soort != "intrekking":
            overtaken[one.dossier_id].append(id_)
    found: dict[str, int] = {}
    for id_, event in sorted(witness.events.items(), key=lambda told: witness.heard[told[0]]):
        at = witness.heard[id_]
        match name(event):
            case "bezorging-ingetrokken":
                found.setdefault(str(event["data"]["bezorging"]), at)
            case "bericht-geaccepteerd":
                dossier = withdrawn_by.get(event["data"]["bericht"]["id"], "")
                found |= {delivery: at for delivery in overtaken[dossier] if delivery not in found}
            case _:
                pass
    return found


def begun_too_late(
    withdrawn: Mapping[str, int], attempts: Iterable[Begun], seen: Iterable[Sighting], still: float = 0.0
) -> tuple[int, list[str]]:
    """Of the deliveries `withdrawn` (id → when that was heard, epoch µs): how many attempts and sightings there were,
    and those that came too late. `still`: seconds for which a gateway was stopped, perhaps just before it began."""
    latest = {id_: at + MARGIN + int(still * SECOND) for id_, at in withdrawn.items()}
    mine = [one for one in attempts if one.delivery in latest]
    known: defaultdict[str, list[Begun]] = defaultdict(list)
    for one in mine:
        known[one.delivery].append(one)
    sightings = [one for one in seen if one.delivery in latest]
    late = [f"{one.delivery} poging {one.nr}" for one in mine if one.at > latest[one.delivery]]
    return len(mine) + len(sightings), [*late, *_seen_too_late(latest, known, sightings)]


def _seen_too_late(
    latest: Mapping[str, int], known: Mapping[str, list[Begun]], seen: Iterable[Sighting]
) -> Iterator[str]:
    """No attempt that began in time can have brought it."""
    for one in seen:
        last = latest[one.delivery]
        if one.at <= last + LONGEST:
            continue
        if not any(it.at <= last and one.at <= it.ended + GRAIN for it in known.get(one.delivery, ())):
            yield f"{one.delivery} gezien"
