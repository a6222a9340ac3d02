"""`kennisgeving overzicht`: what people read, what programs read, and what a spreadsheet opens."""

import base64
import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import run
from gateway.cli.overviews import in_days
from gateway.clock import Clock
from gateway.core.lifecycle import State
from gateway.ledger.engine import Ledger
from gateway.pki import make_dev_pki
from gateway.sandbox.register import register_toml
from tests.ledger.notices import put_notice

NAMES = {"energie": "=1+1;[bold]Energie[/bold]", "zorg": '@Zorg "Voorbeeld"', "incasso": "-Incasso"}
SETTINGS = """
[ledger]
url = "sqlite:///ledger.db"
sleutel = "file:certs/ledger.key"
[http]
luister = "127.0.0.1:0"
[register]
bestand = "schuldeisers.toml"
[[afzender]]
naam = "Gemeente Voorbeeld"
oin = "00000099000000363000"
client_id = "gem-0363"
gemeenten = ["0363", "0384"]
[[afzender]]
naam = "Pauzeknop"
oin = "00000099000000777000"
client_id = "pauzeknop"
gemeenten = ["0363", "0344"]
"""
ANSWERED = {"state": State.CONFIRMED, "proof": 3, "decision": "pauze_ingesteld"}


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two dossiers of today, one of last year's, with creditors whose names a spreadsheet would carry out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KENNISGEVING_CONFIG", raising=False)
    make_dev_pki(tmp_path / "certs")
    (tmp_path / "gateway.toml").write_text(SETTINGS)
    (tmp_path / "webhook.key").write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
    table = {"url": "https://127.0.0.1:9/x", "sleutels": ["file:webhook.key"]}
    covenant = {"convenant": {"naam": "Convenant", "bindend": True, "pauze": "8 maanden"}}
    entries: list[Any] = [
        {"id": id_, "naam": name, "kanalen": ["webhook"], **(covenant if id_ == "energie" else {}), "webhook": table}
        for id_, name in NAMES.items()
    ]
    (tmp_path / "schuldeisers.toml").write_text(register_toml(entries))
    assert run(["schuldeisers", "apply"]) == 0
    now = Clock().micros()
    answered = {**ANSWERED, "answered_at": now + 93_600_000_000, "decided_at": now + 93_600_000_000}
    ledger = Ledger("sqlite:///ledger.db")
    ledger.run_now(put_notice, "0363", now, "energie", "zorg", **answered)
    refused = {**answered, "state": State.REFUSED, "decision": "geen_samenwerking"}
    ledger.run_now(put_notice, "0363", now, "energie", **refused)
    ledger.run_now(put_notice, "0363", now, "incasso", agent_for="energie")
    ledger.run_now(put_notice, "0363", now - 400 * 86_400_000_000, "zorg")
    capsys.readouterr()


