"""A CSV file that a Dutch Excel opens by itself: UTF-8 with a byte order mark, `;`, every cell quoted, a decimal comma.

What a spreadsheet would take for a formula is only text: names come from registers that others fill (OWASP, CSV
injection).
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = str | int | float | None


def write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """A header row and the rows; what is in the file already is replaced. Raises OSError."""
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL)
        writer.writerow([cell(column) for column in columns])
        writer.writerows([cell(value) for value in row] for row in rows)


def cell(value: Cell) -> str:
    """As it stands in the file, without the quotes."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:g}".replace(".", ",")
        case str() if value.startswith(_STARTS_A_FORMULA):
            return f"'{value}"
        case _:
            return str(value)
