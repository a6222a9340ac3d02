"""What leaves the gateway: in which order, how fast, again where it must, and always with the same bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec import structs
from sqlalchemy import Connection, select, text

from adapters.webhook.adapter import Webhook
from gateway import app
from gateway.app import Gateway, apply_register
from gateway.clock import Clock
from gateway.config import read_config
from gateway.contract import Draft, Endpoint, Link, OpenDelivery, Outcome, Parcel, Receive, Rendition
from gateway.core import lane
from gateway.intake import Accepted, Arrival
from gateway.ledger import schema
from gateway.register import load_channels, read_register
from gateway.tables import Address
from tests.flow.desk import SENDER, notice, progress
from tests.flow.running import Town, Window, neighbour, running
from tests.servers import PostgreSQL, free_port

NEXT_REGISTER = 0.1
"""Seconds between two looks at the register, in a test that changes it."""


def notices(number: int, *creditors: str) -> list[dict[str, Any]]:
    """Kennisgevingen of so many dossiers, each for the same creditors."""
    return [notice(f"SHV-{nr}", 1, *creditors) for nr in range(number)]


# -- order -----------------------------------------------------------------------------------------------------------


async def test_a_creditor_that_fails_for_a_while_gets_everything_in_the_order_of_the_dossier(
    ledger_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg")]) as town:
        async with town.webhooks["energie"].answers_with(503):
            await town.send(notice("SHV-1", 1, "energie", "zorg"), progress("SHV-1", 2))
            await town.send(notice("SHV-1", 3, "energie", "zorg", contactpersoon={"naam": "Ander team"}))
            await town.send(progress("SHV-1", 4))
            await town.try_out("energie", 3)
            await town.hand_over("zorg")
        versions = {row.id: row.versie for row in await town.hand_over()}
        for creditor in ("energie", "zorg"):
            assert [versions[id_] for id_ in town.webhooks[creditor].deliveries] == [1, 2, 3, 4]
        failed = [one for one in await town.attempts("energie") if one.outcome == "tijdelijk"]
        assert {versions[one.delivery_id] for one in failed} == {1}


async def test_nothing_is_said_to_a_creditor_that_could_not_be_told_of_the_dossier(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        async with town.webhooks["energie"].refuses():
            await town.send(notice("SHV-1", 1, "energie"), progress("SHV-1", 2))
            await town.reach("mislukt")
        assert [one.versie for one in await town.deliveries()] == [1, 2]
        assert len(town.webhooks["energie"].starts) == 1
        assert await town.tasks() == ["kanaal_geweigerd", "kanaal_geweigerd"]


async def test_what_an_agent_hears_for_one_creditor_is_never_mixed_up_with_what_it_hears_for_another(
    sqlite_url: str, tmp_path: Path
) -> None:
    everybody = [neighbour("bank", vertegenwoordigers=["incasso"]), neighbour("incasso", "cjib")]
    async with running(tmp_path, sqlite_url, everybody) as town:
        await town.send(notice("SHV-1", 1, "bank", "incasso"), progress("SHV-1", 2))
        await town.hand_over()
        assert town.cjib is not None
        cases = town.cjib.cases("incasso")
        assert {case.view.get("namens") for case in cases} == {"bank B.V.", None}
        for case in cases:
            assert [said.get("namens") for said in case.messages] == [case.view.get("namens")]


# -- lanes -----------------------------------------------------------------------------------------------------------


async def test_a_creditor_that_hangs_delays_nobody_else(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie"), neighbour("zorg")]) as town:
        async with town.webhooks["energie"].hangs():
            await town.send(*notices(30, "energie", "zorg"))
            await town.hand_over("zorg", within=1.5)  # a single attempt on energie takes 2 s
            assert "afgeleverd" not in {row.state for row in await town.deliveries("energie")}
        await town.hand_over("energie")


async def test_a_creditor_never_has_more_in_hand_than_its_limit(sqlite_url: str, tmp_path: Path) -> None:
    slow = neighbour("energie", limiet={"gelijktijdig": 2})
    async with running(tmp_path, sqlite_url, [slow]) as town, town.webhooks["energie"].takes(0.03):
        await town.send(*notices(12, "energie"))
        await town.hand_over()
        assert town.webhooks["energie"].most_at_once == 2


async def test_attempts_start_no_faster_than_the_creditors_rate(sqlite_url: str, tmp_path: Path) -> None:
    slow = neighbour("energie", limiet={"per_seconde": 25})
    async with running(tmp_path, sqlite_url, [slow]) as town:
        await town.send(*notices(12, "energie"))
        await town.hand_over()
        starts = town.webhooks["energie"].starts
        assert starts[-1] - starts[0] >= 11 / 25 * 0.9
        assert all(later - earlier >= 5 / 25 * 0.8 for earlier, later in zip(starts, starts[5:], strict=False))


async def test_retry_after_holds_the_whole_lane(sqlite_url: str, tmp_path: Path) -> None:
    one_by_one = neighbour("energie", limiet={"gelijktijdig": 1})
    async with running(tmp_path, sqlite_url, [one_by_one]) as town:
        async with town.webhooks["energie"].answers_with(503, {"Retry-After": "1"}):
            await town.send(*notices(3, "energie"))
            await town.try_out("energie")
        await town.hand_over()
        first, second, *_ = town.webhooks["energie"].starts
        assert second - first >= 1.0
        assert len(town.webhooks["energie"].starts) == 4


async def test_what_is_to_be_tried_again_is_not_forgotten_over_newer_work(sqlite_url: str, tmp_path: Path) -> None:
    slow = {"eerste_herhaling": "0.5 s", "hoogste_herhaling": "60 s", "lease": "60 s"}
    async with running(tmp_path, sqlite_url, [neighbour("energie")], tempo=slow) as town:
        async with town.webhooks["energie"].answers_with(503):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie")
        await town.send(notice("SHV-2", 1, "energie"))
        await town.hand_over()


async def test_what_another_transaction_holds_at_that_moment_goes_right_after_it(
    postgres_url: str, tmp_path: Path
) -> None:
    slow = {"eerste_herhaling": "0.3 s", "hoogste_herhaling": "60 s", "lease": "60 s"}
    async with running(tmp_path, postgres_url, [neighbour("energie")], tempo=slow) as town:
        async with town.webhooks["energie"].answers_with(503):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie")
        await town.ledger.run(_hold_all_deliveries)
        await town.hand_over(within=5.0)


def _hold_all_deliveries(connection: Connection) -> None:
    """For longer than it takes until the next attempt is due."""
    connection.execute(select(schema.delivery.c.id).with_for_update())
    connection.execute(text("SELECT pg_sleep(0.7)"))


async def test_an_idle_gateway_delivers_at_once(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        await town.send(notice("SHV-0", 1, "energie"))  # connects
        await town.hand_over()
        waits = []
        for nr in range(1, 4):
            accepted = asyncio.get_running_loop().time()
            await town.send(notice(f"SHV-{nr}", 1, "energie"))
            await town.hand_over()
            waits.append(town.webhooks["energie"].starts[-1] - accepted)
        assert min(waits) < 0.2


# -- channels --------------------------------------------------------------------------------------------------------


async def test_a_channel_that_refuses_is_followed_by_the_next_under_the_same_id(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", "webhook", "sftp")]) as town:
        async with town.webhooks["energie"].refuses():
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.hand_over()
        assert [(one.channel, one.outcome) for one in await town.attempts()] == [
            ("webhook", "geweigerd"),
            ("sftp", "overgedragen"),
        ]
        assert town.sftp is not None
        assert len(town.sftp.received(row.id)) == 1
        assert (await town.hears("bezorging-afgeleverd"))["kanaal"] == "sftp"
        assert await town.tasks() == []


async def test_a_channel_that_is_slow_to_succeed_is_followed_by_the_next(sqlite_url: str, tmp_path: Path) -> None:
    patient = neighbour("energie", "webhook", "sftp", uitwijken_na="0.3 s")
    async with running(tmp_path, sqlite_url, [patient]) as town, town.webhooks["energie"].answers_with(503):
        await town.send(notice("SHV-1", 1, "energie"))
        await town.hand_over()
        assert (await town.hears("bezorging-afgeleverd"))["kanaal"] == "sftp"


async def test_a_channel_that_is_gone_stays_closed_until_the_register_changes(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", NEXT_REGISTER)
    async with running(tmp_path, ledger_url, [neighbour("energie", "webhook", "sftp")]) as town:
        window = town.webhooks["energie"]
        async with window.answers_with(410):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.hand_over()
        assert await town.tasks() == ["kanaal_gesloten"]
        await town.stop()
        await town.start()
        await town.send(notice("SHV-2", 1, "energie"))
        await town.hand_over()
        assert len(window.starts) == 1
        await _rename(town, "energie B.V.", "Energie Anders B.V.")
        await town.send(notice("SHV-3", 1, "energie"))
        await town.hand_over()
        assert len(window.starts) == 2


async def test_a_channel_that_is_gone_is_so_for_every_gateway(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", NEXT_REGISTER)
    reachable = neighbour("energie", "webhook", "sftp")
    async with running(tmp_path, postgres_url, [reachable]) as town, colleague(town) as other:
        async with town.webhooks["energie"].answers_with(410):
            await town.send(notice("SHV-1", 1, "energie"))
            await town.hand_over()

        async def both_know() -> bool:
            return {gateway.links.open_channels("energie") for gateway in (town.gateway, other)} == {("sftp",)}

        assert await town.until(both_know)


async def _rename(town: Town, old: str, new: str) -> None:
    """Apply a register in which one name is another, and wait until the gateway has it."""
    file = town.directory / "schuldeisers.toml"
    file.write_text(file.read_text().replace(old, new))
    assert await apply_register(town.ledger, Clock(), read_register(file))

    async def is_open() -> bool:
        return not town.gateway.links.closed

    await town.until(is_open)


async def test_what_nobody_takes_in_time_fails_with_a_task_and_an_event(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")], tempo={"opgeven_na": "0.4 s"}) as town:
        async with town.webhooks["energie"].answers_with(503):
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach("mislukt")
        assert await town.tasks() == ["opgegeven"]
        told = await town.hears("bezorging-mislukt", "energie")
        assert (told["bezorging"], told["dossierkenmerk"], told["versie"]) == (row.id, "SHV-1", 1)
        assert row.next_action_at is None


# -- in doubt --------------------------------------------------------------------------------------------------------


async def test_a_lost_reply_is_followed_by_the_same_bytes(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        window = town.webhooks["energie"]
        async with window.drops_reply():
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie", 2)
        (row,) = await town.hand_over()
        attempts = await town.attempts()
        assert [one.outcome for one in attempts[:2]] == ["onzeker", "onzeker"]
        seen = {sighting.digest for sighting in window.received(row.id)}
        assert seen == {bytes(one.digest).hex() for one in attempts}
        assert len(seen) == 1
        assert len(window.received(row.id)) == len(attempts)


@pytest.mark.parametrize("channel", ["cjib", "sftp"])
async def test_after_a_lost_reply_a_creditor_that_can_be_asked_gets_nothing_twice(
    sqlite_url: str, tmp_path: Path, channel: str
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie", channel)]) as town:
        peer = town.cjib if channel == "cjib" else town.sftp
        assert peer is not None
        async with peer.drops_reply():
            await town.send(notice("SHV-1", 1, "energie"))
            await town.try_out("energie")
        (row,) = await town.hand_over()
        assert [one.outcome for one in await town.attempts()] == ["onzeker", "overgedragen"]
        (seen,) = peer.received(row.id)
        assert {seen.digest} == {bytes(one.digest).hex() for one in await town.attempts()}


async def test_a_key_that_is_missing_is_our_fault_and_costs_no_retries(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lane, "OWN_FAULT_PAUSE", 0.2)
    key = tmp_path / "webhook" / "energie.whsec"
    away = key.with_suffix(".weg")
    async with running(tmp_path, sqlite_url, [neighbour("energie")], change=lambda _: _move(key, away)) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("wacht_op_poging")
        row = await town.delivery("energie")
        assert (row.tries, await town.attempts()) == (0, [])
        assert '"level":"error"' in next(line for line in capsys.readouterr().err.splitlines() if "own_fault" in line)
        _move(away, key)
        await town.hand_over()
        assert await town.tasks() == []


def _move(old: Path, new: Path) -> None:
    old.rename(new)


class Clumsy:
    """An adapter with a bug: the first time it does `fault`, it raises."""

    error: ClassVar[type[BaseException]] = ZeroDivisionError
    slow_render: ClassVar[bool] = False
    collects: ClassVar[bool] = True

    def __init__(self, link: Link, fault: str) -> None:
        self._link = link
        self._fault = fault
        self.has_stumbled = False
        self.collected = 0

    def stumble(self, deed: str) -> None:
        if deed == self._fault and not self.has_stumbled:
            self.has_stumbled = True
            raise self.error(deed)

    def render(self, draft: Draft) -> Rendition:
        self.stumble("render")
        return self._link.render(draft)

    async def send(self, parcel: Parcel) -> Outcome:
        self.stumble("send")
        return await self._link.send(parcel)

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        self.stumble("resolve")
        return await self._link.resolve(parcel)

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        self.stumble("collect")
        await self._link.collect(open_deliveries, receive)
        self.collected += 1

    async def aclose(self) -> None:
        await self._link.aclose()


class ClumsyAndSlow(Clumsy):
    slow_render: ClassVar[bool] = True


class Interrupted(Clumsy):
    """An adapter that waits for what somebody else cancels."""

    error: ClassVar[type[BaseException]] = asyncio.CancelledError


class Unstoppable(BaseException):
    """What no `except Exception` catches."""


class Violent(Clumsy):
    error: ClassVar[type[BaseException]] = Unstoppable


class ClumsyWebhook(Webhook):
    kind: type[Clumsy] = Clumsy
    fault = ""
    made: Clumsy | None = None

    def link(self, endpoint: Endpoint) -> Link:  # type: ignore[override]  # it is a webhook's, in a bad wrapping
        if self.made is None:
            self.made = self.kind(super().link(endpoint), self.fault)
            self.made.stumble("link")
        return self.made


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Clumsy, "send"),
        (Clumsy, "resolve"),
        (Clumsy, "render"),
        (ClumsyAndSlow, "render"),
        (Clumsy, "collect"),
        (Clumsy, "link"),
        (Interrupted, "send"),
        (Interrupted, "resolve"),
        (Violent, "send"),
    ],
)
async def test_an_adapter_that_raises_holds_up_nobody_and_nothing_for_good(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Clumsy], fault: str
) -> None:
    monkeypatch.setattr(lane, "OWN_FAULT_PAUSE", 0.2)
    monkeypatch.setattr(ClumsyWebhook, "kind", kind)
    monkeypatch.setattr(ClumsyWebhook, "fault", fault)
    monkeypatch.setattr(app, "load_channels", lambda: {**load_channels(), "webhook": ClumsyWebhook})
    everybody = [neighbour("energie"), neighbour("zorg", "sftp")]
    async with running(tmp_path, sqlite_url, everybody, tempo={"lease": "2 s"}) as town:
        if fault == "resolve":
            async with town.webhooks["energie"].drops_reply():
                await town.send(notice("SHV-0", 1, "energie"))
                await town.try_out("energie")
        await town.send(*notices(3, "energie", "zorg"))
        await town.hand_over()
        webhook = town.gateway.links.channels["webhook"]
        assert isinstance(webhook, ClumsyWebhook)
        assert webhook.made is not None
        assert webhook.made.has_stumbled
        if fault == "send" and kind is not Violent:
            assert "onzeker" in {one.outcome for one in await town.attempts("energie")}


async def _loses_its_link(town: Town) -> None:
    """Its register entry changes while a token is waited for."""
    office = town.cjib
    assert office is not None

    async def is_asked() -> bool:
        return office.asked > 0

    async def is_known() -> bool:
        entry = town.gateway.links.register.by_id.get("energie")
        return entry is not None and entry.name == "Energie Anders B.V."

    await town.until(is_asked)
    await _rename(town, "energie B.V.", "Energie Anders B.V.")
    await town.until(is_known)


async def test_an_attempt_whose_link_is_closed_is_made_again_by_the_register_in_force(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", NEXT_REGISTER)
    slow = {"antwoord_binnen": "30 s"}
    async with running(tmp_path, sqlite_url, [neighbour("energie", "cjib")], tempo=slow) as town:
        assert town.cjib is not None
        async with town.cjib.keeps_its_tokens():
            await town.send(notice("SHV-1", 1, "energie"))
            await _loses_its_link(town)
            await town.try_out("energie")
        await town.hand_over()
        first, *_ = await town.attempts()
        assert (first.outcome, first.code) == ("tijdelijk", "verbroken")


async def test_a_creditor_whose_link_is_closed_while_it_is_asked_is_asked_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", NEXT_REGISTER)
    slow = {"antwoord_binnen": "30 s"}
    async with running(tmp_path, sqlite_url, [neighbour("energie", "cjib")], tempo=slow) as town:
        assert town.cjib is not None
        town.cjib.polls = 1_000_000
        await town.send(notice("SHV-1", 1, "energie"))
        await town.hand_over()
        async with town.cjib.keeps_its_tokens():
            await _loses_its_link(town)
        town.cjib.polls = 1
        await town.reach("bevestigd")


async def test_collecting_goes_on_after_a_round_that_somebody_else_cancelled(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClumsyWebhook, "kind", Interrupted)
    monkeypatch.setattr(ClumsyWebhook, "fault", "collect")
    monkeypatch.setattr(app, "load_channels", lambda: {**load_channels(), "webhook": ClumsyWebhook})
    async with running(tmp_path, sqlite_url, [neighbour("energie")], tempo={"peiling": "0.1 s"}) as town:
        webhook = town.gateway.links.channels["webhook"]
        assert isinstance(webhook, ClumsyWebhook)

        async def collects_again() -> bool:
            return webhook.made is not None and webhook.made.has_stumbled and webhook.made.collected > 0

        await town.until(collects_again)


class Allergic(Clumsy):
    """There is one dossier that it can never render."""

    def render(self, draft: Draft) -> Rendition:
        if draft.view.dossierkenmerk == "SHV-0":
            raise ZeroDivisionError("render")
        return self._link.render(draft)


class AllergicAndSlow(Allergic):
    slow_render: ClassVar[bool] = True


@pytest.mark.parametrize("kind", [Allergic, AllergicAndSlow])
async def test_what_cannot_be_rendered_is_our_fault_and_holds_up_nothing_else(
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type[Clumsy],
) -> None:
    monkeypatch.setattr(ClumsyWebhook, "kind", kind)
    monkeypatch.setattr(app, "load_channels", lambda: {**load_channels(), "webhook": ClumsyWebhook})
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        await town.send(*notices(1, "energie"))
        (poisonous,) = await town.reach("wacht_op_poging")
        before = Clock().micros()
        await town.send(*notices(4, "energie")[1:])

        async def others() -> bool:
            return [row.state for row in await town.deliveries()].count("afgeleverd") == 3

        await town.until(others)
        now = next(row for row in await town.deliveries() if row.id == poisonous.id)
        assert (now.state, now.tries, await town.tasks()) == ("wacht_op_poging", 0, [])
        assert now.next_action_at > before + 30 * lane.SECOND
        faults = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"own_fault"' in line]
        assert [(line["level"], line["code"]) for line in faults] == [("error", "niet_opgemaakt")]


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_a_gateway_that_stops_finishes_what_is_in_flight_and_gives_back_the_rest(
    ledger_url: str, tmp_path: Path
) -> None:
    slow = neighbour("energie", limiet={"gelijktijdig": 2})
    async with running(tmp_path, ledger_url, [slow]) as town:
        window = town.webhooks["energie"]
        async with window.takes(0.2):
            await town.send(*notices(12, "energie"))
            await town.until(lambda: _begun(window, 3))
            await town.stop()
        rows = await town.deliveries()
        taken = {row.id for row in rows if row.state == "afgeleverd"}
        assert taken == set(window.deliveries)
        assert 2 <= len(taken) <= 4
        assert {row.state for row in rows if row.id not in taken} <= {"in_wachtrij", "wacht_op_poging"}
        assert {row.owner for row in rows} == {None}
        await town.start()
        await town.hand_over(within=3.0)
        assert sorted(window.deliveries) == [row.id for row in rows]


async def _begun(window: Window, number: int) -> bool:
    return len(window.starts) >= number


async def test_a_gateway_stops_in_time_also_when_its_ledger_is_away(
    postgres: PostgreSQL, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.5)
    monkeypatch.setattr(app, "LAST_EVENTS", 0.5)
    async with running(tmp_path, postgres_url, [neighbour("energie")], tempo={"lease": "1 s"}) as town:
        async with town.webhooks["energie"].takes(0.3):
            await town.send(*notices(20, "energie"))
            await town.until(lambda: _begun(town.webhooks["energie"], 1))
            await asyncio.to_thread(postgres.kill)
            try:
                async with asyncio.timeout(5):
                    await town.stop()
            finally:
                await asyncio.to_thread(postgres.start)
        await town.start()
        await town.hand_over()


# -- together --------------------------------------------------------------------------------------------------------


async def test_two_gateways_share_the_work_and_nothing_goes_twice_or_out_of_order(
    postgres_url: str, tmp_path: Path
) -> None:
    creditors = [neighbour("energie"), neighbour("zorg")]
    async with running(tmp_path, postgres_url, creditors) as town, colleague(town) as other:
        async with asyncio.TaskGroup() as sending:
            for nr in range(30):
                sending.create_task(_tell_all(nr, [town.gateway, other]))
        rows = {row.id: row for row in await town.hand_over()}
        for window in town.webhooks.values():
            assert len(window.deliveries) == len(set(window.deliveries)) == 90
            for dossier in {row.dossier_id for row in rows.values()}:
                versions = [rows[id_].versie for id_ in window.deliveries if rows[id_].dossier_id == dossier]
                assert versions == [1, 2, 3]
        assert len({one.owner for one in await town.attempts()}) == 2


async def _tell_all(nr: int, gateways: Sequence[Gateway]) -> None:
    """Three versions of one dossier, each through another gateway than the one before."""
    later = notice(f"SHV-{nr}", 3, "energie", "zorg", contactpersoon={"naam": "Ander team"})
    for version, event in enumerate([notice(f"SHV-{nr}"), progress(f"SHV-{nr}", 2), later]):
        await say(gateways[(nr + version) % 2], [event])


async def say(gateway: Gateway, events: Sequence[dict[str, Any]]) -> None:
    """Through the door of this one."""
    arrivals = [Arrival("http", SENDER, json.dumps(event).encode()) for event in events]
    assert all(isinstance(verdict, Accepted) for verdict in await gateway.intake.accept(arrivals))


@asynccontextmanager
async def colleague(town: Town) -> AsyncIterator[Gateway]:
    """Another gateway on the same ledger."""
    config = read_config(town.directory / "gateway.toml", {})
    http = structs.replace(config.http, listen=Address("127.0.0.1", free_port()))
    gateway = Gateway(structs.replace(config, http=http))
    run = asyncio.create_task(gateway.run())

    async def is_ready() -> bool:
        return not await gateway.reasons_not_ready()

    await town.until(is_ready)
    try:
        yield gateway
    finally:
        gateway.stop()
        await run


# -- at rest ---------------------------------------------------------------------------------------------------------

CANARIES = (
    "Kanarievogel",
    "999990007",
    "K-774411",
    "Lijsterbesstraat",
    "F-118-kanarie",
    "Team Kanarie",
    "kanarie-reden",
)


async def test_nothing_personal_can_be_read_in_the_files_of_the_ledger(sqlite_url: str, tmp_path: Path) -> None:
    ways = ["webhook:in_reply", "sftp:answers", "email:answers", "cjib"]
    everybody = [neighbour(way.partition(":")[0], way, decide=_talkative, bsn_grondslag="art. 1") for way in ways]
    event = notice("SHV-1", 1, *[one.id for one in everybody], contactpersoon={"naam": "Team Kanarie"})
    event["data"]["hulpvrager"] |= {"achternaam": "Kanarievogel", "bsn": "999990007"}
    event["data"]["hulpvrager"]["adres"]["straat"] = "Lijsterbesstraat"
    for named in event["data"]["schuldeisers"]:
        named |= {"klantnummer": "K-774411", "vorderingen": [{"kenmerk": "F-118-kanarie"}]}
    async with running(tmp_path, sqlite_url, everybody) as town:
        await town.send(event, event | {"id": "x"} | {"data": {**event["data"], "versie": "Kanarievogel"}})
        await town.reach("bevestigd")
        files = {file.name: file.read_bytes() for file in tmp_path.glob("ledger.db*")}
        assert {"ledger.db", "ledger.db-wal"} <= files.keys()
        assert [(name, word) for name, content in files.items() for word in CANARIES if word.encode() in content] == []
        received = b"".join(
            file.read_bytes() for file in (tmp_path / "sftp" / "sftp" / "inbox").iterdir() if file.is_file()
        )
        assert b"Kanarievogel" in received


def _talkative(view: Any) -> dict[str, Any]:
    return {"soort": "pauze_ingesteld", "reden": "kanarie-reden", "klantnummer": "K-774411"}
