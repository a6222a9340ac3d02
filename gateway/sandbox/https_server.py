"""A real HTTPS server for the sandbox creditors, with faults to switch on for the length of an `async with`.

answers_with(503)   this status instead of doing its job      drops_reply()   does its job, then cuts the connection
hangs()             takes the request, never answers          takes(0.05)     does its job, but slowly
is_down()           nothing listens at its port               is_impostor()   there, with another's certificate
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.pki import Authority, Issued

_LAST_WORDS = 0.1  # seconds that open requests get at the end
_Answer = Callable[[web.BaseRequest], Awaitable[web.Response]]


class HttpsServer(ABC):
    """`client_ca` makes it ask for a client certificate of that authority, and refuse who has none."""

    def __init__(
        self, certificate: Issued, client_ca: Path | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.connections_made = 0
        self.port = port
        self.host = host
        self._tls = server_ssl(certificate, client_ca)
        self._web: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self._fault: _Answer | None = None

    @abstractmethod
    async def respond(self, request: web.BaseRequest) -> web.Response:
        """What the creditor does when nothing is wrong with it."""

    def is_delivery(self, request: web.BaseRequest) -> bool:
        """Whether a request hands something over: faults are for those alone."""
        return request.method == "POST"

    @property
    def origin(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def connections_open(self) -> int:
        return len(self._web.connections) if self._web else 0

    async def __aenter__(self) -> Self:
        await self._start(self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @asynccontextmanager
    async def answers_with(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[None]:
        async def refuse(request: web.BaseRequest) -> web.Response:
            await request.read()
            return web.Response(status=status, headers=headers, body=body)

        async with self._misbehaving(refuse):
            yield

    def refuses(self) -> AbstractAsyncContextManager[None]:
        return self.answers_with(400)

    @asynccontextmanager
    async def hangs(self) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def hang(request: web.BaseRequest) -> web.Response:
            await over.wait()
            return _cut(request)

        async with self._misbehaving(hang):
            try:
                yield
            finally:
                over.set()

    @asynccontextmanager
    async def drops_reply(self) -> AsyncIterator[None]:
        async def drop(request: web.BaseRequest) -> web.Response:
            await self.respond(request)
            return _cut(request)

        async with self._misbehaving(drop):
            yield

    @asynccontextmanager
    async def takes(self, seconds: float) -> AsyncIterator[None]:
        async def linger(request: web.BaseRequest) -> web.Response:
            await asyncio.sleep(seconds)
            return await self.respond(request)

        async with self._misbehaving(linger):
            yield

    @asynccontextmanager
    async def is_down(self) -> AsyncIterator[None]:
        await self._stop()
        try:
            yield
        finally:
            await self._start(self._tls)

    @asynccontextmanager
    async def is_impostor(self) -> AsyncIterator[None]:
        await self._stop()
        with TemporaryDirectory() as directory:
            stranger = Authority.create(Path(directory)).issue_server("vreemde", (self.host,))
            await self._start(server_ssl(stranger))
        try:
            yield
        finally:
            await self._stop()
            await self._start(self._tls)

    @asynccontextmanager
    async def _misbehaving(self, fault: _Answer) -> AsyncIterator[None]:
        before, self._fault = self._fault, fault
        try:
            yield
        finally:
            self._fault = before

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        answer = self._fault if self._fault and self.is_delivery(request) else self.respond
        return await answer(request)

    async def _start(self, tls: ssl.SSLContext) -> None:
        self._web = web.Server(self._answer, access_log=None)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._accept, self.host, self.port, ssl=tls)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._listening is not None and self._web is not None:
            self._listening.close()
            await self._web.shutdown(_LAST_WORDS)
        self._listening = self._web = None

    def _accept(self) -> RequestHandler:
        if self._web is None:
            raise ConnectionAbortedError
        self.connections_made += 1
        return self._web()


def server_ssl(certificate: Issued, client_ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later; with `client_ca` a client certificate of that authority is required."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.certificate, certificate.key)
    if client_ca is not None:
        context.sslobject_class = _Outspoken
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Outspoken(ssl.SSLObject):
    """Says why it ends a handshake: asyncio closes the connection before the alert is sent, so the end is left to the
    client, which has read it."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as why:
            raise ssl.SSLWantReadError from why


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
