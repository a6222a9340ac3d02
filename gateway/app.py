"""The composition root: every object is built here, once; one task group runs them; they end in order.

stop taking in ─► finish or give back what is in flight ─► publish what is written ─► close
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from gateway.amqp import Consumer, Publisher
from gateway.attempts import Attempts
from gateway.cancellation import or_cut_off
from gateway.certificates import certificates
from gateway.chores import Desk
from gateway.clock import Clock
from gateway.config import AmqpSettings, Config
from gateway.contract import Channel, Finding, SettingsRefused, Surroundings, read_secret
from gateway.core.creditor import Creditor
from gateway.core.repeat import Reaches, reach_of
from gateway.dispatch import Dispatch
from gateway.events import Events
from gateway.evidence import Testimony
from gateway.http.server import Doors, HttpServer
from gateway.ids import uuid7
from gateway.intake import Intake
from gateway.key_files import look_at_files, of_creditors
from gateway.keys import Keys, read_keys
from gateway.ledger import register as register_rows
from gateway.ledger.durability import durability
from gateway.ledger.engine import SILENT_AT_MOST, Contention, Ledger, LedgerAway
from gateway.ledger.opening import open_ledger
from gateway.ledger.upgrade import is_current, upgrade
from gateway.links import Links
from gateway.log import logger
from gateway.meters import Meters
from gateway.metrics import Metrics
from gateway.net import client_ssl
from gateway.outbox import Outbox
from gateway.pause_requests import WaitingRequests
from gateway.receipts import Receipts
from gateway.register import creditor_from_json, creditor_to_json, load_channels, read_register
from gateway.repeats import Repeats
from gateway.seal import Sealer
from gateway.spool import Spool
from gateway.tables import TablesRefused
from gateway.timers import Timers
from gateway.topology import Broker, Management, Topology
from gateway.watch import Sources, Watch

log = logger(__name__)

PATIENCE = 22.0
"""Seconds that what is in flight gets to end when the gateway stops (contract: SIGTERM)."""
LAST_EVENTS = 5.0
REGISTER_EVERY = 5.0
LEDGER_PAUSE = 1.0


class StageEnded(Exception):
    """A stage has ended, and was not told to."""


def make_channels(config: Config, keys: Keys, clock: Clock) -> dict[str, Channel]:
    """One of each kind that is installed; raises SettingsRefused where a channel's own table is wrong."""
    channels: dict[str, Channel] = {}
    for name, kind in load_channels().items():
        every, at_most = config.tempo.poll(name)
        surroundings = Surroundings(
            oin=config.gateway.oin,
            name=config.gateway.name,
            public_url=config.http.public_url,
            attempt_timeout=config.tempo.attempt_timeout.total_seconds(),
            poll_every=every,
            poll_at_most=at_most,
            settings=config.channels.get(name, {}),
            now=clock.now,
            entropy=os.urandom,
            channel_key=keys.derive(f"kanaal:{name}"),
        )
        try:
            channels[name] = kind(surroundings)
        except SettingsRefused:
            if name in config.channels:
                raise
            log.info("channel_not_configured", kanaal=name)
    return channels


def make_broker(settings: AmqpSettings) -> Broker:
    """Raises SecretMissing, SettingsRefused."""
    url = settings.url
    if settings.password:
        scheme, _, rest = url.partition("://")
        user, _, place = rest.rpartition("@")
        password = quote(read_secret(settings.password).decode().strip(), safe="")
        url = f"{scheme}://{user}:{password}@{place}"
    tls: ssl.SSLContext | None = client_ssl(settings.ca) if url.startswith("amqps") else None
    names = Topology(
        incoming=settings.exchange_in,
        intake=settings.queue,
        parked=settings.parked_queue,
        outgoing=settings.exchange_out,
        declare=settings.declare,
    )
    management = Management(settings.management_url, client_ssl(settings.ca)) if settings.management_url else None
    return Broker(url, tls, names, management)


