"""Where we may connect to, and how TLS is done there. Everybody imports these names from `gateway.contract`.

A creditor's endpoint lives at public addresses, or in the private networks that its register entry names
(`netwerken`). The check is made on the address that is dialled, each time it is dialled: a name that resolves to
another address later, or an address written as a literal, meets the same check. An IPv6 address that carries an IPv4
address (mapped, 6to4, NAT64) is judged by the address it carries.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohappyeyeballs import AddrInfoType, start_connection
from yarl import URL

from gateway.secrets import SettingsRefused, read_secret

# What the IANA special-purpose registries call not globally reachable; ours, since `is_global` differs between Pythons.
_SPECIAL: Final[tuple[IPv4Network | IPv6Network, ...]] = (
    *map(IPv4Network, ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")),
    *map(IPv4Network, ("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15")),
    *map(IPv4Network, ("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")),  # the last: multicast and reserved
    *map(IPv6Network, ("::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1")),
)  # of IPv6 only 2000::/3 is in use for hosts (RFC 4291 §2.4)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
_OPEN_FILES: Final = "/proc/self/fd"

Networks = Sequence[str]


class AddressRefused(OSError):
    """The peer lives at an address that its register entry does not allow (netwerken)."""


@lru_cache(512)
def _parsed(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple([ip_network(name) for name in names])
    except ValueError as why:
        raise SettingsRefused(f"netwerken: {why}") from why


def is_allowed(address: str, networks: Networks) -> bool:
    """Whether a numeric address may be dialled: public, or within `networks` (CIDR). Raises SettingsRefused."""
    try:
        real = _carried(ip_address(address))
    except ValueError:
        return False
    return _is_public(real) or any(real in network for network in _parsed(tuple(networks)))


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return not any(address in network for network in _SPECIAL)


class Guard:
    """A socket factory that makes no socket for an address outside `networks`: aiohttp's `socket_factory`."""

    def __init__(self, networks: Networks) -> None:
        self._networks = tuple(networks)
        _parsed(self._networks)

    def __call__(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), self._networks):
            raise AddressRefused
        return socket.socket(family, kind, protocol)


async def resolve_allowed(host: str, port: int, networks: Networks) -> list[tuple[str, int]]:
    """Numeric addresses of `host`, in the resolver's order, that may be dialled.

    Dial these and not the name, or the check is void. Raises socket.gaierror where the name does not resolve (their
    trouble), AddressRefused where all it resolves to is refused (our configuration).
    """
    return [(str(address[0]), port) for *_, address in await _allowed(host, port, networks)]


async def connect_allowed(host: str, port: int, networks: Networks) -> socket.socket:
    """A connected, non-blocking TCP socket to `host`, for libraries that take `sock=`.

    Raises as resolve_allowed, and OSError.
    """
    return await start_connection(await _allowed(host, port, networks), happy_eyeballs_delay=0.25)


async def _allowed(host: str, port: int, networks: Networks) -> list[AddrInfoType]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    allowed: list[AddrInfoType] = [info for info in found if is_allowed(str(info[4][0]), networks)]
    if not allowed:
        raise AddressRefused
    return allowed


def checked_url(key: str, value: object) -> URL:
    """The URL of a setting; https, or http to a loopback address. Raises SettingsRefused naming `key`."""
    if not isinstance(value, str):
        raise SettingsRefused(f"{key}: een URL is vereist")
    try:
        url = URL(value)
    except ValueError as why:
        raise SettingsRefused(f"{key}: geen geldige URL") from why
    if not url.host or url.user or url.password or url.fragment:
        raise SettingsRefused(f"{key}: een URL met host, zonder gebruiker, wachtwoord of fragment is vereist")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise SettingsRefused(f"{key}: https is vereist (http alleen naar een loopback-adres)")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def client_ssl(ca: str | None = None, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, verifying the peer's certificate and host name.

    All three are references; `ca` replaces the system's trust anchors, `certificate` and `key` are ours. Reads files:
    once per link, not per connection. Raises SettingsRefused, SecretMissing.
    """
    if not (ca or certificate or key):
        return _system_context()
    context = _trusting(ca)
    if certificate and key:
        _load_own(context, certificate, key)
    return context


def server_ssl(certificate: str, key: str, client_ca: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later for a listener of ours; all three are references.

    With `client_ca` a client may show a certificate; one of another issuer ends the handshake. Reads files, once.
    Raises SettingsRefused, SecretMissing.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, certificate, key)
    if client_ca:
        _load_anchor(context, client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@lru_cache(1)
def _system_context() -> ssl.SSLContext:
    """Shared: reading the system's anchors takes 20 ms, and most creditors need nothing else."""
    return _trusting(None)


def _trusting(ca: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    else:
        _load_anchor(context, ca)
    return context


def _load_anchor(context: ssl.SSLContext, ca: str) -> None:
    """Never falls back to the system's anchors, whatever the file holds."""
    try:
        context.load_verify_locations(cadata=read_secret(ca).decode("ascii", errors="replace"))
    except (ssl.SSLError, ValueError) as why:
        raise SettingsRefused(f"ca: {ca} bevat geen PEM-certificaten") from why
    if not context.cert_store_stats()["x509"]:
        raise SettingsRefused(f"ca: {ca} bevat geen certificaat")


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """OpenSSL wants files: the two go through one that exists in memory only."""
    descriptor = os.memfd_create("certificaat", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(read_secret(certificate) + b"\n" + read_secret(key))
        file.flush()
        try:
            context.load_cert_chain(f"{_OPEN_FILES}/{descriptor}", password="")
        except (ssl.SSLError, ValueError) as why:
            raise SettingsRefused(f"certificaat en sleutel passen niet: {certificate}, {key}") from why
