"""`serve` does not start on what is unsafe: exit 2, and a log line for each reason. Nothing was changed then."""

import ast
import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Timer
from typing import Any

import aio_pika
import pytest

from gateway import app
from gateway.__main__ import run
from gateway.app import Gateway, apply_register
from gateway.broker_check import check_broker
from gateway.clock import Clock
from gateway.config import AmqpSettings
from gateway.core import lane
from gateway.core.creditor import Creditor
from gateway.ledger import register as register_rows
from gateway.ledger.durability import judge_postgresql, judge_sqlite
from gateway.ledger.engine import Contention, Ledger
from gateway.pki import Authority
from gateway.register import read_register
from tests.conftest import Broker
from tests.documents import ROOT
from tests.flow.desk import notice
from tests.flow.running import neighbour, running
from tests.servers import free_port

START_WITHIN = 8.0
"""Seconds after which a start that was not refused is stopped."""
REGISTER = """
[[schuldeiser]]
id = "energie"
naam = "Energie"
kanalen = ["webhook"]
[schuldeiser.webhook]
url = "https://127.0.0.1:1/in"
sleutels = ["file:webhook.key"]
"""
SFTP = """
[[schuldeiser]]
id = "zorg"
naam = "Zorg"
kanalen = ["sftp"]
[schuldeiser.sftp]
host = "127.0.0.1"
gebruiker = "gateway"
sleutel = "file:webhook.key"
hostsleutels = []
"""


