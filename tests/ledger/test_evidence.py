"""The rows of what creditors told us: once per source, under lock, whatever comes at the same time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, update

from gateway.core.answer import Said
from gateway.core.lifecycle import Happening, State
from gateway.ledger import evidence
from gateway.ledger.engine import Contention, Ledger
from gateway.ledger.evidence import Callback, Entry, Page, Record, Recorded, Subject
from gateway.ledger.queue import Lane
from gateway.ledger.schema import answer_page, attempt, delivery, dossier, transition
from gateway.ledger.schema import evidence as table
from gateway.ledger.upgrade import upgrade

NOW = 1_800_000_000_000_000
LANE = ("energie", "sftp")
TOKEN = b"t" * 32


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    await made.run(put, "1")
    yield made
    await made.aclose()


def put(connection: Connection, id_: str, state: State = State.DELIVERED, waits_for: str | None = None) -> None:
    if connection.execute(select(dossier.c.id)).first() is None:
        one = {"id": "d", "gemeente": "0363", "kenmerk": "K-1", "key": b"k", "versie": 1, "created_at": NOW}
        connection.execute(insert(dossier), [one])
    row = {
        "id": id_,
        "message_id": "m",
        "dossier_id": "d",
        "creditor": LANE[0],
        "soort": "kennisgeving",
        "versie": 1,
        "channel": LANE[1],
        "channel_since": NOW,
        "state": state,
        "proof": 1,
        "fence": 1,
        "tries": 3,
        "next_action_at": None,
        "waits_for": waits_for,
        "created_at": NOW,
        "give_up_at": NOW * 2,
        "view_digest": b"v",
        "reference": f"ref-{id_}",
        "handed_over_at": NOW,
    }
    connection.execute(insert(delivery), [row])


def judge(
    source: str = "s", state: State = State.CONFIRMED, decision: str | None = "pauze_ingesteld"
) -> Callable[[Subject], Record]:
    """What an answer that confirms makes of a delivery."""

    def judged(subject: Subject) -> Record:
        row: dict[str, object] = {
            "id": f"{subject.id}-{source}",
            "delivery_id": subject.id,
            "creditor": subject.creditor,
            "channel": subject.channel,
            "kind": "answer",
            "soort": decision,
            "source": source,
            "digest": b"d",
            "raw": b"r",
            "answer": b"a",
            "received_at": NOW,
        }
        return Record(row, Happening.CONFIRMING_ANSWER, state, 3, Said(decision))

    return judged


async def record(
    ledger: Ledger, source: str = "s", id_: str = "1", signed: Callback | None = None
) -> tuple[Recorded, list[Lane]]:
    for _ in range(50):
        try:
            return await ledger.run(evidence.record, id_, source, NOW + 1, judge(source), signed)
        except Contention:
            await asyncio.sleep(0)
    raise AssertionError("met other transactions for ever")


async def state_of(ledger: Ledger, id_: str = "1") -> tuple[str, str | None, str | None]:
    query = select(delivery.c.state, delivery.c.decision, delivery.c.waits_for).where(delivery.c.id == id_)
    return await ledger.run(lambda connection: tuple(connection.execute(query).one()))


# -- once ------------------------------------------------------------------------------------------------------------


async def test_what_two_gateways_hear_at_the_same_time_is_recorded_once(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url)
    heard = await asyncio.gather(*(record(one) for one in (ledger, other) for _ in range(4)))
    assert sorted(kind for kind, _ in heard) == ["recorded", *["repeated"] * 7]
    await other.aclose()
    moves = await ledger.run(lambda connection: connection.execute(select(transition)).all())
    assert [(row.before, row.after, row.cause) for row in moves] == [(State.DELIVERED, State.CONFIRMED, "1-s")]


async def test_another_source_is_another_piece_of_evidence(ledger: Ledger) -> None:
    assert [(await record(ledger, source))[0] for source in ("s", "t", "s")] == ["recorded", "recorded", "repeated"]
    rows = await ledger.run(lambda connection: connection.execute(select(table.c.source)).scalars().all())
    assert sorted(rows) == ["s", "t"]


async def test_a_webhook_id_is_bound_to_its_author_and_body(ledger: Ledger) -> None:
    await ledger.run(put, "2")
    signed = Callback("energie", "w-1", b"one")
    assert await record(ledger, "w", "1", signed) == ("recorded", [])
    assert await record(ledger, "w", "1", signed) == ("repeated", [])
    assert await record(ledger, "w", "2", Callback("energie", "w-1", b"two")) == ("conflict", [])
    assert await record(ledger, "w", "2", Callback("zorg", "w-1", b"two")) == ("recorded", [])


async def test_what_nobody_may_say_leaves_no_trace(ledger: Ledger) -> None:
    assert await ledger.run(evidence.record, "1", "s", NOW, lambda _: None) == ("not_yours", [])
    assert await record(ledger, "s", "unknown") == ("not_yours", [])
    assert await state_of(ledger) == (State.DELIVERED, None, None)
    assert await ledger.run(lambda connection: connection.execute(select(table)).all()) == []


# -- what follows ----------------------------------------------------------------------------------------------------


async def test_an_answer_to_what_was_not_sent_yet_lets_the_next_one_go(ledger: Ledger) -> None:
    await ledger.run(put, "2", State.RETRYING)
    await ledger.run(put, "3", State.QUEUED, waits_for="2")
    assert await record(ledger, "s", "2") == ("recorded", [LANE])
    assert await state_of(ledger, "2") == (State.CONFIRMED, "pauze_ingesteld", None)
    assert await state_of(ledger, "3") == (State.QUEUED, None, None)


async def test_an_answer_to_what_waits_for_another_leaves_nothing_to_be_sent(ledger: Ledger) -> None:
    await ledger.run(put, "2", State.RETRYING)
    await ledger.run(put, "3", State.QUEUED, waits_for="2")
    assert await record(ledger, "s", "3") == ("recorded", [])
    assert await record(ledger, "s", "2") == ("recorded", [])
    assert await state_of(ledger, "3") == (State.CONFIRMED, "pauze_ingesteld", None)
    planned = select(delivery.c.id).where(delivery.c.next_action_at.is_not(None))
    assert await ledger.run(lambda connection: connection.scalars(planned).all()) == []


async def test_what_the_creditor_proves_to_have_was_handed_over_though_no_attempt_says_so(ledger: Ledger) -> None:
    await ledger.run(put, "2", State.BUSY)
    await ledger.run(change, "2", handed_over_at=None)
    await record(ledger, "s", "2")
    rows = await ledger.run(lambda c: c.execute(select(delivery.c.handed_over_at, delivery.c.received_at)).all())
    assert [tuple(row) for row in rows] == [(NOW, None), (NOW + 1, NOW + 1)]


async def test_another_channel_starts_afresh_and_its_lane_has_work(ledger: Ledger) -> None:
    def bounced(subject: Subject) -> Record:
        back = judge("b")(subject)
        return Record(back.row, Happening.DIVERTED, State.RETRYING, 1, channel="email", next_action_at=NOW + 1)

    assert await ledger.run(evidence.record, "1", "b", NOW + 1, bounced) == ("recorded", [("energie", "email")])
    row = await ledger.run(lambda connection: connection.execute(select(delivery)).one())
    assert (row.state, row.channel, row.channel_since, row.tries) == (State.RETRYING, "email", NOW + 1, 0)
    assert row.next_action_at == NOW + 1
    assert (row.fence, row.owner) == (2, None)


async def test_evidence_that_moves_nothing_leaves_the_delivery_as_it_is(ledger: Ledger) -> None:
    before = await ledger.run(lambda connection: connection.execute(select(delivery)).one())
    assert await ledger.run(evidence.record, "1", "h", NOW, lambda subject: Record(judge("h")(subject).row)) == (
        "recorded",
        [],
    )
    assert await ledger.run(lambda connection: connection.execute(select(delivery)).one()) == before


async def test_open_deliveries_are_those_of_the_lane_that_are_handed_over_and_not_answered(ledger: Ledger) -> None:
    for nr, state in enumerate(sorted(State), 2):
        await ledger.run(put, f"{nr:02}-{state}", state)
    await ledger.run(put, "99", State.DELIVERED)
    await ledger.run(move_to, "99", "cjib")
    rows = await ledger.run(evidence.open_deliveries, *LANE, "", 10)
    assert {row.id.partition("-")[2] for row in rows} == {"", "afgeleverd", "ontvangen"}
    assert {row.reference for row in rows} == {f"ref-{row.id}" for row in rows}
    first, *others = [row.id for row in rows]
    assert others == sorted(others)
    assert [row.id for row in await ledger.run(evidence.open_deliveries, *LANE, "", 1)] == [first]
    assert [row.id for row in await ledger.run(evidence.open_deliveries, *LANE, first, 10)] == others


Left = tuple[str, str, str, tuple[str, str | None], str | None]
"""Creditor, channel and state; channel and outcome of its attempts; what it stands at while it is repeated."""

ASKED: list[Left] = [
    ("energie", "webhook", "afgeleverd", ("sftp", "onzeker"), None),
    ("energie", "webhook", "ontvangen", ("sftp", "overgedragen"), None),
    ("energie", "webhook", "wacht_op_poging", ("sftp", None), None),
    ("energie", "webhook", "bezig", ("sftp", "onzeker"), None),
    ("energie", "webhook", "bezig", ("sftp", "onzeker"), "afgeleverd"),
]
NOT_ASKED: list[Left] = [
    ("energie", "sftp", "afgeleverd", ("sftp", "overgedragen"), None),
    ("energie", "webhook", "afgeleverd", ("sftp", "tijdelijk"), None),
    ("energie", "webhook", "afgeleverd", ("cjib", "onzeker"), None),
    ("zorg", "webhook", "afgeleverd", ("sftp", "onzeker"), None),
    ("energie", "webhook", "bevestigd", ("sftp", "onzeker"), None),
    ("energie", "webhook", "mislukt", ("sftp", "onzeker"), None),
    ("energie", "webhook", "bezig", ("sftp", "onzeker"), "bevestigd"),
]


async def test_what_left_the_lane_is_asked_after_where_it_may_have_come_over_it(ledger: Ledger) -> None:
    for nr, (creditor, channel, state, tried, stands) in enumerate(ASKED + NOT_ASKED, 10):
        await ledger.run(put, str(nr), State(state))
        waits = NOW if state in ("bezig", "wacht_op_poging") else None
        now = {"creditor": creditor, "channel": channel, "channel_since": NOW + 9, "next_action_at": waits}
        await ledger.run(change, str(nr), **now, stands=stands)
        for fence, started in ((1, NOW + 3), (2, NOW + 5)):
            await ledger.run(try_over, str(nr), fence, *tried, started)
    rows = await ledger.run(evidence.left_deliveries, *LANE, "", 20)
    assert [(row.id, row.since) for row in rows] == [(str(nr), NOW + 5) for nr in range(10, 10 + len(ASKED))]
    assert [row.id for row in await ledger.run(evidence.left_deliveries, *LANE, "", 2)] == ["10", "11"]
    assert [row.id for row in await ledger.run(evidence.left_deliveries, *LANE, "11", 2)] == ["12", "13"]


async def test_what_never_left_its_channel_is_not_looked_into(ledger: Ledger) -> None:
    await ledger.run(try_over, "1", 1, "cjib", "onzeker", NOW)
    assert await ledger.run(evidence.left_deliveries, LANE[0], "cjib", "", 10) == []


async def test_only_what_is_open_is_looked_through(ledger: Ledger) -> None:
    """However many deliveries there are: both halves of the question are put to an index of those that are open."""
    plan = await ledger.run(_plan)
    assert {name for name in ("ix_delivery_open", "ix_delivery_due") if name in plan} == {
        "ix_delivery_open",
        "ix_delivery_due",
    }
    assert "SCAN delivery" not in plan
    assert "Seq Scan" not in plan


def _plan(connection: Connection) -> str:
    """Of the question after what left a lane; PostgreSQL reads so few rows in sequence unless it may not."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: object, statement: str, given: Any, *_: object) -> None:
        asked.append((statement, given))

    event.listen(connection, "before_cursor_execute", note)
    evidence.left_deliveries(connection, *LANE, "", 10)
    event.remove(connection, "before_cursor_execute", note)
    ((statement, given),) = asked
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    rows = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}", given)
    return "\n".join(str(row) for row in rows)


