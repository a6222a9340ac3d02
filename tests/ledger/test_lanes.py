"""Lanes in the ledger: one owner each, by the database's clock, and what of a lane outlives its owner."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from gateway.core.spread import Lane, spread
from gateway.ledger import lanes, queue
from gateway.ledger.due import Wanted
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.ledger.lanes import BELL, Owned, Rest, Shared
from gateway.ledger.schema import lane as table
from gateway.ledger.upgrade import upgrade
from tests.ledger.test_queue import LANE, NOW, _put

LANES = [LANE, *((f"schuldeiser-{nr}", "webhook") for nr in range(1, 6))]
LONG, SHORT = 60.0, 0.3


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    yield made
    await made.aclose()


@pytest.fixture
async def shared(postgres_url: str) -> AsyncIterator[Ledger]:
    """A ledger that several gateways may share."""
    made = Ledger(postgres_url)
    await made.run(upgrade)
    yield made
    await made.aclose()


async def look(
    ledger: Ledger, me: str, wanted: Collection[Lane] = (), left: Collection[Lane] = (), lease: float = LONG
) -> Shared:
    return await ledger.run(lanes.share, me, lease, wanted, left, spread)


# -- what outlives its owner -----------------------------------------------------------------------------------------


async def test_how_a_lane_stands_is_kept_and_replaced(ledger: Ledger) -> None:
    held, dead = Rest(held_until=NOW + 5), Rest(deaths=2, dead_until=NOW + 10, fresh_since=NOW - 3)
    await ledger.run(lanes.keep_rests, {LANES[0]: Owned(0, held), LANES[1]: Owned(0, dead)})
    assert await ledger.run(lanes.rests) == {LANES[0]: held, LANES[1]: dead}
    await ledger.run(lanes.keep_rests, {LANES[1]: Owned(0, held)})
    assert await ledger.run(lanes.rests) == {LANES[0]: held, LANES[1]: held}
    assert (dead.window.is_alive, dead.window.dead_until, held.window.is_alive) == (False, NOW + 10, True)


async def test_a_lane_is_whose_it_is_as_long_as_that_gateway_lives(shared: Ledger) -> None:
    await look(shared, "a", [LANES[0]])
    await look(shared, "a", [LANES[1]], lease=SHORT)
    assert await shared.run(lanes.owners) == dict.fromkeys(LANES[:2], "a")
    await asyncio.sleep(SHORT)
    assert await shared.run(lanes.owners) == {}


async def test_the_only_gateway_that_there_is_owns_every_lane_unsaid(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    await ledger.run(upgrade)
    await ledger.run(lanes.keep_rests, {LANE: Owned(0, Rest(held_until=NOW + 5))})
    assert await ledger.run(lanes.owners) == {}
    await ledger.aclose()


async def test_a_new_owner_finds_how_the_lane_stands(shared: Ledger) -> None:
    before = (await look(shared, "a", [LANE])).mine[LANE]
    await shared.run(lanes.keep_rests, {LANE: Owned(before.fence, Rest(held_until=NOW + 5))})
    await shared.run(lanes.leave, "a")
    assert (await look(shared, "b")).mine[LANE].rest == Rest(held_until=NOW + 5)


async def test_whoever_lost_a_lane_says_no_more_how_it_stands(shared: Ledger) -> None:
    before = (await look(shared, "a", [LANE], lease=SHORT)).mine[LANE]
    await asyncio.sleep(SHORT)
    after = (await look(shared, "b")).mine[LANE]
    await shared.run(lanes.keep_rests, {LANE: Owned(after.fence, Rest(held_until=NOW + 9))})
    await shared.run(lanes.keep_rests, {LANE: Owned(before.fence, Rest(deaths=1))})
    assert await shared.run(lanes.rests) == {LANE: Rest(held_until=NOW + 9)}


# -- one owner -------------------------------------------------------------------------------------------------------


async def test_the_first_gateway_has_all_lanes_and_lets_half_go_when_another_comes(shared: Ledger) -> None:
    first = await look(shared, "a", LANES)
    assert (set(first.mine), first.surplus) == (set(LANES), ())
    assert (await look(shared, "b")).mine == {}
    surplus = (await look(shared, "a")).surplus
    assert len(surplus) == 3
    assert set((await look(shared, "a", left=surplus)).mine) == set(LANES).difference(surplus)
    assert set((await look(shared, "b")).mine) == set(surplus)


async def test_each_new_owner_has_a_higher_fence(shared: Ledger) -> None:
    fences = []
    for me in ("a", "b", "a"):
        fences.append((await look(shared, me, [LANE])).mine[LANE].fence)
        await shared.run(lanes.leave, me)
    assert fences == [1, 2, 3]


async def test_a_gateway_that_is_silent_for_its_lease_has_lost_its_lanes(shared: Ledger) -> None:
    await look(shared, "a", LANES, lease=SHORT)
    assert (await look(shared, "b")).mine == {}
    await asyncio.sleep(SHORT + 0.05)
    assert set((await look(shared, "b")).mine) == set(LANES)
    assert (await look(shared, "a")).mine == {}


async def test_of_gateways_that_look_at_once_none_takes_what_another_has(shared: Ledger) -> None:
    found = await asyncio.gather(*(look(shared, me, LANES) for me in "abc"))
    taken = [lane for one in found for lane in one.mine]
    assert len(taken) == len(set(taken))


# -- claims ----------------------------------------------------------------------------------------------------------


async def claim(ledger: Ledger, owner: str, fence: int) -> list[str]:
    claims = await ledger.run(queue.claim, {LANE: Wanted(10, fence=fence)}, owner, NOW, NOW + 1)
    return [one.id for one in claims]


async def test_only_the_owner_claims_and_only_by_its_fence(shared: Ledger) -> None:
    await shared.run(_put, "1")
    fence = (await look(shared, "a", [LANE])).mine[LANE].fence
    assert await claim(shared, "b", fence) == []
    assert await claim(shared, "a", fence - 1) == []
    assert await claim(shared, "a", fence) == ["1"]


async def test_who_has_lost_its_lease_claims_nothing_although_nobody_took_its_lanes_yet(shared: Ledger) -> None:
    await shared.run(_put, "1")
    fence = (await look(shared, "a", [LANE], lease=SHORT)).mine[LANE].fence
    await asyncio.sleep(SHORT + 0.05)
    assert await claim(shared, "a", fence) == []
    assert await shared.run(lambda connection: connection.execute(select(table.c.owner)).scalar_one()) == "a"
    assert (await look(shared, "a")).mine[LANE].fence == fence
    assert await claim(shared, "a", fence) == ["1"]


# -- talking ---------------------------------------------------------------------------------------------------------


async def test_what_one_says_the_others_hear_once_it_is_committed(shared: Ledger) -> None:
    heard: list[str] = []
    async with shared.listening(BELL, heard.append):
        with pytest.raises(ZeroDivisionError):
            await shared.run(_ring_and_fail)
        await shared.run(lanes.ring, ["werk", "vrij"])
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.01)
    assert heard == ["werk", "vrij"]


def _ring_and_fail(connection: Connection) -> None:
    lanes.ring(connection, ["niet"])
    raise ZeroDivisionError


async def test_who_listens_is_told_when_it_hears_nothing_any_more(shared: Ledger) -> None:
    async with shared.listening(BELL, lambda _: None) as ended:
        with pytest.raises(LedgerAway):
            await shared.run(_end_all_sessions)
        async with asyncio.timeout(5):
            await ended.wait()


def _end_all_sessions(connection: Connection) -> None:
    others = "pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    connection.exec_driver_sql(f"SELECT {others} AND pid <> pg_backend_pid()")
    connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
