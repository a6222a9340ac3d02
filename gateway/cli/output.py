"""What commands print: people get text and tables, programs one JSON document."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.core.deadlines import AMSTERDAM

_WIDE = 200
"""Columns where no terminal says how many it has, so that files and pipes get whole lines."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def say(text: str = "") -> None:
    """One line of plain text, never folded or read as markup."""
    console().print(text, markup=False, soft_wrap=True)


def say_json(value: object) -> None:
    """Indented UTF-8 JSON on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def moment(at: int) -> str:
    """Epoch µs as people read it, to the minute: `25-11-2026 16:40`."""
    return f"{(_EPOCH + timedelta(microseconds=at)).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Cells are plain text, never read as markup."""
    made = Table(*columns, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        made.add_row(*map(Text, row))
    return made
