"""The gateway's own stages, put together for virtual time, and the world around them."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

from msgspec import Struct
from sqlalchemy import Connection

from gateway.chores import Desk
from gateway.contract import Channel
from gateway.core.agenda import Terms
from gateway.core.creditor import Creditor, Register
from gateway.core.deadlines import AMSTERDAM
from gateway.core.retry import Policy
from gateway.dispatch import Dispatch
from gateway.events import Events
from gateway.evidence import Testimony
from gateway.intake import Intake
from gateway.keys import KEY_BYTES, Keys
from gateway.ledger.upgrade import upgrade
from gateway.links import Links
from gateway.outbox import Outbox, Publication
from gateway.pause_requests import WaitingRequests
from gateway.receipts import Receipts
from gateway.seal import Sealer
from gateway.simulation.agenda import Agenda
from gateway.simulation.channel import Simulated, SimulatedFallback
from gateway.simulation.creditor import Sighting, SimulatedCreditor, outages
from gateway.simulation.gemeenten import Gemeenten
from gateway.simulation.invariants import Sightings, Verdict, Watch
from gateway.simulation.ledger import LedgerInPlace
from gateway.simulation.loop import VirtualClock
from gateway.simulation.mailroom import Mailroom
from gateway.simulation.population import AGENTS, CHANNEL, FALLBACK, PAUSE_BUTTON, SENDERS, register, tempers
from gateway.simulation.temper import DAY, Temper
from gateway.simulation.trail import Trail
from gateway.timers import Timers

START = datetime(2027, 1, 4, tzinfo=AMSTERDAM)
OIN = "00000099000000001000"
LEASE = DAY
"""Seconds. Nobody else works on this ledger, so nothing is to be found that was not told at once: every look that only
serves several gateways is far apart."""
GATHER = 60.0
"""Seconds that changes gather before dossiers are looked at, and events before they are published."""
ATTEMPT_TIMEOUT = 30.0
GAP_WAIT = 900.0


class Plan(Struct, frozen=True):
    """`part` of `parts`: every so many-th dossier of the plan. `within`, for tests only: what to do to the ledger at
    the end of every transaction."""

    dossiers: int
    days: int
    seed: int
    part: int = 0
    parts: int = 1
    within: Callable[[Connection], None] | None = None


class World:
    """Made on the loop that it runs on. `ended` is set by the first violation."""

    def __init__(self, plan: Plan, file: Path) -> None:
        self.plan = plan
        self.clock = VirtualClock(asyncio.get_running_loop(), START)
        self.ended = asyncio.Event()
        self.policy = Policy()
        self.verdict = Verdict(self.clock.micros, self.ended.set)
        self.creditors = register(plan.seed)
        self.ledger = LedgerInPlace(file, within=plan.within, after=self._look)
        entries = Register(self.creditors)
        self.watch = Watch(self.verdict, self.policy, entries)
        self.gemeenten = Gemeenten(self.verdict, self.watch, entries, self._raw)
        self.sightings = Sightings(self.verdict, self._raw)
        self.trail = Trail()
        self.agenda = Agenda(self.clock)
        self.mailroom = Mailroom(self.agenda, self.verdict, self.watch, self._raw)
        self._build(Random(f"{plan.seed}:gateway"))

    def _build(self, chance: Random) -> None:
        """As `gateway.app` does, with other intervals and without doors."""
        keys = Keys(chance.randbytes(KEY_BYTES), chance.randbytes)
        sealer = Sealer(keys, chance.randbytes)
        events = Events(OIN, sealer)
        self.links = Links(self._channels())
        testimony = Testimony(sealer, events, keys.derive("antwoordpagina"), lambda: self.links.register)
        self.outbox = Outbox(self.ledger, events, self.clock, self._publish, lease=LEASE, sweep=LEASE, linger=GATHER)
        self.dispatch = Dispatch(
            self.ledger,
            self.links,
            sealer,
            testimony,
            self.clock,
            owner="simulatie",
            policy=self.policy,
            lease=LEASE,
            attempt_timeout=ATTEMPT_TIMEOUT,
            on_events=self.outbox.wake,
            on_agenda=self._agenda_changed,
            jitter=chance.random,
        )
        self.receipts = self.mailroom.receipts = Receipts(
            self.ledger,
            self.links,
            testimony,
            self.clock,
            poll_every=lambda _channel: LEASE,
            on_events=self.outbox.wake,
            on_agenda=self._agenda_changed,
            wake=self.dispatch.wake,
        )
        self.timers = Timers(
            self.ledger,
            Desk(self.links, sealer, events, self.policy, (), Terms(self._entry)),
            self.clock,
            self._end_wait,
            WaitingRequests(self.ledger, events, self.clock, self.outbox.wake),
            on_deliveries=self.dispatch.wake,
            on_events=self.outbox.wake,
            look_every=LEASE,
            gather=GATHER,
        )
        self.intake = Intake(
            self.ledger,
            self.links,
            sealer,
            keys,
            events,
            self.clock,
            senders=(*SENDERS, PAUSE_BUTTON),
            policy=self.policy,
            closed_days=(),
            gap_wait=GAP_WAIT,
            on_deliveries=self.dispatch.wake,
            on_events=self.outbox.wake,
            on_agenda=self.timers.wake,
            on_withdrawn=self.dispatch.withdraw,
        )

    async def prepare(self) -> None:
        await self.ledger.run(upgrade)
        await self.links.load(self.creditors, ())

    def stages(self) -> Mapping[str, Coroutine[None, None, None]]:
        return {
            "dispatch": self.dispatch.run(),
            "outbox": self.outbox.run(),
            "timers": self.timers.run(),
            "receipts": self.receipts.run(),
            "agenda": self.agenda.run(),
        }

    async def aclose(self) -> None:
        await self.links.aclose()
        await self.ledger.aclose()

    # -- the world --------------------------------------------------------------------------------------------------

    def _channels(self) -> Mapping[str, Channel]:
        kinds = tempers()
        creditors: dict[str, SimulatedCreditor] = {
            creditor.id: self._creditor(creditor, kinds[creditor.id]) for creditor in self.creditors
        }
        return {CHANNEL: Simulated(creditors), FALLBACK: SimulatedFallback(creditors)}

    def _creditor(self, creditor: Creditor, temper: Temper) -> SimulatedCreditor:
        chance = Random(f"{self.plan.seed}:schuldeiser:{creditor.id}")
        fails = temper is Temper.FAILING
        return SimulatedCreditor(
            creditor.id,
            temper,
            chance,
            self.clock,
            outages=outages(chance, self.clock.start, self.plan.days) if fails else (),
            agents=AGENTS,
            send=self.mailroom.send,
            on_sighting=self._see,
        )

    def _see(self, sighting: Sighting) -> None:
        self.trail.see(sighting)
        self.sightings.see(sighting)

    async def _publish(self, publications: Sequence[Publication]) -> Sequence[str]:
        for publication in publications:
            self.trail.hear(publication)
        return await self.gemeenten.publish(publications)

    def _entry(self, id_: str) -> Creditor | None:
        return self.links.register.by_id.get(id_)

    def _agenda_changed(self) -> None:
        self.timers.wake()

    async def _end_wait(self, gemeente: str, kenmerk: str) -> None:
        await self.intake.end_wait(gemeente, kenmerk)

    def _look(self, connection: sqlite3.Connection) -> None:
        if self.links.is_loaded:
            self.watch.look(connection)

    def _raw(self) -> sqlite3.Connection:
        return self.ledger.raw
