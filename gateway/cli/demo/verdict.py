"""Whether everything that was promised happened: dossiers, ledger, creditors' own logs and events side by side."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from gateway.cli.demo.play import Progress
from gateway.cli.demo.stage import Stage
from gateway.cli.timeline import Story, Told
from gateway.sandbox.creditors import Receipt
from gateway.sandbox.dossiers import Dossier

VERSIONS = {"kennisgeving": 1, "voortgang": 2}
Addressed = tuple[str, str, str, str | None]
"""(dossier, soort, creditor, the creditor it acts for)"""


def missing(stage: Stage, stories: Iterable[Story], progress: Progress) -> list[str]:
    """What is not as it should be, one line each; empty: every delivery and every answer is accounted for."""
    told = [one for story in stories for one in story.told]
    return [
        *_not_made(stage, told),
        *_not_received(told, stage.creditors.receipts()),
        *_not_recorded(stage, told),
        *_not_told(told, progress),
        *(f"geweigerd door een schuldeiser: {why}" for why in stage.creditors.refused),
        *(f"geweigerd door de gateway: {why}" for why in progress.refused),
    ]


def addressed(stage: Stage, dossiers: Iterable[Dossier]) -> set[Addressed]:
    """Who must be told what: each creditor, its agents on its behalf, of the kennisgeving and of the voortgang."""
    agents: Mapping[str, list[str]] = {entry.id: entry.table.get("vertegenwoordigers", []) for entry in stage.entries}
    found: set[Addressed] = set()
    for dossier in dossiers:
        for creditor in dossier.creditors:
            for soort in VERSIONS:
                found.add((dossier.reference, soort, creditor, None))
                found |= {(dossier.reference, soort, agent, creditor) for agent in agents[creditor]}
    return found


def _not_made(stage: Stage, told: Iterable[Told]) -> Iterator[str]:
    made = {(one.row.kenmerk, one.row.soort, one.row.creditor, one.row.agent_for) for one in told}
    due = addressed(stage, stage.dossiers)
    for dossier, soort, creditor, _ in sorted(due - made, key=str):
        yield f"{dossier}: geen {soort} voor {creditor}"
    for dossier, soort, creditor, _ in sorted(made - due, key=str):
        yield f"{dossier}: een {soort} te veel voor {creditor}"


def _not_received(told: Iterable[Told], receipts: Mapping[str, set[Receipt]]) -> Iterator[str]:
    """A creditor must have got exactly the bytes that were frozen, and nobody else anything of them."""
    for one in told:
        frozen = {(one.row.creditor, attempt.digest.hex()) for attempt in one.attempts}
        arrived = receipts.get(one.row.id, set())
        if not arrived:
            yield f"{_name(one)}: niet ontvangen ({one.row.state})"
        elif not arrived <= frozen:
            yield f"{_name(one)}: andere inhoud of schuldeiser dan vastgelegd"


def _not_recorded(stage: Stage, told: Iterable[Told]) -> Iterator[str]:
    """Every creditor that answers has answered, and the ledger has that answer as its decision."""
    answering = {entry.id for entry in stage.entries if entry.does_answer}
    given = stage.creditors.given
    for one in told:
        decision = given.get(one.row.id)
        if decision is None and one.row.soort == "kennisgeving" and one.row.creditor in answering:
            yield f"{_name(one)}: geen antwoord gegeven"
        elif decision != one.row.decision:
            yield f"{_name(one)}: antwoord {decision} is niet vastgelegd ({one.row.decision})"
        elif decision is not None and not one.answers:
            yield f"{_name(one)}: geen bewijs van het antwoord"


def _not_told(told: Iterable[Told], progress: Progress) -> Iterator[str]:
    """The sender heard of every hand-over and of every answer."""
    for one in told:
        if one.row.id not in progress.handed_over:
            yield f"{_name(one)}: geen gebeurtenis bezorging-afgeleverd"
        if one.row.decision is not None and one.row.id not in progress.answered:
            yield f"{_name(one)}: geen gebeurtenis antwoord-ontvangen"


def _name(one: Told) -> str:
    return f"{one.row.kenmerk} {one.row.soort} aan {one.row.creditor} via {one.row.channel}"


def by_creditor(stories: Iterable[Story]) -> dict[str, list[Told]]:
    """Deliveries by who got them."""
    found: dict[str, list[Told]] = defaultdict(list)
    for story in stories:
        for one in story.told:
            found[one.row.creditor].append(one)
    return found
