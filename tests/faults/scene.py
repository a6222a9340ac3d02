"""One round: an empty ledger, one gateway or two, a gemeente that sends; in the end everything must agree."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from msgspec import structs
from sqlalchemy import Connection, func, select

from gateway.clock import Clock
from gateway.core.lifecycle import SETTLED
from gateway.core.retry import Policy
from gateway.invariants import Circumstances, Finding
from gateway.ledger import schema
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.sandbox.register import register_toml, to_toml
from tests.faults.books import Witness, read_books
from tests.faults.gateway import OWN_FAULT_PAUSE
from tests.faults.grounds import Grounds
from tests.faults.hearing import Listener
from tests.faults.holdings import CLOSED_WITHIN, kept_on_purpose, kept_open, left_lying, parts
from tests.faults.load import SECRETS, Load
from tests.faults.nursery import Gateway
from tests.faults.saved import Round, keep, mine
from tests.faults.sightings import TAKEN, Log, secrets
from tests.faults.verdict import judge
from tests.flow.outside.messages import GEMEENTE, SENDER, SENDER_OIN, Message
from tests.flow.outside.sender import BROKER_AWAY, connect, listening

T = TypeVar("T")
TEMPO = {
    "eerste_herhaling": "0.2 s",
    "hoogste_herhaling": "1 s",
    "antwoord_binnen": "2 s",
    "sftp_peiling": "0.5 s",
    "cjib_peiling": "0.5 s",
    "cjib_peiling_hoogste": "1 s",
    "gat_wachttijd": "2 s",
    "lease": "2 s",
}
POLICY = Policy(0.2, 1.0)
QUIET_WITHIN = 90.0
RED_WITHIN = 8.0
"""With a seeded bug it may never become quiet."""
STANDS_STILL = 6.0
"""Seconds for which a gateway that is stopped stands still at most."""
REPORTED_AFTER = 4.0
"""Seconds in the place of five minutes: between the moment from which a delay is to be reported and the report."""
LOOK = 0.15
DIES_WITHIN = 8.0
SETTLED_AFTER = 3
"""Looks at a new gateway that are as the one before."""


@dataclass
class Figures:
    """What a round was, in numbers. `kills` by what died; `duplicates` by channel; `recovery` in seconds."""

    fault: str = ""
    engine: str = ""
    kills: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    notices: int = 0
    deliveries: int = 0
    sightings: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    events: int = 0
    losses: int = 0
    recovery: float = 0.0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What is wrong besides the invariants."""
    findings: list[Finding] = field(default_factory=list)

    def count_kill(self, what: str, point: str = "") -> None:
        self.kills[what] = self.kills.get(what, 0) + 1
        if point:
            self.points[point] = self.points.get(point, 0) + 1

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.broken]


