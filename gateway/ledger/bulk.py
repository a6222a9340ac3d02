"""Many rows with one statement.

PostgreSQL gets each column as one array and unnests them, which costs it and us a fraction of a statement per row;
SQLite gets its prepared statement once per row, which is what it is quickest at. The SQL comes from the tables, so both
engines write the same; values go to the driver as they are, which is right for this schema's types (text, integers,
booleans, bytes).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter

from sqlalchemy import Connection, Dialect, Table

Rows = Sequence[Mapping[str, object]]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert `rows`, which all have the same columns; none: nothing to do."""
    if rows:
        columns = tuple(rows[0])
        _run(connection, _insert(connection.dialect, table, columns), columns, rows)


def insert_missing_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """As `insert_rows`; what has its key there already stays as it is: this very batch may have been committed before,
    with the answer to the COMMIT lost."""
    if rows:
        columns = tuple(rows[0])
        statement = _insert(connection.dialect, table, columns) + " ON CONFLICT DO NOTHING"
        _run(connection, statement, columns, rows)


def update_rows(connection: Connection, table: Table, keys: tuple[str, ...], rows: Rows) -> None:
    """Set the other columns of `rows` where their `keys` (column names) are equal; each key at most once."""
    if rows:
        columns = (*(name for name in rows[0] if name not in keys), *keys)
        _run(connection, _update(connection.dialect, table, keys, columns), columns, rows)


def update_various_rows(connection: Connection, table: Table, keys: tuple[str, ...], rows: Rows) -> None:
    """The same for rows that do not all have the same columns: a statement for each set of columns."""
    alike: dict[tuple[str, ...], list[Mapping[str, object]]] = {}
    for row in rows:
        alike.setdefault(tuple(row), []).append(row)
    for same in alike.values():
        update_rows(connection, table, keys, same)


def _run(connection: Connection, sql: str, columns: tuple[str, ...], rows: Rows) -> None:
    values = [itemgetter(*columns)(row) for row in rows]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(sql, tuple([list(column) for column in zip(*values, strict=True)]))
    else:
        connection.exec_driver_sql(sql, values)


@cache
def _insert(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(map(dialect.identifier_preparer.quote, columns))
    if dialect.name == "postgresql":
        return f"INSERT INTO {table.name} ({names}) SELECT * FROM {_unnest(dialect, table, columns)}"  # noqa: S608
    return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


@cache
def _update(dialect: Dialect, table: Table, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    quote = dialect.identifier_preparer.quote
    changed = [quote(name) for name in columns if name not in keys]
    if dialect.name == "postgresql":
        source = f"{_unnest(dialect, table, columns)} AS new ({', '.join(map(quote, columns))})"
        sets = ", ".join(f"{name} = new.{name}" for name in changed)
        same = " AND ".join(f"{table.name}.{quote(name)} = new.{quote(name)}" for name in keys)
        return f"UPDATE {table.name} SET {sets} FROM {source} WHERE {same}"  # noqa: S608
    sets = ", ".join(f"{name} = ?" for name in changed)
    same = " AND ".join(f"{quote(name)} = ?" for name in keys)
    return f"UPDATE {table.name} SET {sets} WHERE {same}"  # noqa: S608


def _unnest(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> str:
    types = [table.c[name].type.compile(dialect) for name in columns]
    return f"unnest({', '.join(f'${at}::{kind}[]' for at, kind in enumerate(types, 1))})"
