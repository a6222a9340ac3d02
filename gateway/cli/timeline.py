"""A dossier as a person reads it: per creditor what was sent, what happened to it, and what the creditor said."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw, Struct
from rich.text import Text
from rich.tree import Tree
from sqlalchemy import Connection

from gateway.core.agenda import Terms
from gateway.core.case import Case, Standing
from gateway.core.deadlines import AMSTERDAM
from gateway.core.lifecycle import IN_PROGRESS
from gateway.core.stand import dossier_coming, stand
from gateway.events import rfc3339
from gateway.http.records import (
    ComingLine,
    DeliveryDetail,
    DossierDetail,
    PauseLine,
    StandLine,
    answers_by_author,
    attempt_line,
    coming_lines,
    delivery_fields,
    message_line,
    stand_line,
)
from gateway.ledger import agenda, read
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
_ACTS = {"herhaling": "opnieuw verzenden", "herstel": "na een herstel in twijfel gezet",
         "vaststelling": "als aangekomen vastgelegd"}  # fmt: skip
_KINDS = {
    "receipt": "ontvangst bevestigd",
    "bounce": "teruggekomen",
    "human": "antwoord dat een mens moet lezen",
    "invalid": "antwoord dat niet aan het contract voldoet",
}


class Told(Struct, frozen=True):
    """One delivery with its attempts, its evidence and what people had done to it (rows of the ledger), and its answers
    by evidence id."""

    row: Any
    attempts: Sequence[Any]
    evidence: Sequence[Any]
    answers: Mapping[str, bytes]
    acts: Sequence[Any] = ()


class Story(Struct, frozen=True):
    """One dossier (rows of the ledger) with all its deliveries, how it stands, and whom it names in vain (tasks)."""

    dossier: Any
    messages: Sequence[Any]
    told: Sequence[Told]
    case: Case
    unknown: Sequence[Any]


class Look(Struct, frozen=True):
    """What it takes to say how a dossier stands: the moment (epoch µs), the terms, creditors' names by register id."""

    now: int
    terms: Terms
    names: Mapping[str, str]

    def name(self, creditor: str) -> str:
        return self.names.get(creditor, creditor)


def read_stories(connection: Connection, /, sealer: Sealer, **which: Any) -> list[Story]:
    """The dossiers that `ledger.read.dossiers` finds by `which`. Raises SealBroken."""
    rows = read.dossiers(connection, **which)
    ids = [row.id for row in rows]
    attempts = _by_delivery(read.attempts_of(connection, ids))
    evidence = _by_delivery(read.evidence_of(connection, ids))
    deliveries = read.deliveries_of(connection, ids)
    acts = _by_delivery(read.acts_on(connection, [row.id for row in deliveries]))
    unknown = read.unknown_creditors(connection, ids)
    told = defaultdict(list)
    for row in deliveries:
        told[row.dossier_id].append(opened(sealer, row, attempts[row.id], evidence[row.id], acts[row.id]))
    return [
        Story(
            row,
            read.messages_of(connection, row.id),
            told[row.id],
            agenda.case_of(connection, row.id) or Case(row.id, ()),
            [one for one in unknown if one.dossier_id == row.id],
        )
        for row in rows
    ]


def opened(
    sealer: Sealer, row: Any, attempts: Sequence[Any], evidence: Sequence[Any], acts: Sequence[Any] = ()
) -> Told:
    """Raises SealBroken."""
    answers = {
        one.id: sealer.open(row.key, one.answer, aad("evidence", one.id, "answer"))
        for one in evidence
        if one.answer is not None
    }
    return Told(row, attempts, evidence, answers, acts)


def delivery_record(told: Told) -> DeliveryDetail:
    """As `GET /v1/bezorgingen/<id>` gives it."""
    return DeliveryDetail(
        **delivery_fields(told.row),
        antwoorden=tuple(map(Raw, told.answers.values())),
        pogingen=tuple(map(attempt_line, told.attempts)),
    )


def dossier_record(story: Story, look: Look) -> DossierDetail:
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
        schuldeisers=tuple(_stands(story, look).values()),
        hierna=coming_lines(dossier_coming(story.case, look.now, look.terms)),
    )


def timeline(story: Story, look: Look) -> Tree:
    """The dossier, and per creditor how it stands, what comes next, and everything that happened."""
    row = story.dossier
    tree = Tree(Text(f"Dossier {row.kenmerk}, gemeente {row.gemeente}", style="bold"), guide_style="dim")
    for message in story.messages:
        state = "wacht op een ontbrekende versie" if message.hold_until is not None else "aangenomen"
        tree.add(_line(message.received_at, f"{message.soort} (versie {message.versie}) {state}"))
    for coming in coming_lines(dossier_coming(story.case, look.now, look.terms))[:1]:
        tree.add(_coming(coming))
    by_creditor = defaultdict(list)
    for told in story.told:
        by_creditor[told.row.creditor, told.row.agent_for].append(told)
    stands = _stands(story, look)
    for key, deliveries in sorted(by_creditor.items(), key=lambda item: _sort_key(item[0], look)):
        branch = tree.add(Text(_title(key, look), style="bold"))
        if key in stands:
            _add_stand(branch, stands[key], deliveries)
        for told in deliveries:
            add_delivery(branch, told)
    for one in story.unknown:
        branch = tree.add(Text(f"{one.creditor}, niet in het register", style="bold"))
        branch.add(_line(one.created_at, f"{in_words(one.soort)}: {_task(one)}", style="red"))
    return tree


