"""What `kennisgeving check` says of a peer and of our own certificate: looks, delivers nothing. Texts are Dutch.

Everybody imports these names from `gateway.contract`.
"""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from msgspec import Struct
from yarl import URL

from gateway.net import AddressRefused, Networks, connect_allowed
from gateway.secrets import SecretMissing, SettingsRefused, read_secret

_SOON = timedelta(days=30)
_PATIENCE = 10.0  # seconds for one look


class Finding(Struct, frozen=True):
    """One line of `kennisgeving check`."""

    ok: bool | None
    """None: could not be checked."""
    text: str
    """Dutch."""
    unsafe: bool = False
    """`serve` does not start with this."""


async def look_at_peer(url: URL, networks: Networks, tls: ssl.SSLContext, now: datetime) -> Finding:
    """Connects to the host of `url` and, with https, verifies its certificate."""
    host, port = url.host or "", url.port or 443
    try:
        async with asyncio.timeout(_PATIENCE):
            sock = await connect_allowed(host, port, networks)
            context, name = (tls, host) if url.scheme == "https" else (None, None)
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except AddressRefused:
        return Finding(False, f"{host}: het adres ligt niet in een toegestaan netwerk (netwerken)")
    except ssl.SSLCertVerificationError as why:
        return Finding(False, f"{host}: het certificaat is niet te vertrouwen: {why.verify_message}")
    except OSError as why:  # TimeoutError is one
        return Finding(False, f"{host}: niet bereikbaar op poort {port} ({type(why).__name__})")
    certificate = writer.get_extra_info("ssl_object") and writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    if not certificate:
        return Finding(True, f"{host}: bereikbaar op poort {port}")
    return _expiry(f"{host}: bereikbaar, certificaat", x509.load_der_x509_certificate(certificate), now)


def look_at_certificate(reference: str, now: datetime) -> Finding:
    """Until when a certificate of our own is valid. Reads its file."""
    try:
        certificate = x509.load_pem_x509_certificate(read_secret(reference))
    except (SecretMissing, SettingsRefused) as why:
        return Finding(False, str(why))
    except ValueError:
        return Finding(False, f"{reference}: bevat geen PEM-certificaat")
    return _expiry(f"eigen certificaat {reference}", certificate, now)


def _expiry(subject: str, certificate: x509.Certificate, now: datetime) -> Finding:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return Finding(False, f"{subject} geldt pas vanaf {begin.astimezone(UTC):%Y-%m-%d}", unsafe=True)
    if now > end:
        return Finding(False, f"{subject} is verlopen op {end.astimezone(UTC):%Y-%m-%d}", unsafe=True)
    days = f"geldig tot {end.astimezone(UTC):%Y-%m-%d}"
    return Finding(end - now > _SOON, f"{subject} {days}" + ("" if end - now > _SOON else " (binnen 30 dagen)"))
