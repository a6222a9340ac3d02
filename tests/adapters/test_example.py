"""The channel in docs/integrators.md passes the suite that every channel passes."""

from collections import defaultdict
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from gateway.conformance import LOOPBACK, Conformance, surroundings
from gateway.contract import Channel, Endpoint
from gateway.pki import Authority, Issued
from gateway.sandbox.https_server import HttpsServer
from gateway.sandbox.peer import Sighting
from tests.documents import document


class PostCreditor(HttpsServer):
    """Takes what is posted, and drops duplicates by `Idempotency-Key`."""

    def __init__(self, certificate: Issued) -> None:
        super().__init__(certificate)
        self._seen: dict[str, list[Sighting]] = defaultdict(list)
        self._heads: list[bytes] = []

    async def respond(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        key = request.headers["Idempotency-Key"]
        self._heads.append(f"{request.method} {request.path_qs} {list(request.headers.items())}".encode())
        self._seen[key].append(Sighting(key, sha256(body).hexdigest()))
        return web.Response(status=201)

    def received(self, delivery: str) -> list[Sighting]:
        return self._seen[delivery]

    def visible(self) -> bytes:
        return b"\n".join(self._heads)


@pytest_asyncio.fixture
async def peer(server_certificate: Issued) -> AsyncIterator[PostCreditor]:
    async with PostCreditor(server_certificate) as peer:
        yield peer


@pytest.fixture
def endpoint(peer: PostCreditor, authority: Authority) -> Endpoint:
    table: dict[str, object] = {"url": f"{peer.origin}/berichten"}
    return Endpoint("post-voorbeeld", "Post Voorbeeld", table, 8, LOOPBACK, f"file:{authority.certificate}")


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Channel]:
    (example,) = document("docs/integrators.md").examples("python")
    defined: dict[str, Any] = {"__name__": "kennisgeving_post"}
    exec(compile(example.text, example.place, "exec"), defined)  # noqa: S102 - our own document
    channel: Channel = defined["Post"](surroundings())
    yield channel
    await channel.aclose()


class TestExample(Conformance):
    """A lost reply cannot be asked about."""