@dataclass
class Scene:
    grounds: Grounds
    directory: Path
    ledger_url: str
    ledger: Ledger
    load: Load
    sender: Listener
    gateways: tuple[Gateway, Gateway]
    figures: Figures
    offset: int
    bugs: tuple[str, ...] = ()
    counted_out: set[str] = field(default_factory=set)
    """Messages that the delivery limit sent to the parked ones."""
    quiet_within: float = QUIET_WITHIN
    sending: set[asyncio.Task[None]] = field(default_factory=set)
    idle: Counter[str] = field(default_factory=Counter)
    """What a gateway holds open before there is any work."""
    parts: frozenset[Path] = frozenset()
    """Half files that lay at the creditors before the round."""

    @property
    def gateway(self) -> Gateway:
        return self.gateways[0]

    def count_death(self, gateway: Gateway, point: str, what: str = "gateway") -> None:
        """Of what had to die there; it is dead now, or never came to it."""
        if gateway.runs or (at := gateway.died_at()) != point:
            self.figures.faults.append(f"{gateway.name} never came to {point}")
        else:
            self.figures.count_kill(what, at)

    async def start(self, *gateways: Gateway) -> None:
        """Without crash points."""
        for gateway in gateways or (self.gateway,):
            await gateway.start(bugs=self.bugs)

    def send(self, messages: Iterable[Message], copies: int = 1) -> None:
        """In this order, each until it is confirmed, while other things go on."""

        async def publish(each: Sequence[Message]) -> None:
            for message in each:
                for _ in range(copies):
                    self.sender.confirmed.pop(message.id, None)
                    await self.sender.publish(message)

        task = asyncio.create_task(publish(list(messages)))
        self.sending.add(task)

    async def sent(self) -> None:
        await asyncio.gather(*self.sending)
        self.sending.clear()

    async def read(self, look: Callable[[Connection], T]) -> T:
        """From the ledger, however often it is taken away."""
        while True:
            try:
                return await self.ledger.run(look)
            except LedgerAway:
                await asyncio.sleep(LOOK)

    async def until(self, look: Callable[[Connection], bool], within: float = QUIET_WITHIN) -> float:
        """The seconds until the ledger looks so; raises TimeoutError."""
        began = time.monotonic()
        async with asyncio.timeout(within):
            while not await self.read(look):
                await asyncio.sleep(LOOK)
        return time.monotonic() - began

    async def handed_over(self, *creditors: str, within: float = QUIET_WITHIN) -> float:
        """Seconds until all deliveries to these creditors are settled, and there is one."""
        delivery = schema.delivery.c
        wanted = delivery.creditor.in_(creditors)

        def look(connection: Connection) -> bool:
            states = set(connection.execute(select(delivery.state).where(wanted)).scalars())
            return bool(states) and states <= set(SETTLED)

        return await self.until(look, within)

    async def seen(self, creditor: str, within: float = 15.0) -> None:
        """A creditor got something in this round; raises TimeoutError."""
        async with asyncio.timeout(within):
            while not any(one.creditor == creditor for one in self.grounds.neighbours.since(self.offset)[0]):
                await asyncio.sleep(LOOK)

    async def accepted(self, within: float) -> float:
        """Seconds until everything that was confirmed so far is in the ledger, or waits for a version before it."""
        confirmed = set(self.sender.confirmed)

        def look(connection: Connection) -> bool:
            return confirmed <= set(connection.execute(select(schema.message.c.event_id)).scalars())

        return await self.until(look, within)

    async def parked(self) -> set[str]:
        """Ids of the messages that the broker has parked; they stay there."""
        found = set[str]()
        async with await connect(self.grounds.rabbitmq.url()) as broker, broker.channel() as channel:
            queue = await channel.get_queue("kennisgeving.geparkeerd", ensure=False)
            while (message := await queue.get(fail=False)) is not None:
                found.add(str(message.message_id))
        return found

    async def forget_ledger(self) -> None:
        """Close what is open of it, and open it anew at the next look."""
        await self.ledger.aclose()
        self.ledger = Ledger(self.ledger_url)

    async def end(self) -> Figures:
        """Let everything run out, stop the gateways, and judge."""
        for gateway in self.gateways:
            if gateway.runs:
                break
        else:
            await self.start()
        began = time.monotonic()
        await self.sent()
        try:
            await self._quiet()
        except TimeoutError:
            self.figures.faults.append(f"not quiet within {self.quiet_within:.0f} s")
        self.figures.recovery = time.monotonic() - began
        at_rest = await self._at_rest()
        for gateway in self.gateways:
            if gateway.runs and (code := await gateway.stop()) != 0:
                self.figures.faults.append(f"{gateway.name} stopped with {code}")
        await self._judge()
        self.figures.findings += at_rest
        return self.figures

    async def _at_rest(self) -> list[Finding]:
        """I23, of the gateways that live and of the creditors, as soon as it holds or when it is too late for that."""
        deadline = time.monotonic() + CLOSED_WITHIN
        while True:
            found = self._holdings()
            if time.monotonic() > deadline or not any(one.broken for one in found):
                return found
            await asyncio.sleep(LOOK)

    def _holdings(self) -> list[Finding]:
        grounds = self.grounds
        ports = (grounds.postgres.port, grounds.to_ledger.port)
        file = Path(urlsplit(self.ledger_url).path[1:])
        on_purpose = kept_on_purpose(grounds.neighbours.tables, grounds.neighbours.email, ports, file)
        held = {gateway.name: self._straight(gateway.holds()) for gateway in self.gateways if gateway.runs}
        return [kept_open(held, self._straight(self.idle), on_purpose), left_lying(grounds.inboxes, self.parts)]

    def _straight(self, held: Counter[str]) -> Counter[str]:
        """With the broker by one name, by way of the proxy or not."""
        proxy, broker = f"to {self.grounds.to_broker.port}", f"to {self.grounds.rabbitmq.port}"
        return held + Counter({broker: held[proxy]}) - Counter({proxy: held[proxy]})

    async def settle_in(self) -> None:
        """Remember how a gateway is that has nothing to do yet: it has opened all that it opens once."""
        self.parts = parts(self.grounds.inboxes)
        same = 0
        while same < SETTLED_AFTER:
            await asyncio.sleep(LOOK)
            before, self.idle = self.idle, self.gateway.holds()
            same = same + 1 if before == self.idle else 0

    async def _quiet(self) -> None:
        """Accepted all, delivered all, told all, and the sender has heard all."""
        await self.until(self._is_quiet, self.quiet_within)
        outbox = schema.outbox.c
        ids = await self.read(lambda connection: set(connection.execute(select(outbox.id)).scalars()))
        deadline = time.monotonic() + 15
        while not ids <= self.sender.events.keys() and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
            ids = await self.read(lambda connection: set(connection.execute(select(outbox.id)).scalars()))

    def _is_quiet(self, connection: Connection) -> bool:
        message, refusal, delivery, outbox = schema.message, schema.refusal, schema.delivery.c, schema.outbox.c
        known = set(connection.execute(select(message.c.event_id).where(message.c.hold_until.is_(None))).scalars())
        known |= set(connection.execute(select(refusal.c.event_id)).scalars())
        if not self.sender.confirmed.keys() - self.counted_out <= known:
            return False
        waiting = [
            select(func.count()).where(delivery.state.not_in([str(state) for state in SETTLED])),
            select(func.count()).where(outbox.next_at.is_not(None)),
            select(func.count()).select_from(schema.nudge),
        ]
        return not any(connection.execute(query).scalar_one() for query in waiting)

    async def _judge(self) -> None:
        self._note_answer_files()
        seen, replies = self.grounds.neighbours.since(self.offset)
        at_rest = self._circumstances()
        books = await self.read(lambda connection: read_books(connection, at_rest))
        own = mine(seen, books.deliveries, self._began)
        witness = Witness(
            confirmed=self.sender.confirmed.keys() - self.counted_out,
            addressed=self.load.addressed,
            events=self.sender.events,
            heard=self.sender.heard,
            seen=own,
            replies=replies,
            trace=[line for one in self.gateways for line in one.trace.read_text().splitlines()],
            logs=b"".join(path.read_bytes() for path in sorted(self.directory.glob("*.log"))),
            secrets=self._secrets(),
            names=sorted(path.name for path in self.grounds.inboxes.rglob("*")),
            altered=frozenset(self.sender.altered),
            repeated={id_ for id_, times in self.sender.sent.items() if times > 1},
            parked=await self._left(),
            commits_lost=self.grounds.to_ledger.commits_lost - self.commits_lost_before,
            still=STANDS_STILL if self.figures.kills.get("stopped") else 0.0,
        )
        figures = self.figures
        figures.findings = judge(books, witness)
        figures.notices, figures.deliveries = len(witness.confirmed), len(books.deliveries)
        figures.events = len(books.outbox)
        figures.losses = sum(len(one.broken) for one in figures.findings if one.invariant in ("I1", "I3"))
        _count_sightings(figures, own)
        self._keep(witness, at_rest)

    def _note_answer_files(self) -> None:
        """The gateway says that it has them by moving them out of the way."""
        with closing(Log(self.grounds.neighbours.log)) as log:
            for path in self.grounds.inboxes.glob("*/outbox/*/antwoord_*.xml"):
                if path.stat().st_ctime_ns // 1000 >= self._began:
                    log.reply(path.parts[-4], path.stem.removeprefix("antwoord_"), TAKEN)

    def _secrets(self) -> frozenset[bytes]:
        """Of the debtors, of the answer pages, and the keys of the webhooks."""
        keys = frozenset(path.read_bytes() for path in self.grounds.directory.glob("webhook/*.whsec"))
        return SECRETS | keys | secrets(self.grounds.neighbours.log, self.offset)

    def _keep(self, witness: Witness, at_rest: Circumstances) -> None:
        """So that it can be judged again."""
        what = Round(
            ledger=self.ledger_url,
            circumstances=at_rest,
            began=self._began,
            addressed={id_: sorted(names) for id_, names in witness.addressed.items()},
            counted_out=sorted(self.counted_out),
            repeated=frozenset(witness.repeated),
            parked=witness.parked,
            commits_lost=witness.commits_lost,
            still=witness.still,
            heard=dict(witness.heard),
            secrets=frozenset(word.decode() for word in witness.secrets),
            names=list(witness.names),
            altered=frozenset(witness.altered),
        )
        keep(self.directory, what, witness, self.grounds.neighbours.lines_since(self.offset))

    commits_lost_before: int = 0
    """By the proxy, before the round."""

    def _circumstances(self) -> Circumstances:
        at_rest = Circumstances(Clock().micros(), POLICY, at_rest=True, own_fault_pause=OWN_FAULT_PAUSE)
        late = self.gateway.late_after
        return structs.replace(at_rest, reported_within=late + REPORTED_AFTER) if late else at_rest

    _began: int = field(default_factory=lambda: Clock().micros())

    async def _left(self) -> int:
        left = 0
        async with await connect(self.grounds.rabbitmq.url()) as broker, broker.channel() as channel:
            for queue in ("kennisgeving.intake", "kennisgeving.geparkeerd"):
                declared = await channel.declare_queue(queue, passive=True)
                left += declared.declaration_result.message_count or 0
        return left - len(self.counted_out)


