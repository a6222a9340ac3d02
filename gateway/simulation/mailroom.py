"""What creditors send on their way to the gateway; an answer that comes again must change nothing (I13)."""

from collections.abc import Callable
from sqlite3 import Connection

import msgspec

from gateway.contract import Inbound
from gateway.receipts import Receipts
from gateway.simulation.agenda import Agenda
from gateway.simulation.invariants import Verdict, Watch


class Mailroom:
    """`ledger` gives a connection to read from."""

    def __init__(self, agenda: Agenda, verdict: Verdict, watch: Watch, ledger: Callable[[], Connection]) -> None:
        self._agenda = agenda
        self._verdict = verdict
        self._watch = watch
        self._ledger = ledger
        self._had: set[str] = set()
        self.receipts: Receipts | None = None
        """To be set before anything arrives."""

    def send(self, at: int, inbound: Inbound) -> None:
        async def deliver() -> None:
            await self._deliver(inbound)

        self._agenda.at(at, deliver)

    async def _deliver(self, inbound: Inbound) -> None:
        if self.receipts is None:
            raise TypeError("nobody receives")
        again = inbound.source in self._had
        self._had.add(inbound.source)
        self._note_transfer(inbound)
        before = self._marks() if again else None
        verdict = await self.receipts.receive(inbound)
        if before is not None:
            self._verdict.checks["I13"] += 1
            if verdict.kind != "repeated" or self._marks() != before:
                self._verdict.broken("I13", f"bezorging {inbound.delivery}: hetzelfde antwoord telde nog eens")
        elif verdict.kind != "recorded":
            self._verdict.broken("I13", f"bezorging {inbound.delivery}: een antwoord is niet vastgelegd")

    def _note_transfer(self, inbound: Inbound) -> None:
        """To whom a claim goes will have to be told."""
        agent = msgspec.json.decode(inbound.answer).get("naar") if inbound.answer else None
        if agent is not None:
            self._watch.transferred(inbound.delivery, agent)

    def _marks(self) -> tuple[int, ...]:
        row: tuple[int, ...] = self._ledger().execute(_MARKS).fetchone()
        return row


_MARKS = """
SELECT (SELECT max(nr) FROM transition), (SELECT max(rowid) FROM evidence), (SELECT max(rowid) FROM outbox),
    (SELECT max(rowid) FROM task)"""
