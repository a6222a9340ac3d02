"""A ledger over the network: a PostgreSQL whose certificate and host name are verified, or none at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection, text

from gateway.__main__ import run
from gateway.config import LedgerSettings
from gateway.contract import SettingsRefused
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.ledger.opening import open_ledger
from gateway.ledger.upgrade import is_current, upgrade
from gateway.pki import Authority, write_secret
from tests.servers import PostgreSQL

UNTRUSTED = "[ledger] ca: het certificaat van de server is niet te vertrouwen"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "certs")


@pytest.fixture
def serve(postgres: PostgreSQL, authority: Authority) -> Iterator[Callable[[str], None]]:
    """Has PostgreSQL show a certificate of `authority` for this host."""

    def show(host: str = "127.0.0.1") -> None:
        issued = authority.issue_server("postgres", [host])
        postgres.serve_tls(issued.certificate, issued.key)

    yield show
    postgres.serve_plain()


@asynccontextmanager
async def opened(url: str, authority: Authority, *, reading: bool = False) -> AsyncIterator[Ledger]:
    ledger = open_ledger(LedgerSettings(url, "env:KEY", f"file:{authority.certificate}"), reading=reading)
    try:
        yield ledger
    finally:
        await ledger.aclose()


def is_over_tls(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")))


async def test_a_certificate_of_the_ca_for_the_host_is_trusted(
    serve: Callable[[], None], authority: Authority, empty_postgres_url: str
) -> None:
    serve()
    async with opened(empty_postgres_url, authority) as ledger:
        await ledger.run(upgrade)
        assert await ledger.run(is_over_tls)
    async with opened(empty_postgres_url, authority, reading=True) as looking:
        assert await looking.run(is_current)
        assert await looking.run(is_over_tls)


async def test_who_listens_is_verified_too(
    serve: Callable[[], None], authority: Authority, tmp_path: Path, postgres_url: str
) -> None:
    serve()
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with opened(postgres_url, authority) as ledger, ledger.listening("proef", heard.put_nowait):
        speaking = await asyncpg.connect(postgres_url)
        await speaking.execute("NOTIFY proef, 'hoi'")
        await speaking.close()
        assert await asyncio.wait_for(heard.get(), 5) == "hoi"
    async with opened(postgres_url, Authority.create(tmp_path / "other")) as ledger:
        with pytest.raises(LedgerAway, match="niet te vertrouwen"):
            async with ledger.listening("proef", heard.put_nowait):
                pass


async def test_a_certificate_of_another_ca_is_not(serve: Callable[[], None], tmp_path: Path, postgres_url: str) -> None:
    serve()
    async with opened(postgres_url, Authority.create(tmp_path / "other")) as ledger:
        with pytest.raises(LedgerAway) as caught:
            await ledger.run(is_current)
    assert str(caught.value).startswith(UNTRUSTED)


async def test_a_certificate_for_another_host_is_not(
    serve: Callable[[str], None], authority: Authority, postgres_url: str
) -> None:
    serve("db.example")
    async with opened(postgres_url, authority) as ledger:
        with pytest.raises(LedgerAway) as caught:
            await ledger.run(is_current)
    assert str(caught.value).startswith(UNTRUSTED)
    assert "127.0.0.1" in str(caught.value)


async def test_a_server_without_tls_gets_nothing_in_the_clear(authority: Authority, postgres_url: str) -> None:
    async with opened(postgres_url, authority) as ledger:
        with pytest.raises(LedgerAway) as caught:
            await ledger.run(is_current)
    assert str(caught.value) == "[ledger] ca: de server biedt geen TLS aan"


def test_commands_verify_as_the_gateway_does_and_name_the_setting(
    serve: Callable[[], None],
    authority: Authority,
    tmp_path: Path,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve()
    settings = tmp_path / "gateway.toml"
    write_secret(tmp_path / "ledger.key", b"A" * 43 + b"=")

    def told(ca: Path) -> str:
        written = f'[ledger]\nurl = "{postgres_url}"\nsleutel = "file:ledger.key"\nca = "file:{ca}"\n'
        settings.write_text(written)
        said = []
        for command in (["check"], ["schuldeisers", "list"], ["bezorging", "list"]):
            run([*command, "--config", str(settings)])
            said.append("".join(capsys.readouterr()))
        assert len({UNTRUSTED in one for one in said}) == 1, said
        return said[0]

    assert "[ledger] bereikbaar" in told(authority.certificate)
    assert f"FOUT                 [ledger] niet bereikbaar ({UNTRUSTED}" in told(
        Authority.create(tmp_path / "other").certificate
    )


def test_a_ca_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("geen certificaat")
    with pytest.raises(SettingsRefused, match=r"^\[ledger\] ca: "):
        open_ledger(LedgerSettings("postgresql://db.example/k", "env:KEY", f"file:{file}"))
