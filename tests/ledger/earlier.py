"""A ledger as an earlier release left it: its own migrations, and a few rows in every table that it had."""

from collections.abc import Iterator
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, MetaData, SmallInteger, Table, select

from gateway.ledger.upgrade import migrations

ROWS = 3
Contents = dict[str, list[dict[str, Any]]]


def revisions() -> list[str]:
    """Every schema but the current one, the oldest first."""
    script = ScriptDirectory.from_config(migrations())
    return [one.revision for one in reversed(list(script.walk_revisions()))][:-1]


def make_earlier(connection: Connection, revision: str) -> Contents:
    """Bring an empty database to `revision` and fill it; returns what it holds."""
    command.upgrade(migrations(connection), revision)
    tables = _tables(connection)
    for table in tables:
        connection.execute(table.insert(), list(_rows(table)))
    return {table.name: _held(connection, table) for table in tables}


def contents(connection: Connection, of: Contents) -> Contents:
    """What the same tables hold now, of the columns that they had then."""
    now = {table.name: table for table in _tables(connection)}
    return {
        name: [{column: row[column] for column in rows[0]} for row in _held(connection, now[name])]
        for name, rows in of.items()
    }


def _tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _held(connection: Connection, table: Table) -> list[dict[str, Any]]:
    rows = connection.execute(select(table).order_by(*table.primary_key)).all()
    return [dict(row._mapping) for row in rows]


def _rows(table: Table) -> Iterator[dict[str, object]]:
    """Every column has a value of its kind, another one in each row; the last row leaves out what may be absent."""
    for nr in range(1, ROWS + 1):
        yield {
            column.name: None if column.nullable and nr == ROWS else _value(column.type, column.name, nr)
            for column in table.columns
        }


def _value(kind: object, name: str, nr: int) -> object:
    match kind:
        case Boolean():
            return nr % 2 == 0
        case SmallInteger():
            return nr
        case BigInteger() | Integer():
            return 1_800_000_000_000_000 + nr if name.endswith("_at") or name == "at" else nr
        case LargeBinary():
            return bytes(range(256)) + bytes([nr])
        case _:
            return f"{name}-{nr} – ë"
