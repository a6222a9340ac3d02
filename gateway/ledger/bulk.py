"""Many rows with one statement, compiled once: what SQLAlchemy would do for each row anew is done once per statement.

The statement is SQLAlchemy's own, so it is the same code for both engines; the rows go to the driver as they are, which
is right for the column types this schema uses (text, integers, booleans, bytes).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter

from sqlalchemy import Connection, Dialect, Insert, Table, Update, bindparam, insert

Rows = Sequence[Mapping[str, object]]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert `rows`, which all have the same columns; none: nothing to do."""
    if rows:
        execute_many(connection, _insert(table, tuple(rows[0])), rows)


def execute_many(connection: Connection, statement: Insert | Update, rows: Rows) -> None:
    """Run `statement` for each of `rows`; a row's keys are the names of the statement's parameters."""
    if not rows:
        return
    sql, names = _compiled(connection.dialect, statement)
    values = itemgetter(*names)
    connection.exec_driver_sql(sql, [values(row) for row in rows])


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> Insert:
    return insert(table).values({column: bindparam(column) for column in columns})


@cache
def _compiled(dialect: Dialect, statement: Insert | Update) -> tuple[str, tuple[str, ...]]:
    compiled = statement.compile(dialect=dialect)
    return compiled.string, tuple(compiled.positiontup or ())
