"""A creditor with the CJIB-style API: mTLS, private_key_jwt, idempotent POST, cases that move on when polled.

Several creditors share one server, each under its own path, with its own client and its own tokens.

    POST /<creditor>/token                                        → access token
    POST /<creditor>/v1/stabilisatieverzoeken                     → 201, Location
    GET  /<creditor>/v1/stabilisatieverzoeken?kenmerk=…           → those with our reference
    GET  /<creditor>/v1/stabilisatieverzoeken/<id>                → ontvangen → in_behandeling → afgehandeld
    POST /<creditor>/v1/stabilisatieverzoeken/<id>/berichten      → 201
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

import schemas
from gateway.clock import Clock
from gateway.pki import Issued, make_key
from gateway.sandbox.https_server import HttpsServer
from gateway.sandbox.journal import Journal
from gateway.sandbox.peer import Sighting

View = Mapping[str, Any]
Zaken = list[dict[str, Any]]
DecideCases = Callable[[View], Zaken]
_REQUESTS: Final = "v1/stabilisatieverzoeken"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_ASSERTION = timedelta(minutes=5)
_TOKEN_SECONDS = 300
_HEADERS_KEPT = 1000


def pause_all(view: View) -> Zaken:
    """Every claim, or one case where the notice names none."""
    claims = view.get("vorderingen") or [{"kenmerk": "5060 0000 0000 0001"}]
    names = [claim.get("kenmerk") or claim.get("factuurnummer") or "5060 0000 0000 0001" for claim in claims]
    return [{"zaaknummer": name, "stilgelegd": True, "totEnMet": view["pauze"]["totEnMet"]} for name in names]


@dataclass(slots=True)
class Case:
    """One stabilisatieverzoek; `polls` counts how often it was asked about."""

    id: str
    kenmerk: str
    view: View
    polls: int = 0
    messages: list[View] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Done:
    """What a key was used for, and the first reply to it."""

    digest: str
    status: int
    location: str
    body: bytes


@dataclass(slots=True)
class Account:
    """One creditor and its one client."""

    creditor: str
    client_id: str
    key: ECKey | RSAKey
    decide: DecideCases
    tokens: dict[str, datetime] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)
    done: dict[str, Done] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    """Keys that are being worked on."""


class Refusal(Exception):
    """The request is refused: status and reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class CjibCreditor(HttpsServer):
    """`async with CjibCreditor(…) as creditor: table = creditor.add("cjib", client_certificate)`.

    `directory` gets the keys of its clients; `client_ca` issues their certificates. A case is in_behandeling at its
    first poll and afgehandeld at poll number `polls`. `log` gets a line of JSON per receipt.
    """

    def __init__(
        self,
        directory: Path,
        certificate: Issued,
        client_ca: Path,
        *,
        polls: int = 2,
        port: int = 0,
        log: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(certificate, client_ca, port=port)
        self.polls = polls
        self.work_seconds = 0.0
        """How long it works on a POST before it replies."""
        self.journal = Journal(log, clock or Clock())
        self.refused: list[str] = []
        self._directory = directory
        self._clock = clock or Clock()
        self._accounts: dict[str, Account] = {}
        self._heads: deque[bytes] = deque(maxlen=_HEADERS_KEPT)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        self.journal.close()

    def add(self, creditor: str, client: Issued, decide: DecideCases = pause_all) -> dict[str, object]:
        """Open an account; returns its `[schuldeiser.cjib]` table for the register."""
        path = make_key(self._directory / f"{creditor}-token.key")
        key = ECKey.import_key(path.read_bytes())
        self._accounts[creditor] = Account(creditor, f"gateway-{creditor}", key, decide)
        url = f"{self.origin}/{creditor}"
        return {
            "url": url,
            "token_url": f"{url}/token",
            "uitgever": url,
            "client_id": f"gateway-{creditor}",
            "sleutel": f"file:{path}",
            "certificaat": f"file:{client.certificate}",
            "certificaat_sleutel": f"file:{client.key}",
        }

    def register_key(self, creditor: str, key: ECKey | RSAKey) -> None:
        """Take this key instead of the one that `add` made."""
        self._accounts[creditor].key = key

    def received(self, delivery: str) -> list[Sighting]:
        return [Sighting(seen.delivery, seen.digest) for seen in self.journal.of(delivery)]

    def visible(self) -> bytes:
        """Path and headers of what arrived."""
        return b"\n".join(self._heads)

    def forget_tokens(self) -> None:
        """As after a restart: every token given so far is refused from now on."""
        for account in self._accounts.values():
            account.tokens.clear()

    def is_delivery(self, request: web.BaseRequest) -> bool:
        return request.method == "POST" and _REQUESTS in request.path

    async def respond(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self._heads.append(f"{request.method} {request.path_qs} {list(request.headers.items())}".encode())
        name, _, path = request.path.removeprefix("/").partition("/")
        try:
            account = self._accounts.get(name)
            if account is None:
                raise Refusal(404, "onbekend pad")
            async with self._one_at_a_time(account, request.headers.get("Idempotency-Key")):
                return self._route(account, request, path, body)
        except Refusal as refusal:
            self.refused.append(str(refusal))
            return _problem(refusal.status, str(refusal))

    @asynccontextmanager
    async def _one_at_a_time(self, account: Account, key: str | None) -> AsyncIterator[None]:
        if key is None:
            yield
            return
        if key in account.busy:
            raise Refusal(409, "met deze sleutel loopt al een verzoek")
        account.busy.add(key)
        try:
            await asyncio.sleep(self.work_seconds)
            yield
        finally:
            account.busy.discard(key)

    def _route(self, account: Account, request: web.BaseRequest, path: str, body: bytes) -> web.Response:
        if (request.method, path) == ("POST", "token"):
            return self._give_token(account, body)
        self._authorise(account, request.headers.get("Authorization", ""))
        match request.method, path.removeprefix(_REQUESTS).split("/")[1:]:
            case "POST", []:
                return self._take(account, request, body, None)
            case "POST", [case_id, "berichten"]:
                return self._take(account, request, body, _known(account, case_id))
            case "GET", []:
                found = [case for case in account.cases.values() if case.kenmerk == request.query.get("kenmerk")]
                return _json(200, {"stabilisatieverzoeken": [self._state(account, case) for case in found]})
            case "GET", [case_id]:
                case = _known(account, case_id)
                case.polls += 1
                return _json(200, self._state(account, case))
            case _:
                raise Refusal(404, "onbekend pad")

    # -- tokens

    def _give_token(self, account: Account, body: bytes) -> web.Response:
        form = {name: values[0] for name, values in parse_qs(body.decode("ascii", "replace")).items()}
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != _ASSERTION_TYPE:
            raise Refusal(400, "unsupported_grant_type")
        self._check_assertion(account, form.get("client_assertion", ""))
        token = os.urandom(16).hex()
        account.tokens[token] = self._clock.now() + timedelta(seconds=_TOKEN_SECONDS)
        return _json(200, {"access_token": token, "token_type": "Bearer", "expires_in": _TOKEN_SECONDS})

    def _check_assertion(self, account: Account, assertion: str) -> None:
        try:
            claims = jwt.decode(assertion, account.key, algorithms=["ES256", "PS256"]).claims
        except (JoseError, ValueError) as why:
            raise Refusal(401, "invalid_client: handtekening") from why
        now, end = self._clock.now().timestamp(), claims.get("exp", 0)
        issuer = f"{self.origin}/{account.creditor}"
        if (claims.get("iss"), claims.get("sub"), claims.get("aud")) != (account.client_id, account.client_id, issuer):
            raise Refusal(401, "invalid_client: iss, sub of aud")
        if not now < end <= now + _LONGEST_ASSERTION.total_seconds():
            raise Refusal(401, "invalid_client: exp")
        jti = claims.get("jti")
        if not jti or jti in account.assertions:
            raise Refusal(401, "invalid_client: jti")
        account.assertions.add(jti)

    def _authorise(self, account: Account, authorization: str) -> None:
        end = account.tokens.get(authorization.removeprefix("Bearer "))
        if end is None or end < self._clock.now():
            raise Refusal(401, "invalid_token")

    # -- requests and what follows on them

    def _take(self, account: Account, request: web.BaseRequest, body: bytes, case: Case | None) -> web.Response:
        key = _idempotency_key(request.headers.get("Idempotency-Key", ""))
        digest = sha256(body).hexdigest()
        view = _valid_view(body, key)
        self.journal.record(account.creditor, key, body, view["soort"])
        done = account.done.get(key) or self._do(account, key, digest, view, case)
        if done.digest != digest:
            raise Refusal(422, "sleutel hergebruikt met een andere inhoud")
        return web.Response(
            status=done.status, body=done.body, headers={"Location": done.location}, content_type="application/json"
        )

    def _do(self, account: Account, key: str, digest: str, view: View, case: Case | None) -> Done:
        root = f"/{account.creditor}/{_REQUESTS}"
        if case is None:
            case = Case(os.urandom(8).hex(), key, view)
            account.cases[case.id] = case
            location = f"{root}/{case.id}"
        else:
            case.messages.append(view)
            location = f"{root}/{case.id}/berichten/{len(case.messages)}"
        done = Done(digest, 201, location, json.dumps(self._state(account, case)).encode())
        account.done[key] = done
        return done

    def _state(self, account: Account, case: Case) -> dict[str, Any]:
        if case.polls >= self.polls:
            status, cases = "afgehandeld", account.decide(case.view)
        else:
            status, cases = "in_behandeling" if case.polls else "ontvangen", []
        return {"id": case.id, "kenmerk": case.kenmerk, "status": status, "zaken": cases}


def _known(account: Account, case_id: str) -> Case:
    try:
        return account.cases[case_id]
    except KeyError:
        raise Refusal(404, "onbekend stabilisatieverzoek") from None


def _idempotency_key(header: str) -> str:
    """A structured string: in double quotes."""
    key = header[1:-1]
    if header != f'"{key}"' or not key or '"' in key:
        raise Refusal(400, "Idempotency-Key")
    return key


def _valid_view(body: bytes, key: str) -> View:
    try:
        view: View = json.loads(body)
    except ValueError:
        raise Refusal(400, "geen JSON") from None
    wrong = next(schemas.validator("bericht").iter_errors(view), None)
    if wrong is not None:
        raise Refusal(400, "schema: /" + "/".join(str(step) for step in wrong.instance_path))
    if view["kenmerk"] != key:
        raise Refusal(400, "kenmerk en Idempotency-Key verschillen")
    return view


def _json(status: int, content: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(content).encode(), content_type="application/json")


def _problem(status: int, why: str) -> web.Response:
    body = json.dumps({"status": status, "title": why, "detail": why}).encode()
    return web.Response(status=status, body=body, content_type="application/problem+json")
