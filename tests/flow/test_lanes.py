"""Lanes at work: a creditor that is away gets probes only, a backlog starves nobody, several gateways send as one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.app import apply_register
from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.ledger import schema
from gateway.register import read_register
from tests.flow.desk import notice
from tests.flow.running import Town, Window, neighbour, running
from tests.flow.test_dispatch import NEXT_REGISTER, colleague, notices, say

CALM = {"eerste_herhaling": "0.5 s", "hoogste_herhaling": "1 s", "lease": "1 s"}


async def lane_dies(town: Town, creditor: str) -> None:
    async def is_dead() -> bool:
        return any(row.creditor == creditor and row.deaths for row in await town.rows(schema.lane))

    await town.until(is_dead)


# -- a creditor that is away -----------------------------------------------------------------------------------------


async def test_a_creditor_that_is_away_gets_probes_and_what_waits_spends_no_retries(
    ledger_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg")], tempo=CALM) as town:
        async with town.webhooks["energie"].is_down():
            await town.send(*notices(40, "energie", "zorg"))
            await town.hand_over("zorg")
            await lane_dies(town, "energie")
            await asyncio.sleep(1.5)
            waiting = await town.deliveries("energie")
            tried = [one for one in await town.attempts("energie") if one.outcome == "tijdelijk"]
            assert len(tried) <= 5 + 5  # a window and its probes
            assert sum(row.tries for row in waiting) == len(tried)
            assert {row.tries for row in waiting} <= {0, 1, 2}
            assert all(row.next_action_at for row in waiting)
        await town.hand_over("energie")
        assert sorted(town.webhooks["energie"].deliveries) == [row.id for row in waiting]
        assert {row.deaths for row in await town.rows(schema.lane)} == {0}


async def test_what_is_overdue_does_not_wait_for_a_lane_that_is_dead(sqlite_url: str, tmp_path: Path) -> None:
    patient = neighbour("energie", "webhook", "sftp", uitwijken_na="1 s")
    slow = {"eerste_herhaling": "2 s", "hoogste_herhaling": "60 s", "lease": "0.6 s"}
    async with running(tmp_path, sqlite_url, [patient], tempo=slow) as town, town.webhooks["energie"].is_down():
        await town.send(*notices(20, "energie"))
        await town.hand_over()
        attempts = await town.attempts()
        assert sum(one.outcome == "overgedragen" and one.channel == "sftp" for one in attempts) == 20
        assert sum(one.outcome == "tijdelijk" for one in attempts) <= 5 + 2


async def test_what_is_given_up_in_a_dead_lane_becomes_a_task(sqlite_url: str, tmp_path: Path) -> None:
    slow = {"eerste_herhaling": "20 s", "hoogste_herhaling": "60 s", "lease": "0.6 s", "opgeven_na": "1 s"}
    async with running(tmp_path, sqlite_url, [neighbour("energie")], tempo=slow) as town:
        async with town.webhooks["energie"].is_down():
            await town.send(*notices(12, "energie"))
            await town.reach("mislukt")
        assert await town.tasks() == ["opgegeven"] * 12
        assert {row.tries for row in await town.deliveries()} == {0, 1}


async def test_a_refusal_of_one_message_is_nothing_against_the_creditor(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")], tempo=CALM) as town:
        async with town.webhooks["energie"].refuses():
            await town.send(*notices(30, "energie"))
            await town.reach("mislukt")
        assert len(town.webhooks["energie"].starts) == 30
        assert not any(row.deaths for row in await town.rows(schema.lane))


async def test_retry_after_outlives_a_restart(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")], tempo=CALM) as town:
        window = town.webhooks["energie"]
        async with window.answers_with(503, {"Retry-After": "2"}):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie")
        await town.stop()
        await town.start()
        await town.send(notice("SHV-2", 1, "energie"))
        await town.hand_over()
        first, second, *_ = window.starts
        assert second - first >= 1.95


@pytest.mark.parametrize("limit", [{}, {"per_seconde": 20}])
async def test_a_clock_that_is_set_back_holds_up_no_lane(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie", limiet=limit)], tempo=CALM) as town:
        await town.send(*notices(3, "energie"))
        await town.hand_over()
        set_back(town, monkeypatch, 200)  # a creditor takes no signature that is five minutes off
        await town.send(notice("SHV-NEW", 1, "energie"))
        await town.hand_over(within=3.0)


async def test_what_a_creditor_asked_for_by_a_clock_that_was_ahead_does_not_come_back_with_a_restart(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")], tempo=CALM) as town:
        window = town.webhooks["energie"]
        set_back(town, monkeypatch, -200)
        async with window.answers_with(503, {"Retry-After": "1"}):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie")
        set_back(town, monkeypatch, 0)
        await sent_and_taken(town, "SHV-2")
        await town.stop()
        await town.start()
        await sent_and_taken(town, "SHV-3")


async def sent_and_taken(town: Town, dossier: str) -> None:
    await town.send(notice(dossier, 1, "energie"))
    (new,) = (await town.deliveries())[-1:]
    assert await town.until(lambda: has(town.webhooks["energie"], new.id), within=4.0)


def set_back(town: Town, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """The wall clock of its gateway, and no other."""
    monkeypatch.setattr(town.gateway.clock, "micros", lambda: Clock().micros() - seconds * SECOND)


# -- a backlog -------------------------------------------------------------------------------------------------------


async def test_a_new_notice_goes_before_the_backlog_of_a_creditor_that_is_back(ledger_url: str, tmp_path: Path) -> None:
    one_by_one = neighbour("energie", limiet={"gelijktijdig": 1})
    async with running(tmp_path, ledger_url, [one_by_one], tempo=CALM) as town:
        window = town.webhooks["energie"]
        async with window.is_down():
            await town.send(*notices(80, "energie"))
            await lane_dies(town, "energie")
        async with window.takes(0.02):
            await town.until(lambda: took(window, 5))
            await town.send(notice("SHV-NEW", 1, "energie"))
            (new,) = (await town.deliveries())[-1:]
            await town.until(lambda: has(window, new.id))
        await town.hand_over()
        tries = await town.attempts("energie")
        (its,) = [one for one in tries if one.delivery_id == new.id]
        # from its intent on record: the one under way, and by turns one of the backlog
        before = [one for one in tries if its.started_at < one.finished_at < its.finished_at]
        assert len(before) <= 3
        assert sum(one.finished_at > its.finished_at for one in tries) >= 20


async def took(window: Window, number: int) -> bool:
    return len(window.deliveries) >= number


async def has(window: Window, delivery: str) -> bool:
    return delivery in window.deliveries


# -- the register ----------------------------------------------------------------------------------------------------


async def test_a_changed_limit_reaches_a_lane_that_is_at_work(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", NEXT_REGISTER)
    narrow = neighbour("energie", limiet={"gelijktijdig": 1, "per_seconde": 2})
    async with running(tmp_path, sqlite_url, [narrow]) as town, town.webhooks["energie"].takes(0.05):
        window = town.webhooks["energie"]
        await town.send(*notices(24, "energie"))
        await town.until(lambda: took(window, 1))
        assert window.most_at_once == 1
        file = town.directory / "schuldeisers.toml"
        file.write_text(file.read_text().replace("gelijktijdig = 1, per_seconde = 2", "gelijktijdig = 4"))
        assert await apply_register(town.ledger, Clock(), read_register(file))
        await town.hand_over(within=5.0)
        assert window.most_at_once == 4


# -- together --------------------------------------------------------------------------------------------------------


async def test_a_limit_counts_for_all_gateways_together(postgres_url: str, tmp_path: Path) -> None:
    narrow = neighbour("energie", limiet={"gelijktijdig": 2})
    async with running(tmp_path, postgres_url, [narrow]) as town, colleague(town) as other:
        async with town.webhooks["energie"].takes(0.03):
            await asyncio.gather(
                *(say(gateway, part) for gateway, part in zip(both(town, other), parts(), strict=True))
            )
            await town.hand_over()
        assert town.webhooks["energie"].most_at_once == 2


def both(town: Town, other: app.Gateway) -> tuple[app.Gateway, app.Gateway]:
    return town.gateway, other


def parts() -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]:
    every = notices(30, "energie")
    return every[:15], every[15:]


async def test_work_that_comes_in_at_one_gateway_goes_out_at_once_by_the_other_that_owns_the_lane(
    postgres_url: str, tmp_path: Path
) -> None:
    everybody = [neighbour("energie"), neighbour("zorg")]
    async with running(tmp_path, postgres_url, everybody, tempo={"lease": "30 s"}) as town, colleague(town) as other:
        await say(town.gateway, [notice("SHV-0", 1, "energie", "zorg")])
        await town.hand_over()
        await town.until(lambda: owners(town, 2))
        for nr, gateway in enumerate(both(town, other)):
            await say(gateway, [notice(f"SHV-1{nr}", 1, "energie", "zorg")])
            await town.hand_over(within=2.0)  # a sweep comes after 15 s
        assert len({one.owner for one in await town.attempts()}) == 2


async def owners(town: Town, number: int) -> bool:
    return len({row.owner for row in await town.rows(schema.lane)} - {None}) == number


async def test_the_lanes_of_a_gateway_that_stops_are_taken_over_at_once(postgres_url: str, tmp_path: Path) -> None:
    everybody = [neighbour("energie"), neighbour("zorg")]
    async with running(tmp_path, postgres_url, everybody, tempo={"lease": "30 s"}) as town:
        async with colleague(town):
            await town.send(notice("SHV-0", 1, "energie", "zorg"))
            await town.hand_over()
            await town.until(lambda: owners(town, 2))
        await town.send(notice("SHV-1", 1, "energie", "zorg"))
        await town.hand_over(within=2.0)
        assert await owners(town, 1)


async def test_a_gateway_that_is_stopping_lets_lanes_go_while_it_waits_for_what_is_under_way(
    postgres_url: str, tmp_path: Path
) -> None:
    everybody = [neighbour("energie"), neighbour("zorg"), neighbour("bank"), neighbour("huur")]
    names = [one.id for one in everybody]
    patient = {"lease": "30 s", "antwoord_binnen": "20 s"}
    async with running(tmp_path, postgres_url, everybody, tempo=patient) as town, colleague(town) as other:
        await say(other, [notice("SHV-0", 1, *names)])
        await town.hand_over()
        await town.until(lambda: owners(town, 2))
        async with town.webhooks["energie"].takes(4.0):
            await say(other, [notice("SHV-1", 1, "energie")])
            await town.until(lambda: begun(town.webhooks["energie"], 2))
            stopping = asyncio.create_task(stop_owner_of(town, other, "energie"))
            others = [name for name in names if name != "energie"]
            staying = await town.until(lambda: one_owner(town, others), within=3.0)
            assert not stopping.done()
            await stopping
        assert staying


async def begun(window: Window, number: int) -> bool:
    return len(window.starts) >= number


async def one_owner(town: Town, creditors: Sequence[str]) -> bool:
    found = {row.owner for row in await town.rows(schema.lane) if row.creditor in creditors}
    return len(found) == 1 and None not in found


async def stop_owner_of(town: Town, other: app.Gateway, creditor: str) -> None:
    """It stops sending, as at the begin of a shutdown."""
    (owner,) = [row.owner for row in await town.rows(schema.lane) if row.creditor == creditor]
    gateways = {gateway.dispatch.me: gateway for gateway in both(town, other)}
    await gateways[owner].dispatch.stop(10.0)
