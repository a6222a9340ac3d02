"""`column IN (many values)`: what is found, and that it is found by index."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, select, update

from gateway.ledger.among import among
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import delivery, dossier, message
from gateway.ledger.upgrade import upgrade
from tests.ledger.notices import put_dossier


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = Ledger(ledger_url)
    await made.run(upgrade)
    for id_ in ("a", "b", "c"):
        await made.run(put_dossier, id_, "0363", 0)
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("values", "found"), [([], []), (["a"], ["a"]), (["b", "x", "a", "a"], ["a", "b"]), (["'--"], [])]
)
async def test_those_that_are_there_are_found_once(ledger: Ledger, values: list[str], found: list[str]) -> None:
    def read(connection: Connection) -> list[str]:
        query = select(dossier.c.id).where(dossier.c.versie > 0, among(dossier.c.id, values)).order_by(dossier.c.id)
        return list(connection.scalars(query))

    assert await ledger.run(read) == found


async def test_others_are_left_alone(ledger: Ledger) -> None:
    def change(connection: Connection) -> list[str]:
        connection.execute(delete(dossier).where(among(dossier.c.id, ["a"])))
        connection.execute(update(dossier).where(among(dossier.c.id, ["b"])).values(versie=9))
        return [f"{row.id}{row.versie}" for row in connection.execute(select(dossier).order_by(dossier.c.id))]

    assert await ledger.run(change) == ["b9", "c1"]


@pytest.mark.parametrize("column", [dossier.c.id, message.c.dossier_id, delivery.c.message_id], ids=str)
def test_sqlite_finds_them_by_index(tmp_path: Path, column: object) -> None:
    """An index is of no use to `column IN (…) = 1`, which is how SQLAlchemy writes what is boolean for SQLite."""
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    made.run_now(upgrade)

    def plan(connection: Connection) -> list[str]:
        query = select(column).where(among(column, ["a"]))  # type: ignore[call-overload,arg-type]
        sql = query.compile(connection)
        asked = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", ('["a"]',))
        return [str(row[3]) for row in asked]

    assert made.run_now(plan)[0].startswith("SEARCH")
