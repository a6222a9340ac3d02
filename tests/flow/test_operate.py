"""A gateway that is watched: its metrics move, it says when it is not ready and when it is again, alarms are raised for
what is wrong, and nothing of it tells anything about people."""

import asyncio
import io
import json
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from gateway import amqp, app, watch
from gateway.attempts import Attempts
from gateway.cancellation import CutOff
from gateway.certificates import certificates
from gateway.config import Config, read_config
from gateway.core import health
from gateway.core.health import STUCK_AFTER
from gateway.core.outcome import Evidence, Transient
from gateway.core.spread import spread
from gateway.dispatch.settling import Settling
from gateway.dispatch.tenure import Tenure
from gateway.intake import Accepted
from gateway.ledger import engine, lanes, schema
from gateway.ledger.engine import Ledger, LedgerAway
from gateway.log import configure
from gateway.meters import Meters
from gateway.outbox import Outbox
from gateway.pki import Authority, make_dev_pki
from gateway.spool import Spool
from gateway.watch import Sources, Watch
from tests.conftest import Broker
from tests.faults.proxy import Proxy
from tests.flow.desk import Desk, StandingClock, notice, open_desk
from tests.flow.relay import Relay
from tests.flow.running import Event, Town, neighbour, running
from tests.test_in_hand import ready

SECOND = 1_000_000
PERSONAL: dict[str, Any] = {
    "hulpvrager": {
        "voornamen": "Kanarie Vogel",
        "achternaam": "O'Canary",
        "geboortedatum": "1961-02-03",
        "bsn": "999990019",
        "adres": {"straat": "Kanariestraat", "huisnummer": 77, "postcode": "1015CN", "woonplaats": "Kanariedam"},
    },
    "contactpersoon": {"naam": "Contactkanarie", "telefoon": "+31611122233"},
    "schuldeisers": [{"schuldeiser": "energie", "klantnummer": "KLANTKANARIE-1"}, {"schuldeiser": "zorg"}],
}
CANARIES = ("kanarie", "canary", "1961-02-03", "999990019", "1015cn", "+31611122233", "shv-geheim")


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "WATCH", 0.3)
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(watch, "LOOK_SHARE", 1)


class Lines(io.StringIO):
    """What was logged."""

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.getvalue().splitlines()) if line["event"] == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    handlers, level = list(root.handlers), root.level
    stream = Lines()
    configure(stream)
    yield stream
    configure(None)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], root.level = handlers, level
    logging.raiseExceptions = True
    logging.captureWarnings(capture=False)


async def said(lines: Lines, event: str) -> list[dict[str, Any]]:
    return lines.of(event)


async def get(town: Town, path: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(town.url + path, ssl=town.anchor, headers=headers) as response,
    ):
        return response.status, await response.text()


