"""Servers and databases for every test.

A real RabbitMQ and a real PostgreSQL are started at most once per run, when the first test asks for one. With
`KENNISGEVING_TEST_AMQP_URL` or `KENNISGEVING_TEST_POSTGRES_URL` an existing one is used instead; that broker must know
the users below, each with the password in the URL. Without a server a local run skips what needs it, loudly; CI fails.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import pytest

from gateway.ledger.engine import Ledger
from gateway.ledger.upgrade import upgrade
from gateway.sandbox.broker import GATEWAY
from tests.servers import Databases, PostgreSQL, RabbitMQ, ServerMissing

SENDERS = {
    "gem-0363": ["0363"],
    "gem-0344": ["0344"],
    "samenwerking": ["0518", "0599"],
    "pauzeknop": ["0363", "0344", "0518", "0599"],
    # known to the broker only: no sender table of a test names it
    "vreemde": ["0363"],
}
EXCHANGES = ("kennisgeving.in", "kennisgeving.uit")
QUEUES = ("kennisgeving.intake", "kennisgeving.geparkeerd", *(f"{sender}.uit" for sender in SENDERS))


class Broker(Protocol):
    """A RabbitMQ that runs; whose it is does not matter."""

    def url(self, user: str = GATEWAY) -> str: ...


class ExistingBroker:
    """The broker of `KENNISGEVING_TEST_AMQP_URL`."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def url(self, user: str = GATEWAY) -> str:
        place = self._url.netloc.rpartition("@")[2]
        return urlunsplit(self._url._replace(netloc=f"{user}:{self._url.password}@{place}"))


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ of the tests' own, to stop, kill and restart; ask for `broker` too, for a clean one."""
    if "KENNISGEVING_TEST_AMQP_URL" in os.environ:
        pytest.skip("an existing broker is in use, which the tests do not stop or restart")
    with ExitStack() as running:
        try:
            server = running.enter_context(RabbitMQ(SENDERS))
        except ServerMissing as why:
            _fail_or_skip(why)
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL of the tests' own, to stop, kill and restart; ask for `postgres_url` for a database in it."""
    if "KENNISGEVING_TEST_POSTGRES_URL" in os.environ:
        pytest.skip("an existing PostgreSQL is in use, which the tests do not stop or restart")
    with ExitStack() as running:
        try:
            server = running.enter_context(PostgreSQL())
        except ServerMissing as why:
            _fail_or_skip(why)
        yield server


@pytest.fixture
async def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker without the gateway's exchanges and queues and without the senders' own queues `<sender>.uit`."""
    existing = os.environ.get("KENNISGEVING_TEST_AMQP_URL")
    running: Broker = ExistingBroker(existing) if existing else request.getfixturevalue("rabbitmq")
    async with await aio_pika.connect(running.url()) as connection, connection.channel() as channel:
        for exchange in EXCHANGES:
            await channel.exchange_delete(exchange)
        for queue in QUEUES:
            await channel.queue_delete(queue)
    return running


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Databases:
    """Where databases can be made, on the tests' own PostgreSQL or an existing one."""
    existing = os.environ.get("KENNISGEVING_TEST_POSTGRES_URL")
    return Databases(existing) if existing else request.getfixturevalue("postgres")


@pytest.fixture(scope="session")
def ledgers(databases: Databases) -> "Ledgers":
    return Ledgers(databases)


@pytest.fixture(scope="session")
def current_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the ledger's current schema, made once."""
    file = tmp_path_factory.mktemp("current") / "ledger.db"
    _upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def postgres_url(ledgers: "Ledgers") -> Iterator[str]:
    """A PostgreSQL database with the ledger's schema and nothing in it, of this test alone."""
    with ledgers.one() as url:
        yield url


@pytest.fixture
def sqlite_url(current_file: Path, tmp_path: Path) -> str:
    """An SQLite file `tmp_path / ledger.db` with the ledger's schema and nothing in it."""
    return f"sqlite:///{shutil.copy(current_file, tmp_path / 'ledger.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A database with the ledger's schema and nothing in it, of this test alone; every test that asks runs on both
    engines."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def empty_postgres_url(databases: Databases) -> Iterator[str]:
    """As `postgres_url`, without the schema."""
    name = _new_name()
    yield databases.create_database(name)
    databases.drop_database(name)


@pytest.fixture
def passable_path() -> Iterator[Path]:
    """As `tmp_path`, but other accounts can come there: pytest's own directories are closed to them."""
    with TemporaryDirectory(prefix="kennisgeving-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As `ledger_url`, without the schema: what a gateway finds that starts for the first time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


class Ledgers:
    """PostgreSQL databases with the ledger's schema: cleared and used again, which is ten times as quick as a new one.
    One that a test left otherwise than it was is not used again."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._free: list[str] = []
        self._as_made = ""

    @contextmanager
    def one(self) -> Iterator[str]:
        name = self._free.pop() if self._free else self._make()
        yield self._databases.url_of(name)
        if self._databases.clear_database(name) == self._as_made:
            self._free.append(name)
        else:
            self._databases.drop_database(name)

    def _make(self) -> str:
        name = _new_name()
        _upgrade(self._databases.create_database(name))
        self._as_made = self._databases.clear_database(name)
        return name


def _new_name() -> str:
    return f"test_{uuid4().hex}"


def _upgrade(url: str) -> None:
    async def run() -> None:
        async with aclosing(Ledger(url)) as ledger:
            await ledger.run(upgrade)

    asyncio.run(run())


def _fail_or_skip(why: ServerMissing) -> NoReturn:
    if "CI" in os.environ:
        pytest.fail(str(why))
    pytest.skip(str(why))