def _count_sightings(figures: Figures, seen: Sequence[Any]) -> None:
    first: set[tuple[str, str]] = set()
    for one in seen:
        counted = figures.sightings if (one.delivery, one.channel) not in first else figures.duplicates
        counted[one.channel] = counted.get(one.channel, 0) + 1
        first.add((one.delivery, one.channel))


@asynccontextmanager
async def open_scene(
    grounds: Grounds,
    fault: str,
    engine: str,
    seed: int,
    *,
    bugs: Sequence[str] = (),
    proxied: Sequence[str] = (),
    indirect: Sequence[str] = ("a", "b"),
    tempo: Mapping[str, str] | None = None,
    home: Path | None = None,
    names: Path | None = None,
    by_name: Sequence[str] = (),
    limits: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    at_birth: Sequence[str] = (),
    late_after: float = 0.0,
) -> AsyncIterator[Scene]:
    """A gateway that is ready and a sender that listens. Before that it dies once at each of the points `at_birth`, of
    what it does on an empty ledger only.

    `proxied`: "ledger", "broker", which the gateways named in `indirect` reach by way of the proxies; `home`: where
    SQLite is; `names` has the gateway's own hosts and resolv.conf, for the webhooks `by_name`; `limits`: their
    `limiet`; `late_after`: seconds in the place of the four hours after which what is not handed over is reported.
    """
    grounds.rounds += 1
    await grounds.sweep()
    directory = grounds.directory / f"{grounds.rounds:04}-{fault}"
    directory.mkdir()
    url = _ledger(grounds, engine, home or directory)
    ledger = Ledger(url)
    gateways = tuple(Gateway(grounds.nursery, directory, name) for name in ("a", "b"))
    for gateway, port in zip(gateways, grounds.ports, strict=True):
        gateway.names, gateway.late_after = names, late_after
        mine = proxied if gateway.name in indirect else ()
        gateway.config.write_text(_settings(grounds, url, port, mine, {**TEMPO, **(tempo or {})}))
    (directory / "schuldeisers.toml").write_text(register_toml(grounds.register(by_name, limits)))
    sender = Listener(grounds.rabbitmq.url(SENDER), directory / "confirmed.jsonl")
    load = Load(seed, grounds.rounds)
    figures = Figures(fault, engine)
    scene = Scene(grounds, directory, url, ledger, load, sender, (gateways[0], gateways[1]), figures,
                  grounds.neighbours.written, tuple(bugs))  # fmt: skip
    scene.commits_lost_before = grounds.to_ledger.commits_lost
    if bugs:
        scene.quiet_within = RED_WITHIN
    try:
        await _begun(scene, at_birth)
        async with listening(sender):
            yield scene
    finally:
        await _cleared_away(scene)
        if engine == "postgresql":
            grounds.postgres.drop_database(urlsplit(url).path[1:])


