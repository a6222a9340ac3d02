"""The rows of the outbox: numbered without gaps in one serialised step, and due until they are said to be published."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from gateway.ledger import outbox, read
from gateway.ledger.engine import Contention, Ledger
from gateway.ledger.outbox import Event
from gateway.ledger.upgrade import upgrade

NOW = 1_800_000_000_000_000
LEASE = NOW + 30_000_000
BATCHES, SIZE = 12, 5


@pytest.fixture
async def ledgers(ledger_url: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Those of two gateways that share one."""
    first, second = Ledger(ledger_url), Ledger(ledger_url)
    await first.run(upgrade)
    yield first, second
    await first.aclose()
    await second.aclose()


@pytest.fixture
def ledger(ledgers: tuple[Ledger, Ledger]) -> Ledger:
    return ledgers[0]


def events(names: Iterable[object], gemeente: str = "0363", at: int = NOW) -> list[Event]:
    return [Event(f"e-{name}", "bericht-geaccepteerd", gemeente, None, b"sealed", at) for name in names]


async def take(ledger: Ledger, now: int = NOW, again_at: int | None = LEASE) -> list[tuple[int, str]]:
    return [(one.nr, one.id) for one in await ledger.run(outbox.take_events, 100, now, again_at)]


async def feed(ledger: Ledger, after: int = 0, gemeenten: list[str] | None = None) -> list[tuple[int, str]]:
    return [(row.nr, row.id) for row in await ledger.run(read.feed, gemeenten, after, 10_000)]


async def test_a_reader_never_finds_a_gap_while_two_publishers_number_what_is_being_written(
    ledgers: tuple[Ledger, Ledger],
) -> None:
    writers, everything = 4, 4 * BATCHES * SIZE
    taken: list[tuple[int, str]] = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as work:
        reading = work.create_task(follow(ledgers[1], everything))
        for writer in range(writers):
            work.create_task(write(ledgers[writer % 2], writer))
        for ledger in ledgers:
            work.create_task(number(ledger, taken, everything))
    seen = reading.result()
    assert [nr for nr, _ in seen] == list(range(1, everything + 1))
    assert sorted(taken) == seen
    assert len({id_ for _, id_ in seen}) == everything


async def write(ledger: Ledger, writer: int) -> None:
    for batch in range(BATCHES):
        await ledger.run(outbox.add_events, events(f"{writer}-{batch}-{nr}" for nr in range(SIZE)))


async def number(ledger: Ledger, taken: list[tuple[int, str]], everything: int) -> None:
    while len(taken) < everything:
        taken.extend((one.nr, one.id) for one in await ledger.run(outbox.take_events, 7, NOW, LEASE))
        await asyncio.sleep(0)


async def follow(ledger: Ledger, everything: int) -> list[tuple[int, str]]:
    """As a sender reads the feed: on from the last number he has."""
    seen: list[tuple[int, str]] = []
    while not seen or seen[-1][0] < everything:
        seen += await feed(ledger, seen[-1][0] if seen else 0)
        await asyncio.sleep(0)
    return seen


async def test_an_event_whose_publisher_vanished_comes_again_with_the_same_id_and_number(
    ledgers: tuple[Ledger, Ledger],
) -> None:
    vanished, other = ledgers
    await vanished.run(outbox.add_events, events("ab"))
    first = await take(vanished)
    assert await take(other, LEASE - 1) == []
    assert await take(other, LEASE, LEASE + 1) == first == [(1, "e-a"), (2, "e-b")]


async def test_what_is_published_is_not_due_any_more_and_stays_in_the_feed(ledger: Ledger) -> None:
    await ledger.run(outbox.add_events, events("ab"))
    await take(ledger)
    await ledger.run(outbox.published, ["e-a"])
    assert await take(ledger, LEASE) == [(2, "e-b")]
    await ledger.run(outbox.published, ["e-b"])
    assert await ledger.run(outbox.next_event_due) is None
    assert await feed(ledger) == [(1, "e-a"), (2, "e-b")]


async def test_without_a_broker_numbering_is_all_there_is_to_do(ledger: Ledger) -> None:
    await ledger.run(outbox.add_events, events("ab"))
    assert await take(ledger, again_at=None) == [(1, "e-a"), (2, "e-b")]
    assert await ledger.run(outbox.next_event_due) is None


async def test_what_was_not_confirmed_comes_again_after_what_is_new(ledger: Ledger) -> None:
    await ledger.run(outbox.add_events, events("ab"))
    await take(ledger)
    await ledger.run(outbox.postpone, ["e-a"], NOW + 5)
    await ledger.run(outbox.add_events, events("c", at=NOW + 1))
    assert await take(ledger, NOW + 4) == [(3, "e-c")]
    assert await take(ledger, NOW + 5) == [(1, "e-a")]


async def test_an_event_of_a_transaction_that_failed_leaves_no_gap(ledger: Ledger) -> None:
    await ledger.run(outbox.add_events, events("a"))
    with pytest.raises(Contention):
        await ledger.run(outbox.add_events, events("ba"))
    await ledger.run(outbox.add_events, events("c"))
    assert await take(ledger) == [(1, "e-a"), (2, "e-c")]


async def test_a_reader_sees_his_own_gemeenten_in_order(ledger: Ledger) -> None:
    for nr, gemeente in enumerate(["0363", "0344", "0363", "onbekend", "0518"]):
        await ledger.run(outbox.add_events, events([nr], gemeente))
    assert await feed(ledger) == []
    await take(ledger)
    assert await feed(ledger, 0, ["0363", "0518"]) == [(1, "e-0"), (3, "e-2"), (5, "e-4")]
    assert await feed(ledger, 1, ["0363", "0518"]) == [(3, "e-2"), (5, "e-4")]
    assert await feed(ledger, 0, []) == []
