"""TOML tables into frozen records, with every error at once. Errors name table and key, never a value.

A record's fields give keys and types. Beside what msgspec converts, a field may be a Duration, a Term, an Address or
a timedelta (a duration of fixed length), written as text.
"""

import tomllib
import types
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from gateway.core.creditor import Term
from gateway.core.deadlines import Duration, parse_duration
from gateway.core.pause import parse_term
from gateway.secrets import SettingsRefused

Record = TypeVar("Record", bound=Struct)
_HIGHEST_PORT = 65_535

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
                           max_length=200, description="tekst zonder stuurtekens")]  # fmt: skip
Oin = Annotated[str, Meta(pattern=r"^[0-9]{20}$", description="20 cijfers")]
Kvk = Annotated[str, Meta(pattern=r"^[0-9]{8}$", description="8 cijfers")]
Reference = Annotated[
    str, Meta(pattern=r"^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$", description='"file:<pad>" of "env:<NAAM>"')
]
Count = Annotated[int, Meta(ge=1, le=100_000, description="een geheel getal vanaf 1")]


class Address(Struct, frozen=True):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class FromEnvironment(str):
    """A value that came from an environment variable: text, also where a number or a list is meant."""

    __slots__ = ()


class TablesRefused(SettingsRefused):
    """A settings file or register cannot be used. `errors`: one line each, naming table and key."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables, with every `file:` reference in them made absolute; raises TablesRefused."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as why:
        raise TablesRefused([f"{path}: niet te lezen ({why.strerror})"]) from why
    except UnicodeDecodeError as why:
        raise TablesRefused([f"{path}: geen UTF-8"]) from why
    except tomllib.TOMLDecodeError as why:
        raise TablesRefused([f"{path}: geen geldige TOML: {why}"]) from why
    return cast(dict[str, Any], absolute(tables, path.absolute().parent))


def absolute(value: object, directory: Path) -> object:
    """`value` with the path of every `file:` reference in it, at any depth, taken from `directory`."""
    match value:
        case str() if value.startswith("file:"):
            return type(value)(f"file:{directory / value.removeprefix('file:')}")
        case dict():
            return {key: absolute(inner, directory) for key, inner in value.items()}
        case list():
            return [absolute(inner, directory) for inner in value]
        case _:
            return value


def read_record(kind: type[Record], table: object, place: str, errors: list[str], inside: str = "") -> Record | None:
    """`table` as a `kind`; None, and lines added to `errors`, where it is not one. `place` is how to name the table."""
    if not isinstance(table, Mapping):
        errors.append(f"{place} {inside}".rstrip(" .") + ": moet een tabel zijn")
        return None
    before = len(errors)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    errors += [f"{place} {inside}{key}: onbekende instelling" for key in table if key not in fields]
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in table:
            values[field.name] = _read_value(field.type, table[key], place, errors, inside + key)
        elif field.required:
            errors.append(f"{place} {inside}{key}: ontbreekt")
    return kind(**values) if len(errors) == before else None


def _read_value(kind: Any, value: object, place: str, errors: list[str], key: str) -> object:
    kind = _without_none(kind)
    if isinstance(value, FromEnvironment) and not _is_textual(kind):
        value = _parsed(value)
    if kind in _PARSERS:
        return _parse(_PARSERS[kind], value, place, errors, key)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return read_record(kind, value, place, errors, f"{key}.")
    try:
        return msgspec.convert(str(value) if isinstance(value, str) else value, kind)
    except msgspec.ValidationError:
        errors.append(f"{place} {key}: verwacht {_expected(kind)}")
        return None


def _parse(parse: Callable[[str], object], value: object, place: str, errors: list[str], key: str) -> object:
    try:
        if not isinstance(value, str):
            raise ValueError("verwacht tekst tussen aanhalingstekens")
        return parse(value)
    except ValueError as why:
        errors.append(f"{place} {key}: {why}")
        return None


def _parse_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= _HIGHEST_PORT):
        raise ValueError('verwacht "<adres>:<poort>"')
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


_PARSERS: Mapping[Any, Callable[[str], object]] = {
    Address: _parse_address,
    Duration: parse_duration,
    Term: parse_term,
    timedelta: lambda text: parse_duration(text).fixed(),
}


def _without_none(kind: Any) -> Any:
    """The T of `T | None`."""
    if get_origin(kind) in (types.UnionType, Union):
        (kind,) = [one for one in get_args(kind) if one is not type(None)]
    return kind


def _is_textual(kind: Any) -> bool:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return bare is str or kind in _PARSERS or get_origin(bare) is Literal


def _parsed(text: FromEnvironment) -> object:
    """What TOML makes of it; the text itself where that is nothing, so that its type is refused by name."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _expected(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        bare, *metas = get_args(kind)
        return next((meta.description for meta in metas if meta.description), _expected(bare))
    match get_origin(kind):
        case None:
            return _NAMES.get(kind, "een andere soort waarde")
        case origin if origin is Literal:
            return "een van: " + ", ".join(get_args(kind))
        case origin if origin in (tuple, list):
            return f"een lijst met {_expected(get_args(kind)[0])}"
        case _:
            return "een tabel"


_NAMES = {str: "tekst", bool: "true of false", int: "een geheel getal", float: "een getal", date: "een datum"}
