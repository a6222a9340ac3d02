"""A PostgreSQL that does not answer: noticed in time, and never taken for anything that a message or a result did."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event, insert, make_url, select, text

from gateway.intake import Accepted, Duplicate
from gateway.ledger import engine
from gateway.ledger.engine import POOL_SIZE, Ledger, LedgerAway
from gateway.ledger.schema import milestone, refusal
from tests.faults.proxy import Proxy, Weather
from tests.flow.desk import Desk, notice, open_desk

WITHIN = 1.0
SOON = 4 * WITHIN


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    port = make_url(postgres_url).port
    assert port
    async with Proxy(port) as made:
        yield made


@pytest.fixture
def url(proxy: Proxy, postgres_url: str) -> str:
    return make_url(postgres_url).set(port=proxy.port).render_as_string(hide_password=False)


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    made = Ledger(url, silent_at_most=WITHIN)
    yield made
    await made.aclose()


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    async with open_desk(url, silent_at_most=WITHIN) as made:
        yield made


@contextmanager
def soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def one(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 1")).scalar_one())


def marks(connection: Connection) -> int:
    return len(connection.execute(select(milestone)).all())


async def test_a_line_that_falls_silent_is_cut_off_and_another_one_is_made(ledger: Ledger, proxy: Proxy) -> None:
    assert await ledger.run(one) == 1
    async with proxy.spoiled(deaf=True):
        for _ in range(2):  # the line that was there, and one that is made meanwhile
            with soon(), pytest.raises(LedgerAway):
                await ledger.run(one)
    assert await ledger.run(one) == 1
    assert ledger.failures == 2


async def test_a_transaction_may_take_long_as_long_as_its_statements_are_answered(ledger: Ledger) -> None:
    def long(connection: Connection) -> None:
        for _ in range(4):
            connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": WITHIN / 2})

    await ledger.run(long)


async def test_without_a_bound_a_statement_takes_the_time_it_needs(url: str) -> None:
    patient = Ledger(url)
    await patient.run(lambda connection: connection.execute(text("SELECT pg_sleep(:s)"), {"s": 2 * WITHIN}))
    await patient.aclose()


async def test_who_waits_in_vain_for_a_connection_is_told_that_the_ledger_is_away(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_WAIT", 0.3)
    ledger = Ledger(url)

    async def hold() -> None:
        await ledger.run(lambda connection: connection.execute(text("SELECT pg_sleep(2)")))

    async with asyncio.TaskGroup() as busy:
        for _ in range(POOL_SIZE):
            busy.create_task(hold())
        await asyncio.sleep(0.5)
        with pytest.raises(LedgerAway):
            await ledger.run(one)
        with pytest.raises(LedgerAway):
            async with ledger.listening("proef", lambda _: None):
                pass
    assert await ledger.run(one) == 1
    await ledger.aclose()


async def test_who_wants_to_listen_on_a_silent_line_is_told(ledger: Ledger, proxy: Proxy) -> None:
    await ledger.run(one)
    async with proxy.spoiled(deaf=True):
        with soon(), pytest.raises(LedgerAway):
            async with ledger.listening("proef", lambda _: None):
                pass


async def test_a_server_that_lets_nobody_in_is_a_ledger_that_is_away(url: str) -> None:
    ledger = Ledger(make_url(url).set(database="elsewhere").render_as_string(hide_password=False))
    with pytest.raises(LedgerAway):
        await ledger.run(one)
    await ledger.aclose()


@pytest.mark.parametrize(("weather", "committed"), [("deaf", 0), ("mute", 1)])
async def test_a_commit_without_an_answer_is_one_of_which_nobody_knows(
    ledger: Ledger, proxy: Proxy, weather: str, committed: int
) -> None:
    def mark_and_fall_silent(connection: Connection) -> None:
        row = {"dossier_id": "d", "name": "proef", "subject": "s", "at": 1}
        connection.execute(insert(milestone), [row])
        proxy.weather = Weather(**{weather: True})

    with soon(), pytest.raises(LedgerAway):
        await ledger.run(mark_and_fall_silent)
    proxy.weather = Weather()
    assert await ledger.run(marks) == committed


async def test_a_notice_whose_commit_was_not_answered_is_a_duplicate_when_it_comes_again(
    desk: Desk, proxy: Proxy
) -> None:
    def fall_silent(_connection: Connection) -> None:
        proxy.weather = Weather(mute=True)

    event.listen(Engine, "commit", fall_silent)
    try:
        with soon(), pytest.raises(LedgerAway):
            await desk.send(notice("SHV-1", 1, "energie"))
    finally:
        event.remove(Engine, "commit", fall_silent)
    proxy.weather = Weather()
    (verdict,) = await desk.send(notice("SHV-1", 1, "energie"))
    assert isinstance(verdict, Duplicate)
    assert len(await desk.deliveries()) == 1


async def test_a_valid_notice_is_not_refused_because_every_connection_hangs(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path goes dark, the stages fill the pool, and it heals while the notice waits."""
    monkeypatch.setattr(engine, "POOL_WAIT", 0.5)
    async with open_desk(url) as desk:
        await asyncio.gather(*(desk.ledger.run(one) for _ in range(POOL_SIZE)))
        async with proxy.spoiled(deaf=True):
            hanging = [asyncio.create_task(desk.ledger.run(one)) for _ in range(POOL_SIZE)]
            await asyncio.sleep(0.1)
            offered = asyncio.create_task(desk.send(notice("SHV-1", 1, "energie")))
            await asyncio.sleep(1.2)
        proxy.cut()
        with pytest.raises(LedgerAway):
            await offered
        await asyncio.gather(*hanging, return_exceptions=True)
        assert await desk.ledger.run(lambda connection: connection.execute(select(refusal)).all()) == []
        (verdict,) = await desk.send(notice("SHV-1", 1, "energie"))
        assert isinstance(verdict, Accepted)
