"""One round: a ledger, one gateway or two, a gemeente that sends; in the end everything must agree."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import structs
from sqlalchemy import Connection, func, select

from gateway.clock import Clock
from gateway.core.lifecycle import SETTLED
from gateway.core.retry import Policy
from gateway.invariants import Circumstances, Finding
from gateway.ledger import schema
from gateway.ledger.engine import Ledger, LedgerAway
from tests.faults.books import Witness, read_books
from tests.faults.figures import Figures
from tests.faults.gateway import OWN_FAULT_PAUSE
from tests.faults.grounds import Grounds
from tests.faults.hearing import Listener
from tests.faults.holdings import CLOSED_WITHIN, kept_on_purpose, kept_open, left_lying, parts
from tests.faults.load import SECRETS, Load
from tests.faults.nursery import Gateway
from tests.faults.saved import Round, keep, mine
from tests.faults.sightings import TAKEN, Log, secrets
from tests.faults.verdict import judge
from tests.flow.outside.messages import Message
from tests.flow.outside.sender import connect

T = TypeVar("T")
POLICY = Policy(0.2, 1.0)
QUIET_WITHIN = 90.0
SENT_WITHIN = 120.0
BACK_WITHIN = 60.0
"""Seconds for which a ledger may be away."""
SETTLES_WITHIN = 30.0
STANDS_STILL = 6.0
"""Seconds for which a gateway that is stopped stands still at most."""
REPORTED_AFTER = 4.0
"""Seconds in the place of five minutes: between the moment from which a delay is to be reported and the report."""
LOOK = 0.15
SEEN_WITHIN = 15.0
DIES_WITHIN = 8.0
SETTLED_AFTER = 3
"""Looks at a new gateway that are as the one before."""


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

    async def dies(self, gateway: Gateway, point: str, what: str = "gateway") -> None:
        """It has to come to the point; where it does not, it is killed and that is a fault."""
        await gateway.died(DIES_WITHIN)
        if await gateway.kill() or gateway.died_at() != point:
            self.figures.faults.append(f"{gateway.name} never came to {point}")
        else:
            self.figures.count_kill(what, point)

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
        """All of it is confirmed; raises TimeoutError."""
        async with asyncio.timeout(SENT_WITHIN):
            await asyncio.gather(*self.sending)
        self.sending.clear()

    async def read(self, look: Callable[[Connection], T]) -> T:
        """From the ledger, however often it is taken away; raises LedgerAway when it does not come back."""
        deadline = time.monotonic() + BACK_WITHIN
        while True:
            try:
                return await self.ledger.run(look)
            except LedgerAway:
                if time.monotonic() > deadline:
                    raise
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

    async def seen(self, *creditors: str, since: int | None = None) -> None:
        """One of them got something in this round, or since so many bytes of their log; raises TimeoutError."""
        offset = self.offset if since is None else since
        async with asyncio.timeout(SEEN_WITHIN):
            while not any(one.creditor in creditors for one in self.grounds.neighbours.since(offset)[0]):
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
        try:
            await self.sent()
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
        """Remember how a gateway is that has nothing to do yet: it has opened all that it opens once. Raises
        TimeoutError."""
        self.parts = parts(self.grounds.inboxes)
        same = 0
        async with asyncio.timeout(SETTLES_WITHIN):
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
            parked=await self._left(),
            commits_lost=self.grounds.to_ledger.commits_lost - self.commits_lost_before,
            still=STANDS_STILL if self.figures.kills.get("stopped") else 0.0,
        )
        figures = self.figures
        figures.findings = judge(books, witness)
        figures.notices, figures.deliveries = len(witness.confirmed), len(books.deliveries)
        figures.events = len(books.outbox)
        figures.losses = sum(len(one.broken) for one in figures.findings if one.invariant in ("I1", "I3"))
        figures.count_sightings(own)
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
