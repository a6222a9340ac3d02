"""One ledger, two engines: every transaction is a plain function of a connection, run whole.

On PostgreSQL it runs over asyncpg inside a greenlet; on SQLite on the one writer thread, so that a transaction costs
one hop to the thread and not one per statement. SQLite: WAL, synchronous FULL, BEGIN IMMEDIATE. Neither is ever
asked to trade durability for speed.
"""

import asyncio
import sqlite3
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolIsFull
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

P = ParamSpec("P")
T = TypeVar("T")

POOL_SIZE = 7
"""One of them listens, where several gateways may share the ledger."""
POOL_WAIT = 30.0
"""Seconds that a transaction waits for a connection that is free."""
SILENT_AT_MOST = 60.0
"""Seconds that a gateway waits for PostgreSQL to answer one statement, a COMMIT included: far more than any of its own
takes, with the waits for locks. A path that went dark would else be noticed by TCP alone, after a quarter of an hour. A
COMMIT that is not answered in time is one whose answer was lost."""
IDLE_IN_TRANSACTION_SECONDS = 5
"""A gateway that is stopped in the middle of a transaction holds its locks no longer than this (PostgreSQL)."""
READING_POOL_SIZE = 2
READING_WITHIN = 5.0
"""Seconds after which PostgreSQL ends a look of a `reading` ledger."""
LOCK_TIMEOUT_SECONDS = 30
CLOSE_WITHIN = 3.0


class LedgerAway(Exception):
    """The ledger cannot be reached or cannot write now (connection, shutdown, disk full): try again later."""


class Contention(Exception):
    """Two transactions met (deadlock, serialisation, a unique key taken meanwhile): try this one again."""


_AWAY_CLASSES = ("08", "25", "28", "3D", "53", "57P", "57014", "58")
"""SQLSTATE: what is wrong with the line, the login or the server, which may be a standby that only reads (25006)."""
_CONTENTION = ("40001", "40P01", "23505")
_OF_THE_VALUES = ("22", "23", "54")
_SQLITE_CONTENTION = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)


def translated(why: DBAPIError) -> Exception:
    """The database's error as ours; anything else (a bug in a statement) stays as it is."""
    if why.connection_invalidated:
        return LedgerAway("verbinding met het grootboek verbroken")
    if isinstance(why.orig, sqlite3.Error):
        if isinstance(why.orig, sqlite3.IntegrityError):
            return Contention("unique") if why.orig.sqlite_errorcode in _SQLITE_CONTENTION else why
        return LedgerAway(why.orig.sqlite_errorname) if isinstance(why.orig, sqlite3.OperationalError) else why
    state = str(getattr(why.orig, "sqlstate", None) or "")
    if state in _CONTENTION:
        return Contention(state)
    if state.startswith(_AWAY_CLASSES):
        return LedgerAway(f"SQLSTATE {state}")
    return why


def is_of_the_ledger(why: Exception) -> bool:
    """Whether another day the ledger may take what was to be written. Else no ledger does, for a value, a size or a
    broken rule; or it never came to the ledger."""
    if not isinstance(why, DBAPIError):
        return False
    if isinstance(why.orig, sqlite3.Error):
        return not isinstance(why.orig, sqlite3.DataError | sqlite3.IntegrityError)
    state, cause = str(getattr(why.orig, "sqlstate", None) or ""), getattr(why.orig, "__cause__", None)
    return not (state.startswith(_OF_THE_VALUES) or isinstance(cause, asyncpg.DataError))


def _unreachable(why: OSError | TimeoutError | PoolIsFull) -> LedgerAway:
    """Where it is TLS that fails, it is the setting that is named."""
    if isinstance(why, ssl.SSLCertVerificationError):
        return LedgerAway(f"[ledger] ca: het certificaat van de server is niet te vertrouwen: {why.verify_message}")
    if isinstance(why, ssl.SSLError):
        return LedgerAway(f"[ledger] ca: TLS met de server lukt niet ({why.reason})")
    if "rejected SSL upgrade" in str(why):  # asyncpg has no class for it
        return LedgerAway("[ledger] ca: de server biedt geen TLS aan")
    return LedgerAway(type(why).__name__)


