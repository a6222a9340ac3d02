"""What was withdrawn is not sent again and goes to no other channel, from the commit of the withdrawal on; whether it
was withdrawn for all or for some, whatever became of the withdrawal itself, and whoever had to wait for that commit."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, event, text, update
from sqlalchemy.util import await_only

from gateway.clock import Clock
from gateway.core.lifecycle import State
from gateway.core.repeat import Obstacle, Plan, Reach
from gateway.core.retry import Policy
from gateway.ledger import evidence
from gateway.ledger.acts import Which
from gateway.ledger.engine import Ledger
from gateway.ledger.evidence import Subject
from gateway.ledger.schema import delivery
from gateway.repeats import Manner, Repeats
from tests.flow.desk import Desk, notice, open_desk, withdrawal

T = TypeVar("T")
PARTS = [pytest.param((), id="for all"), pytest.param(("energie",), id="for one")]
STANDS = [State.DELIVERED, State.FAILED]


@pytest.fixture
async def desk(ledger_url: str) -> AsyncIterator[Desk]:
    async with open_desk(ledger_url) as made:
        yield made


async def become(desk: Desk, soort: str, creditor: str, state: State) -> str:
    """A delivery that has ended so; its id."""
    (row,) = [one for one in await desk.deliveries() if (one.soort, one.creditor) == (soort, creditor)]
    handed_over = desk.clock.at if state is State.DELIVERED else None
    values = {"state": state, "fence": 1, "next_action_at": None, "handed_over_at": handed_over}
    await desk.ledger.run(lambda c: c.execute(update(delivery).where(delivery.c.id == row.id).values(**values)))
    return str(row.id)


async def told(desk: Desk, state: State = State.DELIVERED) -> str:
    """Two creditors had the notice, but for what `state` says of the first; the id of that one's."""
    await desk.send(notice("SHV-1", 1, "energie", "zorg"))
    await become(desk, "kennisgeving", "zorg", State.DELIVERED)
    return await become(desk, "kennisgeving", "energie", state)


def repeat(connection: Connection, id_: str) -> Plan:
    repeats = Repeats(lambda _rate: lambda _name: Reach(("webhook",), 5.0), Policy(), ())
    return repeats.carry_out(connection, Which((id_,)), Manner(), "Zoë", "storing", Clock().micros())[0]


def left(plan: Plan) -> list[Obstacle]:
    assert plan.steps == ()
    return [why for _, why in plan.left]


def subject_of(connection: Connection, id_: str) -> Subject:
    """As whoever judges a bounce sees it."""
    seen: list[Subject] = []
    evidence.record(connection, id_, "s", 1, seen.append)
    return seen[0]


@pytest.mark.parametrize("creditors", PARTS)
@pytest.mark.parametrize("state", STANDS)
async def test_what_is_withdrawn_is_not_sent_again(desk: Desk, state: State, creditors: tuple[str, ...]) -> None:
    id_ = await told(desk, state)
    await desk.send(withdrawal(2, *creditors))
    assert left(await desk.ledger.run(repeat, id_)) == [Obstacle.DOSSIER_WITHDRAWN]
    assert (await desk.ledger.run(subject_of, id_)).is_withdrawn


@pytest.mark.parametrize("state", [State.RETRYING, State.FAILED, State.DELIVERED, State.CLOSED, State.WITHDRAWN])
async def test_it_is_withdrawn_whatever_becomes_of_the_withdrawal(desk: Desk, state: State) -> None:
    id_ = await told(desk)
    await desk.send(withdrawal(2, "energie"))
    await become(desk, "intrekking", "energie", state)
    assert left(await desk.ledger.run(repeat, id_)) == [Obstacle.DOSSIER_WITHDRAWN]


async def test_who_is_not_named_may_get_it_again_and_so_may_the_withdrawal_go(desk: Desk) -> None:
    await told(desk)
    await desk.send(withdrawal(2, "energie"))
    withdrawn = await become(desk, "intrekking", "energie", State.FAILED)
    (other,) = [one.id for one in await desk.deliveries() if one.creditor == "zorg"]
    for id_ in (withdrawn, other):
        assert not (await desk.ledger.run(subject_of, id_)).is_withdrawn
        assert [step.candidate.id for step in (await desk.ledger.run(repeat, id_)).steps] == [id_]


async def test_what_is_asked_anew_of_who_never_had_it_may_be_sent_again(desk: Desk) -> None:
    await told(desk, State.FAILED)
    await desk.send(withdrawal(2, "energie"))
    await desk.send(notice("SHV-1", 3, "energie", "zorg"))
    (anew,) = [one.id for one in await desk.deliveries() if (one.creditor, one.versie) == ("energie", 3)]
    await desk.ledger.run(
        lambda c: c.execute(
            update(delivery).where(delivery.c.id == anew).values(state=State.FAILED, next_action_at=None)
        )
    )
    assert [step.candidate.id for step in (await desk.ledger.run(repeat, anew)).steps] == [anew]


# -- at the same time ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def before_commit(work: Callable[[], Any]) -> AsyncIterator[asyncio.Event]:
    """`work` is done but for its COMMIT, which waits until the event is set or the context ends."""
    reached, goes_on = asyncio.Event(), asyncio.Event()

    def wait(_connection: Connection) -> None:
        if not reached.is_set():
            reached.set()
            await_only(goes_on.wait())

    event.listen(Engine, "commit", wait)
    try:
        working = asyncio.create_task(work())
        await reached.wait()
        yield goes_on
        goes_on.set()
        await working
    finally:
        event.remove(Engine, "commit", wait)


async def until_one_waits(ledger: Ledger) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(5):
        while not await ledger.run(lambda connection: connection.scalar(waiting)):
            await asyncio.sleep(0.02)


async def while_it_is_withdrawn(
    desk: Desk, url: str, creditors: tuple[str, ...], ask: Callable[[Connection, str], T], id_: str
) -> T:
    """What another gateway makes of the delivery that waits for the withdrawal to be committed."""
    other = Ledger(url)
    try:
        async with before_commit(lambda: desk.send(withdrawal(2, *creditors))) as goes_on:
            asked = asyncio.create_task(other.run(ask, id_))
            await until_one_waits(desk.ledger)
            goes_on.set()
            return await asked
    finally:
        await other.aclose()


@pytest.mark.parametrize("creditors", PARTS)
@pytest.mark.parametrize("state", STANDS)
async def test_a_repeat_that_waits_for_the_withdrawal_finds_it(
    postgres_url: str, state: State, creditors: tuple[str, ...]
) -> None:
    async with open_desk(postgres_url) as desk:
        id_ = await told(desk, state)
        plan = await while_it_is_withdrawn(desk, postgres_url, creditors, repeat, id_)
        assert left(plan) == [Obstacle.DOSSIER_WITHDRAWN]


@pytest.mark.parametrize("creditors", PARTS)
async def test_a_bounce_that_waits_for_the_withdrawal_finds_it(postgres_url: str, creditors: tuple[str, ...]) -> None:
    async with open_desk(postgres_url) as desk:
        id_ = await told(desk)
        assert (await while_it_is_withdrawn(desk, postgres_url, creditors, subject_of, id_)).is_withdrawn
