"""The worklist's rows: one open task per cause, closed once, with a reason, and nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from gateway.core.task import GUIDES, NotKept, TaskKind
from gateway.ids import uuid7
from gateway.ledger import tasks
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import dossier, task, task_step
from gateway.ledger.tasks import Task, add_tasks
from gateway.ledger.upgrade import upgrade

NOW = 1_800_000_000_000_000
OVERDUE, REFUSES = TaskKind.ANSWER_OVERDUE, TaskKind.ANSWER_REFUSES


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    await made.run(put_dossier)
    yield made
    await made.aclose()


def put_dossier(connection: Connection) -> None:
    row = {"id": "d", "gemeente": "0363", "kenmerk": "K-1", "key": b"k", "versie": 1, "created_at": NOW}
    connection.execute(insert(dossier), [row])


def made(kind: TaskKind = OVERDUE, **about: Any) -> Task:
    about = {"gemeente": "0363", "dossier_id": "d", "delivery_id": "1", "creditor": "energie"} | about
    return Task(id=uuid7(NOW), soort=kind, created_at=NOW, detail=GUIDES[kind].detail, **about)


async def add(ledger: Ledger, *wanted: Task) -> list[str]:
    """Ids of those that were written."""
    await ledger.run(add_tasks, wanted)
    rows = await ledger.run(lambda connection: connection.execute(select(task.c.id)).scalars().all())
    return [one.id for one in wanted if one.id in rows]


async def steps(ledger: Ledger) -> list[tuple[str, str, str, str, int]]:
    columns = (task_step.c.task_id, task_step.c.actor, task_step.c.step, task_step.c.reason, task_step.c.at)
    rows = await ledger.run(lambda connection: connection.execute(select(*columns).order_by(task_step.c.nr)).all())
    return [tuple(row) for row in rows]


async def ids(ledger: Ledger, **which: Any) -> list[str]:
    return [row.id for row in await ledger.run(tasks.worklist, **which)]


# -- one open task per cause -----------------------------------------------------------------------------------------


async def test_one_task_of_a_kind_is_open_per_delivery(ledger: Ledger) -> None:
    first, again, other_kind, other_delivery = made(), made(), made(REFUSES), made(delivery_id="2")
    assert await add(ledger, first, again, other_kind) == [first.id, other_kind.id]
    assert await add(ledger, made(), other_delivery) == [other_delivery.id]


async def test_a_cause_that_comes_back_after_its_task_was_closed_is_a_new_task(ledger: Ledger) -> None:
    first, second = made(), made()
    await add(ledger, first)
    assert await ledger.run(tasks.close, first.id, "Noor", "gebeld", NOW + 1)
    assert await add(ledger, second) == [second.id]
    assert await ids(ledger) == [second.id]
    assert await ids(ledger, closed=True) == [first.id, second.id]


async def test_without_a_delivery_one_is_open_per_creditor_of_a_dossier(ledger: Ledger) -> None:
    unknown = TaskKind.CREDITOR_UNKNOWN
    first = made(unknown, delivery_id=None, creditor="kvk:00000000")
    other_name = made(unknown, delivery_id=None, creditor="Kiosk")
    elsewhere = made(unknown, delivery_id=None, creditor="kvk:00000000", dossier_id="e")
    again = made(unknown, delivery_id=None, creditor="kvk:00000000")
    assert await add(ledger, first, again, other_name) == [first.id, other_name.id]
    assert await add(ledger, again, elsewhere) == [elsewhere.id]
    assert await ledger.run(tasks.close, first.id, "Noor", "toegevoegd", NOW)
    assert await add(ledger, again) == [again.id]


async def test_a_task_of_a_delivery_does_not_stand_for_one_of_its_creditor(ledger: Ledger) -> None:
    of_delivery, of_creditor = made(), made(delivery_id=None)
    assert await add(ledger, of_delivery) == [of_delivery.id]
    assert await add(ledger, of_creditor) == [of_creditor.id]


async def test_what_is_about_no_delivery_and_no_creditor_is_always_written(ledger: Ledger) -> None:
    nobody = {"gemeente": None, "dossier_id": None, "delivery_id": None, "creditor": None}
    parked = [made(TaskKind.SENDER_UNKNOWN, **nobody) for _ in range(3)]
    assert await add(ledger, *parked) == [one.id for one in parked]
    waits = [made(TaskKind.REQUEST_WAITS, delivery_id=None, creditor=None) for _ in range(2)]
    assert await add(ledger, *waits) == [one.id for one in waits]


# -- looking ---------------------------------------------------------------------------------------------------------


async def test_the_worklist_is_read_in_pages_by_what_is_asked(ledger: Ledger) -> None:
    mine, refusal, elsewhere, done = (
        made(),
        made(REFUSES),
        made(delivery_id="2", gemeente="0344"),
        made(delivery_id="3"),
    )
    bank = made(delivery_id="4", creditor="bank")
    everything = await add(ledger, mine, refusal, elsewhere, done, bank)
    await ledger.run(tasks.assign, mine.id, "Noor", "Sem", NOW)
    await ledger.run(tasks.close, done.id, "Sem", "gebeld", NOW)
    assert await ids(ledger) == [one for one in everything if one != done.id]
    assert await ids(ledger, closed=True) == everything
    assert await ids(ledger, closed=True, soort=OVERDUE, creditor="energie", gemeente="0363") == [mine.id, done.id]
    assert await ids(ledger, assignee="Noor") == [mine.id]
    assert await ids(ledger, gemeente="0344") == [elsewhere.id]
    first = await ids(ledger, limit=2)
    assert first == everything[:2]
    assert first + await ids(ledger, after=first[-1]) == await ids(ledger)


async def test_a_task_comes_with_what_it_is_about_and_what_was_done_to_it(ledger: Ledger) -> None:
    one = made()
    await add(ledger, one)
    await ledger.run(tasks.assign, one.id, "Noor", "Sem", NOW + 1, "kent de schuldeiser")
    await ledger.run(tasks.assign, one.id, "Ali", "Noor", NOW + 2)
    await ledger.run(tasks.close, one.id, "Ali", " gebeld ", NOW + 3)
    found = await ledger.run(tasks.task_with_steps, one.id)
    assert found is not None
    row, history = found
    assert (row.kenmerk, row.assigned_to, row.closed_at) == ("K-1", "Ali", NOW + 3)
    assert [(step.at, step.actor, step.step, step.reason) for step in history] == [
        (NOW + 1, "Sem", "toegewezen", "aan Noor: kent de schuldeiser"),
        (NOW + 2, "Noor", "toegewezen", "aan Ali"),
        (NOW + 3, "Ali", "afgehandeld", "gebeld"),
    ]
    assert await ledger.run(tasks.task_with_steps, "onbekend") is None


# -- working off -----------------------------------------------------------------------------------------------------


async def test_of_two_gateways_that_close_a_task_at_once_one_wins_and_one_reason_is_kept(
    ledger: Ledger, ledger_url: str
) -> None:
    one = made()
    await add(ledger, one)
    other = Ledger(ledger_url)
    names = [f"persoon {number}" for number in range(8)]
    closed = await asyncio.gather(
        *(
            (ledger, other)[at % 2].run(tasks.close, one.id, name, f"door {name}", NOW + at)
            for at, name in enumerate(names)
        )
    )
    await other.aclose()
    assert sorted(closed) == [False] * 7 + [True]
    winner = names[closed.index(True)]
    assert await steps(ledger) == [(one.id, winner, "afgehandeld", f"door {winner}", NOW + names.index(winner))]


async def test_a_closed_or_unknown_task_is_not_closed_or_assigned_and_leaves_no_step(ledger: Ledger) -> None:
    one = made()
    await add(ledger, one)
    assert await ledger.run(tasks.close, one.id, "Noor", "gebeld", NOW)
    before = await steps(ledger)
    for task_id in (one.id, "onbekend"):
        assert not await ledger.run(tasks.close, task_id, "Sem", "nog eens", NOW + 1)
        assert not await ledger.run(tasks.assign, task_id, "Sem", "Sem", NOW + 1)
    assert await steps(ledger) == before
    (row,) = await ledger.run(tasks.worklist, closed=True)
    assert (row.closed_at, row.assigned_to) == (NOW, None)


@pytest.mark.parametrize("nothing", ["", "  ", "een\ntwee", "x" * 501])
async def test_without_a_reason_nothing_is_closed(ledger: Ledger, nothing: str) -> None:
    one = made()
    await add(ledger, one)
    with pytest.raises(NotKept):
        await ledger.run(tasks.close, one.id, "Noor", nothing, NOW)
    with pytest.raises(NotKept):
        await ledger.run(tasks.close_tasks, [("1", OVERDUE, nothing)], NOW)
    with pytest.raises(NotKept):
        await ledger.run(tasks.assign, one.id, "Noor", "Sem", NOW, nothing)
    assert await ids(ledger) == [one.id]
    assert await steps(ledger) == []


async def test_the_gateway_closes_what_went_away_by_itself_and_nothing_else(ledger: Ledger) -> None:
    overdue, refuses, other = made(), made(REFUSES), made(delivery_id="2")
    closed = made(delivery_id="3")
    await add(ledger, overdue, refuses, other, closed)
    await ledger.run(tasks.close, closed.id, "Noor", "gebeld", NOW)
    closures = [("1", OVERDUE, "er kwam een antwoord"), ("2", REFUSES, "nooit"), ("3", OVERDUE, "nooit")]
    await ledger.run(tasks.close_tasks, closures, NOW + 1)
    await ledger.run(tasks.close_tasks, closures, NOW + 2)
    await ledger.run(tasks.close_tasks, [], NOW + 3)
    assert await ids(ledger) == [refuses.id, other.id]
    assert await steps(ledger) == [
        (closed.id, "Noor", "afgehandeld", "gebeld", NOW),
        (overdue.id, "gateway", "afgehandeld", "er kwam een antwoord", NOW + 1),
    ]


async def test_people_and_gateways_that_close_the_same_tasks_at_once_close_each_once(
    ledger: Ledger, ledger_url: str
) -> None:
    wanted = [made(delivery_id=str(number)) for number in range(10)]
    await add(ledger, *wanted)
    other = Ledger(ledger_url)
    there, back = ([(one.delivery_id or "", OVERDUE, "weg") for one in order] for order in (wanted, wanted[::-1]))
    by_people = [ledger.run(tasks.close, one.id, "Noor", "gebeld", NOW) for one in wanted]
    by_gateways = (
        ledger.run(tasks.close_tasks, there, NOW),
        other.run(tasks.close_tasks, back, NOW),
    )
    closed, *_ = await asyncio.gather(asyncio.gather(*by_people), *by_gateways)
    await other.aclose()
    history = await steps(ledger)
    assert sorted(step[0] for step in history) == [one.id for one in wanted]
    assert [step[0] for step in sorted(history) if step[1] == "Noor"] == [
        one.id for one, did in zip(wanted, closed, strict=True) if did
    ]
    assert await ids(ledger) == []