async def metrics(town: Town) -> dict[str, float]:
    """Each sample by its name, with its label values behind it: `kennisgeving_attempts_total webhook overgedragen`."""
    status, text = await get(town, "/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    return {" ".join([one.name, *one.labels.values()]): one.value for each in families for one in each.samples}


async def shows(town: Town, **wanted: float) -> None:
    """Wait until these samples have these values; `__` stands for a space."""

    async def look() -> bool:
        now = await metrics(town)
        return all(now.get("kennisgeving_" + name.replace("__", " ")) == value for name, value in wanted.items())

    await town.until(look)


async def readiness(town: Town) -> tuple[int, dict[str, Any]]:
    status, text = await get(town, "/readyz")
    document: dict[str, Any] = json.loads(text)
    return status, document


async def becomes(town: Town, status: int, reason: str = "") -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        now, document = await readiness(town)
        return document if now == status and (not reason or reason in document["redenen"]) else {}

    return await town.until(look)


# -- metrics ---------------------------------------------------------------------------------------------------------


async def test_metrics_count_what_comes_in_and_what_goes_out(ledger_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg")]) as town:
        await shows(town, intake_total__http__aangenomen=0, ledger_up=1, outbox_events=0)
        await town.send(notice("SHV-1"), notice("SHV-1"), {**notice("SHV-2"), "type": "onzin"})
        await town.send(notice("SHV-3"), sender=None)
        await town.hand_over()
        await shows(
            town,
            intake_total__http__aangenomen=1,
            intake_total__http__dubbel=1,
            intake_total__http__geweigerd=1,
            intake_total__http__geparkeerd=1,
            attempts_total__webhook__overgedragen=2,
            attempt_seconds_count__webhook=2,
            attempt_wait_seconds_count__webhook=2,
            deliveries__webhook__afgeleverd=2,
            tasks_open__afzender_onbekend=1,
            oldest_due_seconds__webhook=0,
            outbox_events=0,
        )
        now = await metrics(town)
        assert now["kennisgeving_batch_size_sum ontvangen"] == 4
        assert now["kennisgeving_events_total bezorging-afgeleverd"] == 2
        assert "kennisgeving_consumer_up" not in now
        assert now["kennisgeving_certificate_days http.certificaat  "] == pytest.approx(397, abs=1)


async def test_a_lane_that_the_creditor_holds_is_seen_and_does_not_make_the_gateway_unready(
    ledger_url: str, tmp_path: Path
) -> None:
    async with (
        running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg")]) as town,
        town.webhooks["zorg"].answers_with(503, {"Retry-After": "3600"}),
    ):
        await town.send(notice("SHV-1"))
        await town.hand_over("energie")
        await town.try_out("zorg")
        await shows(town, lanes_held__webhook=1, attempts_total__webhook__tijdelijk=1)
        assert (await readiness(town))[0] == 200


async def test_metrics_and_signs_are_for_neighbours_and_not_for_who_comes_by_a_proxy(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        assert "tekens" in (await readiness(town))[1]
        for header in ("Forwarded", "X-Forwarded-For", "X-Real-IP"):
            assert (await get(town, "/metrics", **{header: "10.0.0.1"}))[0] == 404
            assert json.loads((await get(town, "/readyz", **{header: "10.0.0.1"}))[1]) == {"status": "gereed"}
        await town.stop()
        settings = tmp_path / "gateway.toml"
        settings.write_text(settings.read_text().replace("[http]", "[http]\nmeetwaarden = false"))
        await town.start()
        assert (await get(town, "/metrics"))[0] == 404


# -- ready or not ----------------------------------------------------------------------------------------------------


async def test_without_its_ledger_it_is_not_ready_says_so_at_once_and_is_again_when_it_is_back(
    postgres_url: str, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Relay(postgres_url) as relay, running(tmp_path, relay.url, [neighbour("energie")]) as town:
        await shows(town, ledger_up=1)
        before = (await metrics(town))["kennisgeving_alarms_total ledger_gone"]
        monkeypatch.setattr(health, "AWAY_AFTER", 0.3)
        await relay.cut()
        document = await becomes(town, 503, "het grootboek is niet bereikbaar")
        assert document["tekens"]["oudste_bezorging"] == 0
        await shows(town, ledger_up=0, alarms_total__ledger_gone=before + 1)
        assert [line["level"] for line in lines.of("ledger_gone")] == ["error"]
        assert (await metrics(town))["kennisgeving_ledger_look_age_seconds"] > 0
        assert (await get(town, "/healthz"))[0] == 200
        await relay.mend()
        await becomes(town, 200)
        await shows(town, ledger_up=1)


async def test_a_ledger_that_keeps_silent_holds_up_nobody_who_asks(postgres_url: str, tmp_path: Path) -> None:
    async with Relay(postgres_url) as relay, running(tmp_path, relay.url, [neighbour("energie")]) as town:
        relay.fall_silent()
        began = time.monotonic()
        await metrics(town)
        assert time.monotonic() - began < 1
        asked = await asyncio.gather(*(readiness(town) for _ in range(20)))
        assert time.monotonic() - began < watch.ANSWER_WITHIN + 2
        assert {(status, *document["redenen"]) for status, document in asked} == {(503, "het grootboek antwoordt niet")}
        relay.speak()
        await becomes(town, 200)


async def test_a_path_to_the_ledger_that_went_dark_ends_no_stage_refuses_no_notice_and_is_left_for_another(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent meanwhile never arrives, so that whoever waits for an answer on such a connection waits in vain."""
    monkeypatch.setattr("gateway.app.SILENT_AT_MOST", 1.0)
    monkeypatch.setattr(engine, "POOL_WAIT", 0.5)
    place = make_url(postgres_url)
    assert place.port
    async with Proxy(place.port) as proxy:
        url = place.set(port=proxy.port).render_as_string(hide_password=False)
        async with running(tmp_path, url, [neighbour("energie")]) as town:
            await town.send(notice("SHV-1", 1, "energie"))
            await town.reach("afgeleverd")
            async with proxy.spoiled(deaf=True):
                for _ in range(3):
                    with pytest.raises(LedgerAway):
                        await town.send(notice("SHV-2", 1, "energie"))
            await town.until(lambda: _accepts(town, notice("SHV-2", 1, "energie")))
            await becomes(town, 200)
            assert len(await town.reach("afgeleverd")) == 2
            assert await town.rows(schema.refusal) == []


async def _accepts(town: Town, event: Event) -> bool:
    try:
        (verdict,) = await town.send(event)
    except LedgerAway:
        return False
    return isinstance(verdict, Accepted)


async def test_without_its_broker_it_is_not_ready_and_is_again_when_it_is_back(
    broker: Broker, sqlite_url: str, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "AWAY_AFTER", 0.3)
    async with (
        Relay(broker.url()) as relay,
        running(tmp_path, sqlite_url, [neighbour("energie")], amqp={"url": relay.url}) as town,
    ):
        await shows(town, consumer_up=1)
        await relay.cut()
        await becomes(town, 503, "de wachtrij van RabbitMQ wordt niet gelezen")
        await shows(town, consumer_up=0)
        await town.until(lambda: said(lines, "consumer_absent"))
        await relay.mend()
        document = await becomes(town, 200)
        assert document["tekens"]["wachtrij_gelezen"] is True
        await shows(town, consumer_up=1)


async def test_a_blocked_event_loop_is_measured_and_an_alarm(sqlite_url: str, tmp_path: Path, lines: Lines) -> None:
    async with running(tmp_path, sqlite_url, [neighbour("energie")]) as town:
        time.sleep(1.3)  # noqa: ASYNC251 - this is the fault
        (line,) = await town.until(lambda: said(lines, "loop_lag"))
        assert (line["level"], line["seconden"] >= 1) == ("error", True)
        assert (await metrics(town))["kennisgeving_loop_lag_seconds"] >= 1
        assert (await readiness(town))[1]["tekens"]["lusvertraging"] >= 1


# -- the log ---------------------------------------------------------------------------------------------------------


async def _ends(*_: object) -> None:
    """At once, where it should not."""


async def _is_cut_off(*_: object) -> None:
    """As when somebody else cancels what is waited for."""
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("part", "deed", "fault"),
    [
        (Spool, "run", _ends),
        (Outbox, "_round", _is_cut_off),
        (Settling, "run", _is_cut_off),
        (Watch, "round", _is_cut_off),
        (Tenure, "_tell_forever", _is_cut_off),
    ],
)
async def test_a_gateway_of_which_one_part_ends_by_itself_ends_as_a_whole(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type, deed: str, fault: object
) -> None:
    monkeypatch.setattr(part, deed, fault)
    with pytest.raises(ExceptionGroup) as ended:
        async with running(tmp_path, postgres_url, [neighbour("energie")], is_ready=False) as town:
            await town.until(_nothing)
    assert ended.group_contains(app.StageEnded) or ended.group_contains(CutOff)


async def _nothing() -> None:
    """It is waited for in vain."""


async def test_every_attempt_is_one_wide_line_and_nothing_that_can_be_read_tells_about_people(
    ledger_url: str, tmp_path: Path, lines: Lines
) -> None:
    async with running(tmp_path, ledger_url, [neighbour("energie"), neighbour("zorg")]) as town:
        async with town.webhooks["zorg"].answers_with(500):
            await town.send({**notice("SHV-GEHEIM", **PERSONAL), "id": "shv-geheim"})
            await town.send({**notice("SHV-GEHEIM", **PERSONAL), "id": "shv-geheim", "time": "kanarie"})
            await town.try_out("zorg", 2)
        await town.hand_over()
        seen = [await get(town, path) for path in ("/metrics", "/readyz", "/healthz")]
        rows = {(row.delivery_id, row.nr): row for row in await town.attempts()}
    told = {(line["bezorging"], line["poging"]): line for line in lines.of("attempt")}
    assert len(told) == len(lines.of("attempt"))
    assert {key: line["uitkomst"] for key, line in told.items()} == {key: row.outcome for key, row in rows.items()}
    assert {key: line["code"] for key, line in told.items()} == {key: row.code for key, row in rows.items()}
    for line in told.values():
        assert (line["kanaal"], line["soort"], line["versie"], line["gemeente"]) == (
            "webhook",
            "kennisgeving",
            1,
            "0363",
        )
        assert 0 <= line["duur_ms"] < 5000
        assert 0 <= line["wacht_ms"] < 5000
    everything = "\n".join([lines.getvalue(), *(text for _, text in seen)]).lower()
    assert [canary for canary in CANARIES if canary in everything] == []


# -- alarms that time brings -----------------------------------------------------------------------------------------


class Ticking(StandingClock):
    def monotonic(self) -> float:
        return self.at / SECOND


@asynccontextmanager
async def watching(desk: Desk, ledger_url: str, **sources: Any) -> AsyncIterator[Watch]:
    """A watch over a desk's ledger, at which a test looks itself."""
    given: dict[str, Any] = {
        "register": lambda: desk.links.register,
        "consuming": None,
        "refused": str,
        "timers_idle": lambda: 0.0,
        "held": tuple,
        "running": tuple,
        "me": "ik",
        "attempted_at": lambda _lane: 0.0,
        "certificates": list,
    }
    ledger = Ledger(ledger_url, reading=True)
    yield Watch(ledger, desk.ledger, desk.clock, Sources(**{**given, **sources}))
    await ledger.aclose()


async def test_what_is_due_and_not_attempted_is_an_alarm_unless_its_lane_is_held(ledger_url: str, lines: Lines) -> None:
    async with open_desk(ledger_url, Ticking()) as desk:
        held = [("zorg", "webhook")]
        async with watching(desk, ledger_url, held=lambda: held) as one:
            await desk.send(notice("SHV-1"))
            await one.round()
            desk.clock.at += int((STUCK_AFTER + 5) * SECOND)
            await one.round()
            await one.round()
            assert [(line["schuldeiser"], line["kanaal"]) for line in lines.of("deliveries_stuck")] == [
                ("energie", "webhook")
            ]
            assert one.told()["oudste_bezorging"] == pytest.approx(STUCK_AFTER + 5, abs=1)
            assert lines.of("events_stuck")
            assert await one.reasons_not_ready() == []


async def test_another_gateways_lanes_are_for_that_one_to_report(postgres_url: str, lines: Lines) -> None:
    async with open_desk(postgres_url, Ticking()) as desk, watching(desk, postgres_url) as one:

        async def stuck_after(seconds: float) -> list[str]:
            desk.clock.at += int(seconds * SECOND)
            await one.round()
            return [line["schuldeiser"] for line in lines.of("deliveries_stuck")]

        await desk.send(notice("SHV-1"))
        await desk.ledger.run(lanes.share, "ander", 60.0, [("energie", "webhook")], (), spread)
        assert await stuck_after(0) == []
        assert await stuck_after(STUCK_AFTER + 5) == ["zorg"]  # nobody's
        assert one.told()["oudste_bezorging"] == pytest.approx(STUCK_AFTER + 5, abs=1)
        await desk.ledger.run(lanes.leave, "ander")
        await desk.ledger.run(lanes.share, "ik", 60.0, (), (), spread)
        assert await stuck_after(60) == ["zorg"]  # energie was only just taken over
        assert await stuck_after(STUCK_AFTER + 5) == ["zorg", "energie"]


async def test_what_was_attempted_lately_is_no_alarm(ledger_url: str, lines: Lines) -> None:
    async with open_desk(ledger_url, Ticking()) as desk:
        clock = desk.clock
        async with watching(desk, ledger_url, attempted_at=lambda _lane: clock.monotonic() - 60) as one:
            await desk.send(notice("SHV-1"))
            clock.at += int((STUCK_AFTER + 5) * SECOND)
            await one.round()
            assert lines.of("deliveries_stuck") == []


class Adjusted(Ticking):
    """`at` is set by somebody, and `ahead` (µs) is what it is off by."""

    ahead = 0

    def micros(self) -> int:
        return self.at + self.ahead


async def test_a_clock_that_was_wrong_when_a_lane_was_attempted_hides_no_alarm(ledger_url: str, lines: Lines) -> None:
    clock = Adjusted()
    attempts = Attempts(Meters(), clock)
    async with (
        open_desk(ledger_url, clock) as desk,
        watching(desk, ledger_url, attempted_at=attempts.last) as one,
    ):
        await desk.send(notice("SHV-1"))
        clock.ahead = int(timedelta(days=3650).total_seconds()) * SECOND
        attempts.ended(ready("1").claimed, Transient(Evidence("503")), clock.micros(), clock.micros())
        await one.round()
        clock.ahead = 0
        clock.at += int((STUCK_AFTER + 5) * SECOND)
        await one.round()
        assert {line["schuldeiser"] for line in lines.of("deliveries_stuck")} == {"energie", "zorg"}


def settings_with(directory: Path, days: float) -> Config:
    """A gateway whose own certificate ends in so many days."""
    pki = make_dev_pki(directory / "certs")
    issued = Authority.create(directory / "certs").issue_server("kort", days=days)
    (directory / "gateway.toml").write_text(
        f'[ledger]\nurl = "sqlite:///x.db"\nsleutel = "file:{pki.ledger_key}"\n'
        f'[http]\ncertificaat = "file:{issued.certificate}"\ncertificaat_sleutel = "file:{issued.key}"\n'
    )
    return read_config(directory / "gateway.toml", {})


async def test_a_certificate_is_pointed_out_at_30_14_and_3_days_and_then_daily(
    sqlite_url: str, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_with(tmp_path, days=40.5)
    monkeypatch.setattr(watch, "CERTIFICATES_EVERY", 0.0)
    now = StandingClock()
    now.at = time.time_ns() // 1000  # noqa: TID251 - the certificate was made by the real clock
    async with (
        open_desk(sqlite_url, now) as desk,
        watching(desk, sqlite_url, certificates=lambda: certificates(config, ())) as one,
    ):
        for _ in range(43):
            await one.round()
            desk.clock.at += int(timedelta(days=1).total_seconds() * SECOND)
        told = lines.of("certificate_expires")
        assert [round(line["dagen"] - 0.5) for line in told] == [29, 13, 2, 1, 0, -1, -2]
        assert {(line["level"], line["instelling"]) for line in told} == {("error", "http.certificaat")}
