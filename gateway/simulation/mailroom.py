"""What creditors send on their way to the gateway; an answer that comes again must change nothing (I13)."""

from collections.abc import Callable
from sqlite3 import Connection

from gateway.clock import Clock
from gateway.contract import Inbound
from gateway.core.lane import SECOND
from gateway.receipts import Receipts
from gateway.simulation.agenda import Agenda
from gateway.simulation.invariants import Verdict


class Mailroom:
    """`ledger` gives a connection to read from."""

    def __init__(self, agenda: Agenda, clock: Clock, verdict: Verdict, ledger: Callable[[], Connection]) -> None:
        self._agenda = agenda
        self._clock = clock
        self._verdict = verdict
        self._ledger = ledger
        self._had: set[str] = set()
        self.receipts: Receipts | None = None
        """To be set before anything arrives."""

    def send(self, seconds: float, inbound: Inbound) -> None:
        async def deliver() -> None:
            await self._deliver(inbound)

        self._agenda.at(self._clock.micros() + int(seconds * SECOND), deliver)

    async def _deliver(self, inbound: Inbound) -> None:
        if self.receipts is None:
            raise TypeError("nobody receives")
        again = inbound.source in self._had
        self._had.add(inbound.source)
        before = self._marks() if again else None
        verdict = await self.receipts.receive(inbound)
        if before is not None:
            self._verdict.checks["I13"] += 1
            if verdict.kind != "repeated" or self._marks() != before:
                self._verdict.broken("I13", f"bezorging {inbound.delivery}: hetzelfde antwoord telde nog eens")
        elif verdict.kind != "recorded":
            self._verdict.broken("I13", f"bezorging {inbound.delivery}: een antwoord is niet vastgelegd")

    def _marks(self) -> tuple[int, ...]:
        row: tuple[int, ...] = self._ledger().execute(_MARKS).fetchone()
        return row


_MARKS = """
SELECT (SELECT max(nr) FROM transition), (SELECT max(rowid) FROM evidence), (SELECT max(rowid) FROM outbox),
    (SELECT max(rowid) FROM task)"""
