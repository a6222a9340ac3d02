"""What the gauges read of a real ledger, over connections that only look."""

import asyncio
import time
from collections import Counter

import pytest
from sqlalchemy import Connection, insert, text, update

from gateway.core.lifecycle import State
from gateway.ledger import engine, gauges, outbox, queue
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.ledger.schema import closed_lane, delivery
from gateway.ledger.spool import put
from tests.flow.desk import notice, open_desk, progress

MINUTE = 60_000_000


async def test_everything_unfinished_is_counted_once_and_nothing_that_has_ended(ledger_url: str) -> None:
    async with open_desk(ledger_url) as desk:
        await desk.send(notice("SHV-1", 1, "energie", "zorg", "bank", "incasso"))
        await desk.send(progress("SHV-1", 2))  # waits for the notice, per creditor; a nudge
        nudged = desk.clock.at
        await desk.send(progress("SHV-2", 2))  # waits for a version that is not there
        await desk.send(notice("SHV-3"), sender=None)
        began = desk.clock.at
        claims = await desk.ledger.run(queue.claim, {("energie", "webhook"): 9}, "ik", began, began + MINUTE)
        assert len(claims) == 1

        def change(connection: Connection) -> None:
            notices = update(delivery).where(delivery.c.soort == "kennisgeving").values(next_action_at=None)
            connection.execute(notices.where(delivery.c.creditor == "bank").values(state=State.CONFIRMED))
            connection.execute(notices.where(delivery.c.creditor == "incasso").values(state=State.RECEIVED))
            connection.execute(insert(closed_lane).values(creditor="zorg", channel="email", at=1))

        await desk.ledger.run(change)
        await desk.ledger.run(put, [("gem-0363", b"sealed", began)])
        desk.clock.at += MINUTE // 2
        seen = await desk.ledger.run(gauges.look, desk.clock.at)
        rows = [row for row in await desk.deliveries() if row.state != State.CONFIRMED]
        assert seen.deliveries == Counter((row.channel, row.state) for row in rows)
        assert seen.deliveries["webhook", State.BUSY] == 1
        due = {(row.creditor, row.channel) for row in rows if row.state == State.QUEUED and row.waits_for is None}
        assert set(seen.due) == due
        assert {began - at < MINUTE for at in seen.due.values()} == {True}
        assert seen.closed == {"email": 1}
        assert (seen.held, seen.spooled, seen.tasks["afzender_onbekend"]) == (1, 1, 1)
        assert seen.events == len(await desk.ledger.run(outbox.take_events, 1000, desk.clock.at, None))
        assert seen.nudged_at == nudged


async def test_what_only_looks_cannot_write(ledger_url: str) -> None:
    async with open_desk(ledger_url):
        looking = Ledger(ledger_url, reading=True)

        def write(connection: Connection) -> None:
            connection.execute(insert(closed_lane).values(creditor="zorg", channel="email", at=1))

        with pytest.raises(Exception, match=r"(?i)read.?only|25006"):
            await looking.run(write)
        assert (await looking.run(gauges.look, 1)).closed == {}
        await looking.aclose()


async def test_a_look_neither_waits_for_who_writes_nor_holds_him_up(ledger_url: str) -> None:
    async with open_desk(ledger_url) as desk:
        looking = Ledger(ledger_url, reading=True)
        written = asyncio.Event()
        loop = asyncio.get_running_loop()

        def write_slowly(connection: Connection) -> None:
            connection.execute(insert(closed_lane).values(creditor="zorg", channel="email", at=1))
            loop.call_soon_threadsafe(written.set)
            pause(connection)

        def pause(connection: Connection) -> None:
            if connection.dialect.name == "sqlite":
                time.sleep(0.6)
            else:
                connection.execute(text("SELECT pg_sleep(0.6)"))

        writing = asyncio.create_task(desk.ledger.run(write_slowly))
        await written.wait()
        assert (await looking.run(gauges.look, 1)).closed == {}
        assert not writing.done()
        await writing
        assert (await looking.run(gauges.look, 1)).closed == {"email": 1}
        await looking.aclose()


async def test_a_look_that_takes_too_long_is_ended_by_the_ledger(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "READING_WITHIN", 0.5)
    looking = Ledger(postgres_url, reading=True)

    def linger(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(5)"))

    began = time.monotonic()
    with pytest.raises(LedgerAway):
        await looking.run(linger)
    assert time.monotonic() - began < 3
    assert looking.failures == 1
    await looking.aclose()
