"""The stories: notices stream in while something dies; afterwards the logs of all sides must agree."""

import asyncio
import base64
import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import asyncssh

from tests.flow.outside.bookkeeping import lanes_of_one, ledger_faults
from tests.flow.outside.creditors import Plan, sightings
from tests.flow.outside.installation import Gateway, GatewayFailed, Settings, sftp_entry, webhook_entry
from tests.flow.outside.messages import Message, kennisgeving, voortgang
from tests.flow.outside.sender import BROKER_AWAY, Issuer, Sender, connect, feed, listening
from tests.flow.outside.verdict import Event, accepted, faults, handed_over
from tests.servers import RabbitMQ, free_port

QUICK = {"eerste_herhaling": "1 s", "lease": "2 s"}
NOTICES_PER_SECOND = 50.0
RESUME_WITHIN = 15.0


@dataclass(frozen=True)
class Cast:
    """How large a story is. Every tenth dossier gets a voortgang too. `tempo` empty: the gateway's own defaults.

    `trouble`: part of the webhook answers that is lost or a 503 although the message was taken.
    """

    notices: int
    creditors: int
    seed: int
    sftp: int = 2
    trouble: float = 0.01
    tempo: dict[str, str] = field(default_factory=lambda: dict(QUICK))
    quiet_within: float = 120.0

    def messages(self) -> list[Message]:
        told = [f"schuldeiser-{nr}" for nr in range(1, self.creditors + 1)]
        written = []
        for nr in range(self.notices):
            dossier = f"SHV-{self.seed}-{nr:05}"
            written.append(kennisgeving(dossier, told))
            if nr % 10 == 0:
                written.append(voortgang(dossier, 2))
        return written

    def names(self) -> list[str]:
        return [f"schuldeiser-{nr}" for nr in range(1, self.creditors + 1)]


@dataclass(frozen=True)
class Moment:
    """When the creditors have `seen` so many messages, `then` so many seconds later."""

    seen: int
    then: float


@dataclass
class Report:
    """What happened, in numbers, and what was amiss."""

    confirmed: int = 0
    deliveries: int = 0
    received: int = 0
    repeated: int = 0
    events: int = 0
    interruptions: list[str] = field(default_factory=list)
    quiet_after: float = 0.0
    faults: list[str] = field(default_factory=list)


class Scene:
    """Sender, gateway and creditors, set up in `directory` and running."""

    def __init__(self, cast: Cast, directory: Path, amqp: Callable[..., str], ledger: str) -> None:
        self.cast = cast
        self.directory = directory
        self.issuer = Issuer(directory)
        self.sender = Sender(amqp("gem-0363"), directory / "confirmed.jsonl")
        self.broker_url = amqp()
        self._plan = self._write_plan()
        settings = Settings(amqp(), ledger, self._register(), cast.tempo, self.issuer.settings)
        self.gateway = Gateway(directory, settings)

    def _write_plan(self) -> Plan:
        names, sftp = self.cast.names(), self.cast.sftp
        host, client = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
        host.write_private_key(str(self.directory / "ssh_host_key"))
        client.write_private_key(str(self.directory / "ssh_client_key"))
        self._host_key = host.export_public_key().decode().strip()
        webhooks = {name: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() for name in names[sftp:]}
        plan = Plan(
            free_port(),
            free_port(),
            webhooks,
            names[:sftp],
            client.export_public_key().decode(),
            self.cast.trouble,
            self.cast.seed,
        )
        (self.directory / "creditors.json").write_text(json.dumps(asdict(plan)))
        (self.directory / "sightings.jsonl").touch()
        return plan

    def _register(self) -> list[str]:
        entries = [
            sftp_entry(name, nr, self._plan.sftp_port, "ssh_client_key", self._host_key)
            for nr, name in enumerate(self._plan.sftp, start=1)
        ]
        for nr, (name, secret) in enumerate(self._plan.webhooks.items(), start=len(entries) + 1):
            (self.directory / f"{name}.whsec").write_text(secret + "\n")
            url = f"http://127.0.0.1:{self._plan.http_port}/{name}"
            entries.append(webhook_entry(name, nr, url, f"{name}.whsec"))
        return entries

    async def comes(self, moment: Moment) -> None:
        """Wait for the moment; where nothing moves any more, for half a minute."""
        deadline = time.monotonic() + 30
        log = self.directory / "sightings.jsonl"
        while self.gateway.runs and time.monotonic() < deadline:
            if log.read_bytes().count(b"\n") >= moment.seen:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(moment.then)

    async def quiet(self) -> float:
        """Wait until every accepted delivery is reported as handed over; the seconds that took."""
        start = time.monotonic()
        while self.gateway.runs and time.monotonic() < start + self.cast.quiet_within:
            events = self.sender.events.values()
            known = accepted(events)
            if self.sender.confirmed.keys() <= known.keys() and set().union(*known.values()) <= handed_over(events):
                break
            await asyncio.sleep(0.25)
        return time.monotonic() - start

    async def waiting(self, queue: str) -> int:
        async with await connect(self.broker_url) as broker, broker.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0