def _task(one: Any) -> str:
    return "taak in de werkbak" if one.closed_at is None else "taak afgehandeld"


def _stands(story: Story, look: Look) -> dict[tuple[str, str | None], StandLine]:
    """By creditor, and for whom it acts."""
    raw = [
        (one.received_at, (told.row.creditor, told.row.agent_for), told.answers[one.id])
        for told in story.told
        for one in told.evidence
        if one.id in told.answers
    ]
    answers = answers_by_author((author, text) for _, author, text in sorted(raw, key=itemgetter(0)))
    lines = [stand_line(one, answers) for one in stand(story.case, look.now, look.terms)]
    return {(one.schuldeiser, one.namens): one for one in lines}


def _title(key: tuple[str, str | None], look: Look) -> str:
    creditor, agent_for = key
    return look.name(creditor) + (f", namens {look.name(agent_for)}" if agent_for else "")


def _add_stand(branch: Tree, one: StandLine, deliveries: Iterable[Told]) -> None:
    """How it stands, what comes next, and what a person still has to do."""
    hopes = one.stand == Standing.NOT_TOLD and any(told.row.state in IN_PROGRESS for told in deliveries)
    style = "green" if one.stand == Standing.PAUSED else "yellow"
    branch.add(Text("nog " * hopes + in_words(one.stand), style=style))
    for pause in one.pauzes:
        branch.add(Text(pause_in_words(pause)))
    for claim in one.vorderingen:
        said = msgspec.json.decode(claim)
        branch.add(Text(f"vordering {said['kenmerk']}: {answer_in_words(said)}"))
    for coming in one.hierna[:1]:
        branch.add(_coming(coming))
    for kind in one.taken:
        branch.add(Text(f"taak in de werkbak: {in_words(kind)}", style="red"))


def _coming(coming: ComingLine) -> Text:
    at = (datetime.fromisoformat(coming.tijdstip) - _EPOCH) // timedelta(microseconds=1)
    return _line(at, f"hierna: {in_words(coming.wat)}", style="cyan")


def pause_in_words(pause: PauseLine) -> str:
    """`pauze van 23-11-2026 tot en met 22-07-2027 (convenant)`; `pauze gevraagd tot en met 22-03-2027 (verzoek)`"""
    about = f" voor {', '.join(pause.soorten)}" if pause.soorten else ""
    ground = "convenant" if pause.bindend else "verzoek"
    asked, paused = _day(pause.gevraagd_tot_en_met), pause.gepauzeerd_tot_en_met
    if paused is None:
        return f"pauze{about} gevraagd tot en met {asked} ({ground})"
    more = "" if paused == pause.gevraagd_tot_en_met else f", gevraagd tot en met {asked}"
    return f"pauze{about} van {_day(pause.ingangsdatum)} tot en met {_day(paused)} ({ground}){more}"


def add_delivery(tree: Tree, told: Told) -> None:
    row = told.row
    branch = tree.add(_line(row.created_at, f"{row.soort} (versie {row.versie}): {in_words(row.state)}"))
    for at, text in sorted([*_attempts(told), *_evidence(told), *_acts(told)]):
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


def _acts(told: Told) -> Iterator[tuple[int, str]]:
    for one in told.acts:
        what = _ACTS.get(one.kind, one.kind) + " gevraagd" * (one.before is None)
        others = f", bevestigd door {one.done_by}" if one.done_by and one.done_by != one.asked_by else ""
        yield one.done_at or one.asked_at, f"{what} door {one.asked_by}{others}: {one.reason}"


def _line(at: int, text: str, style: str = "") -> Text:
    moment = (_EPOCH + timedelta(microseconds=at)).astimezone(AMSTERDAM)
    return Text.assemble((f"{moment:%d-%m-%Y %H:%M:%S}", "dim"), "  ", (text, style))


def _day(iso: str) -> str:
    return f"{date.fromisoformat(iso):%d-%m-%Y}"


def _sort_key(key: tuple[str, str | None], look: Look) -> tuple[str, bool, str]:
    """Creditors by name, each followed by its agents."""
    creditor, agent_for = key
    return look.name(agent_for or creditor).casefold(), agent_for is not None, look.name(creditor).casefold()


def _by_delivery(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.delivery_id].append(row)
    return found
