"""A dossier as a person reads it: per creditor what was sent, what happened to it, and what the creditor said."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct
from rich.text import Text
from rich.tree import Tree
from sqlalchemy import Connection

from gateway.core.deadlines import AMSTERDAM
from gateway.events import rfc3339
from gateway.http.records import DeliveryDetail, DossierDetail, attempt_line, delivery_fields, message_line
from gateway.ledger import read
from gateway.seal import Sealer, aad

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES = {
    "overgedragen": "afgeleverd",
    "uitgesteld": "uitgesteld",
    "tijdelijk": "mislukt, wordt herhaald",
    "geweigerd": "geweigerd",
    "eigen_fout": "fout aan onze kant",
    "onzeker": "onzeker",
}
_KINDS = {
    "receipt": "ontvangst bevestigd",
    "bounce": "teruggekomen",
    "human": "antwoord dat een mens moet lezen",
    "invalid": "antwoord dat niet aan het contract voldoet",
}


class Told(Struct, frozen=True):
    """One delivery with its attempts and its evidence (rows of the ledger), and its answers by evidence id."""

    row: Any
    attempts: Sequence[Any]
    evidence: Sequence[Any]
    answers: Mapping[str, bytes]


class Story(Struct, frozen=True):
    """One dossier (rows of the ledger) with all its deliveries."""

    dossier: Any
    messages: Sequence[Any]
    told: Sequence[Told]


def read_stories(connection: Connection, /, sealer: Sealer, **which: Any) -> list[Story]:
    """The dossiers that `ledger.read.dossiers` finds by `which`. Raises SealBroken."""
    rows = read.dossiers(connection, **which)
    ids = [row.id for row in rows]
    attempts = _by_delivery(read.attempts_of(connection, ids))
    evidence = _by_delivery(read.evidence_of(connection, ids))
    told = defaultdict(list)
    for row in read.deliveries_of(connection, ids):
        told[row.dossier_id].append(opened(sealer, row, attempts[row.id], evidence[row.id]))
    return [Story(row, read.messages_of(connection, row.id), told[row.id]) for row in rows]


def opened(sealer: Sealer, row: Any, attempts: Sequence[Any], evidence: Sequence[Any]) -> Told:
    """Raises SealBroken."""
    answers = {
        one.id: sealer.open(row.key, one.answer, aad("evidence", one.id, "answer"))
        for one in evidence
        if one.answer is not None
    }
    return Told(row, attempts, evidence, answers)


def delivery_record(told: Told) -> DeliveryDetail:
    """As `GET /v1/bezorgingen/<id>` gives it."""
    return DeliveryDetail(
        **delivery_fields(told.row),
        antwoorden=tuple(map(Raw, told.answers.values())),
        pogingen=tuple(map(attempt_line, told.attempts)),
    )


def dossier_record(story: Story) -> DossierDetail:
    """As `GET /v1/dossiers/<id>` gives it, with every delivery in full."""
    row = story.dossier
    return DossierDetail(
        id=row.id,
        gemeente=row.gemeente,
        dossierkenmerk=row.kenmerk,
        versie=row.versie,
        tijdstip=rfc3339(row.created_at),
        berichten=tuple(map(message_line, story.messages)),
        bezorgingen=tuple(map(delivery_record, story.told)),
    )


def timeline(story: Story, names: Mapping[str, str]) -> Tree:
    """`names`: of creditors, by register id."""
    row = story.dossier
    tree = Tree(Text(f"Dossier {row.kenmerk}, gemeente {row.gemeente}", style="bold"), guide_style="dim")
    for message in story.messages:
        state = "wacht op een ontbrekende versie" if message.hold_until is not None else "aangenomen"
        tree.add(_line(message.received_at, f"{message.soort} (versie {message.versie}) {state}"))
    by_creditor = defaultdict(list)
    for told in story.told:
        by_creditor[told.row.creditor, told.row.agent_for].append(told)
    for (creditor, agent_for), deliveries in sorted(by_creditor.items(), key=lambda item: _sort_key(item[0], names)):
        ending = f", namens {names.get(agent_for, agent_for)}" if agent_for else ""
        branch = tree.add(Text(f"{names.get(creditor, creditor)}{ending}", style="bold"))
        for told in deliveries:
            add_delivery(branch, told)
    return tree


def add_delivery(tree: Tree, told: Told) -> None:
    row = told.row
    branch = tree.add(Text(f"{row.soort} (versie {row.versie}): {in_words(row.state)}"))
    for at, text in sorted([*_attempts(told), *_evidence(told)]):
        branch.add(_line(at, text))


def in_words(name: str) -> str:
    """`afgeleverd_zonder_antwoord` → `afgeleverd zonder antwoord`"""
    return name.replace("_", " ")


def answer_in_words(answer: Mapping[str, Any]) -> str:
    """`pauze ingesteld tot en met 22-07-2027 (reden)`"""
    words = [in_words(answer["soort"])]
    if "naar" in answer:
        words.append(f"aan {answer['naar']}")
    if "totEnMet" in answer:
        words.append(f"tot en met {_day(answer['totEnMet'])}")
    if "reden" in answer:
        words.append(f"({answer['reden']})")
    claims = [f"{claim['kenmerk']} {answer_in_words(claim)}" for claim in answer.get("vorderingen", ())]
    return " ".join(words) + (": " + "; ".join(claims) if claims else "")


def _attempts(told: Told) -> Iterator[tuple[int, str]]:
    for one in told.attempts:
        outcome = "onderweg" if one.outcome is None else _OUTCOMES.get(one.outcome, one.outcome)
        code = f" ({one.code})" if one.code else ""
        yield one.started_at, f"poging {one.nr} via {one.channel}: {outcome}{code}"


def _evidence(told: Told) -> Iterator[tuple[int, str]]:
    for one in told.evidence:
        if one.id in told.answers:
            yield one.received_at, f"antwoord: {answer_in_words(msgspec.json.decode(told.answers[one.id]))}"
        else:
            yield one.received_at, _KINDS.get(one.kind, one.kind)


def _line(at: int, text: str) -> Text:
    moment = (_EPOCH + timedelta(microseconds=at)).astimezone(AMSTERDAM)
    return Text.assemble((f"{moment:%d-%m-%Y %H:%M:%S},{moment.microsecond // 1000:03d}", "dim"), f"  {text}")


def _day(iso: str) -> str:
    return f"{date.fromisoformat(iso):%d-%m-%Y}"


def _sort_key(key: tuple[str, str | None], names: Mapping[str, str]) -> tuple[str, str]:
    creditor, agent_for = key
    return names.get(creditor, creditor).casefold(), agent_for or ""


def _by_delivery(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.delivery_id].append(row)
    return found
