"""The schema that the migrations make is the one that the code uses, however many gateways start at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select

from gateway.ledger import outbox
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.ledger.outbox import Event
from gateway.ledger.schema import metadata
from gateway.ledger.schema import outbox as table
from gateway.ledger.upgrade import is_current, upgrade
from tests.ledger.earlier import ROWS, contents, make_earlier, revisions


@pytest.fixture
async def ledger(empty_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(empty_url)
    yield made
    await made.aclose()


async def test_an_empty_database_is_not_current_and_is_after_the_upgrade(ledger: Ledger) -> None:
    assert not await ledger.run(is_current)
    await ledger.run(upgrade)
    assert await ledger.run(is_current)


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def _indexes(connection: Connection) -> dict[str, set[str | None]]:
    inspector = inspect(connection)
    return {name: {index["name"] for index in inspector.get_indexes(name)} for name in metadata.tables}


async def test_the_migrations_make_what_the_code_declares(ledger: Ledger) -> None:
    await ledger.run(upgrade)
    assert await ledger.run(_differences) == []
    declared = {index.name for one in metadata.tables.values() for index in one.indexes}
    assert declared <= set().union(*(await ledger.run(_indexes)).values())


async def test_an_upgrade_of_what_is_current_changes_nothing(ledger: Ledger) -> None:
    await ledger.run(upgrade)
    await ledger.run(outbox.add_events, [Event("e-1", "bericht-geaccepteerd", "0363", None, b"sealed", 1)])
    await ledger.run(upgrade)
    ids = await ledger.run(lambda connection: connection.execute(select(table.c.id)).scalars().all())
    assert list(ids) == ["e-1"]


@pytest.mark.parametrize("revision", revisions())
async def test_an_upgrade_from_every_earlier_schema_keeps_every_value(ledger: Ledger, revision: str) -> None:
    before = await ledger.run(make_earlier, revision)
    assert all(len(rows) == ROWS for rows in before.values())
    await ledger.run(upgrade)
    assert await ledger.run(is_current)
    assert await ledger.run(_differences) == []
    after = await ledger.run(contents, before)
    assert after == before


async def test_an_upgrade_that_is_broken_off_changes_nothing(ledger: Ledger) -> None:
    before = await ledger.run(make_earlier, "0001")

    def break_off(connection: Connection) -> None:
        upgrade(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.run(break_off)
    assert await ledger.run(contents, before) == before
    assert not await ledger.run(is_current)


async def test_gateways_that_start_at_once_upgrade_once(empty_url: str) -> None:
    ledgers = [Ledger(empty_url) for _ in range(3)]

    async def start(ledger: Ledger) -> None:
        while True:
            try:
                return await ledger.run(upgrade)
            except LedgerAway:
                await asyncio.sleep(0.05)

    await asyncio.gather(*map(start, ledgers))
    assert all([await ledger.run(is_current) for ledger in ledgers])
    for ledger in ledgers:
        await ledger.aclose()