class Place:
    """A directory with all that a gateway needs; `more` goes at the end of its settings."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.ledger = "sqlite:///ledger.db"
        self.more = ""
        self._capsys = capsys
        self.authority = Authority.create(path / "certs")
        self.write("ledger.key", base64.b64encode(secrets.token_bytes(32)).decode())
        self.write("webhook.key", "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        self.write("schuldeisers.toml", REGISTER)

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.write_text(text)
        file.chmod(0o600)

    def refusals(self) -> list[str]:
        """What `serve` logs as reasons not to start; it must have ended with 2."""
        settings = f'[ledger]\nurl = "{self.ledger}"\nsleutel = "file:ledger.key"\n'
        settings += '[register]\nbestand = "schuldeisers.toml"\n'
        if "[http]" not in self.more:
            settings += f'[http]\nluister = "127.0.0.1:{free_port()}"\n'
        self.write("gateway.toml", settings + self.more)
        self._capsys.readouterr()
        too_long = Timer(START_WITHIN, os.kill, (os.getpid(), signal.SIGTERM))
        too_long.start()
        try:
            assert run(["serve", "--config", str(self.path / "gateway.toml")]) == 2
        finally:
            too_long.cancel()
        lines = [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]
        return [line["melding"] for line in lines if line["event"] == "settings_refused"]


@pytest.fixture
def place(passable_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(passable_path, capsys)


def an_open_ledger_key(place: Place) -> None:
    (place.path / "ledger.key").chmod(0o644)


def an_open_tls_key(place: Place) -> None:
    _listens_with(place, days=30)
    (place.path / "certs").chmod(0o755)
    (place.path / "certs" / "web.key").chmod(0o604)


def an_open_password(place: Place) -> None:
    place.write("relais", "geheim")
    (place.path / "relais").chmod(0o644)
    place.more = '[email]\nrelais = "smtp://127.0.0.1:1"\nafzender = "a@b.example"\nwachtwoord = "file:relais"\n'


def an_open_key_of_a_creditor(place: Place) -> None:
    (place.path / "webhook.key").chmod(0o644)


def an_expired_certificate(place: Place) -> None:
    _listens_with(place, days=1, starts=-3)


def a_certificate_of_tomorrow(place: Place) -> None:
    _listens_with(place, days=1, starts=1)


def an_expired_signature(place: Place) -> None:
    place.authority.issue_client("smime", days=1, starts=-3)
    keys = 'certificaat = "file:certs/smime.pem"\ncertificaat_sleutel = "file:certs/smime.key"\n'
    place.more = f'[email]\nrelais = "smtp://127.0.0.1:1"\nafzender = "a@b.example"\n{keys}'


def a_host_that_is_trusted_unseen(place: Place) -> None:
    place.write("schuldeisers.toml", SFTP)


def mail_without_tls(place: Place) -> None:
    place.more = '[email]\nrelais = "smtp://127.0.0.1:1"\nafzender = "a@b.example"\ntls = false\n'


def a_broker_without_tls(place: Place) -> None:
    place.more = '[amqp]\nurl = "amqp://broker.example"\n'


def a_ledger_elsewhere_without_tls(place: Place) -> None:
    place.ledger = "postgresql://gateway@db.example/kennisgeving"


def _listens_with(place: Place, days: float, starts: float = 0) -> None:
    place.authority.issue_server("web", days=days, starts=starts)
    keys = 'certificaat = "file:certs/web.pem"\ncertificaat_sleutel = "file:certs/web.key"\n'
    place.more = f'[http]\nluister = "127.0.0.1:{free_port()}"\n{keys}'


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        (an_open_ledger_key, "ledger.key: anderen kunnen dit geheim lezen"),
        (an_open_tls_key, "web.key: anderen kunnen dit geheim lezen"),
        (an_open_password, "relais: anderen kunnen dit geheim lezen"),
        (an_open_key_of_a_creditor, "webhook.key: anderen kunnen dit geheim lezen"),
        (an_expired_certificate, "web.pem is verlopen op"),
        (a_certificate_of_tomorrow, "web.pem geldt pas vanaf"),
        (an_expired_signature, "smime.pem is verlopen op"),
        (a_host_that_is_trusted_unseen, "hostsleutels: ten minste één sleutel is vereist"),
        (mail_without_tls, "tls: onbekend"),
        (a_ledger_elsewhere_without_tls, "[ledger] ca: ontbreekt, en db.example is niet deze machine zelf"),
        (a_broker_without_tls, "zonder TLS mag alleen naar deze machine zelf"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_unsafe_is_not_started(place: Place, mistake: Callable[[Place], None], reason: str) -> None:
    mistake(place)
    (refusal,) = place.refusals()
    assert reason in refusal


def test_every_reason_is_told_at_once(place: Place) -> None:
    an_expired_certificate(place)
    (place.path / "certs").chmod(0o755)
    (place.path / "certs" / "web.key").chmod(0o604)
    an_open_ledger_key(place)
    assert len(place.refusals()) == 3
    assert not (place.path / "ledger.db").exists()


def test_a_creditors_open_key_is_as_bad_in_a_register_that_was_in_force_before(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    an_open_key_of_a_creditor(place)
    (refusal,) = place.refusals()
    config = ["--config", str(place.path / "gateway.toml")]
    assert run(["schuldeisers", "list", "--json", *config]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["schuldeisers", "apply", *config]) == 0
    assert place.refusals() == [refusal]


def test_a_database_that_does_not_wait_for_its_disk_is_not_started_on(place: Place, empty_postgres_url: str) -> None:
    name = empty_postgres_url.rpartition("/")[2]
    statement = f'ALTER DATABASE "{name}" SET synchronous_commit = off'
    subprocess.run(["psql", "-qX", empty_postgres_url, "-c", statement], check=True, capture_output=True)
    place.ledger = empty_postgres_url
    assert place.refusals() == ["[ledger] synchronous_commit is off: bij stroomuitval gaat iets verloren"]
    tables = subprocess.run(
        ["psql", "-qXAt", empty_postgres_url, "-c", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert tables.stdout.strip() == "0"


@pytest.mark.parametrize(
    ("values", "unsafe"),
    [
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}, []),
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "remote_apply"}, []),
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "local"}, []),
        ({"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}, [0, 1, 2]),
    ],
)
def test_what_postgresql_may_be_set_to(values: dict[str, str], unsafe: list[int]) -> None:
    assert [nr for nr, finding in enumerate(judge_postgresql(values)) if finding.unsafe] == unsafe


@pytest.mark.parametrize(
    ("mode", "synchronous", "unsafe"), [("wal", 2, []), ("wal", 3, []), ("delete", 2, [0]), ("wal", 1, [1])]
)
def test_what_sqlite_may_be_set_to(mode: str, synchronous: int, unsafe: list[int]) -> None:
    assert [nr for nr, finding in enumerate(judge_sqlite(mode, synchronous)) if finding.unsafe] == unsafe


# -- beside another --------------------------------------------------------------------------------------------------


async def test_a_start_that_met_another_at_an_empty_register_goes_on_with_what_that_one_put_in_force(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[Creditor] = []

    async def apply_second(ledger: Ledger, clock: Clock, creditors: Iterable[Creditor]) -> None:
        met.extend(creditors)
        await apply_register(ledger, clock, met)
        raise Contention("23505")

    monkeypatch.setattr(app, "apply_register", apply_second)
    async with running(tmp_path, ledger_url, [neighbour("energie")]) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("afgeleverd", "energie")
        assert await town.ledger.run(register_rows.revision) == len(met) == 1


# -- the queue -------------------------------------------------------------------------------------------------------

OURS = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "kennisgeving.geparkeerd",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
WRONG = [
    ({"x-queue-type": "quorum"}, "x-dead-letter-exchange"),
    ({**OURS, "x-dead-letter-strategy": "at-most-once"}, "x-dead-letter-strategy"),
    ({**OURS, "x-dead-letter-routing-key": "elders"}, "x-dead-letter-routing-key"),
]


async def _declare(
    url: str, arguments: Mapping[str, Any], name: str = "kennisgeving.intake", *, auto_delete: bool = False
) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(name, durable=True, auto_delete=auto_delete, arguments=dict(arguments))


def _declared(url: str, arguments: dict[str, str]) -> None:
    asyncio.run(_declare(url, arguments))


def test_a_queue_that_may_lose_messages_is_not_consumed(place: Place, broker: Broker) -> None:
    _declared(broker.url(), {"x-queue-type": "classic"})
    place.more = f'[amqp]\nurl = "{broker.url()}"\n'
    (refusal,) = place.refusals()
    assert "wachtrij kennisgeving.intake: x-dead-letter-exchange is anders dan hier nodig is" in refusal


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize("argument", ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes"])
async def test_a_parked_queue_that_may_lose_messages_is_named_by_what_it_has(
    broker: Broker, argument: str, declares: bool
) -> None:
    await _declare(broker.url(), {"x-queue-type": "quorum", argument: 86_400_000}, "kennisgeving.geparkeerd")
    found = [one async for one in check_broker(AmqpSettings(broker.url(), declare=declares))]
    assert [one.text for one in found if one.unsafe] == [
        f"RabbitMQ: wachtrij kennisgeving.geparkeerd: {argument} is anders dan hier nodig is"
    ]


def test_a_parked_queue_that_drops_messages_is_not_started_with(place: Place, broker: Broker) -> None:
    arguments = {"x-queue-type": "quorum", "x-max-length": 10}
    asyncio.run(_declare(broker.url(), arguments, "kennisgeving.geparkeerd"))
    place.more = f'[amqp]\nurl = "{broker.url()}"\ndeclareer = false\n'
    (refusal,) = place.refusals()
    assert "wachtrij kennisgeving.geparkeerd: x-max-length is anders dan hier nodig is" in refusal


@pytest.mark.parametrize(("arguments", "named"), WRONG)
async def test_a_queue_of_another_making_is_named_by_what_differs(
    broker: Broker, arguments: dict[str, str], named: str
) -> None:
    await _declare(broker.url(), arguments)
    (unsafe,) = [one async for one in check_broker(AmqpSettings(broker.url())) if one.unsafe]
    assert named in unsafe.text
    found = [one async for one in check_broker(AmqpSettings(broker.url(), declare=False)) if named in one.text]
    assert [one.ok for one in found] == [None]


async def test_a_queue_that_is_not_a_quorum_queue_is_no_matter_of_policy(broker: Broker) -> None:
    await _declare(broker.url(), {"x-queue-type": "classic"})
    (unsafe,) = [one async for one in check_broker(AmqpSettings(broker.url(), declare=False)) if one.unsafe]
    assert "x-queue-type is anders" in unsafe.text


@pytest.mark.parametrize("queue", ["kennisgeving.intake", "kennisgeving.geparkeerd"])
async def test_a_queue_that_goes_with_its_last_consumer_is_no_matter_of_policy(broker: Broker, queue: str) -> None:
    await _declare(broker.url(), {"x-queue-type": "classic"}, queue, auto_delete=True)
    (unsafe,) = [one async for one in check_broker(AmqpSettings(broker.url(), declare=False)) if one.unsafe]
    assert f"wachtrij {queue}: auto_delete is anders" in unsafe.text


async def test_a_queue_as_we_make_it_is_right(broker: Broker) -> None:
    await _declare(broker.url(), OURS)
    found = [one async for one in check_broker(AmqpSettings(broker.url()))]
    assert not any(one.unsafe for one in found)
    assert any("duurzaam, met de juiste argumenten" in one.text for one in found)


# -- one creditor's trouble ------------------------------------------------------------------------------------------


async def test_an_expired_client_certificate_for_one_creditor_alarms_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lane, "OWN_FAULT_PAUSE", 0.2)
    creditors = [neighbour("boetes", "cjib"), neighbour("energie")]

    def expire(_: object) -> None:
        Authority.create(tmp_path / "certs").issue_client("gateway", days=1, starts=-3)

    async with running(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}", creditors, change=expire) as town:
        await town.send(notice("SHV-1", 1, "boetes", "energie"))
        await town.hand_over("energie")
        (first, *_) = await town.try_out("boetes")
        assert (first.outcome, first.code) == ("eigen_fout", "certificaat_verlopen")
        row = await town.delivery("boetes")
        assert (row.tries, row.handed_over_at) == (0, None)
        assert '"own_fault"' in capsys.readouterr().err


# -- what cannot be configured ---------------------------------------------------------------------------------------


def _told_not_to_verify(path: Path) -> Iterator[str]:
    """Places where code turns a check of a certificate or host key off."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Assign(value=ast.Attribute(attr="CERT_NONE")) | ast.keyword(value=ast.Attribute(attr="CERT_NONE")):
                yield path.name
            case ast.keyword(arg="ssl" | "verify" | "check_hostname", value=ast.Constant(value=False)):
                yield path.name
            case ast.keyword(arg="known_hosts", value=ast.Constant(value=None)):
                yield path.name
            case ast.Assign(targets=[ast.Attribute(attr="check_hostname")], value=ast.Constant(value=False)):
                yield path.name
            case _:
                continue


