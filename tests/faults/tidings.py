"""I15, event by event: what the sender got, held against the changes on record that the contract names.

`check --ledger` can only count events, for what they say is sealed. Here the sender's own copies are at hand, so that
each change is held against the event about this very delivery, message or dossier.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select, text

from gateway.core.lifecycle import Happening, State
from gateway.ledger import schema
from tests.flow.outside.verdict import Event, name

Tiding = tuple[str, str]
"""(name of the event, what it is about: delivery, id of the message, or dossier with stand and version)"""

_HANDED_OVER = (Happening.HANDED_OVER, Happening.HANDED_OVER_FINAL)
_RECEIVED = (Happening.RECEIPT, Happening.RECEIPT_FINAL)
_DECIDED = (Happening.CONFIRMING_ANSWER, Happening.REFUSING_ANSWER)
_ASKING = ("kennisgeving", "herinnering")


class Owed(Struct, frozen=True):
    """`must`: how often each is to be told; `may`: what may be told besides."""

    must: Counter[Tiding]
    may: Counter[Tiding]


def owed(connection: Connection) -> Owed:
    """By the changes on record."""
    read = connection.execute
    step, message, mark, dossier = schema.transition.c, schema.message.c, schema.milestone.c, schema.dossier.c
    soort = {row.id: row.soort for row in read(select(schema.delivery.c.id, schema.delivery.c.soort))}
    must, may = _of_steps(read(select(schema.transition).order_by(step.nr)), soort)
    must.update(
        ("bericht-geaccepteerd", id_)
        for id_ in read(select(message.event_id).where(message.hold_until.is_(None))).scalars()
    )
    must.update(("bericht-geweigerd", str(id_)) for id_ in read(select(schema.refusal.c.event_id)).scalars())
    decisions = text("SELECT delivery_id FROM evidence WHERE kind = 'answer' AND soort <> 'ontvangen'")
    must.update(("antwoord-ontvangen", id_) for id_ in read(decisions).scalars())
    marks = read(select(mark.name, mark.subject, dossier.kenmerk).join(schema.dossier, dossier.id == mark.dossier_id))
    must.update(tiding for row in marks if (tiding := _of_mark(row)))
    return Owed(must, may)


def _of_steps(steps: Iterable[Any], soort: Mapping[str, str]) -> tuple[Counter[Tiding], Counter[Tiding]]:
    must, may = Counter[Tiding](), Counter[Tiding]()
    known: set[str] = set()
    """Deliveries that the creditor has, by proof."""
    for row in steps:
        id_ = row.delivery_id
        if row.happening in _HANDED_OVER and row.before != State.WITHDRAWN:
            must["bezorging-afgeleverd", id_] += 1
        if row.after == State.WITHDRAWN != row.before:
            must["bezorging-ingetrokken", id_] += 1
        if row.after == State.FAILED != row.before:
            must["bezorging-mislukt", id_] += 1
        if row.happening in _RECEIVED and id_ not in known:
            (must if soort.get(id_) in _ASKING else may)["ontvangst-bevestigd", id_] += 1
        if row.happening in (*_RECEIVED, *_DECIDED):
            known.add(id_)
    return must, may


def _of_mark(row: Any) -> Tiding | None:
    if row.name in ("antwoord-verlopen", "bezorging-vertraagd"):
        return row.name, row.subject
    return ("dossier-volledig", f"{row.kenmerk} {row.subject}") if row.name == "dossier-volledig" else None


def complete(connection: Connection) -> Counter[Tiding]:
    """Of dossiers that nobody has to look at any more and that were not withdrawn: that every creditor has the latest
    kennisgeving."""
    query = text("""
SELECT kenmerk, max(delivery.versie) AS versie FROM dossier JOIN delivery ON dossier_id = dossier.id
WHERE soort = 'kennisgeving' AND withdrawn_at IS NULL AND agent_for IS NULL
AND NOT EXISTS (SELECT 1 FROM nudge WHERE nudge.dossier_id = dossier.id)
GROUP BY kenmerk HAVING min(CASE WHEN state IN ('afgeleverd', 'ontvangen', 'bevestigd', 'geweigerd',
    'afgeleverd_zonder_antwoord') THEN 1 ELSE 0 END) = 1""")
    rows = connection.execute(query)
    return Counter({("dossier-volledig", f"{row.kenmerk} bezorgd {row.versie}"): 1 for row in rows})


def told(events: Iterable[Event]) -> Counter[Tiding]:
    """What the sender got, of what `owed` knows."""
    return Counter((name(event), _subject(name(event), event["data"])) for event in events)


def _subject(event: str, data: Mapping[str, Any]) -> str:
    if event in ("bericht-geaccepteerd", "bericht-geweigerd"):
        return str(data["bericht"]["id"])
    if event == "dossier-volledig":
        return f"{data['dossierkenmerk']} {data['stand']} {data['versie']}"
    return str(data.get("bezorging", data.get("dossierkenmerk")))


def amiss(owes: Owed, got: Counter[Tiding]) -> list[str]:
    """What was told less or more often than it is owed."""
    names = {event for event, _ in (*owes.must, *owes.may)} | {"bezorging-mislukt", "bezorging-ingetrokken"}
    heard = {tiding: number for tiding, number in got.items() if tiding[0] in names}
    return [
        f"{event} over {about}: {heard.get((event, about), 0)} keer"
        for event, about in {*owes.must, *heard}
        if not owes.must[event, about]
        <= heard.get((event, about), 0)
        <= owes.must[event, about] + owes.may[event, about]
    ]
