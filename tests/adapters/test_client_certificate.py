"""Whose fault it is when TLS ends: a certificate of ours that the peer refuses by its alert, or a broken connection.

The peers are real TLS servers that refuse what their settings make them refuse.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from adapters.cjib.adapter import Cjib
from gateway.clock import Clock
from gateway.conformance import LOOPBACK, draft, parcel, surroundings
from gateway.contract import Deferred, Endpoint, HttpPeer, Outcome, Parcel, Reply, client_ssl
from gateway.pki import Authority, Issued
from gateway.sandbox.cjib_creditor import CjibCreditor
from gateway.sandbox.https_server import server_ssl

Change = Callable[[ssl.SSLContext], None]


@pytest.fixture(scope="module")
def client(authority: Authority) -> Issued:
    return authority.issue_client("gateway-mtls")


@asynccontextmanager
async def server(tls: ssl.SSLContext) -> AsyncIterator[URL]:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read())

    serving = web.Server(answer, access_log=None)
    async with await asyncio.get_running_loop().create_server(serving, "127.0.0.1", 0, ssl=tls) as listening:
        yield URL(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
        await serving.shutdown(0.1)


def peer_with(authority: Authority, mine: Issued | None) -> HttpPeer:
    own = (f"file:{mine.certificate}", f"file:{mine.key}") if mine else ()
    return HttpPeer(LOOPBACK, client_ssl(f"file:{authority.certificate}", *own), 2.0, has_certificate=bool(mine))


async def asked(peer: HttpPeer, url: URL) -> str:
    return name_of(await peer.ask("POST", url, {}, b"bericht"))


def name_of(outcome: Reply | Outcome | None) -> str:
    if outcome is None or isinstance(outcome, Deferred):
        return repr(outcome)
    return f"{type(outcome).__name__} {outcome.evidence.code}"


def revocation_of(authority: Authority, revoked: Issued, path: Path) -> Path:
    """A list of this authority that names a certificate (RFC 5280 §5), next to the authority's own."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    key = serialization.load_pem_private_key(authority.certificate.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    serial = x509.load_pem_x509_certificate(revoked.certificate.read_bytes()).serial_number
    now = Clock().now()
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - timedelta(hours=1)).build()
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).add_revoked_certificate(entry)
    signed = made.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())
    path.write_bytes(authority.certificate.read_bytes() + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("fault", ["of a stranger", "expired", "revoked"])
async def test_a_certificate_that_the_peer_refuses_is_our_own_fault(
    authority: Authority, server_certificate: Issued, tmp_path: Path, version: ssl.TLSVersion, fault: str
) -> None:
    tls = server_ssl(server_certificate, authority.certificate)
    tls.maximum_version = version
    mine = Authority.create(tmp_path).issue_client("vreemde")
    if fault == "expired":
        mine = authority.issue_client(f"verlopen-{version.name}", days=-1)
    if fault == "revoked":
        mine = authority.issue_client(f"ingetrokken-{version.name}")
        tls.load_verify_locations(revocation_of(authority, mine, tmp_path / "crl.pem"))
        tls.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    async with server(tls) as url:
        peer = peer_with(authority, mine)
        assert await asked(peer, url) == "OwnFault mtls_geweigerd"
        await peer.aclose()


async def test_a_peer_that_hangs_up_without_a_word_after_the_handshake_refuses_our_certificate(
    authority: Authority, server_certificate: Issued, client: Issued, tmp_path: Path
) -> None:
    tls = server_ssl(server_certificate, Authority.create(tmp_path).certificate)
    tls.sslobject_class = ssl.SSLObject  # asyncio's own servers end so: the alert is never sent
    async with server(tls) as url:
        peer = peer_with(authority, client)
        assert [await asked(peer, url) for _ in range(2)] == ["OwnFault mtls_geweigerd"] * 2
        await peer.aclose()


async def test_a_peer_that_asks_for_a_certificate_where_we_have_none_is_our_own_fault(
    authority: Authority, server_certificate: Issued
) -> None:
    async with server(server_ssl(server_certificate, authority.certificate)) as url:
        peer = peer_with(authority, None)
        assert await asked(peer, url) == "OwnFault mtls_geweigerd"
        await peer.aclose()


async def test_that_a_certificate_is_taken_in_one_place_says_nothing_about_another(
    authority: Authority, server_certificate: Issued, client: Issued, tmp_path: Path
) -> None:
    other = Authority.create(tmp_path)
    async with (
        server(server_ssl(server_certificate, authority.certificate)) as here,
        server(server_ssl(server_certificate, other.certificate)) as there,
    ):
        peer = peer_with(authority, client)
        assert await asked(peer, here) == "Reply 200"
        assert await asked(peer, there) == "OwnFault mtls_geweigerd"
        assert await asked(peer, here) == "Reply 200"
        await peer.aclose()


# -- a connection that breaks


@asynccontextmanager
async def breaking(tls: ssl.SSLContext | None) -> AsyncIterator[URL]:
    """Resets every connection: at once, or with `tls` when the request has come."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if tls is not None:
            await reader.read(1)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls) as listening:
        yield URL(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")


@pytest.mark.parametrize("is_tls_up", [False, True])
async def test_a_reset_says_nothing_about_our_certificate(
    authority: Authority, server_certificate: Issued, client: Issued, is_tls_up: bool
) -> None:
    tls = server_ssl(server_certificate, authority.certificate) if is_tls_up else None
    async with breaking(tls) as url:
        peer = peer_with(authority, client)
        expected = "Uncertain verbroken" if is_tls_up else "Transient verbinding"
        assert [await asked(peer, url) for _ in range(3)] == [expected] * 3
        await peer.aclose()


# -- an API with a token address


@asynccontextmanager
async def api(directory: Path, certificate: Issued, ca: Path) -> AsyncIterator[CjibCreditor]:
    directory.mkdir()
    async with CjibCreditor(directory, certificate, ca) as creditor:
        yield creditor


async def test_an_api_that_refuses_what_its_token_address_takes_is_our_own_fault(
    authority: Authority, server_certificate: Issued, client: Issued, tmp_path: Path
) -> None:
    other = Authority.create(tmp_path)
    async with (
        api(tmp_path / "a", server_certificate, authority.certificate) as tokens,
        api(tmp_path / "b", server_certificate, other.certificate) as creditor,
    ):
        table = {**tokens.add("cjib", client), "url": f"{creditor.origin}/cjib"}
        link = Cjib(surroundings()).link(Endpoint("cjib", "CJIB", table, 8, LOOPBACK, f"file:{authority.certificate}"))
        sent: Parcel = parcel(link, Endpoint("cjib", "CJIB", table, 8), draft())
        assert name_of(await link.send(sent)) == "OwnFault mtls_geweigerd"
        assert name_of(await link.resolve(sent)) == "OwnFault mtls_geweigerd"
        await link.aclose()


async def test_a_certificate_that_is_refused_after_it_was_taken_is_our_own_fault(
    authority: Authority, server_certificate: Issued, client: Issued, tmp_path: Path
) -> None:
    async with api(tmp_path / "a", server_certificate, authority.certificate) as creditor:
        endpoint = Endpoint("cjib", "CJIB", creditor.add("cjib", client), 8, LOOPBACK, f"file:{authority.certificate}")
        link = Cjib(surroundings()).link(endpoint)
        assert name_of(await link.send(parcel(link, endpoint, draft()))) == "HandedOver 201"
        taken = len(creditor.journal.receipts)
        tls = server_ssl(server_certificate, Authority.create(tmp_path).certificate)
        creditor._tls = tls
        async with creditor.is_down():
            """It comes back as one that does not know us."""
        outcomes = [name_of(await link.send(parcel(link, endpoint, draft()))) for _ in range(2)]
        assert outcomes == ["OwnFault mtls_geweigerd"] * 2
        assert (taken, len(creditor.journal.receipts)) == (1, 1)
        await link.aclose()
