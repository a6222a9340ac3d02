"""What is new in the ledger after each transaction, held against the invariants: I3, I9, I10, I16, I17."""

from collections.abc import Iterable
from heapq import heappop, heappush
from sqlite3 import Connection

from msgspec import Struct

from gateway.core.creditor import Register
from gateway.core.lane import SECOND
from gateway.core.lifecycle import SETTLED, TERMINAL, State
from gateway.core.retry import Policy
from gateway.invariants.deliveries import LOST
from gateway.simulation.invariants import pacing, states
from gateway.simulation.invariants.violation import Verdict

REPORTED_WITHIN = (4 * 3600 + 5 * 60) * SECOND


class Life(Struct):
    """A delivery as the watch remembers it. Instants: epoch µs."""

    id: str
    dossier_id: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    created_at: int
    give_up_at: int
    state: State = State.QUEUED
    withdrawn_at: int | None = None
    pace: pacing.Pace | None = None


class Withdrawal(Struct, frozen=True):
    versie: int
    at: int
    creditors: frozenset[str]
    """Empty: all."""


class Watch:
    """Remembers every delivery, so that each look costs no more than what is new."""

    def __init__(self, verdict: Verdict, policy: Policy, register: Register) -> None:
        self._verdict = verdict
        self._policy = policy
        self._register = register
        self.lives: dict[str, Life] = {}
        self.reported: set[str] = set()
        """Deliveries of which the gemeente knows that they are late."""
        self.listed: dict[tuple[str, str, int], frozenset[str]] = {}
        """(gemeente, dossierkenmerk, versie) of withdrawals → the creditors they are limited to."""
        self.transfers: dict[tuple[str, str], set[str]] = {}
        """(dossier id, creditor) → the agents to whom that one said its claim went"""
        self._late: list[tuple[int, str]] = []
        self._withdrawals: dict[str, list[Withdrawal]] = {}
        self._on_hold: set[str] = set()
        self._changes = 0
        self._deliveries = self._messages = self._attempts = self._transitions = 0

    def look(self, ledger: Connection) -> None:
        """After a transaction."""
        if self._verdict.violation is not None or self._changes == ledger.total_changes:
            return self._verify_reports()
        self._changes = ledger.total_changes
        touched = self._new_deliveries(ledger)
        self._new_messages(ledger)
        touched += self._new_transitions(ledger)
        self._new_attempts(ledger)
        if touched:
            self._verify_places(ledger, touched)
        return self._verify_reports()

    def transferred(self, delivery_id: str, agent: str) -> None:
        """This is about to be answered about a delivery."""
        life = self.lives[delivery_id]
        self.transfers.setdefault((life.dossier_id, life.agent_for or life.creditor), set()).add(agent)

    # -- what is new ------------------------------------------------------------------------------------------------

    def _new_deliveries(self, ledger: Connection) -> list[str]:
        rows = ledger.execute(_DELIVERIES, (self._deliveries,)).fetchall()
        for nr, *fields in rows:
            life = Life(*fields)
            self._deliveries = nr
            self.lives[life.id] = life
            self._verify_agent(life)
            heappush(self._late, (life.created_at + REPORTED_WITHIN, life.id))
        return [row[1] for row in rows]

    def _new_messages(self, ledger: Connection) -> None:
        """Withdrawals that are in force now, those that were on hold before included."""
        for nr, identifier, soort in ledger.execute(_MESSAGES, (self._messages,)).fetchall():
            self._messages = nr
            if soort == "intrekking":
                self._on_hold.add(identifier)
        for identifier in sorted(self._on_hold):
            row = ledger.execute(_WITHDRAWAL, (identifier,)).fetchone()
            if row is None or row[4] is None:
                self._on_hold.discard(identifier)
            if row is not None and row[4] is None:
                dossier_id, gemeente, kenmerk, versie, _ = row
                listed = self.listed.get((gemeente, kenmerk, versie), frozenset())
                withdrawal = Withdrawal(versie, self._verdict.now(), listed)
                self._withdrawals.setdefault(dossier_id, []).append(withdrawal)

    def _new_transitions(self, ledger: Connection) -> list[str]:
        rows = ledger.execute(_TRANSITIONS, (self._transitions,)).fetchall()
        for nr, identifier, at, happening, before, after, cause in rows:
            self._transitions = nr
            life = self.lives[identifier]
            fault = states.fault(ledger, life.state, states.Step(identifier, happening, before, after, cause))
            self._verdict.checks["I10"] += 1
            if fault:
                self._verdict.broken("I10", f"bezorging {identifier}: {fault}")
            life.state = State(after)
            if life.state is State.WITHDRAWN and life.withdrawn_at is None:
                life.withdrawn_at = at
        return [row[1] for row in rows]

    def _new_attempts(self, ledger: Connection) -> None:
        for nr, identifier, fence, channel, started_at in ledger.execute(_ATTEMPTS, (self._attempts,)).fetchall():
            self._attempts = nr
            life = self.lives[identifier]
            self._verdict.checks["I9"] += 1
            if self._is_withdrawn(life, started_at):
                self._verdict.broken("I9", f"bezorging {identifier}: een poging na de intrekking")
            before = ledger.execute(_BEFORE, (identifier, fence)).fetchone() if life.pace else None
            life.pace = life.pace or pacing.Pace(channel)
            self._verdict.checks["I17"] += 1
            horizon = life.created_at, life.give_up_at
            if fault := life.pace.fault(channel, started_at, before, horizon, self._policy):
                self._verdict.broken("I17", f"bezorging {identifier}: {fault}")

    # -- what must hold ---------------------------------------------------------------------------------------------

    def _is_withdrawn(self, life: Life, at: int) -> bool:
        if life.withdrawn_at is not None and at > life.withdrawn_at:
            return True
        return any(
            life.soort != "intrekking"
            and life.versie < withdrawal.versie
            and at > withdrawal.at
            and (not withdrawal.creditors or (life.agent_for or life.creditor) in withdrawal.creditors)
            for withdrawal in self._withdrawals.get(life.dossier_id, ())
        )

    def _verify_agent(self, life: Life) -> None:
        """An agent is told because the register says so, or because the claim went to it."""
        if life.agent_for is None:
            return
        self._verdict.checks["I2"] += 1
        principal = self._register.by_id.get(life.agent_for)
        known = set(principal.agents if principal else ()) | self.transfers.get(
            (life.dossier_id, life.agent_for), set()
        )
        if life.creditor not in known:
            self._verdict.broken("I2", f"bezorging {life.id}: {life.creditor} had niets te horen")

    def _verify_places(self, ledger: Connection, touched: Iterable[str]) -> None:
        for identifier in touched:
            self._verdict.checks["I3"] += 1
            if self.lives[identifier].state not in TERMINAL and ledger.execute(_LOST, (identifier,)).fetchone():
                self._verdict.broken("I3", f"bezorging {identifier}: niemand kijkt er nog naar om")

    def _verify_reports(self) -> None:
        """Of those that have been on their way for too long by now."""
        while self._late and self._late[0][0] <= self._verdict.now():
            _, identifier = heappop(self._late)
            self._verdict.checks["I16"] += 1
            if self.lives[identifier].state not in SETTLED and identifier not in self.reported:
                self._verdict.broken("I16", f"bezorging {identifier}: te laat, en de gemeente weet het niet")


_DELIVERIES = """
SELECT rowid, id, dossier_id, creditor, agent_for, soort, versie, created_at, give_up_at
FROM delivery WHERE rowid > ? ORDER BY rowid"""
_MESSAGES = "SELECT rowid, id, soort FROM message WHERE rowid > ? ORDER BY rowid"
_WITHDRAWAL = """
SELECT dossier_id, gemeente, kenmerk, message.versie, hold_until
FROM message JOIN dossier ON dossier.id = dossier_id WHERE message.id = ?"""
_TRANSITIONS = (
    'SELECT nr, delivery_id, at, happening, "before", "after", cause FROM transition WHERE nr > ? ORDER BY nr'
)
_ATTEMPTS = "SELECT rowid, delivery_id, nr, channel, started_at FROM attempt WHERE rowid > ? ORDER BY rowid"
_BEFORE = "SELECT outcome, finished_at FROM attempt WHERE delivery_id = ? AND nr < ? ORDER BY nr DESC LIMIT 1"
_LOST = f"SELECT 1 FROM delivery WHERE id = ? AND {LOST}"  # noqa: S608
