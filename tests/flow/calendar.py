"""A dossier on a real ledger through months of virtual time: intake, receipts and timers are the gateway's own, and
what a creditor takes is settled as the dispatch stage does it, at the moment that a test names.

    async with open_calendar(ledger_url) as calendar:
        await calendar.send(notice("SHV-1", 1, "energie"))
        await calendar.hand_over("energie")
        await calendar.go_to("2026-12-20")
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select

from gateway.chores import Desk as ChoresDesk
from gateway.contract import DeliveryId, Inbound
from gateway.core.agenda import Terms
from gateway.core.creditor import Creditor
from gateway.core.deadlines import AMSTERDAM
from gateway.core.lane import Standing, decide
from gateway.core.outcome import Evidence, HandedOver, Outcome, Proof, evidence_of, name_of
from gateway.core.retry import Policy
from gateway.events import Events
from gateway.evidence import Testimony
from gateway.ledger import queue
from gateway.ledger.queue import Claimed, Intent
from gateway.ledger.read import view_of
from gateway.ledger.schema import delivery
from gateway.ledger.settle import Locked, Result, Settlement, settle
from gateway.pause_requests import WaitingRequests
from gateway.receipts import Receipts
from gateway.seal import aad
from gateway.timers import Timers
from tests.flow.desk import CREDITORS, Desk, StandingClock, open_desk

OWNER = "0198f0c2-7d1e-7b52-9a41-000000000001"
ARRIVED = HandedOver(Evidence("200"))
RECEIVED = HandedOver(Evidence("200"), Proof.RECEIVED)
DAY = 24 * 3600 * 1_000_000


@dataclass
class Calendar:
    desk: Desk
    timers: Timers
    receipts: Receipts
    testimony: Testimony

    async def send(self, *events: dict[str, Any]) -> Sequence[Any]:
        verdicts = await self.desk.send(*events)
        await self.look()
        return verdicts

    async def look(self) -> None:
        """What is due now, after what changed has gathered."""
        self.desk.clock.at += 1_000_000
        await self.timers.round()

    async def go_to(self, moment: str) -> None:
        """To this moment in Amsterdam, with a look at every hour on the way that something is due."""
        end = int(datetime.fromisoformat(moment).replace(tzinfo=AMSTERDAM).timestamp()) * 1_000_000
        while self.desk.clock.at < end:
            self.desk.clock.at = min(end, self.desk.clock.at + DAY // 4)
            await self.timers.round()

    async def jump_to(self, moment: str) -> None:
        """As after a standstill: nobody looks on the way."""
        self.desk.clock.at = int(datetime.fromisoformat(moment).replace(tzinfo=AMSTERDAM).timestamp()) * 1_000_000
        await self.timers.round()

    # -- the post ---------------------------------------------------------------------------------------------------

    async def claim(self, *creditors: str) -> list[Claimed]:
        """What is due for these creditors, taken as the dispatch stage takes it; their intent is on record."""
        at = self.desk.clock.at
        rows = await self.desk.deliveries()
        lanes = {(row.creditor, row.channel): 1000 for row in rows if row.creditor in creditors}
        claims = await self.desk.ledger.run(queue.claim, lanes, OWNER, at, at + DAY)
        intents = [
            Intent(one.id, one.dossier_id, one.fence, one.channel, sha256(one.id.encode()).digest(), _bytes(one))
            for one in claims
        ]
        if intents:
            await self.desk.ledger.run(queue.freeze, intents, OWNER, at)
        return claims

    async def settle(self, claims: Sequence[Claimed], outcome: Outcome = ARRIVED) -> None:
        at = self.desk.clock.at
        by_id = {one.id: one for one in claims}

        def decided(locked: Locked) -> Settlement:
            one = by_id[locked.id]
            standing = Standing(
                state=locked.state,
                soort=one.soort,
                tries=locked.tries,
                channel=locked.channel,
                channel_since=locked.channel_since,
                created_at=one.created_at,
                give_up_at=one.give_up_at,
                proof=locked.proof,
                channels=self.desk.links.open_channels(one.creditor),
            )
            decision = decide(standing, outcome, at, 0.0, Policy())
            return self.testimony.settlement(one, decision, outcome, locked.decision, at)

        code = evidence_of(outcome).code
        results = [Result(one.id, one.fence, one.channel, name_of(outcome), code, None, at) for one in claims]
        if results:
            await self.desk.ledger.run(settle, results, decided)
        await self.look()

    async def hand_over(self, *creditors: str, outcome: Outcome = ARRIVED) -> list[str]:
        """Everything that is due for these creditors, as often as something new comes; returns the soorten."""
        soorten = []
        while claims := await self.claim(*creditors):
            soorten += [one.soort for one in claims]
            await self.settle(claims, outcome)
        return soorten

    async def answer(
        self, creditor: str, soort: str, *, by: str | None = None, to: str = "kennisgeving", **more: Any
    ) -> str:
        """The latest delivery of this soort to `creditor` is answered; returns what became of it. `by`: its author."""
        rows = [row for row in await self.desk.deliveries() if (row.creditor, row.soort) == (creditor, to)]
        raw = json.dumps({"soort": soort, **more}).encode()
        source = f"{soort}-{self.desk.clock.at}"
        inbound = Inbound("answer", by or creditor, DeliveryId(rows[-1].id), source, raw, raw)
        verdict = await self.receipts.receive(inbound)
        await self.look()
        return verdict.kind

    # -- looking ----------------------------------------------------------------------------------------------------

    async def states(self, *creditors: str) -> list[tuple[str, str, str]]:
        """(creditor, soort, state), in the order in which they were made."""
        rows = [row for row in await self.desk.deliveries() if not creditors or row.creditor in creditors]
        return [(row.creditor, row.soort, row.state) for row in rows]

    async def told(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        """Events that were not taken yet, all or those of these names."""
        return [(name, data) for name, data in await self.desk.told() if not names or name in names]

    async def open_tasks(self) -> list[str]:
        return sorted(row.soort for row in await self.desk.tasks() if row.closed_at is None)

    async def view(self, creditor: str, soort: str) -> dict[str, Any]:
        """What the latest delivery of this soort shows."""

        def read(connection: Connection) -> Any:
            wanted = select(delivery).where(delivery.c.creditor == creditor, delivery.c.soort == soort)
            row = connection.execute(wanted.order_by(delivery.c.id.desc())).first()
            assert row is not None
            return row.id, view_of(connection, row.id)

        id_, (sealed, key) = await self.desk.ledger.run(read)
        opened = self.desk.sealer.open(key, sealed, aad("payload", id_, "aanzicht", creditor))
        found: dict[str, Any] = json.loads(opened)
        return found


def _bytes(one: Claimed) -> bytes | None:
    """What is frozen with a first attempt, and not again."""
    return b"sealed" if one.frozen is None else None


@asynccontextmanager
async def open_calendar(
    ledger_url: str,
    start: str = "2026-11-23T09:15",
    closed_days: Sequence[date] = (),
    creditors: Sequence[Creditor] = CREDITORS,
) -> AsyncIterator[Calendar]:
    at = int(datetime.fromisoformat(start).replace(tzinfo=AMSTERDAM).timestamp()) * 1_000_000
    async with open_desk(ledger_url, StandingClock(at), creditors) as desk:
        yield calendar_of(desk, closed_days)


def calendar_of(desk: Desk, closed_days: Sequence[date] = ()) -> Calendar:
    events: Events = desk.events
    testimony = Testimony(desk.sealer, events, bytes(32), lambda: desk.links.register)
    receipts = Receipts(
        desk.ledger,
        desk.links,
        testimony,
        desk.clock,
        poll_every=lambda _: 60.0,
        on_events=lambda: None,
        wake=lambda _: None,
    )
    terms = Terms(desk.links.register.by_id.get, closed_days)
    timers = Timers(
        desk.ledger,
        ChoresDesk(desk.links, desk.sealer, events, Policy(), closed_days, terms),
        desk.clock,
        desk.intake.end_wait,
        WaitingRequests(desk.ledger, events, desk.clock, lambda: None),
        on_deliveries=lambda _: None,
        on_events=lambda: None,
    )
    return Calendar(desk, timers, receipts, testimony)
