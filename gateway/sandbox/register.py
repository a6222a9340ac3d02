"""The register of the sandbox: `schuldeisers.toml` of this package, and TOML written from tables."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from msgspec import Struct

HEADING = "# Fictitious creditors of the sandbox, at the ports on which it listened when this was written.\n\n"


class Practice(Struct, frozen=True):
    """How a sandbox creditor behaves: `proef` in the file."""

    answers: str
    """webhook: in_antwoord, terugmelding; sftp: bestand, bevestiging_en_bestand; email: pagina; cjib: bij_navraag; any
    of them: niet."""
    decides: str
    """`soort` of its answers; `wisselend`: one thing or another."""
    claims: tuple[str, ...]
    """Kinds of debt that people have with it."""


class Entry(Struct, frozen=True):
    """One creditor. `table`: the keys of `[[schuldeiser]]`, without where it is reached."""

    table: Mapping[str, Any]
    practice: Practice

    @property
    def id(self) -> str:
        return str(self.table["id"])

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self.table["kanalen"])

    @property
    def does_answer(self) -> bool:
        return self.practice.answers != "niet"


def entries() -> list[Entry]:
    tables = tomllib.loads(files(__package__).joinpath("schuldeisers.toml").read_text("utf-8"))
    return [_entry(table) for table in tables["schuldeiser"]]


def register_toml(tables: Iterable[Mapping[str, Any]]) -> str:
    """A register file of these `[[schuldeiser]]` tables."""
    return HEADING + "\n".join(_block(table) for table in tables)


def to_toml(value: object) -> str:
    """One value. A JSON string is a TOML string, and so are numbers and booleans; a dict becomes an inline table."""
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{key} = {to_toml(inner)}" for key, inner in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(to_toml, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _entry(table: dict[str, Any]) -> Entry:
    practice = table.pop("proef")
    return Entry(table, Practice(practice["antwoordt"], practice["besluit"], tuple(practice["vorderingen"])))


def _block(table: Mapping[str, Any]) -> str:
    own = {key: value for key, value in table.items() if key not in table["kanalen"]}
    lines = ["[[schuldeiser]]", *(f"{key} = {to_toml(value)}" for key, value in own.items())]
    for channel in table["kanalen"]:
        lines += [f"[schuldeiser.{channel}]", *(f"{key} = {to_toml(value)}" for key, value in table[channel].items())]
    return "\n".join(lines) + "\n"
