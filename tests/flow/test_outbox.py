"""Events on their way out: published at once, again with the same id where nobody knows, and in the feed anyway."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.core.errors import Code, Violation
from gateway.events import Events
from gateway.keys import Keys
from gateway.ledger import outbox as rows
from gateway.ledger import read
from gateway.ledger.engine import Ledger
from gateway.ledger.upgrade import upgrade
from gateway.outbox import Outbox, Publication
from gateway.seal import Sealer
from tests.flow.running import event_faults

SOON = 5.0
FAULT = Violation("", Code.JSON_INVALID, "de tekst is geen JSON")


@dataclass
class Exchange:
    """Takes publications as the broker does; `confirms` says which of them it is heard to have taken."""

    taken: list[Publication] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    is_dumb: bool = False
    """It takes everything, and no confirm ever arrives."""

    async def publish(self, publications: Sequence[Publication]) -> list[str]:
        self.taken += [one for one in publications if one.id not in self.refused]
        if self.is_dumb:
            await asyncio.Event().wait()
        return [one.id for one in publications if one.id not in self.refused]

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.taken]


@dataclass
class Office:
    """An outbox at work on a ledger."""

    outbox: Outbox
    ledger: Ledger
    events: Events

    async def write(self, number: int = 1) -> list[str]:
        """So many events; their ids."""
        now = Clock().micros()
        made = [
            self.events.make("bericht-geweigerd", now, "0363", bericht={"source": None, "id": None}, fouten=[FAULT])
            for _ in range(number)
        ]
        await self.ledger.run(rows.add_events, made)
        self.outbox.wake()
        return [event.id for event in made]

    async def feed(self) -> list[str]:
        return [row.id for row in await self.ledger.run(read.feed, None, 0, 1000)]


@asynccontextmanager
async def at_work(
    ledger: Ledger, exchange: Exchange | None, *, lease: float = 60, sealer: Sealer | None = None
) -> AsyncIterator[Office]:
    events = Events("00000099000000001000", sealer or Sealer(Keys(os.urandom(32))))
    outbox = Outbox(ledger, events, Clock(), exchange.publish if exchange else None, lease=lease)
    running = asyncio.create_task(outbox.run())
    try:
        yield Office(outbox, ledger, events)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    yield made
    await made.aclose()


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    await made.run(upgrade)
    yield made
    await made.aclose()


async def drained(office: Office) -> None:
    async with asyncio.timeout(SOON):
        await office.outbox.drained()


async def test_what_is_written_is_published_at_once_in_the_order_of_the_feed(ledger: Ledger) -> None:
    exchange = Exchange()
    async with at_work(ledger, exchange) as office:
        await drained(office)
        before = asyncio.get_running_loop().time()
        ids = await office.write(5)
        await drained(office)
        assert asyncio.get_running_loop().time() - before < 0.5
        assert exchange.ids == ids == await office.feed()
        assert {one.routing_key for one in exchange.taken} == {"0363.bericht-geweigerd"}
        bodies = [json.loads(one.body) for one in exchange.taken]
        assert [body["id"] for body in bodies] == ids
        assert [fault for body in bodies for fault in event_faults(body)] == []


async def test_many_events_go_in_batches_and_each_goes_once(embedded: Ledger) -> None:
    exchange = Exchange()
    async with at_work(embedded, exchange) as office:
        ids = [id_ for _ in range(3) for id_ in await office.write(450)]
        await drained(office)
        assert exchange.ids == ids


async def test_a_crash_between_publish_and_mark_publishes_again_with_the_same_id_and_bytes(ledger: Ledger) -> None:
    first, second = Exchange(is_dumb=True), Exchange()
    sealer = Sealer(Keys(os.urandom(32)))
    async with at_work(ledger, first, lease=0.3, sealer=sealer) as crashes:
        ids = await crashes.write(3)
        async with asyncio.timeout(SOON):
            while first.ids != ids:
                await asyncio.sleep(0.01)
    async with at_work(ledger, second, lease=0.3, sealer=sealer) as office, asyncio.timeout(SOON):
        assert await office.feed() == ids
        while second.ids != ids:
            office.outbox.wake()
            await asyncio.sleep(0.02)
        await office.outbox.drained()
        assert second.taken == first.taken
        assert await ledger.run(rows.next_event_due) is None


async def test_what_is_not_confirmed_goes_again_and_holds_up_nothing(embedded: Ledger) -> None:
    exchange = Exchange()
    async with at_work(embedded, exchange) as office:
        (unlucky,) = await office.write()
        exchange.refused = {unlucky}
        lucky = await office.write(2)
        await drained(office)
        exchange.refused.clear()
        async with asyncio.timeout(SOON):
            while unlucky not in exchange.ids:
                office.outbox.wake()
                await asyncio.sleep(0.02)
        assert set(exchange.ids) == {unlucky, *lucky}
        assert await office.feed() == [unlucky, *lucky]


async def test_without_a_broker_the_feed_has_everything(embedded: Ledger) -> None:
    async with at_work(embedded, None) as office:
        ids = await office.write(3)
        await drained(office)
        assert await office.feed() == ids
