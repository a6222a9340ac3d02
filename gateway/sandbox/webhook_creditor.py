"""A creditor with a webhook: an HTTPS server that verifies what it gets and answers in its own way.

Several creditors share one server, each at its own path with its own keys. It refuses (and remembers in `refused`)
whatever is not signed by the gateway, too old, or not valid against the published schema.
"""

import asyncio
import json
import os
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import aiohttp
from aiohttp import web

import schemas
from gateway.clock import Clock
from gateway.core import standard_webhooks
from gateway.ids import uuid7
from gateway.pki import Issued, write_secret
from gateway.sandbox.decisions import ASKS_FOR_ANSWER, Decide, agree
from gateway.sandbox.https_server import HttpsServer
from gateway.sandbox.journal import Journal
from gateway.sandbox.peer import Sighting

CONTENT_TYPE: Final = "application/cloudevents+json"
Way = Literal["in_reply", "by_callback", "not"]
_CALLBACK_PAUSES: Final = (0.05, 0.2, 0.5, 1, 2, 5, 10)  # seconds between attempts
_HEADERS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """One creditor: whose signature it takes, and how it answers."""

    creditor: str
    gateway_keys: tuple[standard_webhooks.VerifyingKey, ...]
    answer_key: standard_webhooks.SigningKey
    way: Way
    decide: Decide


class WebhookCreditor(HttpsServer):
    """`async with WebhookCreditor(…) as creditor: table = creditor.add("energie-voorbeeld")`.

    `directory` gets the key files, `log` a line of JSON per receipt; `gateway_url` is for callbacks and `ca` the
    anchor of its certificate.
    """

    def __init__(
        self,
        directory: Path,
        certificate: Issued,
        *,
        port: int = 0,
        log: Path | None = None,
        gateway_url: str | None = None,
        ca: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(certificate, port=port)
        self.gateway_url = gateway_url
        self.journal = Journal(log, clock or Clock())
        self.refused: list[str] = []
        self.callbacks: dict[str, int] = {}
        """Delivery → the status that the gateway gave to the callback."""
        self._directory = directory
        self._clock = clock or Clock()
        self._accounts: dict[str, Account] = {}
        self._given: dict[str, bytes] = {}
        self._heads: deque[bytes] = deque(maxlen=_HEADERS_KEPT)
        self._calls: set[asyncio.Task[None]] = set()
        self._anchor = ssl.create_default_context(cafile=ca) if ca else None
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._anchor or True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        await super().__aexit__(kind, error, trace)
        self.journal.close()

    def add(self, creditor: str, way: Way = "in_reply", decide: Decide = agree) -> dict[str, object]:
        """Open an account; returns its `[schuldeiser.webhook]` table for the register."""
        key, answer_key = self._key_file(creditor), self._key_file(f"{creditor}-antwoord")
        self._accounts[creditor] = Account(
            creditor,
            (standard_webhooks.verifying_key(key.read_bytes()),),
            standard_webhooks.signing_key(answer_key.read_bytes()),
            way,
            decide,
        )
        url = f"{self.origin}/{creditor}"
        return {"url": url, "sleutels": [f"file:{key}"], "antwoord_sleutels": [f"file:{answer_key}"]}

    def received(self, delivery: str) -> list[Sighting]:
        return [Sighting(seen.delivery, seen.digest) for seen in self.journal.of(delivery)]

    def visible(self) -> bytes:
        """Path and headers of what arrived."""
        return b"\n".join(self._heads)

    def _key_file(self, name: str) -> Path:
        path = self._directory / f"{name}.whsec"
        if not path.exists():
            write_secret(path, standard_webhooks.new_secret(os.urandom(32)).encode())
        return path

    async def respond(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self._heads.append(f"{request.method} {request.path_qs} {list(request.headers.items())}".encode())
        account = self._accounts.get(request.path.removeprefix("/"))
        if account is None:
            return web.Response(status=404)
        try:
            delivery = standard_webhooks.verify(account.gateway_keys, request.headers.items(), body, self._clock.now())
        except standard_webhooks.SignatureRefused:
            return self._refuse(401, "handtekening")
        fault = fault_in(request.headers.get("Content-Type", ""), delivery, body)
        if fault is not None:
            return self._refuse(400, fault)
        return self._take(account, delivery, body)

    def _refuse(self, status: int, why: str) -> web.Response:
        self.refused.append(why)
        return web.Response(status=status, text=why)

    def _take(self, account: Account, delivery: str, body: bytes) -> web.Response:
        view = json.loads(body)["data"]
        self.journal.record(account.creditor, delivery, body, view["soort"])
        if account.way == "not" or view["soort"] not in ASKS_FOR_ANSWER:
            return web.Response(status=204)
        is_new = delivery not in self._given
        answer = self._given.setdefault(delivery, json.dumps(account.decide(view)).encode())
        if account.way == "in_reply":
            return web.Response(status=200, body=b'{"antwoord":%b}' % answer, content_type="application/json")
        if is_new and self.gateway_url:
            self._call_back(account, delivery, answer)
        return web.Response(status=202)

    def _call_back(self, account: Account, delivery: str, answer: bytes) -> None:
        call = asyncio.create_task(self._deliver_answer(account, delivery, answer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _deliver_answer(self, account: Account, delivery: str, answer: bytes) -> None:
        """Until the gateway has it, as Standard Webhooks asks of every sender."""
        body = b'{"bezorging":"%b","antwoord":%b}' % (delivery.encode(), answer)
        message_id = uuid7(self._clock.micros())
        for pause in _CALLBACK_PAUSES:
            await asyncio.sleep(pause)
            status = await self._post(account, message_id, body)
            self.callbacks[delivery] = status
            if 200 <= status < 300:  # noqa: PLR2004
                return

    async def _post(self, account: Account, message_id: str, body: bytes) -> int:
        """The status, or 0 where the gateway did not answer."""
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": standard_webhooks.sign([account.answer_key], message_id, timestamp, body),
        }
        url = f"{self.gateway_url}/v1/antwoorden/{account.creditor}"
        if self._client is None:
            return 0
        try:
            async with self._client.post(url, data=body, headers=headers, allow_redirects=False) as reply:
                return reply.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


def fault_in(content_type: str, delivery: str, body: bytes) -> str | None:
    """What is wrong with an event, in a few words without values; None: nothing."""
    if content_type != CONTENT_TYPE:
        return "content-type"
    try:
        event: Mapping[str, Any] = json.loads(body)
        view = event["data"]
    except (ValueError, KeyError, TypeError):
        return "geen CloudEvent"
    if event.get("specversion") != "1.0" or not str(event.get("type", "")).startswith("nl.schuldhulpverlening."):
        return "geen CloudEvent van schuldhulpverlening"
    if not event.get("id") == delivery == view.get("kenmerk"):
        return "id, webhook-id en kenmerk verschillen"
    wrong = next(schemas.validator("bericht").iter_errors(view), None)
    return None if wrong is None else "schema: /" + "/".join(str(step) for step in wrong.instance_path)
