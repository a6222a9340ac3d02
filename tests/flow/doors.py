"""The HTTP door on a real ledger and a real port, with tokens, certificates and signing keys of its own."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from sqlalchemy import Connection, Executable, Table, insert, select

from gateway.config import HttpSettings, OAuth2Settings
from gateway.contract import DeliveryId, Rendition
from gateway.core.agenda import Terms
from gateway.core.creditor import Creditor, CreditorId
from gateway.core.repeat import Reach, reach_of
from gateway.core.retry import Policy
from gateway.core.standard_webhooks import new_secret, sign, signing_key
from gateway.events import Events
from gateway.evidence import Testimony
from gateway.http.server import Doors, HttpServer
from gateway.intake import Accepted, Arrival, Intake
from gateway.keys import Keys
from gateway.ledger import outbox
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import answer_page, delivery
from gateway.ledger.upgrade import upgrade
from gateway.links import Links
from gateway.pki import Authority
from gateway.receipts import Receipts
from gateway.repeats import Repeats
from gateway.seal import Sealer
from gateway.tables import Address
from tests.flow.desk import CREDITORS, OTHER, PAUSE_BUTTON, SENDER, StandingClock, notice

ISSUER = "https://inloggen.voorbeeld"
AUDIENCE = "kennisgeving"
TOKEN = "t" * 43
REFERENCE = "K-99812"
DAY = 24 * 3600 * 1_000_000


class MovingClock(StandingClock):
    """Also for measuring."""

    def monotonic(self) -> float:
        return self.at / 1_000_000


class Issuer:
    """An OAuth2 token issuer: a key, and the JWKS file that says which."""

    def __init__(self, file: Path, clock: StandingClock) -> None:
        self.file = file
        self.clock = clock
        self.publish_key(ECKey.generate_key("P-256", {"kid": "eerste"}))

    def publish_key(self, key: ECKey | RSAKey | OKPKey) -> None:
        """A key instead of the former."""
        self.key = key
        self.file.write_text(json.dumps(KeySet([key]).as_dict()))

    def token(self, client: str = "gem-0363", algorithm: str = "ES256", **claims: object) -> str:
        """A good token; a claim of None is left out."""
        now = self.clock.at // 1_000_000
        whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "iat": now, "client_id": client, **claims}
        said = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": self.key.kid}, said, self.key, [algorithm])


@dataclass
class House:
    """`url` without a slash at the end. `secrets`: creditor → the key its answers are signed with."""

    url: str
    mtls_url: str
    ledger: Ledger
    clock: StandingClock
    intake: Intake
    testimony: Testimony
    issuer: Issuer
    links: Links
    secrets: Mapping[str, str]
    session: aiohttp.ClientSession
    reasons: list[str]
    """Why the gateway is not ready."""
    events: Events

    # -- as a sender ------------------------------------------------------------------------------------------------

    async def get(
        self, path: str, client: str = "gem-0363", algorithm: str = "ES256", **options: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.issuer.token(client, algorithm)}"}
        async with self.session.get(self.url + path, headers=headers, **options) as response:
            return response.status, await response.json(content_type=None)

    async def status(self, path: str, tls: ssl.SSLContext, *, mtls: bool = True, token: bool = False) -> int:
        """On a connection of its own, to the listener for certificates or the other one."""
        headers = {"Authorization": f"Bearer {self.issuer.token()}"} if token else {}
        url = (self.mtls_url if mtls else self.url) + path
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=tls) as response,
        ):
            return response.status

    async def post(self, event: object, client: str = "gem-0363", **headers: str) -> tuple[int, Any]:
        """Any status with its JSON; `event` is encoded unless it is bytes."""
        self.clock.at += 1000
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        own = {"Authorization": f"Bearer {self.issuer.token(client)}", "Content-Type": "application/cloudevents+json"}
        async with self.session.post(f"{self.url}/v1/berichten", data=body, headers={**own, **headers}) as response:
            return response.status, await response.json(content_type=None)

    async def accept(self, event: dict[str, Any]) -> list[Any]:
        """Let the gateway have a message; gives the rows of its deliveries."""
        self.clock.at += 1000
        (verdict,) = await self.intake.accept([Arrival("http", SENDER, json.dumps(event).encode())])
        assert isinstance(verdict, Accepted), verdict
        rows = await self.rows(delivery)
        return [row for row in rows if row.message_id == verdict.message]

    # -- as a creditor ----------------------------------------------------------------------------------------------

    async def answer(
        self,
        creditor: str,
        body: object,
        webhook_id: str = "antwoord-1",
        key: str | None = None,
        age: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A signed callback; `key`: instead of the creditor's own, `age` in seconds."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = self.signed(creditor, raw, webhook_id, key, age)
        url = f"{self.url}/v1/antwoorden/{creditor}"
        async with self.session.post(url, data=raw, headers={**own, **(headers or {})}) as response:
            return response.status, await response.json(content_type=None)

    def signed(
        self, creditor: str, raw: bytes, webhook_id: str = "antwoord-1", key: str | None = None, age: int = 0
    ) -> dict[str, str]:
        """The headers of a callback."""
        stamp = self.clock.at // 1_000_000 - age
        secret = key or self.secrets[creditor]
        signature = sign([signing_key(secret.encode())], webhook_id, stamp, raw)
        return {"webhook-id": webhook_id, "webhook-timestamp": str(stamp), "webhook-signature": signature}

    async def rotate(self, creditor: str, secret: str) -> None:
        """Another register, in which this creditor has another key for its answers."""
        changed = [_with_key(one, self.issuer.file.parent, secret) for one in CREDITORS if one.id == creditor]
        others = [one for one in self.links.register.by_id.values() if one.id != creditor]
        await self.links.load([*others, *changed], [])

    async def open_page(self, delivery_id: str, *references: str, token: str = TOKEN) -> None:
        """As freezing a mail does."""
        rendition = Rendition(b"", token, references or (REFERENCE,))
        token_hash, hashes = self.testimony.page_of(delivery_id, rendition)
        row = {
            "token_hash": token_hash,
            "delivery_id": DeliveryId(delivery_id),
            "reference_hashes": hashes,
            "wrong": 0,
            "decided": False,
            "expires_at": self.clock.at + 400 * DAY,
        }
        await self.change(insert(answer_page).values(row))

    async def visit(self, method: str = "GET", token: str = TOKEN, data: object = None) -> tuple[int, str]:
        async with self.session.request(method, f"{self.url}/antwoord/{token}", data=data) as response:
            return response.status, await response.text()

    # -- as the ledger ----------------------------------------------------------------------------------------------

    async def rows(self, table: Table) -> Sequence[Any]:
        def read(connection: Connection) -> Sequence[Any]:
            return connection.execute(select(table).order_by(*table.primary_key)).all()

        return await self.ledger.run(read)

    async def change(self, statement: Executable) -> None:
        def execute(connection: Connection) -> None:
            connection.execute(statement)

        await self.ledger.run(execute)

    async def number_events(self) -> None:
        await self.ledger.run(outbox.take_events, 1000, self.clock.at, None)


@asynccontextmanager
async def open_doors(
    ledger_url: str, directory: Path, *, tls: Authority | None = None, migrate: bool = True
) -> AsyncIterator[House]:
    """A door without the stages behind intake and receipts; with `tls` it has both listeners."""
    clock = MovingClock()
    issuer = Issuer(directory / "jwks.json", clock)
    secrets = {str(one.id): new_secret(os.urandom(32)) for one in CREDITORS}
    keys, ledger = Keys(os.urandom(32)), Ledger(ledger_url)
    sealer = Sealer(keys)
    events = Events("00000099000000001000", sealer)
    links = Links({})
    testimony = Testimony(sealer, events, keys.derive("antwoordpagina"), lambda: links.register)
    await links.load([_with_key(one, directory, secrets[one.id]) for one in CREDITORS], [])
    intake = Intake(
        ledger,
        links,
        sealer,
        keys,
        events,
        clock,
        senders=[SENDER, OTHER],
        policy=Policy(),
        closed_days=(),
        gap_wait=900,
        on_deliveries=lambda _lanes: None,
        on_events=lambda: None,
        on_agenda=lambda: None,
    )
    receipts = Receipts(
        ledger,
        links,
        testimony,
        clock,
        poll_every=lambda _: 60.0,
        on_events=lambda: None,
        wake=lambda _: None,
    )
    reasons: list[str] = []
    doors = Doors(
        ledger=ledger,
        intake=intake,
        receipts=receipts,
        testimony=testimony,
        sealer=sealer,
        events=events,
        links=links,
        clock=clock,
        terms=Terms(links.register.by_id.get),
        senders_by_client={"gem-0363": SENDER, "gem-0344": OTHER, "pauzeknop": PAUSE_BUTTON},
        senders_by_oin={SENDER.oin: SENDER, OTHER.oin: OTHER},
        settings=_settings(issuer, tls),
        ready=lambda: _ready(reasons),
        repeats=Repeats(lambda rate: lambda name: _reach(links, name, rate), Policy(), ()),
        on_deliveries=lambda _lanes: None,
    )
    if migrate:
        await ledger.run(upgrade)
    async with HttpServer(doors).listening() as places, aiohttp.ClientSession() as session:
        urls = [f"{'https' if tls else 'http'}://{place}" for place in places]
        try:
            yield House(
                urls[0],
                urls[-1],
                ledger,
                clock,
                intake,
                testimony,
                issuer,
                links,
                secrets,
                session,
                reasons,
                events,
            )
        finally:
            await ledger.aclose()


def _reach(links: Links, name: str, per_second: float | None) -> Reach | None:
    return reach_of(links.register.by_id.get(name), links.open_channels(name), per_second)


async def _ready(reasons: list[str]) -> list[str]:
    return reasons


def _with_key(creditor: Creditor, directory: Path, secret: str) -> Creditor:
    """The creditor, with a key for its answers; `zorg` has none."""
    file = directory / f"{creditor.id}.antwoord"
    file.write_text(secret)
    table = {"url": "https://schuldeiser.voorbeeld", "antwoord_sleutels": [f"file:{file}"]}
    endpoints = {} if creditor.id == CreditorId("zorg") else {"webhook": table}
    return msgspec.structs.replace(creditor, endpoints=endpoints)


def _settings(issuer: Issuer, tls: Authority | None) -> HttpSettings:
    here = Address("127.0.0.1", 0)
    oauth2 = OAuth2Settings(ISSUER, f"file:{issuer.file}", AUDIENCE)
    if tls is None:
        return HttpSettings(listen=here, oauth2=oauth2)
    server = tls.issue_server("deur")
    return HttpSettings(
        listen=here,
        certificate=f"file:{server.certificate}",
        certificate_key=f"file:{server.key}",
        listen_mtls=here,
        ca=f"file:{tls.certificate}",
        oauth2=oauth2,
    )


def client_tls(authority: Authority, name: str | None = None, oin: str | None = None) -> ssl.SSLContext:
    """What a client trusts; with `name` it shows a certificate."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if name is not None:
        own = authority.issue_client(name, oin)
        context.load_cert_chain(own.certificate, own.key)
    return context


async def send_raw(url: str, request: bytes) -> bytes:
    """What a server says to these bytes, until it closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


class Fields(HTMLParser):
    """The form on a page as a browser would send it back: what is filled in, hidden or ticked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.filled: dict[str, str] = {}
        self.choices: dict[str, list[str]] = {}
        self.forms: list[dict[str, str]] = []
        self._area: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        self._area = own.get("name") if tag == "textarea" else None
        if tag == "form":
            self.forms.append(own)
        if tag not in ("input", "textarea"):
            return
        self.names.append(own["name"])
        if own.get("type") in ("radio", "checkbox"):
            self.choices.setdefault(own["name"], []).append(own["value"])
            if "checked" in own:
                self.filled[own["name"]] = own["value"]
        else:
            self.filled[own["name"]] = own.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.filled[self._area] = data.removeprefix("\n")
            self._area = None


__all__ = ["REFERENCE", "TOKEN", "Fields", "House", "client_tls", "notice", "open_doors", "send_raw"]
