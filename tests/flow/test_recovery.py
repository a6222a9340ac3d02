"""Yesterday's backup is put back: nothing goes a second time of the gateway's own accord, and nothing is lost."""

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import run
from gateway.clock import Clock
from gateway.ledger import schema
from tests.flow.desk import notice, progress
from tests.flow.running import Neighbour, Town, neighbour, running

CREDITORS = ("energie", "zorg", "cjib", "bank")
CHANNELS = {"energie": "webhook", "zorg": "sftp", "cjib": "cjib", "bank": "email"}


def neighbours() -> Sequence[Neighbour]:
    return [neighbour(name, channel) for name, channel in CHANNELS.items()]


def take_backup(url: str, file: Path) -> Callable[[], None]:
    """As docs/operators.md says, while the gateway runs; returns what puts it back."""
    if url.startswith("sqlite"):
        return _copy(Path(url.removeprefix("sqlite:///")), file)
    dump = subprocess.run(["pg_dump", "--no-owner", url], check=True, capture_output=True)
    file.write_bytes(dump.stdout)
    return lambda: _load(url, file)


def _copy(ledger: Path, file: Path) -> Callable[[], None]:
    with sqlite3.connect(ledger) as source, sqlite3.connect(file) as copy:
        source.backup(copy)
    source.close()
    copy.close()

    def put_back() -> None:
        for suffix in ("-wal", "-shm"):
            ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
        ledger.write_bytes(file.read_bytes())

    return put_back


def _load(url: str, file: Path) -> None:
    psql = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", url]
    empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    subprocess.run([*psql, "-c", empty], check=True, capture_output=True)
    subprocess.run([*psql, "-f", str(file)], check=True, capture_output=True)


