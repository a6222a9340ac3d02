"""The HTTP door: `/v1` for senders and creditors' systems, `/antwoord/` for creditors' people, a few for anybody.

    connection ─► time-outs ─► route ─► who is it? ─► body, capped ─► stage or ledger ─► answer with security headers

No address is ever logged: those of the answer page hold a secret.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler as Next

from gateway.config import HttpSettings
from gateway.http import pages
from gateway.http.answers import PREFIX as ANSWER_PREFIX
from gateway.http.answers import AnswerPages
from gateway.http.api import Api
from gateway.http.doors import Doors
from gateway.http.problems import Problem, answered, as_response
from gateway.http.routes import PREFIX as API_PREFIX
from gateway.http.routes import VERSION
from gateway.http.wellknown import WellKnown
from gateway.net import server_ssl
from gateway.tables import Address

__all__ = ["Doors", "HttpServer", "make_app"]

IDLE = 30.0
"""Seconds that a connection may take to send a whole head, and may be idle between two requests."""
LINGERING = 2.0
"""Seconds in which the rest of a body is read that nobody waits for, so that its sender sees our answer."""
LAST_REQUESTS = 10.0
"""Seconds that requests under way get when the gateway stops."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_HSTS = "max-age=31536000"
_FIRST_ERROR = 400


def make_app(doors: Doors) -> web.Application:
    """Raises SettingsRefused, SecretMissing."""
    app = web.Application(middlewares=[_problems])
    Api(doors).add_to(app)
    AnswerPages(doors).add_to(app)
    WellKnown(doors).add_to(app)
    is_https = doors.settings.public_url.startswith("https://")

    async def on_response_prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        response.headers.popall("Server", None)
        if is_https or request.secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        if request.path.startswith(f"{API_PREFIX}/") and response.status < _FIRST_ERROR:
            response.headers["API-Version"] = VERSION

    app.on_response_prepare.append(on_response_prepare)
    return app


@web.middleware
async def _problems(request: web.Request, handler: Next) -> web.StreamResponse:
    """Errors for people are pages, errors for programs are problems (RFC 9457)."""
    try:
        if request.version < HttpVersion10:
            raise Problem(400, "Gebruik HTTP/1.1.")
        return await answered(request, handler)
    except Problem as problem:
        if request.path.startswith(ANSWER_PREFIX):
            return pages.notice(problem.status, problem.headers)
        return as_response(problem)


class HttpServer:
    """Raises SettingsRefused, SecretMissing when it is made; listens while in `listening`, once."""

    def __init__(self, doors: Doors) -> None:
        self._app = make_app(doors)
        self._listeners = _listeners(doors.settings)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Sequence[Address]]:
        """Gives where it listens: the ordinary listener, then that for certificates. Raises OSError."""
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE,
            lingering_time=LINGERING,
            shutdown_timeout=LAST_REQUESTS,
        )
        await runner.setup()
        try:
            for address, tls in self._listeners:
                await web.TCPSite(runner, address.host, address.port, ssl_context=tls).start()
            yield [Address(host, port) for host, port, *_ in runner.addresses]
        finally:
            await runner.cleanup()


def _listeners(settings: HttpSettings) -> list[tuple[Address, SSLContext | None]]:
    certificate, key = settings.certificate, settings.certificate_key
    if not (certificate and key):
        return [(settings.listen, None)]
    listeners: list[tuple[Address, SSLContext | None]] = [(settings.listen, server_ssl(certificate, key))]
    if settings.listen_mtls:
        listeners.append((settings.listen_mtls, server_ssl(certificate, key, settings.ca)))
    return listeners
