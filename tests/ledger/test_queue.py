"""The queue of work, on both engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import asyncpg
import pytest
from sqlalchemy import Connection, Integer, cast, insert, select, update

from gateway.core.lane import BLOCKS_AT_MOST, Decision
from gateway.core.lifecycle import Happening, State
from gateway.ledger import queue
from gateway.ledger.due import Wanted
from gateway.ledger.engine import Ledger
from gateway.ledger.queue import Claimed, Intent, Token
from gateway.ledger.schema import attempt, delivery, dossier, evidence, payload, transition
from gateway.ledger.settle import Locked, Result, Settlement, settle
from gateway.ledger.upgrade import is_current, upgrade

NOW = 1_800_000_000_000_000
LEASE = NOW + 30_000_000
LANE = ("energie-voorbeeld", "webhook")


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    yield made
    await made.aclose()


def _put(
    connection: Connection,
    *ids: str,
    waits_for: str | None = None,
    soort: str = "kennisgeving",
    state: State = State.QUEUED,
    due: int = NOW,
    give_up_at: int = NOW * 2,
    versie: int = 1,
) -> None:
    if connection.execute(select(dossier.c.id)).first() is None:
        connection.execute(
            insert(dossier),
            [{"id": "d", "gemeente": "0363", "kenmerk": "K-1", "key": b"k", "versie": 1, "created_at": NOW}],
        )
    rows = [
        {
            "id": id_,
            "message_id": "m",
            "dossier_id": "d",
            "creditor": LANE[0],
            "soort": soort,
            "versie": versie,
            "channel": LANE[1],
            "channel_since": due,
            "state": state,
            "proof": 0,
            "fence": 0,
            "tries": 0,
            "next_action_at": due,
            "waits_for": waits_for,
            "created_at": due,
            "give_up_at": give_up_at,
            "view_digest": b"v",
        }
        for id_ in ids
    ]
    connection.execute(insert(delivery), rows)
    connection.execute(
        insert(payload), [{"owner": id_, "kind": "aanzicht", "dossier_id": "d", "sealed": b"s"} for id_ in ids]
    )


async def _claim(ledger: Ledger, owner: str = "a", room: int | Wanted = 10, now: int = NOW) -> list[Claimed]:
    return await ledger.run(queue.claim, {LANE: room}, owner, now, now + LEASE - NOW)


async def _freeze(ledger: Ledger, *claims: Claimed) -> set[Token]:
    intents = [Intent(one.id, one.dossier_id, one.fence, one.channel, b"digest", b"sealed") for one in claims]
    return await ledger.run(queue.freeze, intents, "a", NOW)


def _handed_over(locked: Locked) -> Settlement:
    steps = ((Happening.HANDED_OVER, State.DELIVERED),)
    return Settlement(Decision(steps, None, 0, locked.channel, 1, releases_next=True), (), ())


async def _settle(ledger: Ledger, claimed: Claimed) -> list[queue.Lane]:
    result = Result(claimed.id, claimed.fence, claimed.channel, "overgedragen", "200", None, NOW + 1)
    return await ledger.run(settle, [result], _handed_over)


async def _row(ledger: Ledger, id_: str) -> tuple[str, int, int | None]:
    def read(connection: Connection) -> tuple[str, int, int | None]:
        row = connection.execute(select(delivery).where(delivery.c.id == id_)).one()
        return row.state, row.fence, row.next_action_at

    return await ledger.run(read)


async def test_the_schema_is_the_one_the_migrations_make(ledger: Ledger) -> None:
    assert await ledger.run(is_current)


async def test_a_claim_takes_what_is_due_once_and_no_more_than_there_is_room_for(ledger: Ledger) -> None:
    await ledger.run(_put, "1", "2", "3")
    assert [one.id for one in await _claim(ledger, room=2)] == ["1", "2"]
    assert [one.id for one in await _claim(ledger, "b")] == ["3"]
    assert await _claim(ledger) == []


async def test_a_delivery_that_waits_for_another_is_claimed_only_after_that_one_is_handed_over(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    await ledger.run(_put, "2", waits_for="1")
    (first,) = await _claim(ledger)
    assert first.id == "1"
    await _freeze(ledger, first)
    assert await _settle(ledger, first) == [LANE]
    assert [one.id for one in await _claim(ledger, now=NOW + 2)] == ["2"]


async def test_a_lost_lease_is_claimed_again_in_doubt_and_the_late_result_moves_nothing(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    await _freeze(ledger, first)
    (second,) = await _claim(ledger, "b", now=LEASE + 1)
    assert (second.before, second.fence, second.frozen) == (State.BUSY, first.fence + 1, b"sealed")
    await _settle(ledger, first)
    assert await _row(ledger, "1") == (State.BUSY, second.fence, LEASE + 1 + LEASE - NOW)

    def read(connection: Connection) -> list[tuple[int, bool]]:
        return [(row.nr, row.stale) for row in connection.execute(select(attempt).order_by(attempt.c.nr))]

    assert await ledger.run(read) == [(first.fence, True)]


async def test_an_intent_is_recorded_only_for_a_claim_that_is_still_held(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    (second,) = await _claim(ledger, "b", now=LEASE + 1)
    assert await _freeze(ledger, first) == set()
    assert await _freeze(ledger, second) == {("1", second.fence)}


async def test_of_two_claims_on_one_delivery_only_the_last_may_send(ledger: Ledger) -> None:
    """A gateway that was cut off from its ledger claims anew what it had claimed, and freezes both at once."""
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    (second,) = await _claim(ledger, now=LEASE + 1)
    assert await _freeze(ledger, first, second) == {("1", second.fence)}
    assert await _attempts(ledger) == [(second.fence, None, False)]


async def test_what_is_given_back_is_due_at_once(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    await ledger.run(queue.release, {"1": first.fence}, NOW + 5)
    assert await _row(ledger, "1") == (State.RETRYING, first.fence, NOW + 5)


async def test_every_move_is_on_record_with_the_attempt_that_caused_it(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    await _freeze(ledger, first)
    await _settle(ledger, first)

    def read(connection: Connection) -> list[tuple[str, str, str]]:
        return [(row.before, row.after, row.cause) for row in connection.execute(select(transition))]

    assert await ledger.run(read) == [(State.BUSY, State.DELIVERED, "1")]


# -- new and old -----------------------------------------------------------------------------------------------------

SECOND = 1_000_000


async def _backlog(ledger: Ledger) -> None:
    """Forty that were tried before, ten that came while the lane was dead, and two that are new since."""
    await ledger.run(_put, *(f"old{nr:02}" for nr in range(40)), state=State.RETRYING, due=NOW - 20 * SECOND)
    await ledger.run(_put, *(f"waited{nr}" for nr in range(10)), due=NOW - 10 * SECOND)
    await ledger.run(_put, "new1", "new2", due=NOW - SECOND)


async def test_a_backlog_does_not_starve_what_is_new(ledger: Ledger) -> None:
    await _backlog(ledger)
    claims = await _claim(ledger, room=Wanted(6, since=NOW - 5 * SECOND))
    assert [one.id for one in claims] == ["new1", "old00", "new2", "old01", "old02", "old03"]


async def test_what_is_new_goes_also_where_a_backlog_has_taken_all_the_room(ledger: Ledger) -> None:
    await _backlog(ledger)
    assert [one.id for one in await _claim(ledger, room=Wanted(0, news=5, since=NOW - 5 * SECOND))] == ["new1", "new2"]


async def test_a_probe_takes_what_is_new_first(ledger: Ledger) -> None:
    await _backlog(ledger)
    assert [one.id for one in await _claim(ledger, room=Wanted(1, since=NOW - 5 * SECOND))] == ["new1"]


async def test_everything_is_claimed_where_there_is_room_for_it(ledger: Ledger) -> None:
    await _backlog(ledger)
    claims = await _claim(ledger, room=Wanted(100, since=NOW - 5 * SECOND))
    assert len({one.id for one in claims}) == len(claims) == 52
    assert {one.due_at for one in claims} == {NOW - 20 * SECOND, NOW - 10 * SECOND, NOW - SECOND}


async def test_in_a_lane_that_rests_only_what_is_overdue_is_claimed(ledger: Ledger) -> None:
    await ledger.run(_put, "waits")
    await ledger.run(_put, "over", give_up_at=NOW)
    await ledger.run(_put, "next-channel", due=NOW - 100)
    await ledger.run(_put, "blocks", soort="voortgang", due=NOW - BLOCKS_AT_MOST, versie=0)
    await ledger.run(_put, "patient", due=NOW - BLOCKS_AT_MOST)

    async def overdue(since: int) -> set[str]:
        claims = await ledger.run(queue.claim_overdue, {LANE: Wanted(10, since=since)}, "a", NOW, LEASE)
        await ledger.run(queue.release, {one.id: one.fence for one in claims}, NOW - 100)
        return {one.id for one in claims}

    assert await overdue(0) == {"over", "blocks"}
    assert await overdue(NOW - 100) == {"over", "blocks", "next-channel", "patient"}


async def test_a_lease_is_renewed_of_what_is_held_and_nobody_waits_for_what_another_has_locked(
    postgres_url: str,
) -> None:
    """Another gateway that stands still in the middle of a transaction would else cost this one all its claims."""
    stands_still = await asyncpg.connect(postgres_url)
    async with aclosing(Ledger(postgres_url)) as ledger, asyncio.timeout(10):
        await ledger.run(_put, "x", "y", "z")
        claims = await _claim(ledger)
        await _freeze(ledger, *claims)
        await _settle(ledger, claims[2])
        async with stands_still.transaction():
            await stands_still.execute("SELECT FROM delivery WHERE id = 'x' FOR UPDATE")
            await ledger.run(queue.renew, ["x", "y", "z"], "a", LEASE + 5)
        assert [(await _row(ledger, id_))[2] for id_ in "xyz"] == [LEASE, LEASE + 5, None]
        await ledger.run(queue.renew, ["x", "y", "z"], "b", LEASE + 9)
        assert [(await _row(ledger, id_))[2] for id_ in "xyz"] == [LEASE, LEASE + 5, None]
    await stands_still.close()


async def test_what_is_given_back_in_doubt_stays_in_doubt(ledger: Ledger) -> None:
    await ledger.run(_put, "1", "2")
    claims = await _claim(ledger)
    await ledger.run(queue.release, {one.id: one.fence for one in claims}, NOW, {"2"})
    assert [(await _row(ledger, id_))[0] for id_ in ("1", "2")] == [State.RETRYING, State.IN_DOUBT]


async def _attempts(ledger: Ledger) -> list[tuple[int, str | None, bool]]:
    def read(connection: Connection) -> list[tuple[int, str | None, bool]]:
        return [(row.nr, row.outcome, row.stale) for row in connection.execute(select(attempt).order_by(attempt.c.nr))]

    return await ledger.run(read)


async def test_an_intent_that_was_committed_unanswered_is_recorded_again_without_effect(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    assert await _freeze(ledger, first) == await _freeze(ledger, first) == {("1", first.fence)}
    assert await _attempts(ledger) == [(first.fence, None, False)]


async def test_a_result_that_was_committed_unanswered_is_not_decided_again(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    await _freeze(ledger, first)
    await _settle(ledger, first)
    result = Result(first.id, first.fence, first.channel, "overgedragen", "200", None, NOW + 9)
    decided: list[str] = []

    def decide(locked: Locked) -> Settlement:
        decided.append(locked.id)
        return _handed_over(locked)

    assert await ledger.run(settle, [result], decide) == []
    assert decided == []
    assert await _attempts(ledger) == [(first.fence, "overgedragen", False)]


async def test_a_result_that_counted_is_not_made_stale_by_coming_again_after_the_next_claim(ledger: Ledger) -> None:
    await ledger.run(_put, "1")
    (first,) = await _claim(ledger)
    await _freeze(ledger, first)
    result = Result(first.id, first.fence, first.channel, "tijdelijk", "503", None, NOW + 1)
    retry = Settlement(Decision(((Happening.RETRY, State.RETRYING),), NOW + 2, 1, first.channel, 0), (), ())
    await ledger.run(settle, [result], lambda _: retry)
    (second,) = await _claim(ledger, now=NOW + 3)
    await ledger.run(settle, [result], lambda _: retry)
    assert await _attempts(ledger) == [(first.fence, "tijdelijk", False)]
    assert await _row(ledger, "1") == (State.BUSY, second.fence, NOW + 3 + LEASE - NOW)


async def _withdraw_notice(ledger: Ledger, state: State) -> list[Claimed]:
    """A kennisgeving that ended so, and the withdrawal that follows it."""

    def put(connection: Connection) -> None:
        _put(connection, "1")
        _put(connection, "2", soort="intrekking")
        connection.execute(update(delivery).where(delivery.c.id == "1").values(state=state, next_action_at=None))

    await ledger.run(put)
    return await _claim(ledger)


async def test_a_withdrawal_goes_to_who_may_have_got_what_was_withdrawn_on_its_way(ledger: Ledger) -> None:
    (claimed,) = await _withdraw_notice(ledger, State.WITHDRAWN)
    assert (claimed.id, claimed.notice_failed) == ("2", False)


async def test_what_follows_a_notice_names_the_notices_that_went_the_same_way(ledger: Ledger) -> None:
    def put(connection: Connection) -> None:
        _put(connection, "1", "2", "3", "4", state=State.DELIVERED)
        versions = {"versie": cast(delivery.c.id, Integer), "next_action_at": None}
        connection.execute(update(delivery).values(versions))
        connection.execute(update(delivery).where(delivery.c.id == "3").values(channel="email"))
        connection.execute(update(delivery).where(delivery.c.id == "4").values(agent_for="zorg"))
        _put(connection, "5", soort="voortgang")

    await ledger.run(put)
    (claimed,) = await _claim(ledger)
    assert (claimed.id, claimed.notices, claimed.notice_reference) == ("5", ("2", "1"), None)


async def test_a_withdrawal_of_what_never_reached_its_creditor_is_not_attempted(ledger: Ledger) -> None:
    (claimed,) = await _withdraw_notice(ledger, State.FAILED)
    assert claimed.notice_failed


def _bounce(connection: Connection, id_: str, channel: str, at: int) -> None:
    connection.execute(
        insert(evidence),
        [{"id": f"{id_}-{channel}-{at}", "delivery_id": id_, "creditor": LANE[0], "channel": channel, "kind": "bounce",
          "source": f"dsn:{channel}:{at}", "digest": b"d", "raw": b"r", "received_at": at}],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("channel", "at", "came_back"), [(LANE[1], NOW + 1, True), ("email", NOW + 1, False), (LANE[1], NOW - 1, False)]
)
async def test_a_hand_over_is_settled_with_the_bounce_that_overtook_it_on_its_channel(
    ledger: Ledger, channel: str, at: int, came_back: bool
) -> None:
    await ledger.run(_put, "1", "2")
    (first, second) = await _claim(ledger)
    await _freeze(ledger, first, second)
    await ledger.run(_bounce, "1", channel, at)
    seen: dict[str, bool] = {}

    def settled(locked: Locked) -> Settlement:
        seen[locked.id] = locked.came_back
        return _handed_over(locked)

    results = [Result(one.id, one.fence, one.channel, "overgedragen", "250", None, NOW + 2) for one in (first, second)]
    await ledger.run(settle, results, settled)
    assert seen == {"1": came_back, "2": False}


# -- a kennisgeving that came back ------------------------------------------------------------------------------------


def _come_back(connection: Connection, *states: State) -> None:
    """A kennisgeving and what follows it, all due at once, in these states; the last one is due the longest."""
    for nr, state in enumerate(states, 1):
        soort = "kennisgeving" if nr == 1 else "voortgang"
        _put(connection, str(nr), soort=soort, state=state, due=NOW - nr, versie=nr)


async def test_what_follows_a_notice_that_came_back_goes_after_it_and_in_order(ledger: Ledger) -> None:
    await ledger.run(_come_back, *[State.RETRYING] * 3)
    for expected in ("1", "2", "3"):
        (claimed,) = await _claim(ledger, room=1, now=NOW + 2)
        assert (claimed.id, claimed.notice_failed) == (expected, False)
        assert await _claim(ledger, now=NOW + 2) == []
        await _freeze(ledger, claimed)
        await _settle(ledger, claimed)


async def _change(ledger: Ledger, id_: str, **values: object) -> None:
    await ledger.run(lambda connection: connection.execute(update(delivery).where(delivery.c.id == id_).values(values)))


async def test_what_came_late_and_waits_for_a_newer_one_is_not_waited_for_by_it(ledger: Ledger) -> None:
    await ledger.run(_come_back, State.RETRYING, State.QUEUED, State.RETRYING)
    await _change(ledger, "2", waits_for="3")
    for expected in ("1", "3", "2"):
        (claimed,) = await _claim(ledger, now=NOW + 2)
        assert (claimed.id, claimed.notice_failed) == (expected, False)
        await _freeze(ledger, claimed)
        await _settle(ledger, claimed)


async def test_nothing_waits_for_what_may_wait_for_it_by_way_of_what_another_has_in_hand(postgres_url: str) -> None:
    """4 waits for 3, and late 2 for 4."""
    other = await asyncpg.connect(postgres_url)
    async with aclosing(Ledger(postgres_url)) as ledger, asyncio.timeout(10):
        await ledger.run(_come_back, State.RETRYING, State.QUEUED, State.RETRYING, State.QUEUED)
        await _change(ledger, "2", waits_for="4")
        await _change(ledger, "4", waits_for="3")
        async with other.transaction():
            await other.execute("SELECT FROM delivery WHERE id = '4' FOR UPDATE")
            (claimed,) = await _claim(ledger, now=NOW + 2)
        assert claimed.id == "1"
        waits = select(delivery.c.waits_for).where(delivery.c.id == "3")
        assert await ledger.run(lambda connection: connection.execute(waits).scalar_one()) == "1"
    await other.close()


async def test_a_notice_that_waits_for_what_follows_a_failed_one_is_not_waited_for(ledger: Ledger) -> None:
    await ledger.run(_come_back, State.FAILED, State.QUEUED, State.RETRYING)
    await _change(ledger, "1", next_action_at=None)
    await _change(ledger, "2", soort="kennisgeving", waits_for="3")
    (claimed,) = await _claim(ledger)
    assert (claimed.id, claimed.notice_failed) == ("3", True)


async def test_what_follows_a_notice_that_failed_for_good_does_not_wait(ledger: Ledger) -> None:
    await ledger.run(_come_back, State.FAILED, State.RETRYING)
    await _change(ledger, "1", next_action_at=None)
    (claimed,) = await _claim(ledger)
    assert (claimed.id, claimed.notice_failed) == ("2", True)


async def test_a_later_notice_is_not_waited_for(ledger: Ledger) -> None:
    await ledger.run(_come_back, State.RETRYING, State.RETRYING)
    await _change(ledger, "1", versie=3)
    assert {one.id: one.notice_failed for one in await _claim(ledger)} == {"1": False, "2": True}


async def test_what_was_under_way_when_its_gateway_vanished_waits_in_doubt(ledger: Ledger) -> None:
    await ledger.run(_come_back, State.RETRYING, State.BUSY)
    (first,) = await _claim(ledger)
    assert first.id == "1"
    assert (await _row(ledger, "2"))[:2] == (State.IN_DOUBT, 1)
    steps = await ledger.run(lambda connection: connection.execute(select(transition)).all())
    assert [(step.delivery_id, step.happening) for step in steps] == [("2", Happening.LEASE_LOST)]


async def test_what_follows_a_notice_that_another_has_locked_is_neither_sent_nor_left_waiting(
    postgres_url: str,
) -> None:
    """It may be settling, and whoever settles it would not see that something waits."""
    other = await asyncpg.connect(postgres_url)
    async with aclosing(Ledger(postgres_url)) as ledger, asyncio.timeout(10):
        await ledger.run(_come_back, State.RETRYING, State.RETRYING)
        async with other.transaction():
            await other.execute("SELECT FROM delivery WHERE id = '1' FOR UPDATE")
            assert await ledger.run(queue.claim_and_look, {LANE: 10}, "a", NOW, LEASE) == ([], [LANE])
        assert [one.id for one in await _claim(ledger)] == ["1"]
    await other.close()
