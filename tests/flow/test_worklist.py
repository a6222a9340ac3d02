"""`kennisgeving werkbak`, on both engines: what people see, what programs get, and what is on record afterwards."""

import json
import os
import pwd
import shlex
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from gateway.core.lifecycle import State
from gateway.core.task import GUIDES, TaskKind
from gateway.ids import uuid7
from gateway.ledger.schema import delivery, dossier
from gateway.ledger.tasks import Task, add_tasks, close_tasks
from gateway.ledger.upgrade import upgrade
from tests.flow.terminal import Terminal

NOW = 1_800_000_000_000_000
"""15-01-2027 09:00 in Amsterdam."""

DOSSIER, DELIVERY = uuid7(NOW), uuid7(NOW)
ME = pwd.getpwuid(os.getuid()).pw_name


class Worklist(Terminal):
    """A ledger with tasks, and the commands on it."""

    def given(self, *words: str) -> tuple[int, str, str]:
        return super().given("werkbak", *words)

    def records(self, *words: str) -> Any:
        code, output, _ = self.given(*words, "--json")
        assert code == 0
        return json.loads(output)

    def ids(self, *words: str) -> list[str]:
        return [one["taak"] for one in self.records("list", *words)]

    def add(self, kind: TaskKind = TaskKind.ANSWER_OVERDUE, **about: Any) -> str:
        about = {"gemeente": "0363", "dossier_id": DOSSIER, "delivery_id": DELIVERY, "creditor": "energie"} | about
        wanted = Task(id=uuid7(NOW), soort=kind, created_at=NOW, detail=GUIDES[kind].detail, **about)
        self.ledger(add_tasks, [wanted])
        return wanted.id


