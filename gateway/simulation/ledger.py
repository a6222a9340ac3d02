"""A ledger for virtual time: SQLite on the calling thread, because a thread would take real time.

The one place where durability is traded for speed: this ledger ends with the run that it is made for.
"""

import sqlite3
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from gateway.ledger.engine import Ledger, translated

P = ParamSpec("P")
T = TypeVar("T")

_PRAGMAS = ("locking_mode=EXCLUSIVE", "synchronous=OFF", "journal_mode=MEMORY", "cache_size=-65536")


class LedgerInPlace(Ledger):
    """`within` is called at the end of every transaction, before it is committed; `after` when it is committed."""

    def __init__(
        self, file: Path, *, within: Callable[[Connection], None] | None, after: Callable[[sqlite3.Connection], None]
    ) -> None:
        super().__init__(f"sqlite:///{file}")
        self._within = within
        self._after = after
        self._raw: sqlite3.Connection | None = None
        event.listen(self._sync, "connect", self._keep)

    @cached_property
    def _connection(self) -> Connection:
        """Kept, where other ledgers take one from the pool for each transaction."""
        if self._sync is None:
            raise TypeError("the simulation runs on SQLite")
        return self._sync.connect()

    @property
    def raw(self) -> sqlite3.Connection:
        """The one connection there is, between transactions."""
        if self._raw is None:
            raise TypeError("the ledger has not been used yet")
        return self._raw

    async def run(
        self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return self.run_now(transaction, *args, **kwargs)
        except DBAPIError as why:
            raise translated(why) from why

    def run_now(self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._connection.begin():
            result = transaction(self._connection, *args, **kwargs)
            if self._within is not None:
                self._within(self._connection)
        self._after(self.raw)
        return result

    async def aclose(self) -> None:
        self._connection.close()
        self._thread.shutdown()

    def _keep(self, connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()
        self._raw = connection
