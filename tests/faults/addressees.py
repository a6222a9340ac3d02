"""I2, I8: every message goes to whom it is for, all of them and nobody else, and says nothing of another."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from tests.faults.books import Books, Witness
from tests.faults.creditors import AGENTS

Key = tuple[str, str]
"""(who gets it, for whom as an agent or "")"""


def as_addressed(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """One delivery for everybody in the dossier; a withdrawal only for who may have the kennisgeving, and for all who
    saw it."""
    told: defaultdict[str, list[Key]] = defaultdict(list)
    for one in books.deliveries.values():
        if one.soort != "herinnering":
            told[one.message_id].append((one.creditor, one.agent_for or ""))
    saw = _who_saw(books, witness)
    messages = [one for one in books.messages if one.event_id in witness.addressed]
    return len(messages), (
        one.event_id
        for one in messages
        if not _agree(one.soort, told[one.id], _addressees(witness.addressed[one.event_id]), saw[one.dossier_id])
    )


def _agree(soort: str, told: list[Key], addressees: AbstractSet[Key], saw: AbstractSet[Key]) -> bool:
    found = set(told)
    whole = saw <= found <= addressees if soort == "intrekking" else found == addressees
    return whole and len(found) == len(told)


def _who_saw(books: Books, witness: Witness) -> Mapping[str, AbstractSet[Key]]:
    """Of each dossier: who saw a kennisgeving."""
    saw: defaultdict[str, set[Key]] = defaultdict(set)
    for one in witness.seen:
        row = books.deliveries.get(one.delivery)
        if row is not None and row.soort == "kennisgeving":
            saw[row.dossier_id].add((row.creditor, row.agent_for or ""))
    return saw


def _addressees(named: Iterable[str]) -> AbstractSet[Key]:
    """Creditors in their own right, and the agents that the register has for them, each with for whom."""
    return {key for name in named for key in ((name, ""), *((agent, name) for agent in AGENTS.get(name, ())))}


def nobody_elses(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """The canary names its dossier and its creditor, whose claims an agent sees too; every message has it."""
    return len(witness.seen), _strange_canaries(books, witness)


def _strange_canaries(books: Books, witness: Witness) -> Iterator[str]:
    for one in witness.seen:
        row = books.deliveries.get(one.delivery)
        dossier = books.dossiers[row.dossier_id].removeprefix("SHV-") if row else ""
        whose = row.agent_for or row.creditor if row else one.creditor
        if any(name != f"KAN{dossier}Z{whose}Z" for name in one.canaries):
            yield one.delivery
        elif row is not None and not one.canaries:
            yield f"{one.delivery} (geen kanarie)"