@pytest.fixture
def worklist(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Worklist:
    made = Worklist(tmp_path, ledger_url, monkeypatch, capsys)
    made.ledger(_fill)
    return made


def _fill(connection: Connection) -> None:
    upgrade(connection)
    one = {"id": DOSSIER, "gemeente": "0363", "kenmerk": "SHV-1", "key": b"k", "versie": 1, "created_at": NOW}
    connection.execute(insert(dossier), [one])
    row = {
        "id": DELIVERY,
        "message_id": "m",
        "dossier_id": DOSSIER,
        "creditor": "energie",
        "soort": "kennisgeving",
        "versie": 1,
        "channel": "sftp",
        "channel_since": NOW,
        "state": State.DELIVERED,
        "proof": 1,
        "fence": 1,
        "tries": 1,
        "created_at": NOW,
        "give_up_at": NOW * 2,
        "view_digest": b"v",
    }
    connection.execute(insert(delivery), [row])


# -- looking ---------------------------------------------------------------------------------------------------------


def test_the_list_is_what_is_open_and_narrows_to_what_is_asked(worklist: Worklist) -> None:
    assert worklist.given("list")[:2] == (0, "geen taken\n")
    overdue = worklist.add()
    unknown = worklist.add(TaskKind.CREDITOR_UNKNOWN, delivery_id=None, creditor="Kiosk [red]")
    elsewhere = worklist.add(gemeente="0344", delivery_id=uuid7(NOW))
    parked = worklist.add(TaskKind.SENDER_UNKNOWN, gemeente=None, dossier_id=None, delivery_id=None, creditor=None)
    closed = worklist.add(TaskKind.DELAYED)
    assert worklist.given("done", closed, "--reden", "bezorgd")[0] == 0
    assert worklist.given("assign", overdue, "Noor")[0] == 0
    assert worklist.ids() == [overdue, unknown, elsewhere, parked]
    assert worklist.ids("--alles") == [overdue, unknown, elsewhere, parked, closed]
    assert worklist.ids("--soort", "schuldeiser_onbekend", "--gemeente", "GM0363") == [unknown]
    assert worklist.ids("--gemeente", "0344") == [elsewhere]
    assert worklist.ids("--van", "Noor") == [overdue]
    assert worklist.ids("--schuldeiser", "Kiosk [red]") == [unknown]
    assert worklist.ids("--na", unknown, "--aantal", "1") == [elsewhere]
    table = worklist.given("list")[1]
    for shown in ("antwoord_verlopen", "15-01-2027 09:00", "SHV-1", "Kiosk [red]", "Noor"):
        assert shown in table
    assert closed not in table
    assert f"Meer: --na {overdue}" in worklist.given("list", "--aantal", "1")[1]


def test_a_task_says_what_happened_what_to_do_and_where_to_look(worklist: Worklist) -> None:
    task = worklist.add()
    code, sheet, _ = worklist.given("show", task)
    guide = GUIDES[TaskKind.ANSWER_OVERDUE]
    assert code == 0
    for shown in (
        f"Taak {task}: antwoord verlopen",
        guide.what,
        guide.next,
        "SHV-1",
        f"{DELIVERY} (kennisgeving, versie 1): afgeleverd",
        f"kennisgeving dossier show {DOSSIER}",
        f"kennisgeving bezorging show {DELIVERY}",
        f"kennisgeving werkbak done {task}",
    ):
        assert shown in sheet
    assert worklist.records("show", task) == {
        "taak": task,
        "soort": "antwoord_verlopen",
        "tijdstip": "2027-01-15T08:00:00.000+00:00",
        "gemeente": "0363",
        "dossier": DOSSIER,
        "dossierkenmerk": "SHV-1",
        "schuldeiser": "energie",
        "bezorging": DELIVERY,
        "gebeurd": guide.what,
        "doen": guide.next,
        "stappen": [],
    }


@pytest.mark.parametrize("name", ["$(touch gotcha)", "'; touch gotcha; '", "--alles", "Jansen & Zn."])
def test_the_words_of_a_sender_are_harmless_in_a_command_to_copy(worklist: Worklist, name: str) -> None:
    task = worklist.add(TaskKind.CREDITOR_UNKNOWN, delivery_id=None, creditor=name)
    worklist.add(TaskKind.CREDITOR_UNKNOWN, delivery_id=None, creditor="iemand anders")
    lines = worklist.given("show", task)[1].splitlines()
    (line,) = [line for line in lines if "kennisgeving werkbak list" in line]
    assert worklist.ids(*shlex.split(line)[2:][1:]) == [task]


@pytest.mark.parametrize("kind", TaskKind)
def test_every_kind_of_task_can_be_shown(worklist: Worklist, kind: TaskKind) -> None:
    task = worklist.add(kind, gemeente=None, dossier_id=None, delivery_id=None, creditor=None)
    code, sheet, errors = worklist.given("show", task)
    assert (code, errors) == (0, "")
    assert GUIDES[kind].next in sheet


# -- working off -----------------------------------------------------------------------------------------------------


def test_what_was_done_by_whom_and_why_stays_on_record(worklist: Worklist) -> None:
    task = worklist.add()
    assert worklist.given("assign", task, "Noor", "--reden", "kent hen", "--door", "Sem")[:2] == (
        0,
        f"Toegewezen aan Noor: antwoord verlopen ({task})\n",
    )
    assert worklist.given("assign", task, "Ali")[0] == 0
    after = worklist.records("done", task, "--reden", " [bold]gebeld ")
    assert after == worklist.records("show", task)
    assert [(step["door"], step["stap"], step["reden"]) for step in after["stappen"]] == [
        ("Sem", "toegewezen", "aan Noor: kent hen"),
        (ME, "toegewezen", "aan Ali"),
        (ME, "afgehandeld", "[bold]gebeld"),
    ]
    assert after["toegewezenAan"] == "Ali"
    assert after["afgehandeld"] == after["stappen"][-1]["tijdstip"]
    sheet = worklist.given("show", task)[1]
    for shown in ("Sem: toegewezen aan Noor: kent hen", f"{ME}: afgehandeld, [bold]gebeld"):
        assert shown in sheet
    assert "werkbak done" not in sheet


@pytest.mark.parametrize("words", [["done", "--reden", "nog eens"], ["assign", "Noor"]], ids=" ".join)
def test_what_is_closed_already_or_unknown_is_a_failure_that_says_so(worklist: Worklist, words: list[str]) -> None:
    task = worklist.add()
    worklist.ledger(close_tasks, [(DELIVERY, TaskKind.ANSWER_OVERDUE, "er kwam een antwoord")], NOW)
    before = worklist.records("show", task)
    command, *more = words
    code, output, errors = worklist.given(command, task, *more)
    assert (code, output) == (1, "")
    assert errors == "deze taak is al afgehandeld\n15-01-2027 09:00  gateway: afgehandeld, er kwam een antwoord\n"
    assert worklist.records("show", task) == before
    assert worklist.given(command, uuid7(NOW), *more) == (1, "", "deze taak is er niet\n")
    assert worklist.given("show", "onbekend") == (1, "", "deze taak is er niet\n")


@pytest.mark.parametrize("reason", ["", " ", "een\ntwee", "x" * 501], ids=["empty", "space", "lines", "long"])
def test_without_a_proper_reason_a_task_stays_open(worklist: Worklist, reason: str) -> None:
    task = worklist.add()
    code, _, errors = worklist.given("done", task, "--reden", reason)
    assert (code, errors.startswith("--reden: mag ")) == (2, True)
    assert worklist.given("done", task)[0] == 2
    assert worklist.ids() == [task]
    assert worklist.records("show", task)["stappen"] == []