async def _cleared_away(scene: Scene) -> None:
    for task in scene.sending:
        task.cancel()
    await asyncio.gather(*scene.sending, return_exceptions=True)
    for gateway in scene.gateways:
        await gateway.kill()
    await scene.ledger.aclose()


async def _begun(scene: Scene, at_birth: Sequence[str]) -> None:
    for point in at_birth:
        await scene.gateway.start(point, 1, scene.bugs)
        await scene.gateway.died(DIES_WITHIN)
        scene.count_death(scene.gateway, point)
    await scene.start()
    await _subscribed(scene)
    await scene.settle_in()


async def _subscribed(scene: Scene) -> None:
    """Only when the gateway consumes is all that it declares there: a message that is sent to no queue is confirmed
    never, and the gateway may be about to die."""
    async with asyncio.timeout(60):
        while True:
            scene.gateway.died_at()
            try:
                if await _is_consumed(scene.grounds.rabbitmq.url()):
                    return await scene.sender.subscribe()
            except BROKER_AWAY:
                pass
            await asyncio.sleep(0.1)


async def _is_consumed(url: str) -> bool:
    async with await connect(url) as broker, broker.channel() as channel:
        declared = await channel.declare_queue("kennisgeving.intake", passive=True)
        return bool(declared.declaration_result.consumer_count)