def test_verification_is_off_only_where_a_published_key_is_compared_instead() -> None:
    """DANE-EE (RFC 7672 §3.1.1): names and authorities do not count, the key in the DNS does."""
    ours = [path for folder in ("gateway", "adapters") for path in (ROOT / folder).rglob("*.py")]
    assert [place for path in ours if "sandbox" not in path.parts for place in _told_not_to_verify(path)] == [
        "direct.py",
        "direct.py",
    ]


@pytest.mark.parametrize("key", ["verify", "tls", "ssl", "tls_controle", "insecure"])
@pytest.mark.parametrize("table", ["amqp", "http", "email", "ledger"])
def test_no_setting_turns_verification_off(place: Place, table: str, key: str) -> None:
    rest = {"amqp": 'url = "amqps://broker.example"\n', "email": 'afzender = "a@b.example"\n'}.get(table, "")
    place.more = f"[{table}]\n{rest}{key} = false\n" if table != "ledger" else ""
    if table == "ledger":
        place.ledger = f'sqlite:///ledger.db"\n{key} = "nee'
    assert any(f"{key}: onbekend" in refusal for refusal in place.refusals())


def _expose_webhook_keys(directory: Path) -> int:
    keys = [key for key in (directory / "webhook").iterdir() if key.read_bytes().startswith(b"whsec_")]
    for key in keys:
        key.parent.chmod(0o755)
        key.chmod(0o644)
    return len(keys)