class Ledger:
    """Runs transactions. `url`: `sqlite:///…` or `postgresql://…` (also with a driver named).

    `reading`: it only looks, over connections of its own, and holds up nobody who writes. `tls`: PostgreSQL is spoken
    to over this and in no other way; None: as the driver finds best, which is for this machine only. `silent_at_most`:
    seconds after which a PostgreSQL that does not answer is away; None: a statement takes the time it needs.
    """

    def __init__(
        self,
        url: str,
        *,
        reading: bool = False,
        tls: ssl.SSLContext | None = None,
        silent_at_most: float | None = None,
    ) -> None:
        self.failures = 0
        """How often it was away."""
        parsed = make_url(url)
        self.embedded = parsed.get_backend_name() == "sqlite"
        self.sync_url = parsed.set(drivername="sqlite" if self.embedded else "postgresql+asyncpg")
        self._sync: Engine | None = None
        self._async: AsyncEngine | None = None
        self._thread = ThreadPoolExecutor(1, "grootboek")
        if self.embedded:
            self._sync = create_engine(
                self.sync_url, connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_SECONDS}
            )
            event.listen(self._sync, "connect", _sqlite_only_looks if reading else _sqlite_settings)
            event.listen(self._sync, "begin", _begin_deferred if reading else _begin_immediate)
        else:
            self._async = create_async_engine(
                self.sync_url,
                pool_size=READING_POOL_SIZE if reading else POOL_SIZE,
                max_overflow=0,
                pool_timeout=POOL_WAIT,
                pool_use_lifo=True,
                pool_pre_ping=False,
                connect_args={
                    **_bounded(silent_at_most),
                    **(_postgresql_only_looks() if reading else _POSTGRESQL_WORKS),
                    **_over(tls),
                },
            )

    async def run(
        self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one transaction and commit it. Raises LedgerAway, Contention; whatever it raises is rolled back."""
        try:
            if self._async is not None:
                async with self._async.begin() as connection:
                    return await connection.run_sync(transaction, *args, **kwargs)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: self.run_now(transaction, *args, **kwargs))
        except DBAPIError as why:
            raise self._noted(translated(why)) from why
        except (OSError, TimeoutError, PoolIsFull) as why:
            raise self._noted(_unreachable(why)) from why

    def _noted(self, why: Exception) -> Exception:
        self.failures += isinstance(why, LedgerAway)
        return why

    def run_now(self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same on the calling thread; SQLite only."""
        if self._sync is None:
            raise TypeError("only an embedded ledger runs on the calling thread")
        with self._sync.begin() as connection:
            return transaction(connection, *args, **kwargs)

    @asynccontextmanager
    async def listening(self, channel: str, hear: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
        """`hear` is called with what gateways say on `channel`; the event says that nothing is heard any more.

        PostgreSQL only. Raises LedgerAway.
        """
        if self._async is None:
            raise TypeError("an embedded ledger has nobody to listen to")
        ended = asyncio.Event()
        try:
            async with self._async.connect() as connection:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    raw.add_termination_listener(lambda _: ended.set())
                    await raw.add_listener(channel, lambda *said: hear(said[-1]))
                    yield ended
                finally:
                    await connection.invalidate()
        except DBAPIError as why:
            raise translated(why) from why
        except (OSError, TimeoutError, PoolIsFull) as why:
            raise _unreachable(why) from why
        except (asyncpg.InterfaceError, asyncpg.PostgresError) as why:
            raise LedgerAway(type(why).__name__) from why

    async def aclose(self) -> None:
        """A database that does not answer is not waited for."""
        if self._async is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self._async.dispose()
        if self._sync is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync.dispose)
        self._thread.shutdown()


_SESSION = {"idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s"}
_POSTGRESQL_WORKS: Mapping[str, object] = {"server_settings": _SESSION}


def _bounded(silent_at_most: float | None) -> dict[str, object]:
    """Seconds to connect in, and for each statement, a COMMIT too; it is as long before the driver gives up calling the
    statement off, and breaks the connection."""
    return {} if silent_at_most is None else {"timeout": silent_at_most, "command_timeout": silent_at_most}


def _over(tls: ssl.SSLContext | None) -> dict[str, object]:
    """With a context that verifies, asyncpg falls back to nothing."""
    return {} if tls is None else {"ssl": tls}


def _sqlite_settings(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_only_looks(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON").close()


def _postgresql_only_looks() -> dict[str, object]:
    """What asyncpg is told: seconds to connect in, and settings of the session (milliseconds)."""
    settings = {"default_transaction_read_only": "on", "statement_timeout": f"{READING_WITHIN * 1000:.0f}"}
    return {"timeout": READING_WITHIN, "server_settings": settings}


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