async def command(town: Town, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    words = (*words, "--config", str(town.directory / "gateway.toml"), "--json")
    code = await asyncio.to_thread(run, list(words))
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return json.loads(shown.out)


async def everybody_is_down(town: Town, down: AsyncExitStack) -> None:
    assert town.sftp is not None
    assert town.cjib is not None
    assert town.mail is not None
    await down.enter_async_context(town.webhooks["energie"].answers_with(503))
    for peer in (town.sftp, town.cjib, town.mail):
        await down.enter_async_context(peer.is_down())


def seen(town: Town, creditor: str, delivery: str) -> list[str]:
    """The digests of what this creditor took of a delivery."""
    everybody = {"energie": town.webhooks["energie"], "zorg": town.sftp, "cjib": town.cjib, "bank": town.mail}
    peer = everybody[creditor]
    assert peer is not None
    return [sighting.digest for sighting in peer.received(delivery)]


async def tried_and_failed(town: Town) -> None:
    async def look() -> bool:
        return {one.channel for one in await town.attempts() if one.outcome == "tijdelijk"} == set(CHANNELS.values())

    await town.until(look, within=20)


async def yesterday(town: Town, ledger_url: str, meanwhile: Callable[[], Awaitable[object]]) -> tuple[str, Any]:
    """A backup with one dossier delivered and one under way, which goes on to be delivered; then the backup is put
    back. Returns the moment of the backup, and the deliveries that were under way, by creditor."""
    await town.send(notice("SHV-1", 1, *CREDITORS))
    await town.hand_over(within=20)
    async with AsyncExitStack() as down:
        await everybody_is_down(town, down)
        await town.send(notice("SHV-2", 1, *CREDITORS))
        await tried_and_failed(town)
        put_back = await asyncio.to_thread(take_backup, ledger_url, town.directory / "backup")
        moment = Clock().now().isoformat()
    rows = await town.hand_over(within=20)
    await town.send(notice("SHV-3", 1, *CREDITORS))
    await town.hand_over(within=20)
    await town.stop()
    await town.forget()
    await meanwhile()
    await asyncio.to_thread(put_back)
    dossiers = {row.dossier_id for row in rows}
    return moment, {row.creditor: row.id for row in rows if row.dossier_id == max(dossiers)}


async def nothing() -> None:
    return None


async def test_what_went_out_since_the_backup_is_asked_about_and_never_sent_blindly(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, ledger_url, neighbours()) as town:
        moment, ids = await yesterday(town, ledger_url, nothing)
        shown = await command(town, capsys, "herstel", "--sinds", moment)
        assert shown["later"] == 0
        assert (await command(town, capsys, "herstel", "--sinds", "2000-01-01"))["later"] == 4
        assert {one["kanaal"]: (one["gevolg"], one["aantal"]) for one in shown["bezorgingen"]} == {
            "webhook": ("wordt een taak", 1),
            "email": ("wordt een taak", 1),
            "sftp": ("wordt nagevraagd", 1),
            "cjib": ("wordt nagevraagd", 1),
        }
        before = {row.state for row in await town.deliveries()}
        assert "onzeker" not in before
        await command(town, capsys, "herstel", "--sinds", moment, "--uitvoeren", "--reden", "schijf kapot")
        assert {row.state for row in await town.deliveries() if row.id in ids.values()} == {"onzeker"}
        await town.start()
        rows = await _settled(town, ids)
        states = {row.creditor: row.state for row in rows}
        assert {name for name, state in states.items() if state == "onzeker"} == {"energie", "bank"}
        assert await town.tasks() == ["hersteld_onbekend", "hersteld_onbekend"]
        assert {creditor: len(seen(town, creditor, id_)) for creditor, id_ in ids.items()} == dict.fromkeys(ids, 1)
        await _a_person_says_that_it_is_there(town, capsys, ids["bank"])
        await _sends_the_rest_when_told_to(town, capsys, moment, ids)


async def _settled(town: Town, ids: dict[str, str]) -> list[Any]:
    """The deliveries that were under way, once those that can be asked about are known to be there."""

    async def look() -> list[Any]:
        rows = [row for row in await town.deliveries() if row.id in ids.values()]
        return rows if all(row.handed_over_at for row in rows if row.creditor in ("zorg", "cjib")) else []

    return await town.until(look)


async def _a_person_says_that_it_is_there(town: Town, capsys: pytest.CaptureFixture[str], id_: str) -> None:
    """Its task cannot be closed away; the word of who asked the creditor closes it, while the gateway runs."""
    (task,) = [row for row in await town.rows(schema.task) if row.delivery_id == id_]
    config = ("--config", str(town.directory / "gateway.toml"))
    assert await asyncio.to_thread(run, ["werkbak", "done", task.id, "--reden", "weg ermee", *config]) == 1
    wrong = capsys.readouterr().err
    assert f"bezorging aangekomen {id_}" in wrong
    assert f"bezorging herhaal {id_}" in wrong
    shown = await command(town, capsys, "bezorging", "aangekomen", id_)
    assert (shown["gedaan"], [one["aantal"] for one in shown["aangekomen"]]) == (False, [1])
    assert await asyncio.to_thread(run, ["bezorging", "aangekomen", id_, "--uitvoeren", *config]) == 2
    words = ("--uitvoeren", "--reden", "gebeld: ligt er", "--door", "Noor")
    assert (await command(town, capsys, "bezorging", "aangekomen", id_, *words))["gedaan"] is True
    assert [row.state for row in await town.deliveries() if row.id == id_] == ["afgeleverd"]
    assert [row.closed_at is None for row in await town.rows(schema.task) if row.id == task.id] == [False]
    await asyncio.to_thread(run, ["bezorging", "show", id_, *config])
    assert "als aangekomen vastgelegd door Noor: gebeld: ligt er" in " ".join(capsys.readouterr().out.split())
    assert ("bezorging-afgeleverd", id_, 1) in {
        (name, data.get("bezorging"), data.get("bewijskracht")) for name, data in await town.told("bank")
    }


async def _sends_the_rest_when_told_to(
    town: Town, capsys: pytest.CaptureFixture[str], moment: str, ids: dict[str, str]
) -> None:
    await town.stop()
    words = ("--sinds", moment, "--opnieuw-sturen", "--uitvoeren", "--reden", "liever dubbel")
    shown = await command(town, capsys, "herstel", *words)
    assert {one["kanaal"] for one in shown["bezorgingen"]} == {"webhook"}
    await town.start()
    await town.hand_over(within=20)
    digests = seen(town, "energie", ids["energie"])
    assert (len(digests), len(set(digests))) == (2, 1)
    assert len(seen(town, "bank", ids["bank"])) == 1
    assert [task.soort for task in await town.rows(schema.task) if task.closed_at is None] == []


async def test_what_the_creditor_does_not_have_after_all_is_sent(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, sqlite_url, neighbours()) as town:

        async def loses_its_inbox() -> None:
            for file in (tmp_path / "sftp").rglob("inbox/*.xml"):
                file.unlink()

        moment, ids = await yesterday(town, sqlite_url, loses_its_inbox)
        await command(town, capsys, "herstel", "--sinds", moment, "--uitvoeren", "--reden", "schijf kapot")
        await town.start()
        await _settled(town, ids)
        assert len(seen(town, "zorg", ids["zorg"])) == 2
        assert len(set(seen(town, "zorg", ids["zorg"]))) == 1
        assert len(seen(town, "cjib", ids["cjib"])) == 1


async def test_doubt_outlasts_a_creditor_that_cannot_be_asked_yet(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, sqlite_url, neighbours()) as town:
        moment, ids = await yesterday(town, sqlite_url, nothing)
        await command(town, capsys, "herstel", "--sinds", moment, "--uitvoeren", "--reden", "schijf kapot")
        async with AsyncExitStack() as down:
            await everybody_is_down(town, down)
            before = len(await town.attempts("zorg", "cjib"))
            await town.start()
            await town.until(lambda: _tried(town, before + 4))
            rows = [row for row in await town.deliveries("zorg", "cjib") if row.id in ids.values()]
            assert {row.state for row in rows} <= {"onzeker", "bezig"}
            await town.stop()
            await town.start()
        await _settled(town, ids)
        assert len(seen(town, "zorg", ids["zorg"])) == len(seen(town, "cjib", ids["cjib"])) == 1


async def _tried(town: Town, times: int) -> bool:
    ended = [one for one in await town.attempts("zorg", "cjib") if one.outcome]
    return len(ended) >= times


async def test_the_feed_goes_on_beyond_what_its_readers_may_have_seen(
    ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        await town.hand_over()
        last = await town.until(lambda: _last_number(town))
        await town.stop()
        moment = Clock().now().isoformat()
        await command(town, capsys, "herstel", "--sinds", moment, "--uitvoeren", "--reden", "oefening")
        assert await _last_number(town) == last + 1_000_000
        await town.start()
        await town.send(progress("SHV-1", 2))
        await town.until(lambda: _last_number(town, last + 1_000_001))


async def _last_number(town: Town, least: int = 1) -> int:
    numbers = [row.nr for row in await town.rows(schema.outbox)]
    last = max((nr for nr in numbers if nr), default=0)
    return last if last >= least and None not in numbers else 0