class Gateway:
    """Built from a configuration; `run` it, `stop` it. Raises SettingsRefused, SecretMissing, KeyRefused."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or Clock()
        keys = read_keys(config.ledger.key)
        tempo = config.tempo
        self.ledger = open_ledger(config.ledger, silent_at_most=SILENT_AT_MOST)
        self.meters = Meters()
        attempts = Attempts(self.meters, self.clock)
        self.sealer = Sealer(keys)
        self.events = Events(config.gateway.oin, self.sealer)
        self.links = Links(make_channels(config, keys, self.clock))
        self.testimony = Testimony(self.sealer, self.events, keys.derive("antwoordpagina"), lambda: self.links.register)
        broker = make_broker(config.amqp) if config.amqp else None
        self.publisher = Publisher(broker) if broker else None
        self.outbox = Outbox(
            self.ledger,
            self.events,
            self.clock,
            self.publisher.publish if self.publisher else None,
            lease=tempo.lease.total_seconds(),
            on_published=self.meters.events,
        )
        self.dispatch = Dispatch(
            self.ledger,
            self.links,
            self.sealer,
            self.testimony,
            self.clock,
            owner=uuid7(self.clock.micros()),
            policy=tempo.policy,
            lease=tempo.lease.total_seconds(),
            attempt_timeout=tempo.attempt_timeout.total_seconds(),
            on_events=self.outbox.wake,
            on_agenda=self._agenda_changed,
            on_attempt=attempts.ended,
            on_batch=self.meters.batch,
        )
        self.receipts = Receipts(
            self.ledger,
            self.links,
            self.testimony,
            self.clock,
            poll_every=lambda channel: tempo.poll(channel)[0],
            on_events=self.outbox.wake,
            on_agenda=self._agenda_changed,
            wake=self.dispatch.wake,
        )
        self.requests = WaitingRequests(self.ledger, self.events, self.clock, self.outbox.wake)
        self.timers = Timers(
            self.ledger,
            Desk(self.links, self.sealer, self.events, tempo.policy, tempo.closed_days, tempo.terms(self._creditor)),
            self.clock,
            self._end_wait,
            self.requests,
            on_deliveries=self.dispatch.wake,
            on_events=self.outbox.wake,
        )
        self.intake = Intake(
            self.ledger,
            self.links,
            self.sealer,
            keys,
            self.events,
            self.clock,
            senders=config.senders,
            policy=tempo.policy,
            closed_days=tempo.closed_days,
            gap_wait=tempo.gap_wait.total_seconds(),
            on_deliveries=self.dispatch.wake,
            on_events=self.outbox.wake,
            on_agenda=self.timers.wake,
            on_withdrawn=self.dispatch.withdraw,
            on_verdicts=self.meters.intake,
        )
        by_client = {sender.client_id: sender for sender in config.senders if sender.client_id}
        self.spool = Spool(self.ledger, self.sealer, self.clock, by_client)
        by_user = {sender.amqp_user: sender for sender in config.senders if sender.amqp_user}
        self.consumer = Consumer(broker, self.intake, by_user, config.amqp.prefetch) if broker and config.amqp else None
        self._revision = 0
        self._loaded = False
        self._stop = asyncio.Event()
        self.watch = self._make_watch(attempts)
        engine = "sqlite" if self.ledger.embedded else "postgresql"
        metrics = Metrics(self.meters, engine, self.watch.seen)
        self.http = HttpServer(
            Doors(
                ledger=self.ledger,
                intake=self.intake,
                receipts=self.receipts,
                testimony=self.testimony,
                sealer=self.sealer,
                events=self.events,
                links=self.links,
                clock=self.clock,
                terms=tempo.terms(self._creditor),
                senders_by_client=by_client,
                senders_by_oin={sender.oin: sender for sender in config.senders},
                settings=config.http,
                ready=self.reasons_not_ready,
                repeats=Repeats(self._reaches, tempo.policy, tempo.closed_days),
                on_deliveries=self.dispatch.wake,
                closed_days=tempo.closed_days,
                signs=self.watch.told,
                metrics=metrics.text if config.http.metrics else None,
            )
        )

    def _make_watch(self, attempts: Attempts) -> Watch:
        """It looks at the stages; none of them knows it."""
        consumer, links = self.consumer, self.links
        return Watch(
            open_ledger(self.config.ledger, reading=True, silent_at_most=SILENT_AT_MOST),
            self.ledger,
            self.clock,
            Sources(
                register=lambda: links.register if self._loaded else None,
                consuming=(lambda: consumer.consuming) if consumer else None,
                refused=(lambda: consumer.refused) if consumer else str,
                timers_idle=self.timers.idle_for,
                held=self.dispatch.held,
                running=self.dispatch.running,
                me=self.dispatch.me,
                attempted_at=attempts.last,
                certificates=lambda: certificates(self.config, links.register.by_id.values()),
            ),
        )

    async def prepare(self) -> None:
        """Bring the ledger to the current schema and put the register in force; raises LedgerAway, Contention, and
        TablesRefused also where the ledger may lose what it committed or others can read a creditor's key file."""
        _refuse_unsafe(await self.ledger.run(durability))
        if not await self.ledger.run(is_current):
            await self._upgrade()
        if self.config.register is not None and await self.ledger.run(register_rows.revision) == 0:
            filed = read_register(Path(self.config.register.file))
            _refuse_unsafe(look_at_files(of_creditors(filed)))
            await apply_register(self.ledger, self.clock, filed)
        await self._load_register(_refuse_unsafe)

    async def _upgrade(self) -> None:
        """It takes the time it needs: a PostgreSQL that says nothing meanwhile is not away."""
        if self.ledger.embedded:
            await self.ledger.run(upgrade)
            return
        ledger = open_ledger(self.config.ledger)
        try:
            await ledger.run(upgrade)
        finally:
            await ledger.aclose()

    async def run(self) -> None:
        """Until `stop`; then everything in flight is finished or given back first. Whatever it ends of, connections are
        closed: the event loop would wait for them."""
        try:
            async with self.watch.watching(), self.http.listening():
                await self._prepare_when_possible()
                if not self._stop.is_set():
                    await self._run_stages()
        finally:
            await self.links.aclose()
            await self.ledger.aclose()
        log.info("stopped")

    async def _prepare_when_possible(self) -> None:
        """A ledger that is not there yet is waited for. Who meets another that starts as well looks again: that one has
        put the register in force."""
        while not self._stop.is_set():
            try:
                await self.prepare()
            except LedgerAway as why:
                log.warning("ledger_away", stap="starten", reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
            except Contention:
                continue
            else:
                return

    def _agenda_changed(self) -> None:
        self.timers.wake()

    def _creditor(self, id_: str) -> Creditor | None:
        return self.links.register.by_id.get(id_)

    def _reaches(self, per_second: float | None) -> Reaches:
        """How creditors can be reached by the register in force."""
        find, channels = self._creditor, self.links.open_channels
        return lambda name: reach_of(find(name), channels(name), per_second)

    async def _end_wait(self, gemeente: str, kenmerk: str) -> None:
        await self.intake.end_wait(gemeente, kenmerk)

    async def _run_stages(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            stages = self._stages().items()
            running = {name: tasks.create_task(self._lasting(name, stage), name=name) for name, stage in stages}
            log.info("started", luister=str(self.config.http.listen))
            await self._stop.wait()
            if self.consumer:
                self.consumer.stop()
                await running.pop("consumer")
            for name in ("spool", "receipts", "timers", "register"):
                running.pop(name).cancel()
            await self.dispatch.stop(PATIENCE)
            running.pop("dispatch").cancel()
            await self._last_events()
            for task in running.values():
                task.cancel()

    async def _lasting(self, name: str, stage: Awaitable[None]) -> None:
        """Nobody else does what a stage does, so one that ends before it is to ends the gateway, for its supervisor to
        start again."""
        await or_cut_off(stage)
        if not self._stop.is_set():
            log.error("stage_ended", stap=name)
            raise StageEnded(name)

    def _stages(self) -> Mapping[str, Coroutine[None, None, None]]:
        stages = {
            "spool": self.spool.run(self.intake),
            "receipts": self.receipts.run(),
            "timers": self.timers.run(),
            "register": self._watch_register(),
            "dispatch": self.dispatch.run(),
            "outbox": self.outbox.run(),
            "watch": self.watch.failed(),
        }
        if self.publisher:
            stages["publisher"] = self.publisher.run()
        if self.consumer:
            stages["consumer"] = self.consumer.run()
        return stages

    def stop(self) -> None:
        self._stop.set()

    async def _last_events(self) -> None:
        """Give the outbox a moment to publish what the last attempts wrote; what is left goes at the next start."""
        try:
            async with asyncio.timeout(LAST_EVENTS):
                await self.outbox.drained()
        except TimeoutError:
            log.warning("events_left")

    # -- register and readiness -------------------------------------------------------------------------------------

    async def _load_register(self, judge: Callable[[Iterable[Finding]], None]) -> None:
        """Go by the register in force; `judge` is told how its key files are before anything goes by it."""
        revision = await self.ledger.run(register_rows.revision)
        if revision == self._revision and self._loaded:
            self.links.close_lanes(await self.ledger.run(register_rows.closed_lanes))  # also by other gateways
            return
        documents = await self.ledger.run(register_rows.entries)
        creditors = [creditor_from_json(document) for document in documents.values()]
        judge(look_at_files(of_creditors(creditors)))
        await self.links.load(creditors, await self.ledger.run(register_rows.closed_lanes))
        self.dispatch.limits_changed()
        self._revision, self._loaded = revision, True
        log.info("register_loaded", aantal=len(creditors))

    async def _watch_register(self) -> None:
        while True:
            await asyncio.sleep(REGISTER_EVERY)
            try:
                await self._load_register(_alarm_exposed)
            except LedgerAway as why:
                log.warning("ledger_away", stap="register", reden=str(why))

    async def reasons_not_ready(self) -> list[str]:
        """In Dutch; empty when ready."""
        return await self.watch.reasons_not_ready()


def _refuse_unsafe(findings: Iterable[Finding]) -> None:
    if reasons := [finding.text for finding in findings if finding.unsafe]:
        raise TablesRefused(reasons)


def _alarm_exposed(key_files: Iterable[Finding]) -> None:
    """A gateway that runs does not stop for it: one creditor's file keeps nobody else from a notice."""
    for finding in key_files:
        if finding.unsafe:
            log.error("key_exposed", melding=finding.text)


async def apply_register(ledger: Ledger, clock: Clock, creditors: Iterable[Creditor]) -> dict[str, Creditor | None]:
    """Put `creditors` in force as the whole register; returns the entries that changed (None: taken out)."""
    new = {creditor.id: creditor for creditor in creditors}
    old = {id_: creditor_from_json(text) for id_, text in (await ledger.run(register_rows.entries)).items()}
    changed: dict[str, Creditor | None] = {id_: entry for id_, entry in new.items() if old.get(id_) != entry}
    changed |= dict.fromkeys(id_ for id_ in old if id_ not in new)
    documents = {id_: None if entry is None else creditor_to_json(entry) for id_, entry in changed.items()}
    await ledger.run(register_rows.apply, documents, clock.micros())
    return changed
