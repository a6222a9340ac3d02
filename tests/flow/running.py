"""A whole gateway in this process: read from a written gateway.toml, on a real ledger, with creditors at real ports.

    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg", "sftp")]) as town:
        await town.send(notice("SHV-1", 1, "energie", "zorg"))
        await town.reach("afgeleverd", "energie")

When it ends, every event that the gateway wrote is held against `schemas/gebeurtenissen-1.0.json`.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection, Row, Select, Table, select

import schemas
from gateway.app import Gateway
from gateway.clock import Clock
from gateway.config import read_config
from gateway.core.notice import Sender
from gateway.core.retry import Policy
from gateway.events import Events
from gateway.intake import Arrival, Verdict
from gateway.invariants import Circumstances, Finding, verify
from gateway.ledger import schema
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.pki import DevPki, make_dev_pki
from gateway.sandbox.cjib_creditor import Case, CjibCreditor
from gateway.sandbox.decisions import Decide, agree
from gateway.sandbox.mail_creditor import MailCreditor
from gateway.sandbox.register import register_toml, to_toml
from gateway.sandbox.sftp_creditor import SftpCreditor
from gateway.sandbox.webhook_creditor import WebhookCreditor
from tests.flow.desk import SENDER
from tests.servers import free_port

T = TypeVar("T")
Event = Mapping[str, Any]

QUICK = {
    "eerste_herhaling": "0.05 s",
    "hoogste_herhaling": "0.2 s",
    "antwoord_binnen": "2 s",
    "sftp_peiling": "0.1 s",
    "cjib_peiling": "0.1 s",
    "cjib_peiling_hoogste": "0.2 s",
    "lease": "6 s",
}
PATIENCE = 10.0


class Neighbour(Struct, frozen=True):
    """One creditor. `answers`: how it answers on each of its channels; `table`: more of its register entry."""

    id: str
    answers: Mapping[str, str]
    decide: Decide
    table: Mapping[str, Any]


def neighbour(id_: str, *channels: str, decide: Decide = agree, **table: Any) -> Neighbour:
    """`channels`: names, with how it answers after a colon ("webhook:by_callback"); it does not unless told so."""
    ways = [channel.partition(":") for channel in channels or ("webhook",)]
    return Neighbour(id_, {name: way or "not" for name, _, way in ways}, decide, table)


class Window(WebhookCreditor):
    """A webhook of one creditor that also counts what it has in hand at the same time."""

    def __init__(self, directory: Path, pki: DevPki, gateway_url: str) -> None:
        super().__init__(directory, pki.server, gateway_url=gateway_url, ca=pki.authority.certificate)
        self.starts: list[float] = []
        """When each request began, seconds of the event loop."""
        self.most_at_once = 0
        self._at_once = 0

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.starts.append(asyncio.get_running_loop().time())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await super()._answer(request)
        finally:
            self._at_once -= 1

    @property
    def deliveries(self) -> list[str]:
        """In the order in which they were taken."""
        return [receipt.delivery for receipt in self.journal.receipts]


class Office(CjibCreditor):
    """An API whose files can be looked into, and that can keep silent to who asks for a token."""

    def __init__(self, directory: Path, pki: DevPki) -> None:
        super().__init__(directory, pki.server, pki.authority.certificate, polls=1)
        self.asked = 0
        """How often a token was asked for."""
        self._gives_tokens = asyncio.Event()
        self._gives_tokens.set()

    @asynccontextmanager
    async def keeps_its_tokens(self) -> AsyncIterator[None]:
        """Those given so far are refused, and who asks for one waits."""
        self._gives_tokens.clear()
        self.forget_tokens()
        self.asked = 0
        try:
            yield
        finally:
            self._gives_tokens.set()

    async def respond(self, request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/token"):
            self.asked += 1
            await self._gives_tokens.wait()
        return await super().respond(request)

    def cases(self, creditor: str) -> list[Case]:
        return list(self._accounts[creditor].cases.values())


@dataclass
class Town:
    """The gateway and everybody around it."""

    directory: Path
    pki: DevPki
    url: str
    """Of the gateway's HTTP door."""
    ledger_url: str
    ledger: Ledger
    """A look from outside: another connection than the gateway's."""
    webhooks: dict[str, Window] = field(default_factory=dict)
    sftp: SftpCreditor | None = None
    cjib: Office | None = None
    mail: MailCreditor | None = None
    _gateway: Gateway | None = None
    _events: Events | None = None
    _run: asyncio.Task[None] | None = None

    @property
    def anchor(self) -> ssl.SSLContext:
        """For whoever calls the gateway."""
        return ssl.create_default_context(cafile=self.pki.authority.certificate)

    # -- the gateway ------------------------------------------------------------------------------------------------

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None, "the gateway does not run"
        return self._gateway

    async def start(self, change: Callable[[Gateway], None] = lambda _: None, *, is_ready: bool = True) -> None:
        """As after `kennisgeving serve`; `change` is done to it before it runs. `is_ready`: wait until it is."""
        self._gateway = Gateway(read_config(self.directory / "gateway.toml", {}))
        self._events = self._gateway.events
        change(self._gateway)
        self._run = asyncio.create_task(self._gateway.run())
        if is_ready:
            await self.until(self._is_ready)

    async def _is_ready(self) -> bool:
        return not await self.gateway.reasons_not_ready()

    def _is_alive(self) -> None:
        """Raises what the gateway ended of, where it did."""
        if self._run is not None and self._run.done():
            self._run.result()

    async def stop(self) -> None:
        """As after SIGTERM; raises what the gateway ended of."""
        if self._run is not None:
            self.gateway.stop()
            await self._run
        self._gateway = self._run = None

    async def forget(self) -> None:
        """Look at the ledger anew, because another one is put in its place."""
        await self.ledger.aclose()
        self.ledger = Ledger(self.ledger_url)

    async def send(self, *events: Event, sender: Sender | None = SENDER) -> Sequence[Verdict]:
        """Through the door of HTTP, all in one batch."""
        arrivals = [Arrival("http", sender, json.dumps(event).encode()) for event in events]
        return await self.gateway.intake.accept(arrivals)

    async def send_bytes(self, body: bytes, sender: Sender | None = SENDER) -> Verdict:
        (verdict,) = await self.gateway.intake.accept([Arrival("http", sender, body)])
        return verdict

    # -- the ledger -------------------------------------------------------------------------------------------------

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        return await self._read(select(table).order_by(*table.primary_key))

    async def deliveries(self, *creditors: str) -> Sequence[Row[Any]]:
        """Those to these creditors, or all."""
        found = await self.rows(schema.delivery)
        return [row for row in found if not creditors or row.creditor in creditors]

    async def delivery(self, creditor: str) -> Row[Any]:
        """The only one."""
        (found,) = await self.deliveries(creditor)
        return found

    async def attempts(self, *creditors: str) -> Sequence[Row[Any]]:
        """Those on deliveries to these creditors, by delivery and then in order."""
        ids = {row.id for row in await self.deliveries(*creditors)}
        return [row for row in await self.rows(schema.attempt) if row.delivery_id in ids]

    async def tasks(self) -> list[str]:
        return sorted(row.soort for row in await self.rows(schema.task))

    async def events(self) -> list[Event]:
        """All that the gateway wrote, also what has no number yet, as it was made."""
        outbox, dossier = schema.outbox, schema.dossier
        query = select(outbox, dossier.c.key).outerjoin(dossier, dossier.c.id == outbox.c.dossier_id)
        rows = await self._read(query.order_by(outbox.c.id))
        assert self._events is not None
        return [json.loads(self._events.open(row.id, row.sealed, row.key)) for row in rows]

    async def told(self, *creditors: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(name, data) of the events about these creditors' deliveries, or of all events."""
        named = [(event["type"].split(".")[2], event["data"]) for event in await self.events()]
        return [(name, data) for name, data in named if not creditors or data.get("schuldeiser") in creditors]

    async def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        def read(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(query).all()

        while True:
            try:
                return await self.ledger.run(read)
            except LedgerAway:  # a test took it away and gave it back
                await asyncio.sleep(0.05)

    async def broken(self) -> Sequence[Finding]:
        """Invariants of the ledger that do not hold."""
        found = await self.ledger.run(verify, Circumstances(Clock().micros(), Policy(0.05, 0.2)))
        return [finding for finding in found if finding.broken]

    # -- waiting ----------------------------------------------------------------------------------------------------

    async def until(self, look: Callable[[], Awaitable[T]], within: float = PATIENCE) -> T:
        """The first thing that `look` finds that is not nothing."""
        try:
            async with asyncio.timeout(within):
                while not (found := await look()):
                    self._is_alive()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            states = [(row.creditor, row.soort, row.state) for row in await self.deliveries()]
            raise AssertionError(f"not within {within} s; {states}") from None
        return found

    async def reach(self, state: str, *creditors: str, within: float = PATIENCE) -> Sequence[Row[Any]]:
        """All deliveries to these creditors, once they have all come to `state`."""

        async def look() -> Sequence[Row[Any]]:
            found = await self.deliveries(*creditors)
            return found if all(row.state == state for row in found) else ()

        return await self.until(look, within)

    async def hand_over(self, *creditors: str, within: float = PATIENCE) -> Sequence[Row[Any]]:
        """All deliveries to these creditors, once each has been handed over."""

        async def look() -> Sequence[Row[Any]]:
            found = await self.deliveries(*creditors)
            return found if all(row.handed_over_at for row in found) else ()

        return await self.until(look, within)

    async def try_out(self, creditor: str, times: int = 1) -> Sequence[Row[Any]]:
        """The attempts at this creditor, once so many have ended."""

        async def look() -> Sequence[Row[Any]]:
            ended = [one for one in await self.attempts(creditor) if one.outcome]
            return ended if len(ended) >= times else ()

        return await self.until(look)

    async def hears(self, name: str, *creditors: str) -> Mapping[str, Any]:
        """The data of the first event of this name about these creditors."""

        async def look() -> Sequence[Mapping[str, Any]]:
            return [data for said, data in await self.told(*creditors) if said == name]

        return (await self.until(look))[0]


def event_faults(event: Event) -> list[str]:
    """What the published schema has against an event."""
    return [str(fault.instance_path) for fault in schemas.validator("gebeurtenissen").iter_errors(dict(event))]


@asynccontextmanager
async def running(
    directory: Path,
    ledger_url: str,
    neighbours: Sequence[Neighbour],
    *,
    tempo: Mapping[str, str] | None = None,
    amqp: Mapping[str, Any] | None = None,
    change: Callable[[Gateway], None] = lambda _: None,
    is_ready: bool = True,
) -> AsyncIterator[Town]:
    """`tempo` goes over QUICK; `amqp` is that table; for the rest see `Town.start`."""
    port = free_port()
    town = Town(
        directory, make_dev_pki(directory / "certs"), f"https://127.0.0.1:{port}", ledger_url, Ledger(ledger_url)
    )
    async with AsyncExitStack() as streets:
        tables = [await _move_in(one, town, streets) for one in neighbours]
        (directory / "schuldeisers.toml").write_text(register_toml(tables))
        document = _settings(town, ledger_url, port, {**QUICK, **(tempo or {})}, amqp)
        (directory / "gateway.toml").write_text(document)
        try:
            await town.start(change, is_ready=is_ready)
            yield town
            assert [fault for event in await town.events() for fault in event_faults(event)] == []
            assert await town.broken() == []
        finally:
            await town.stop()
            await town.ledger.aclose()


async def _move_in(one: Neighbour, town: Town, streets: AsyncExitStack) -> Mapping[str, Any]:
    """Its register entry, with an account at a server of each of its channels."""
    endpoints = {channel: await _account(one, channel, town, streets) for channel in one.answers}
    entry = {"id": one.id, "naam": f"{one.id} B.V.", "kanalen": list(one.answers), "netwerken": ["127.0.0.0/8"]}
    return {**entry, "ca": f"file:{town.pki.authority.certificate}", **one.table, **endpoints}


async def _account(one: Neighbour, channel: str, town: Town, streets: AsyncExitStack) -> Mapping[str, Any]:
    home = town.directory / channel
    home.mkdir(exist_ok=True)
    way: Any = one.answers[channel]
    match channel:
        case "webhook":
            window = Window(home, town.pki, town.url)
            town.webhooks[one.id] = await streets.enter_async_context(window)
            return window.add(one.id, way, one.decide)
        case "sftp":
            if town.sftp is None:
                town.sftp = await streets.enter_async_context(SftpCreditor(home))
            return town.sftp.add(one.id, way, one.decide)
        case "cjib":
            if town.cjib is None:
                town.cjib = await streets.enter_async_context(Office(home, town.pki))
            return town.cjib.add(one.id, town.pki.gateway)
        case "email":
            if town.mail is None:
                post = MailCreditor(home, town.pki.server, ca=town.pki.authority.certificate)
                town.mail = await streets.enter_async_context(post)
            return town.mail.add(one.id, way, one.decide)
        case _:
            raise ValueError(channel)


def _settings(town: Town, ledger_url: str, port: int, tempo: Mapping[str, str], amqp: Mapping[str, Any] | None) -> str:
    relay = town.mail.relay(town.pki.authority.certificate) if town.mail else {}
    tables: dict[str, Mapping[str, Any]] = {
        "[ledger]": {"url": ledger_url, "sleutel": f"file:{town.pki.ledger_key}"},
        "[amqp]": amqp or {},
        "[http]": {
            "luister": f"127.0.0.1:{port}",
            "certificaat": f"file:{town.pki.server.certificate}",
            "certificaat_sleutel": f"file:{town.pki.server.key}",
        },
        "[email]": {**relay, "afzender": "kennisgeving@gateway.example"} if relay else {},
        "[tempo]": tempo,
        "[register]": {"bestand": "schuldeisers.toml"},
        "[[afzender]]": {
            "naam": SENDER.name,
            "oin": SENDER.oin,
            "amqp_gebruiker": SENDER.amqp_user,
            "client_id": SENDER.client_id,
            "gemeenten": SENDER.gemeenten,
        },
    }
    written = [
        [name, *(f"{key} = {to_toml(value)}" for key, value in table.items())]
        for name, table in tables.items()
        if table
    ]
    return "\n\n".join("\n".join(lines) for lines in written) + "\n"
