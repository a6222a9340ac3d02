"""`column IN (many values)` as one parameter: the statement stays the same however many there are, so it is compiled,
parsed and planned once."""

from collections.abc import Iterable
from typing import Any, Self

import msgspec
from sqlalchemy import Boolean, ColumnElement, Dialect, SQLColumnExpression, Text, bindparam, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Texts(TypeDecorator[list[str]]):
    """A list of texts: an array for PostgreSQL, JSON for SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return ARRAY(Text) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return msgspec.json.encode(value).decode()


class _Among(FunctionElement[bool]):
    type = Boolean()
    name = "among"
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> Self:
        """As it stands. What is boolean is otherwise compared with 1 where an engine has no booleans (SQLite), and
        then no index is used."""
        return self


@compiles(_Among)
def _in_array(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY({values})"


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - both are rendered by SQLAlchemy


def among(column: SQLColumnExpression[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether `column`, a text, is one of `values`."""
    return _Among(column, literal(list(values), _Texts()))


def among_given(column: SQLColumnExpression[str], name: str) -> ColumnElement[bool]:
    """The same for a statement that is made once: the values, a list, are the parameter `name` of each execution."""
    return _Among(column, bindparam(name, type_=_Texts()))
