"""I3 and I10: where a delivery may stand, and how it may get there."""

from sqlite3 import Connection

from msgspec import Struct

from gateway.core.lifecycle import CLAIMABLE, TABLE, TERMINAL, Happening, State

OF_EVIDENCE = (Happening.RECEIPT, Happening.RECEIPT_FINAL, Happening.CONFIRMING_ANSWER, Happening.REFUSING_ANSWER,
               Happening.BOUNCED, Happening.DIVERTED)  # fmt: skip


class Step(Struct, frozen=True):
    """A row of `transition`."""

    delivery_id: str
    happening: str
    before: str
    after: str
    cause: str | None


def fault(ledger: Connection, state: State, step: Step) -> str | None:
    """What is wrong with a step from `state`, the one that the former step led to."""
    before, after, happening = State(step.before), State(step.after), Happening(step.happening)
    if not follows(state, before):
        return f"ging van {state} naar {before} zonder dat er iets gebeurde"
    if TABLE[before].get(happening) is not after:
        return f"{happening} mag {before} niet tot {after} maken"
    if before in TERMINAL and after is not before and not _has_evidence(ledger, happening, step):
        return f"{happening} maakte {before} tot {after} zonder bewijs van de schuldeiser"
    return None


def follows(state: State, before: State) -> bool:
    """To be claimed leaves no step behind."""
    return before is state or (before is State.BUSY and state in CLAIMABLE)


def _has_evidence(ledger: Connection, happening: Happening, step: Step) -> bool:
    """On record, under its own id or as the answer in the reply to an attempt."""
    if happening not in OF_EVIDENCE:
        return False
    query = "SELECT 1 FROM evidence WHERE delivery_id = ? AND (id = ? OR source = ?)"
    found = ledger.execute(query, (step.delivery_id, step.cause, f"antwoord:{step.cause}")).fetchone()
    return found is not None
