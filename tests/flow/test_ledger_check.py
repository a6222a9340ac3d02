"""`kennisgeving check --ledger`, on both engines: what it looked at, what it names, and its exit code."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from gateway.__main__ import run
from gateway.invariants import CHECKS
from gateway.ledger.engine import Ledger
from gateway.ledger.schema import delivery
from gateway.ledger.upgrade import upgrade
from tests.ledger.notices import micros, put_delivery, put_dossier, put_message

AT = micros(2026, 11, 25)
Given = Callable[..., tuple[int, str]]


@pytest.fixture
def lost(ledger_url: str) -> list[str]:
    """A ledger in which somebody made deliveries that nobody looks after; their ids."""

    def make(connection: Connection) -> list[str]:
        upgrade(connection)
        dossier = put_dossier(connection, "SHV-1", "0363", AT)
        message = put_message(connection, dossier, AT)
        ids = [put_delivery(connection, dossier, message, AT, f"schuldeiser-{nr}") for nr in range(12)]
        connection.execute(update(delivery).values(state="wacht_op_poging", next_action_at=None))
        return ids

    async def opened() -> list[str]:
        ledger = Ledger(ledger_url)
        made = await ledger.run(make)
        await ledger.aclose()
        return made

    return asyncio.run(opened())


@pytest.fixture
def given(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Given:
    (tmp_path / "ledger.key").write_bytes(b"")
    (tmp_path / "schuldeisers.toml").write_text("")
    (tmp_path / "gateway.toml").write_text(f"""
[ledger]
url = "{ledger_url}"
sleutel = "file:ledger.key"
[http]
luister = "127.0.0.1:8080"
[register]
bestand = "schuldeisers.toml"
[[afzender]]
naam = "Gemeente Voorbeeld"
oin = "00000099000000363000"
client_id = "gem-0363"
gemeenten = ["0363"]
""")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(["check", "--ledger", *words])
        return code, capsys.readouterr().out

    return command


def test_what_does_not_hold_is_named_by_id_and_is_a_failure(lost: list[str], given: Given) -> None:
    code, output = given()
    assert code == 1
    (line,) = [line for line in output.splitlines() if "nog omgekeken" in line]
    assert line.startswith("FOUT  I3  naar elke bezorging wordt nog omgekeken: 12 bekeken, 12 geschonden: ")
    assert sum(id_ in line for id_ in lost) == 10
    assert line.endswith(" en nog 2")


def test_programs_get_every_id(lost: list[str], given: Given) -> None:
    code, output = given("--json")
    found = json.loads(output)
    assert (code, len(found)) == (1, len(CHECKS))
    (one,) = [one for one in found if one["melding"] == "naar elke bezorging wordt nog omgekeken"]
    assert one == {**one, "invariant": "I3", "bekeken": 12, "geschonden": sorted(lost)}


def test_an_empty_ledger_keeps_every_invariant(ledger_url: str, given: Given) -> None:
    async def opened() -> None:
        ledger = Ledger(ledger_url)
        await ledger.run(upgrade)
        await ledger.aclose()

    asyncio.run(opened())
    code, output = given()
    assert code == 0
    assert {line[:4] for line in output.splitlines()} == {"goed"}


def test_without_a_ledger_there_is_nothing_to_look_at(tmp_path: Path, given: Given, ledger_url: str) -> None:
    code, output = given()
    assert (code, output) == (1, "")
    assert ledger_url
    assert not (tmp_path / "ledger.db").exists()
