"""Sent again on request: what goes, what cannot, by whom and why; always the same reference and the same bytes."""

import asyncio
import json
import os
import pwd
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import run
from gateway.core.lifecycle import TABLE, Happening, State
from gateway.ledger import schema
from tests.flow.desk import notice, progress, withdrawal
from tests.flow.running import Town, neighbour, running

ME = pwd.getpwuid(os.getuid()).pw_name
LONG_AGO = "2000-01-01"


class Clerk:
    """Somebody at the command line of a town."""

    def __init__(self, town: Town, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = str(town.directory / "gateway.toml")
        self._capsys = capsys

    async def says(self, *words: str, command: str = "herhaal") -> tuple[int, str, str]:
        """Exit code, standard output, standard error of a command on deliveries."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(run, ["bezorging", command, *words, "--config", self._config])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    async def shown(self, delivery: str) -> str:
        """As a person sees it, on one line."""
        return " ".join((await self.says(delivery, command="show"))[1].split())

    async def told(self, *words: str) -> dict[str, Any]:
        _, shown, wrong = await self.says(*words, "--json")
        assert "kennisgeving:" not in wrong
        found: dict[str, Any] = json.loads(shown)
        return found

    async def repeats(self, *words: str) -> dict[str, Any]:
        return await self.told(*words, "--uitvoeren", "--reden", "storing voorbij")


async def keeps_to_the_table(town: Town) -> None:
    """Every change of state on record is one that the table has."""
    for row in await town.rows(schema.transition):
        assert TABLE[State(row.before)][Happening(row.happening)] == row.after, row


@asynccontextmanager
async def quick(path: Path, url: str, *neighbours: Any, **tempo: str) -> AsyncIterator[Town]:
    async with running(path, url, neighbours, tempo={"lease": "1.5 s", **tempo}) as town:
        yield town
        await keeps_to_the_table(town)


async def test_what_had_failed_goes_again_in_order_with_a_new_horizon_and_its_tasks_are_closed(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie"), opgeven_na="0.3 s") as town:
        window, clerk = town.webhooks["energie"], Clerk(town, capsys)
        async with window.answers_with(503):
            await town.send(notice("SHV-1", 1, "energie"), progress("SHV-1", 2))
            failed = await town.reach("mislukt")
        ids = [row.id for row in failed]
        shown = await clerk.told(*ids, "bestaat-niet")
        assert shown["gedaan"] is False
        assert {(one["soort"], one["toestand"], one["aantal"]) for one in shown["herhaald"]} == {
            ("kennisgeving", "mislukt", 1),
            ("voortgang", "mislukt", 1),
        }
        assert shown["niet_herhaald"] == [{"reden": "bestaat niet", "bezorgingen": ["bestaat-niet"]}]
        assert await town.reach("mislukt")
        assert (await clerk.says(*ids, "--uitvoeren"))[0] == 2
        assert (await clerk.repeats(*ids))["gedaan"] is True
        rows = await town.hand_over()
        assert window.deliveries == ids
        assert all(new.give_up_at > old.give_up_at for new, old in zip(rows, failed, strict=True))
        for row in rows:
            assert len({one.digest for one in await town.attempts() if one.delivery_id == row.id}) == 1
        assert {task.soort for task in await town.rows(schema.task) if task.closed_at is None} == set()
        steps = await town.rows(schema.task_step)
        assert {step.reason for step in steps} == {f"herhaald door {ME}: storing voorbij"}
        (act,) = await town.rows(schema.operator_act)
        assert (act.asked_by, act.done_by, act.reason) == (ME, ME, "storing voorbij")
        assert {item.before for item in await town.rows(schema.operator_act_item)} == {"mislukt"}


@pytest.mark.parametrize("channel", ["webhook:in_reply", "cjib"])
async def test_what_is_answered_goes_only_when_that_is_asked_and_keeps_its_decision(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], channel: str
) -> None:
    async with quick(tmp_path, sqlite_url, neighbour("energie", channel)) as town:
        clerk = Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.reach("bevestigd")
        asked = ("--schuldeiser", "energie", "--sinds", LONG_AGO)
        shown = await clerk.repeats(*asked)
        assert (shown["herhaald"], shown["niet_herhaald"][0]["reden"]) == ([], "al beantwoord")
        assert await town.rows(schema.operator_act) == []
        await clerk.repeats(*asked, "--ook-beantwoord")
        await town.try_out("energie", 2)
        (again,) = await town.reach("bevestigd")
        assert (again.decision, again.answered_at, again.handed_over_at) == (
            row.decision,
            row.answered_at,
            row.handed_over_at,
        )
        assert (again.stands, again.next_action_at) == (None, None)
        peer = town.webhooks["energie"] if town.webhooks else town.cjib
        assert peer is not None
        assert len({seen.digest for seen in peer.received(row.id)}) == 1
        assert await town.tasks() == []


async def test_while_it_goes_again_it_is_what_it_was_and_a_repeat_that_fails_is_for_a_person(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie", "webhook", "sftp"), opgeven_na="1.5 s") as town:
        clerk = Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.reach("afgeleverd")
        async with town.webhooks["energie"].answers_with(503):
            await clerk.repeats(row.id)
            await town.try_out("energie", 2)
            code, out, _ = await _show(town, capsys, row.id)
            assert (code, json.loads(out)["toestand"]) == (0, "afgeleverd")
            assert (await clerk.told(row.id))["niet_herhaald"][0]["reden"] == "loopt nog"
            await town.send(progress("SHV-1", 2))
            (again,) = await _first(town, "afgeleverd")
        assert again.stands is None
        assert "herhaling_mislukt" in await town.tasks()
        assert town.sftp is not None
        assert town.sftp.received(row.id) == []
        assert [name for name, _ in await town.told("energie")].count("bezorging-mislukt") == 0


async def _show(town: Town, capsys: pytest.CaptureFixture[str], id_: str) -> tuple[int, str, str]:
    capsys.readouterr()
    config = str(town.directory / "gateway.toml")
    code = await asyncio.to_thread(run, ["bezorging", "show", id_, "--json", "--config", config])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


async def _first(town: Town, state: str) -> Any:
    """The kennisgeving, once it is in this state and goes nowhere any more."""

    async def look() -> Any:
        return [row for row in await town.deliveries() if row.soort == "kennisgeving" and row.state == state]

    return await town.until(look)


async def test_a_withdrawal_ends_a_repeat_and_nothing_withdrawn_is_repeated(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie")) as town:
        window, clerk = town.webhooks["energie"], Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.reach("afgeleverd")
        async with window.answers_with(503):
            await clerk.repeats(row.id)
            await town.try_out("energie", 2)
            await town.send(withdrawal(2))
        (told,) = await _first(town, "afgeleverd_zonder_antwoord")
        assert (told.id, told.stands, told.next_action_at) == (row.id, None, None)
        await town.hand_over()
        assert window.deliveries.count(row.id) == 1
        shown = await clerk.repeats("--schuldeiser", "energie", "--sinds", LONG_AGO)
        assert [(one["soort"], one["aantal"]) for one in shown["herhaald"]] == [("intrekking", 1)]
        assert shown["niet_herhaald"] == [{"reden": "dossier ingetrokken", "bezorgingen": [row.id]}]


async def test_while_a_creditor_is_still_to_hear_of_its_withdrawal_it_does_not_get_the_notice_again(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie"), neighbour("zorg")) as town:
        window, clerk = town.webhooks["energie"], Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie", "zorg"))
        await town.reach("afgeleverd")
        kept = (await town.delivery("energie")).id
        async with window.answers_with(503):
            await town.send(withdrawal(2, "energie"))
            await town.try_out("energie", 2)
            shown = await clerk.repeats("--schuldeiser", "energie", "--sinds", LONG_AGO)
        assert shown["herhaald"] == []
        assert {"reden": "dossier ingetrokken", "bezorgingen": [kept]} in shown["niet_herhaald"]
        await town.hand_over("energie")
        assert window.deliveries.count(kept) == 1


async def test_an_evenings_work_is_spread_over_time(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie")) as town:
        window, clerk = town.webhooks["energie"], Clerk(town, capsys)
        await town.send(*(notice(f"SHV-{nr}", 1, "energie") for nr in range(8)))
        await town.reach("afgeleverd")
        before, asked = len(window.starts), time.monotonic()
        await clerk.repeats("--schuldeiser", "energie", "--sinds", LONG_AGO, "--per-seconde", "5")
        await town.try_out("energie", 16)
        starts = window.starts[before:]
        assert len(starts) == 8
        assert all(start - asked >= nr / 5 for nr, start in enumerate(starts))  # none before its own time
        assert sorted(window.deliveries[:8]) == sorted(window.deliveries[8:])


async def test_what_waits_for_another_repeat_keeps_its_own_place_in_time(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, sqlite_url, neighbour("energie")) as town:
        window, clerk = town.webhooks["energie"], Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie"), *(progress("SHV-1", versie) for versie in (2, 3, 4)))
        await town.hand_over()
        asked = time.monotonic()
        await clerk.repeats("--schuldeiser", "energie", "--sinds", LONG_AGO, "--per-seconde", "2")
        await town.try_out("energie", 8)
        assert all(start - asked >= nr / 2 for nr, start in enumerate(window.starts[4:]))  # none before its own time
        assert window.deliveries[4:] == window.deliveries[:4]


async def test_with_four_eyes_another_person_confirms_what_one_has_asked(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, ledger_url, neighbour("energie")) as town:
        file = town.directory / "gateway.toml"
        file.write_text(file.read_text() + "\n[gateway]\nvier_ogen = true\n")
        clerk = Clerk(town, capsys)
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.reach("afgeleverd")
        asked = await clerk.repeats(row.id, "--door", "Noor")
        assert (asked["gedaan"], len(await town.attempts())) == (False, 1)
        assert "opnieuw verzenden gevraagd door Noor: storing voorbij" in await clerk.shown(row.id)
        code = asked["code"]
        assert "niet zelf" in (await clerk.says("--bevestig", code, "--door", "noor"))[2]
        assert (await clerk.says("--bevestig", "XXXXXX", "--door", "Sam"))[0] == 1
        confirmed = await clerk.told("--bevestig", code.lower(), "--door", "Sam")
        assert confirmed["gedaan"] is True
        await town.try_out("energie", 2)
        assert "al bevestigd, door Sam" in (await clerk.says("--bevestig", code, "--door", "Ali"))[2]
        (act,) = await town.rows(schema.operator_act)
        assert (act.asked_by, act.done_by, act.reason) == ("Noor", "Sam", "storing voorbij")
        assert "opnieuw verzenden door Noor, bevestigd door Sam: storing voorbij" in await clerk.shown(row.id)
        await town.reach("afgeleverd")


async def test_an_answer_during_a_repeat_counts_and_ends_it(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with quick(tmp_path, sqlite_url, neighbour("energie", "sftp:answers")) as town:
        assert town.sftp is not None
        await town.send(notice("SHV-1", 1, "energie"))
        (row,) = await town.hand_over()
        async with town.sftp.is_down():
            await Clerk(town, capsys).repeats(row.id, "--ook-beantwoord")
            await town.try_out("energie", 2)
        (again,) = await town.reach("bevestigd")
        assert (again.stands, again.next_action_at) == (None, None)
        assert len(set(town.sftp.received(row.id))) == 1
