"""One peer that we call over HTTP: kept connections, guarded addresses, bounded replies.

What went wrong is told by when it went wrong: before the request left us it is Transient, after that Uncertain; an
address we may not dial, or a peer that has never accepted our client certificate, is our own fault.
"""

import ssl
from collections.abc import Mapping

import aiohttp
from msgspec import Struct
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.core.outcome import Evidence, OwnFault, Transient, Uncertain
from gateway.net import AddressRefused, Guard, Networks

REPLY_CAP = 1 << 20
"""Bytes of a reply that are read; of a longer one, nothing is used."""
EVIDENCE_CAP = 4096
_CONNECT_SHARE = 0.6  # of the time for a request; what is over is for the reply
KEPT_SECONDS = 30.0  # shorter than most servers keep an idle connection
_NO_CEILING = 1e9  # aiohttp rounds long time-outs up to whole seconds, beyond what we promised

NotAnswered = Transient | OwnFault | Uncertain


class Reply(Struct, frozen=True):
    """A status with its headers; `body` is None where it broke off or was longer than REPLY_CAP."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes | None
    evidence: Evidence
    """Status, headers and body as received, cut at 4 KiB; its code is the status."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004  (RFC 9110 §15.3)


class HttpPeer:
    """`tls` is used for https; `has_certificate` says that it holds a client certificate of ours."""

    def __init__(
        self, networks: Networks, tls: ssl.SSLContext | None, seconds: float, *, has_certificate: bool = False
    ) -> None:
        self._guard = Guard(networks)
        self._tls = tls
        self._timeout = _timeout(seconds)
        self._certificate_is_unproven = has_certificate
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None = None,
        seconds: float | None = None,
    ) -> Reply | NotAnswered:
        """One request, within `seconds` (else those of the peer); redirects are returned, not followed."""
        session = self._session or self._open()
        timeout = self._timeout if seconds is None else _timeout(seconds)
        try:
            async with session.request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                self._certificate_is_unproven = False
                return await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._judge(error)

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._tls or True, limit=0, keepalive_timeout=KEPT_SECONDS, socket_factory=self._guard
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "kennisgeving-gateway", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )
        return self._session

    def _judge(self, error: aiohttp.ClientError | TimeoutError) -> NotAnswered:
        if self._certificate_is_unproven and _is_broken_off(error):
            return OwnFault(_evidence("mtls_geweigerd", error))
        return failure(error)


def failure(error: aiohttp.ClientError | TimeoutError) -> NotAnswered:
    """What an exception of aiohttp means for the delivery that it interrupted."""
    match error:
        case aiohttp.ClientSSLError():
            return Transient(_evidence("tls", error))
        case aiohttp.ClientConnectorDNSError():
            return Transient(_evidence("dns", error))
        case aiohttp.ClientConnectorError(os_error=AddressRefused()):
            return OwnFault(_evidence("adres_geweigerd", error))
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Transient(_evidence("verbinding", error))
        case aiohttp.InvalidURL():
            return OwnFault(_evidence("url", error))
        case TimeoutError():
            return Uncertain(_evidence("timeout", error))
        case _:
            return Uncertain(_evidence("verbroken", error))


def _is_broken_off(error: Exception) -> bool:
    """The other side ended the connection after TCP was up: how a refused client certificate shows (TLS 1.3 late)."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return False
        case aiohttp.ClientConnectorError():
            return isinstance(error.os_error, ConnectionResetError | ssl.SSLError)
        case _:
            return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


def _evidence(code: str, error: Exception) -> Evidence:
    return Evidence(code, f"{type(error).__name__}: {error}".encode()[:EVIDENCE_CAP])


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=seconds * _CONNECT_SHARE, ceil_threshold=_NO_CEILING)


async def _read(response: aiohttp.ClientResponse) -> Reply:
    """A body that does not come in whole does not undo the status that did."""
    try:
        body = await _body(response)
    except (aiohttp.ClientError, TimeoutError):
        body = None
    head = [b"HTTP/1.1 %d" % response.status, *[b"%b: %b" % pair for pair in response.raw_headers], b"", body or b""]
    evidence = Evidence(str(response.status), b"\r\n".join(head)[:EVIDENCE_CAP])
    return Reply(response.status, response.headers, body, evidence)


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    stream = response.content
    body = await stream.readany()
    while not stream.at_eof():
        if len(body) > REPLY_CAP:
            response.close()
            return None
        body += await stream.readany()
    return body if len(body) <= REPLY_CAP else None