def _ledger(grounds: Grounds, engine: str, home: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:///{home / 'ledger.db'}"
    return grounds.postgres.create_database(f"round_{uuid4().hex}")


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))


def _settings(grounds: Grounds, ledger: str, port: int, proxied: Sequence[str], tempo: Mapping[str, str]) -> str:
    amqp = grounds.rabbitmq.url()
    server = grounds.pki.server
    tables: dict[str, Mapping[str, Any]] = {
        "[ledger]": {
            "url": _through(ledger, grounds.to_ledger.port) if "ledger" in proxied else ledger,
            "sleutel": f"file:{grounds.pki.ledger_key}",
        },
        "[amqp]": {"url": _through(amqp, grounds.to_broker.port) if "broker" in proxied else amqp},
        "[http]": {
            "luister": f"127.0.0.1:{port}",
            "publiek_adres": f"https://127.0.0.1:{grounds.ports[0]}",
            "certificaat": f"file:{server.certificate}",
            "certificaat_sleutel": f"file:{server.key}",
        },
        "[email]": {**grounds.neighbours.email, "afzender": "kennisgeving@gateway.example"},
        "[tempo]": tempo,
        "[register]": {"bestand": "schuldeisers.toml"},
        "[[afzender]]": {
            "naam": "Gemeente Voorbeeld",
            "oin": SENDER_OIN,
            "amqp_gebruiker": SENDER,
            "client_id": SENDER,
            "gemeenten": [GEMEENTE],
        },
    }
    written = [[name, *(f"{key} = {to_toml(value)}" for key, value in table.items())] for name, table in tables.items()]
    return "\n\n".join("\n".join(lines) for lines in written) + "\n"
