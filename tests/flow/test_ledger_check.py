"""`kennisgeving check --ledger`, on both engines: what it looked at, what it names, and its exit code."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from gateway.invariants import CHECKS
from gateway.ledger.schema import delivery
from gateway.ledger.upgrade import upgrade
from tests.flow.terminal import Terminal
from tests.ledger.notices import micros, put_delivery, put_dossier, put_message

AT = micros(2026, 11, 25)


@pytest.fixture
def terminal(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    return Terminal(tmp_path, ledger_url, monkeypatch, capsys)


@pytest.fixture
def lost(terminal: Terminal) -> list[str]:
    """A ledger in which somebody made deliveries that nobody looks after; their ids."""

    def make(connection: Connection) -> list[str]:
        upgrade(connection)
        dossier = put_dossier(connection, "SHV-1", "0363", AT)
        message = put_message(connection, dossier, AT)
        ids = [put_delivery(connection, dossier, message, AT, f"schuldeiser-{nr}") for nr in range(12)]
        connection.execute(update(delivery).values(state="wacht_op_poging", next_action_at=None))
        return ids

    return terminal.ledger(make)


def _check(terminal: Terminal, *words: str) -> tuple[int, str]:
    code, output, _ = terminal.given("check", "--ledger", *words)
    return code, output


def test_what_does_not_hold_is_named_by_id_and_is_a_failure(lost: list[str], terminal: Terminal) -> None:
    code, output = _check(terminal)
    assert code == 1
    (line,) = [line for line in output.splitlines() if "nog omgekeken" in line]
    assert line.startswith("FOUT  I3  naar elke bezorging wordt nog omgekeken: 12 bekeken, 12 geschonden: ")
    assert sum(id_ in line for id_ in lost) == 10
    assert line.endswith(" en nog 2")


def test_programs_get_every_id(lost: list[str], terminal: Terminal) -> None:
    code, output = _check(terminal, "--json")
    found = json.loads(output)
    assert (code, len(found)) == (1, len(CHECKS))
    (one,) = [one for one in found if one["melding"] == "naar elke bezorging wordt nog omgekeken"]
    assert one == {**one, "invariant": "I3", "bekeken": 12, "geschonden": sorted(lost)}


def test_an_empty_ledger_keeps_every_invariant(terminal: Terminal) -> None:
    terminal.ledger(upgrade)
    code, output = _check(terminal)
    assert code == 0
    assert {line[:4] for line in output.splitlines()} == {"goed"}


def test_without_a_ledger_there_is_nothing_to_look_at(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = _check(Terminal(tmp_path, empty_url, monkeypatch, capsys))
    assert (code, output) == (1, "")
    assert not (tmp_path / "ledger.db").exists()
