"""One peer that we call over HTTP: kept connections, guarded addresses, bounded replies.

What went wrong is told by when it went wrong: before the request left us it is Transient, after that Uncertain; an
address we may not dial is our own fault, and so is a client certificate that the peer refuses. It says so by the alert
that ends TLS; many servers lose that alert and just hang up, and are known by doing so on an idle connection too. Any
other end of a connection says nothing about us.
"""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
from msgspec import Struct
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.core.outcome import CERTIFICATE_REFUSED, Evidence, OwnFault, Transient, Uncertain
from gateway.net import AddressRefused, Guard, Networks, connect_allowed

REPLY_CAP = 1 << 20
"""Bytes of a reply that are read; of a longer one, nothing is used."""
EVIDENCE_CAP = 4096
_CONNECT_SHARE = 0.6  # of the time for a request; what is over is for the reply
KEPT_SECONDS = 30.0  # shorter than most servers keep an idle connection
_HANGS_UP_WITHIN = 1.0  # seconds after the handshake; who refuses a certificate does so at once
_HANG_UPS = 2
_NO_CEILING = 1e9  # aiohttp rounds long time-outs up to whole seconds, beyond what we promised

_REFUSALS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_NO_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
"""Alerts about the certificate of whoever gets them (RFC 8446 §6.2), as OpenSSL names them for every version of TLS."""

_CUT_OFF = "verbroken"

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
        self._networks = networks
        self._guard = Guard(networks)
        self._tls = tls
        self._has_certificate = has_certificate
        self._timeout = _timeout(seconds)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None = None,
        seconds: float | None = None,
    ) -> Reply | NotAnswered:
        """One request, within `seconds` (else those of the peer); redirects are returned, not followed."""
        if self._is_closed:  # under an attempt that has more than one request
            return Transient(Evidence(_CUT_OFF))
        session = self._session or self._open()
        timeout = self._timeout if seconds is None else _timeout(seconds)
        try:
            async with session.request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                return await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            return await self._judged(failure(error), url)

    async def _judged(self, outcome: NotAnswered, url: URL) -> NotAnswered:
        if self._is_closed or not self._has_certificate or outcome.evidence.code != _CUT_OFF:
            return outcome
        for _ in range(_HANG_UPS):  # one that is going down hangs up once, and is gone then
            if not await self._hangs_up_on_us(url):
                return outcome
        return OwnFault(Evidence(CERTIFICATE_REFUSED, outcome.evidence.reply))

    async def _hangs_up_on_us(self, url: URL) -> bool:
        """On a new connection that is asked nothing: TLS 1.3 refuses a certificate after our handshake is done."""
        host, port = url.host or "", url.port or 443
        try:
            async with asyncio.timeout(self._timeout.connect):
                sock = await connect_allowed(host, port, self._networks)
                reader, writer = await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=host)
        except (OSError, TimeoutError, AddressRefused):
            return False
        try:
            async with asyncio.timeout(_HANGS_UP_WITHIN):
                return await reader.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            writer.transport.abort()

    async def aclose(self) -> None:
        """For good: what is asked from now on is not."""
        self._is_closed = True
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


def failure(error: aiohttp.ClientError | TimeoutError) -> NotAnswered:
    """What an exception of aiohttp means for the delivery that it interrupted."""
    match error:
        case _ if _refuses_our_certificate(error):
            return OwnFault(_evidence(CERTIFICATE_REFUSED, error))
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
            return Uncertain(_evidence(_CUT_OFF, error))


def _refuses_our_certificate(error: BaseException | None) -> bool:
    """The peer said so; in TLS 1.3 at the first read after the handshake, and what was sent by then it never read."""
    while error is not None:
        if getattr(error, "reason", None) in _REFUSALS:  # of ssl.SSLError; those of aiohttp around it have none
            return True
        error = error.__cause__
    return False


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
    finally:
        _cut_off(response)
    head = [b"HTTP/1.1 %d" % response.status, *[b"%b: %b" % pair for pair in response.raw_headers], b"", body or b""]
    evidence = Evidence(str(response.status), b"\r\n".join(head)[:EVIDENCE_CAP])
    return Reply(response.status, response.headers, body, evidence)


def _cut_off(response: aiohttp.ClientResponse) -> None:
    """A reply that was not read to its end ends here: closing TLS in good order would wait for the peer's consent, and
    read and throw away what it sends until then."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    stream = response.content
    body = await stream.readany()
    while not stream.at_eof():
        if len(body) > REPLY_CAP:
            return None
        body += await stream.readany()
    return body if len(body) <= REPLY_CAP else None