async def test_a_register_with_a_key_that_others_can_read_is_an_alarm_and_stops_nobody(
    passable_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "REGISTER_EVERY", 0.1)
    ledger = f"sqlite:///{passable_path / 'ledger.db'}"
    async with running(passable_path, ledger, [neighbour("energie")]) as town:
        exposed = _expose_webhook_keys(passable_path)
        register = (passable_path / "schuldeisers.toml").read_text()
        (passable_path / "schuldeisers.toml").write_text(register.replace("energie B.V.", "Energie Anders B.V."))
        await apply_register(town.ledger, Clock(), read_register(passable_path / "schuldeisers.toml"))

        async def is_in_force() -> bool:
            return town.gateway.links.register.by_id["energie"].name == "Energie Anders B.V."

        await town.until(is_in_force)
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("afgeleverd", "energie")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    alarms = [line["melding"] for line in lines if line["event"] == "key_exposed"]
    assert len(alarms) == exposed == 2
    assert all("anderen kunnen dit geheim lezen" in text for text in alarms)


async def test_a_creditors_key_with_an_open_mode_where_nobody_else_can_come_is_started_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o700)

    def expose(_: Gateway) -> None:
        assert _expose_webhook_keys(tmp_path) == 2

    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    async with running(tmp_path, ledger, [neighbour("energie")], change=expose) as town:
        await town.send(notice("SHV-1", 1, "energie"))
        await town.reach("afgeleverd", "energie")
    assert "key_exposed" not in capsys.readouterr().err