def change(connection: Connection, id_: str, /, **values: object) -> None:
    connection.execute(update(delivery).where(delivery.c.id == id_).values(**values))


def try_over(connection: Connection, id_: str, nr: int, channel: str, outcome: str | None, started_at: int) -> None:
    row = {"delivery_id": id_, "nr": nr, "channel": channel, "owner": "g", "digest": b"d", "stale": False}
    connection.execute(insert(attempt), [{**row, "started_at": started_at, "outcome": outcome}])


def move_to(connection: Connection, id_: str, channel: str) -> None:
    connection.execute(update(delivery).where(delivery.c.id == id_).values(channel=channel))


# -- the answer page -------------------------------------------------------------------------------------------------


def page(connection: Connection) -> None:
    row = {
        "token_hash": TOKEN,
        "delivery_id": "1",
        "reference_hashes": "aa bb",
        "wrong": 0,
        "decided": False,
        "expires_at": NOW,
    }
    connection.execute(insert(answer_page), [row])


def guess(page: Page) -> Entry:
    return "locked" if page.wrong >= 5 else "wrong"


async def test_guesses_made_at_the_same_time_are_all_counted(ledger: Ledger, ledger_url: str) -> None:
    await ledger.run(page)
    other = Ledger(ledger_url)
    entries = await asyncio.gather(
        *(one.run(evidence.enter_page, TOKEN, guess) for one in (ledger, other) for _ in range(5))
    )
    await other.aclose()
    assert sorted(entry for _, entry in filter(None, entries)) == ["locked"] * 5 + ["wrong"] * 5
    found = await ledger.run(evidence.page, TOKEN)
    assert found is not None
    assert (found.wrong, found.creditor, found.reference_hashes) == (5, "energie", ("aa", "bb"))


async def test_a_page_ends_once(ledger: Ledger) -> None:
    await ledger.run(page)
    assert [await ledger.run(evidence.close_page, TOKEN) for _ in range(2)] == [True, False]
    assert not await ledger.run(evidence.close_page, b"another")
    assert await ledger.run(evidence.page, b"another") is None
    assert await ledger.run(evidence.enter_page, b"another", guess) is None
