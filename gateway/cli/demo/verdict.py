"""Whether everything that was promised happened: dossiers, ledger, creditors' own logs and events side by side."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from gateway.cli.demo.play import Progress
from gateway.cli.demo.stage import Stage
from gateway.cli.timeline import Story, Told
from gateway.sandbox.creditors import Receipt
from gateway.sandbox.dossiers import Dossier
from gateway.sandbox.register import Entry

SOORTEN = ("kennisgeving", "voortgang")
Addressed = tuple[str, str, str, str | None]
"""(dossier, soort, creditor, the creditor it acts for)"""


class Account(Struct, frozen=True):
    """What each party says about the same deliveries."""

    due: AbstractSet[Addressed]
    """By dossiers and register."""
    answering: AbstractSet[str]
    """Creditors that answer a kennisgeving."""
    told: Sequence[Told]
    """By the ledger."""
    receipts: Mapping[str, AbstractSet[Receipt]]
    """By the creditors' logs, per delivery."""
    given: Mapping[str, str]
    """By the creditors: delivery → decision."""
    refused: Sequence[str]
    """By the creditors: what they would not take, and why."""
    progress: Progress
    """By the events that the sender got."""


def account_of(stage: Stage, stories: Iterable[Story], progress: Progress) -> Account:
    return Account(
        due=addressed(stage.entries, stage.dossiers),
        answering={entry.id for entry in stage.entries if entry.does_answer},
        told=[one for story in stories for one in story.told],
        receipts=stage.creditors.receipts(),
        given=stage.creditors.given,
        refused=stage.creditors.refused,
        progress=progress,
    )


def missing(account: Account) -> list[str]:
    """What is not as it should be, one line each; empty: every delivery and every answer is accounted for."""
    return [
        *_not_made(account),
        *_not_received(account),
        *_not_recorded(account),
        *_not_heard_of(account),
        *(f"geweigerd door een schuldeiser: {why}" for why in account.refused),
        *(f"geweigerd door de gateway: {why}" for why in account.progress.refused),
    ]


def addressed(entries: Iterable[Entry], dossiers: Iterable[Dossier]) -> set[Addressed]:
    """Who must be told what: each creditor, its agents on its behalf, of the kennisgeving and of the voortgang."""
    agents: Mapping[str, list[str]] = {entry.id: entry.table.get("vertegenwoordigers", []) for entry in entries}
    found: set[Addressed] = set()
    for dossier in dossiers:
        for creditor in dossier.creditors:
            for soort in SOORTEN:
                found.add((dossier.reference, soort, creditor, None))
                found |= {(dossier.reference, soort, agent, creditor) for agent in agents[creditor]}
    return found


def _not_made(account: Account) -> Iterator[str]:
    made = {(one.row.kenmerk, one.row.soort, one.row.creditor, one.row.agent_for) for one in account.told}
    for dossier, soort, creditor, _ in sorted(account.due - made, key=str):
        yield f"{dossier}: geen {soort} voor {creditor}"
    for dossier, soort, creditor, _ in sorted(made - account.due, key=str):
        yield f"{dossier}: een {soort} te veel voor {creditor}"


def _not_received(account: Account) -> Iterator[str]:
    """A creditor must have got exactly the bytes that were frozen, and nobody else anything of them."""
    for one in account.told:
        frozen = {(one.row.creditor, attempt.digest.hex()) for attempt in one.attempts}
        arrived = account.receipts.get(one.row.id, set())
        if not arrived:
            yield f"{_name(one)}: niet ontvangen ({one.row.state})"
        elif not arrived <= frozen:
            yield f"{_name(one)}: andere inhoud of schuldeiser dan vastgelegd"


def _not_recorded(account: Account) -> Iterator[str]:
    """Every creditor that answers has answered, and the ledger has that answer as its decision."""
    for one in account.told:
        decision = account.given.get(one.row.id)
        if decision is None and one.row.soort == "kennisgeving" and one.row.creditor in account.answering:
            yield f"{_name(one)}: geen antwoord gegeven"
        elif decision != one.row.decision:
            yield f"{_name(one)}: antwoord {decision} is niet vastgelegd ({one.row.decision})"
        elif decision is not None and not one.answers:
            yield f"{_name(one)}: geen bewijs van het antwoord"


def _not_heard_of(account: Account) -> Iterator[str]:
    """The sender heard of every hand-over and of every answer."""
    for one in account.told:
        if one.row.id not in account.progress.handed_over:
            yield f"{_name(one)}: geen gebeurtenis bezorging-afgeleverd"
        if one.row.decision != account.progress.answered.get(one.row.id):
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
