"""Group commit: what is written together, and what happens to what cannot be written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.batches import LINGER, THICK, Batches
from gateway.ledger.engine import Contention, LedgerAway


class Book:
    """Keeps every batch that was committed; `troubles` are raised first, `bad` items each time."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.spoiled: list[int] = []
        self.troubles: list[Exception] = []
        self.bad: set[int] = set()

    async def commit(self, batch: list[int]) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        if self.bad & set(batch):
            raise ValueError(batch)
        self.batches.append(batch)


@asynccontextmanager
async def running(book: Book, more_coming: Callable[[], bool] | None = None) -> AsyncIterator[Batches[int]]:
    batches = Batches[int]("proef", book.commit, spoiled=book.spoiled.append, more_coming=more_coming)
    task = asyncio.create_task(batches.run())
    try:
        yield batches
    finally:
        task.cancel()


async def turns(number: int = 10) -> None:
    """Let everything go on that need not wait for the clock."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_who_comes_alone_does_not_wait() -> None:
    book = Book()
    async with running(book) as batches:
        for item in range(3):
            await asyncio.sleep(2 / THICK)
            batches.add(item)
            await turns()
    assert book.batches == [[0], [1], [2]]


async def test_the_deliveries_of_one_notice_go_together_and_do_not_wait() -> None:
    book = Book()
    async with running(book) as batches:
        await asyncio.sleep(20 / THICK)
        batches.add(*range(14))
        await turns()
    assert book.batches == [list(range(14))]


async def test_where_they_come_thick_the_first_wait_for_the_others() -> None:
    book = Book()
    async with running(book) as batches:
        batches.add(0)
        await turns()
        batches.add(*range(1, 40))
        await turns()
        assert book.batches == [[0]]
        batches.add(*range(40, 60))
        await asyncio.sleep(10 * LINGER)
    assert book.batches == [[0], list(range(1, 60))]


async def test_who_knows_that_more_is_coming_waits_however_few_they_are() -> None:
    book = Book()
    async with running(book, more_coming=lambda: len(book.batches) == 0) as batches:
        batches.add(1)
        await turns()
        assert book.batches == []
        batches.add(2)
        await asyncio.wait_for(batches.drained(), 5)
    assert book.batches == [[1, 2]]


async def test_nothing_is_dropped_while_the_ledger_is_away_or_others_are_in_the_way() -> None:
    book = Book()
    book.troubles = [Contention("40P01"), LedgerAway("weg"), Contention("40P01")]
    async with running(book) as batches:
        batches.add(1, 2, 3)
        await asyncio.wait_for(batches.drained(), 5)
    assert book.batches == [[1, 2, 3]]
    assert book.spoiled == []


async def test_an_item_that_cannot_be_written_holds_up_no_other() -> None:
    book = Book()
    book.bad = {2}
    async with running(book) as batches:
        batches.add(1, 2, 3)
        await asyncio.wait_for(batches.drained(), 5)
    assert book.batches == [[1], [3]]
    assert book.spoiled == [2]