def start_creditors(directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.flow.outside.creditors", "--map", str(directory)]
    with (directory / "creditors.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@asynccontextmanager
async def scene(cast: Cast, directory: Path, amqp: Callable[..., str], ledger: str) -> AsyncIterator[Scene]:
    """Everything runs and the gateway consumes; at the end all processes are gone."""
    stage = Scene(cast, directory, amqp, ledger)
    creditors = start_creditors(directory)
    try:
        stage.gateway.install()
        stage.gateway.start()
        await stage.gateway.ready()
        await stage.sender.subscribe()
        async with listening(stage.sender):
            yield stage
    finally:
        stage.gateway.kill()
        creditors.terminate()
        creditors.wait()


async def publish(stage: Scene, over: float) -> None:
    """Publish all messages, spread over `over` seconds, each until it is confirmed."""
    messages = stage.cast.messages()
    async with asyncio.TaskGroup() as publishing:
        for message in messages:
            publishing.create_task(stage.sender.publish(message))
            await asyncio.sleep(over / len(messages))


async def report(stage: Scene, interruptions: list[str]) -> Report:
    """Wait for quiet, compare the logs, then stop the gateway and look at what it left in its queues."""
    quiet_after = await stage.quiet()
    if not stage.gateway.runs:
        raise GatewayFailed(f"ended by itself\n{stage.gateway.last_lines()}")
    from_feed = await _settled_feed(stage)
    seen, sender = sightings(stage.directory), stage.sender
    amiss = faults(sender.confirmed.values(), sender.events, seen, stage.cast.names())
    amiss += [f"event {event} came with different contents" for event in sender.altered]
    if from_feed != sender.events:
        amiss.append(f"feed has {len(from_feed)} events, the queue brought {len(sender.events)}")
    if (code := stage.gateway.stop()) != 0:
        amiss.append(f"the gateway ended with {code} on SIGTERM")
    for queue in ("kennisgeving.intake", "kennisgeving.geparkeerd"):
        if left := await stage.waiting(queue):
            amiss.append(f"{queue} still has {left} messages")
    received = {(one.creditor, one.delivery) for one in seen}
    deliveries = set().union(*accepted(sender.events.values()).values())
    return Report(
        len(sender.confirmed),
        len(deliveries),
        len(received),
        len(seen) - len(received),
        len(sender.events),
        interruptions,
        quiet_after,
        amiss,
    )


async def _settled_feed(stage: Scene) -> dict[str, Event]:
    """The feed; the events after the last hand-over may be a moment later in it, or in the queue."""
    deadline = time.monotonic() + 10
    while True:
        found = await feed(stage.gateway.url, stage.issuer)
        if found == stage.sender.events or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.25)


async def kill_story(cast: Cast, kills: int, directory: Path, amqp: Callable[..., str], ledger: str) -> Report:
    """The gateway is killed with SIGKILL `kills` times, at work and while it starts, and started again each time."""
    moments = choose_moments(cast, kills)
    async with scene(cast, directory, amqp, ledger) as stage:
        publishing = asyncio.create_task(publish(stage, over=cast.notices / NOTICES_PER_SECOND))
        for moment in moments:
            await stage.comes(moment)
            stage.gateway.kill()
            stage.gateway.start()
        await stage.gateway.ready()
        await publishing
        return await report(stage, [str(moment) for moment in moments])


def choose_moments(cast: Cast, kills: int) -> list[Moment]:
    """Most fall in the thick of the work, about one in four in the first second and a half of the process."""
    chance = random.Random(cast.seed)
    expected = len(cast.messages()) * cast.creditors
    at_work = sorted(chance.randrange(1, expected) for _ in range(kills))
    return [
        Moment(0, chance.uniform(0.1, 1.5)) if chance.random() < 0.25 else Moment(seen, chance.uniform(0, 0.05))
        for seen in at_work
    ]


async def pause_story(cast: Cast, seconds: float, directory: Path, amqp: Callable[..., str], ledger: str) -> Report:
    """Two gateways share the work; one is stopped with SIGSTOP for `seconds`, past its lease, and continued: what it
    had in hand was taken over meanwhile, and its own late results move nothing."""
    async with scene(cast, directory, amqp, ledger) as stage:
        other = stage.gateway.colleague(directory / "colleague")
        other.start()
        try:
            await other.ready()
            publishing = asyncio.create_task(publish(stage, over=cast.notices / NOTICES_PER_SECOND))
            await stage.comes(Moment(len(cast.messages()) * cast.creditors // 4, 0.0))
            other.pause()
            await asyncio.sleep(seconds)
            moved = await lanes_of_one(ledger)
            other.resume()
            await publishing
            found = await report(stage, [f"stopped for {seconds} s; {moved} lanes moved meanwhile"])
            found.faults += await ledger_faults(ledger)
            if not moved:
                found.faults.append("the lanes of the gateway that stood still did not move")
            if (code := other.stop()) != 0:
                found.faults.append(f"the gateway that was continued ended with {code} on SIGTERM")
            return found
        finally:
            other.kill()


async def broker_story(cast: Cast, directory: Path, rabbitmq: RabbitMQ, ledger: str) -> Report:
    """RabbitMQ is killed under load and started again; the gateway must consume again without help."""
    async with scene(cast, directory, rabbitmq.url, ledger) as stage:
        publishing = asyncio.create_task(publish(stage, over=4.0))
        await asyncio.sleep(1.5)
        rabbitmq.kill()
        await asyncio.to_thread(rabbitmq.start)
        resumed = await _consumed_again(stage)
        await publishing
        found = await report(stage, [f"broker killed; consumed again {resumed:.1f} s after it was up"])
        if resumed > RESUME_WITHIN:
            found.faults.append(f"consuming took {resumed:.1f} s to resume")
        return found


async def _consumed_again(stage: Scene) -> float:
    """Seconds until the intake queue has a consumer and /readyz says so."""
    start = time.monotonic()
    while stage.gateway.runs and time.monotonic() < start + 2 * RESUME_WITHIN:
        if await _consumers(stage.broker_url) and await _answers(f"{stage.gateway.url}/readyz"):
            break
        await asyncio.sleep(0.1)
    return time.monotonic() - start


async def _consumers(url: str) -> int:
    try:
        async with await connect(url) as broker, broker.channel() as channel:
            declared = await channel.declare_queue("kennisgeving.intake", passive=True)
            return declared.declaration_result.consumer_count or 0
    except BROKER_AWAY:
        return 0


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False
