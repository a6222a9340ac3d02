"""The egress guard: which addresses are dialled, and that the address checked is the address dialled (T3)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohappyeyeballs import AddrInfoType

from gateway.contract import (
    AddressRefused,
    Guard,
    SecretMissing,
    SettingsRefused,
    checked_url,
    client_ssl,
    connect_allowed,
    is_allowed,
    resolve_allowed,
)
from gateway.pki import Authority

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.128.0.1",
    "172.32.0.1",
    "223.255.255.254",
    "2620:fe::9",
    "2a00:1450:400e:80f::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "localhost",
    "",
    "127.1",
    "2130706433",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert is_allowed(address, ())


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_public_may_not(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("127.0.0.1", ("127.0.0.0/8",)),
        ("::ffff:127.0.0.1", ("127.0.0.0/8",)),
        ("10.1.2.3", ("192.168.0.0/16", "10.1.2.3")),
        ("fd00::5", ("fd00::/64",)),
        ("8.8.8.8", ("10.0.0.0/8",)),
    ],
)
def test_named_networks_come_on_top_of_the_public_ones(address: str, networks: tuple[str, ...]) -> None:
    assert is_allowed(address, networks)


@pytest.mark.parametrize("address", ["2002:7f00:1::1", "64:ff9b::7f00:1"])
def test_a_wrapped_address_is_judged_by_what_it_carries(address: str) -> None:
    assert not is_allowed(address, ("2002::/16", "64:ff9b::/96"))


@pytest.mark.parametrize("networks", [("127.0.0.1/8",), ("binnen",), ("10.0.0.0/33",)])
def test_a_wrong_network_is_refused_by_name(networks: tuple[str, ...]) -> None:
    with pytest.raises(SettingsRefused, match="netwerken"):
        Guard(networks)


class Visitors:
    """A server on loopback that counts who connects."""

    def __init__(self) -> None:
        self.count = 0
        self.port = 0

    async def meet(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        writer.close()
        await writer.wait_closed()


@pytest_asyncio.fixture
async def visitors() -> AsyncIterator[Visitors]:
    visitors = Visitors()
    server = await asyncio.start_server(visitors.meet, "127.0.0.1", 0)
    visitors.port = server.sockets[0].getsockname()[1]
    async with server:
        yield visitors


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_a_request_to_the_inside_is_never_dialled(visitors: Visitors, host: str) -> None:
    connector = aiohttp.TCPConnector(socket_factory=Guard(()))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await session.get(f"http://{host}:{visitors.port}/")
    assert visitors.count == 0


class Rebinding(aiohttp.abc.AbstractResolver):
    """A name server that gives an allowed address (nobody lives there) first, and one inside after that."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        self.asked += 1
        address = "203.0.113.1" if self.asked == 1 else "127.0.0.1"
        return [
            aiohttp.abc.ResolveResult(
                hostname=host, host=address, port=self._port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Holds nothing."""


async def test_a_name_that_moves_inside_is_refused_when_it_is_dialled(visitors: Visitors) -> None:
    resolver = Rebinding(visitors.port)
    connector = aiohttp.TCPConnector(socket_factory=Guard(("203.0.113.0/24",)), resolver=resolver, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=0.2)) as session:
        for _ in range(2):
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await session.get(f"http://schuldeiser.example:{visitors.port}/")
    assert (resolver.asked, visitors.count) == (2, 0)


def test_the_guard_makes_a_socket_for_the_address_it_checked() -> None:
    info: AddrInfoType = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))
    Guard(("127.0.0.0/8",))(info).close()
    with pytest.raises(AddressRefused):
        Guard(())(info)


async def test_resolving_gives_the_addresses_to_dial(visitors: Visitors) -> None:
    assert ("127.0.0.1", 22) in await resolve_allowed("localhost", 22, ("127.0.0.0/8",))
    with pytest.raises(AddressRefused):
        await resolve_allowed("localhost", 22, ())
    with pytest.raises(socket.gaierror):
        await resolve_allowed("bestaat-niet.invalid", 22, ())


async def test_connecting_gives_a_socket_or_refuses(visitors: Visitors) -> None:
    sock = await connect_allowed("localhost", visitors.port, ("127.0.0.0/8", "::1"))
    assert sock.getpeername()[1] == visitors.port
    sock.close()
    with pytest.raises(AddressRefused):
        await connect_allowed("127.0.0.1", visitors.port, ())


@pytest.mark.parametrize(
    "url",
    [
        "http://schuldeiser.example/",
        "http://localhost/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "https://user@schuldeiser.example/",
        "https://user:pw@schuldeiser.example/",
        "https://schuldeiser.example/#deel",
        "https:///pad",
        "schuldeiser.example",
        "https://[::1",
        "",
        7,
    ],
)
def test_a_url_that_is_not_safe_is_refused_by_key(url: object) -> None:
    with pytest.raises(SettingsRefused, match=r"^webhook\.url: "):
        checked_url("webhook.url", url)


@pytest.mark.parametrize("url", ["https://schuldeiser.example/a?b=c", "http://127.0.0.1:8080/", "http://[::1]:1/"])
def test_https_and_loopback_are_accepted(url: str) -> None:
    assert str(checked_url("webhook.url", url)) == url


def test_tls_always_verifies(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    client = authority.issue_client("gateway")
    for context in (
        client_ssl(),
        client_ssl(f"file:{authority.certificate}"),
        client_ssl(f"file:{authority.certificate}", f"file:{client.certificate}", f"file:{client.key}"),
    ):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_the_named_anchor_is_trusted(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    assert len(client_ssl(f"file:{authority.certificate}").get_ca_certs()) == 1


def test_files_that_are_not_what_they_should_be_are_refused(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    one, other = authority.issue_client("een"), authority.issue_client("ander")
    (tmp_path / "leeg.pem").write_text("")
    with pytest.raises(SettingsRefused, match="passen niet"):
        client_ssl(None, f"file:{one.certificate}", f"file:{other.key}")
    with pytest.raises(SettingsRefused, match="ca"):
        client_ssl(f"file:{tmp_path / 'leeg.pem'}")
    with pytest.raises(SecretMissing):
        client_ssl(f"file:{tmp_path / 'ontbreekt.pem'}")
