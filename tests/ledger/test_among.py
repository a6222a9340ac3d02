"""One parameter for many values, and an index that serves it."""

from pathlib import Path

from sqlalchemy import Connection, select, update

from gateway.ledger.among import among
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import delivery, outbox
from gateway.ledger.upgrade import upgrade


def plans(connection: Connection) -> list[str]:
    """How SQLite looks for rows by id."""
    statements = (
        select(delivery.c.id).where(among(delivery.c.id, ["a", "b"]), delivery.c.state == "bezig"),
        update(delivery).where(among(delivery.c.waits_for, ["a"])).values(waits_for=None),
        update(outbox).where(among(outbox.c.id, ["a"])).values(next_at=None),
    )
    found = []
    for statement in statements:
        compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
        found.append(str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").first()))
    return found


async def test_looking_for_many_values_never_reads_the_whole_table(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    await ledger.run(upgrade)
    for plan in await ledger.run(plans):
        assert "SEARCH" in plan
        assert "USING" in plan
    await ledger.aclose()


async def test_it_selects_those_values_and_no_others(ledger_url: str) -> None:
    def found(connection: Connection) -> list[str]:
        values = select(outbox.c.id).where(among(outbox.c.id, ["a", "c"]), outbox.c.gemeente == "0363")
        row = {"name": "x", "gemeente": "0363", "sealed": b""}
        connection.execute(outbox.insert(), [{"id": name, **row} for name in "abc"])
        return list(connection.scalars(values.order_by(outbox.c.id)))

    ledger = Ledger(ledger_url)
    await ledger.run(upgrade)
    assert await ledger.run(found) == ["a", "c"]
    await ledger.aclose()
