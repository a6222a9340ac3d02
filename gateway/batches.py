"""Group commit: while one batch is being written, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from gateway.ledger.engine import Contention, LedgerAway
from gateway.log import logger

log = logger(__name__)

T = TypeVar("T")

WORTH_A_COMMIT = 64
"""Items that make a good batch: larger ones win only a few per cent more."""
LINGER = 0.004
LINGER_AT_MOST = 0.02
"""Seconds that a smaller batch gathers, bit by bit, while more is coming; an idle gateway never waits."""
THICK = 1000
"""Items per second from which it pays to wait for more: some four in one LINGER."""
CONTENTION_TRIES = 20
"""Meetings with other transactions after which the items of a batch go one by one."""
LEDGER_PAUSE = 0.5
"""Seconds before the ledger is tried again after it was away."""


class Batches(Generic[T]):
    """Items are committed in order of arrival, at most `most` together; nothing is dropped while the ledger is away.

    An item that alone makes the commit fail is a bug of ours: it is logged, handed to `spoiled`, and the rest goes on.
    `more_coming` says whether a small batch waits for more; without it, it does where items come thick.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[list[T]], Awaitable[None]],
        *,
        spoiled: Callable[[T], None],
        more_coming: Callable[[], bool] | None = None,
        on_batch: Callable[[str, int], None] = lambda _name, _size: None,
        most: int = 200,
    ) -> None:
        self._name = name
        self._commit = commit
        self._spoiled = spoiled
        self._more_coming = more_coming or self._come_thick
        self._on_batch = on_batch
        self._most = most
        self._items: list[T] = []
        self._cut_at = 0.0
        """When the latest batch was taken, on the event loop's clock."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, *items: T) -> None:
        self._items += items
        if self._items:
            self._idle.clear()
            self._wake.set()

    async def drained(self) -> None:
        """Everything added so far has been committed."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await self._gather()
            batch, self._items = self._items[: self._most], self._items[self._most :]
            self._cut_at = asyncio.get_running_loop().time()
            await self._write(batch)
            if not self._items:
                self._wake.clear()
                self._idle.set()

    async def _commit_in_time(self, batch: list[T]) -> None:
        """However often other transactions meet it; one that always does is a bug, and holds up nobody for ever."""
        for _ in range(CONTENTION_TRIES):
            with suppress(Contention):
                return await self._commit(batch)
            await asyncio.sleep(0)
        return await self._commit(batch)

    async def _gather(self) -> None:
        waited = 0.0
        while self._more_coming() and len(self._items) < WORTH_A_COMMIT and waited < LINGER_AT_MOST:
            await asyncio.sleep(LINGER)
            waited += LINGER

    def _come_thick(self) -> bool:
        return len(self._items) >= THICK * (asyncio.get_running_loop().time() - self._cut_at)

    async def _write(self, batch: list[T]) -> None:
        while True:
            try:
                await self._commit_in_time(batch)
                return self._on_batch(self._name, len(batch))
            except LedgerAway as why:
                log.warning("ledger_away", stap=self._name, reden=str(why))
                await asyncio.sleep(LEDGER_PAUSE)
            except Exception:
                if len(batch) == 1:
                    log.exception("item_spoiled", stap=self._name)
                    return self._spoiled(batch[0])
                for item in batch:
                    await self._write([item])
                return None