def sheet(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8-sig", newline="") as back:
        return list(csv.DictReader(back, delimiter=";", strict=True))


def test_programs_get_what_the_api_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["overzicht", "schuldeisers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = {(one["schuldeiser"], one["rol"]): one for one in found["schuldeisers"]}
    assert list(figures) == [
        ("energie", "schuldeiser"),
        ("incasso", "vertegenwoordiger"),
        ("zorg", "schuldeiser"),
    ]
    energie = figures["energie", "schuldeiser"]
    assert energie["convenant"] == {"kennisgevingen": 2, "nagekomen": 1, "nietNagekomen": 1}
    assert (energie["mediaanSeconden"], energie["geweigerd"]["geen_samenwerking"]) == (93_600, 1)
    assert figures["zorg", "schuldeiser"]["kennisgevingen"] == 1
    assert figures["zorg", "schuldeiser"]["convenant"] is None


def test_people_get_a_table_with_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["overzicht", "schuldeisers"]) == 0
    shown = capsys.readouterr().out
    told, decided = (line.split(NAMES["energie"])[1].split() for line in shown.splitlines() if NAMES["energie"] in line)
    assert told == ["2", "2", "2", "0", "0", "0", "2", "0", "1", "dag", "2", "uur", "0", "0"]
    assert decided == ["1", "0", "0", "0", "0", "0", "1", "0", "1", "1"]
    assert "-Incasso (vertegenwoordiger)" in shown


def test_a_period_and_a_gemeente_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, creditors in (
        (["--van", "2020-01-01"], {"energie": 2, "incasso": 1, "zorg": 2}),
        (["--tot", "2020-01-01"], {}),
        (["--gemeente", "GM0363"], {"energie": 2, "incasso": 1, "zorg": 1}),
        (["--gemeente", "0384"], {}),
    ):
        assert run(["overzicht", "schuldeisers", "--json", *arguments]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {one["schuldeiser"]: one["kennisgevingen"] for one in found["schuldeisers"]} == creditors


def test_every_gemeente_uses_the_gateway_or_does_not_yet_or_was_never_announced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["overzicht", "gemeenten", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gebruik"] == {"gebruikt": 1, "nog_niet": 1, "niet_aangemeld": 340}
    assert len(found["gemeenten"]) == 342
    use = {one["gemeente"]: (one["naam"], one["gebruik"]) for one in found["gemeenten"]}
    assert use["0363"] == ("Amsterdam", "gebruikt")
    assert use["0384"] == ("Diemen", "nog_niet")
    assert use["0344"] == ("Utrecht", "niet_aangemeld")  # the pauzeknop speaks for debtors, not for a gemeente
    assert run(["overzicht", "gemeenten"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert ["samen", "342"] in lines
    assert ["0363", "Amsterdam", "gebruikt", "3", "3", "3", "(100%)", "3", "(100%)", "2", "(67%)"] in lines
    assert ["0384", "Diemen", "nog", "niet", "0", "0", "0", "0", "0"] in lines
    assert not [line for line in lines if "Utrecht" in line]


def test_a_gemeente_that_is_no_more_keeps_its_figures_and_is_none_of_the_342(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Ledger("sqlite:///ledger.db").run_now(put_notice, "0501", Clock().micros(), "zorg")  # Brielle, until 2023
    for arguments, lines in (([], 343), (["--gemeente", "0501"], 1)):
        assert run(["overzicht", "gemeenten", "--json", *arguments]) == 0
        found = json.loads(capsys.readouterr().out)
        (gone,) = (one for one in found["gemeenten"] if one["gemeente"] == "0501")
        assert (gone["naam"], gone["gebruik"], gone["dossiers"]) == (None, "gebruikt", 1)
        assert len(found["gemeenten"]) == lines
        assert sum(found["gebruik"].values()) == (342 if lines > 1 else 0)


def test_a_spreadsheet_gets_a_column_for_each_figure_and_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["overzicht", "schuldeisers", "--csv", "uit.csv"]) == 0
    assert "verteld" in capsys.readouterr().out
    energie, incasso, zorg = sheet("uit.csv")
    assert [one["naam"] for one in (energie, incasso, zorg)] == [
        f"'{NAMES[one]}" for one in ("energie", "incasso", "zorg")
    ]
    assert (energie["geweigerd_geen_samenwerking"], energie["convenant_niet_nagekomen"]) == ("1", "1")
    assert (energie["mediaan_seconden"], energie["mediaan"]) == ("93600", "1 dag 2 uur")
    assert (zorg["convenant_nagekomen"], incasso["mediaan"]) == ("", "")


def test_a_spreadsheet_of_gemeenten_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["overzicht", "gemeenten", "--csv", "uit.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gebruik"]["gebruikt"] == 1
    rows = {row["gemeente"]: row for row in sheet("uit.csv")}
    assert len(rows) == 342
    assert (rows["0363"]["dekking_gepauzeerd"], rows["0384"]["dekking_gepauzeerd"]) == ("0,6667", "")
    assert rows["1900"]["naam"] == "Súdwest-Fryslân"


def test_an_empty_spreadsheet_still_says_what_its_columns_are() -> None:
    assert run(["overzicht", "schuldeisers", "--tot", "2020-01-01", "--csv", "uit.csv"]) == 0
    (header,) = csv.reader(Path("uit.csv").read_text("utf-8-sig").splitlines(), delimiter=";")
    assert header[:3] == ["schuldeiser", "naam", "rol"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--van", "2026-11-02", "--tot", "2026-11-01"], 2, ["--van ligt na tot", "--tot ligt voor van"]),
        (["--van", "gisteren"], 2, ["--van is geen datum"]),
        (["--gemeente", "Amsterdam"], 2, ["--gemeente: geef een CBS-code van vier cijfers"]),
        (["--csv", "er/is/geen/map.csv"], 1, ["er/is/geen/map.csv: "]),
    ],
)
@pytest.mark.parametrize("what", ["schuldeisers", "gemeenten"])
def test_what_cannot_be_done_is_said(
    capsys: pytest.CaptureFixture[str], what: str, arguments: list[str], code: int, said: list[str]
) -> None:
    assert run(["overzicht", what, *arguments]) == code
    told = capsys.readouterr().err
    assert [words for words in said if words not in told] == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 min"),
        (59, "0 min"),
        (3599, "59 min"),
        (3600, "1 uur 0 min"),
        (86_399, "23 uur 59 min"),
        (86_400, "1 dag"),
        (93_600, "1 dag 2 uur"),
        (3 * 86_400 + 3_599, "3 dagen"),
    ],
)
def test_a_time_is_told_in_its_two_largest_parts(seconds: int, words: str) -> None:
    assert in_days(seconds) == words
