"""The commands as people and programs call them: through the installed entry point, by exit code and output."""

import asyncio
import base64
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest

from gateway.__main__ import run
from gateway.clock import Clock
from gateway.pki import make_dev_pki
from gateway.sandbox.decisions import agree
from gateway.sandbox.register import register_toml
from gateway.sandbox.webhook_creditor import WebhookCreditor
from tests.conftest import Broker
from tests.flow.command import command, environment
from tests.flow.desk import NOTICE, pause_request
from tests.servers import free_port

KENNISGEVING = Path(sys.executable).with_name("kennisgeving")
ABSENT_YET = ("bewijs", "adapter", "sandbox")
HELPS = (
    *(
        ["demo"],
        ["simulate"],
        ["serve"],
        ["check"],
        ["validate"],
        ["publish"],
        ["schuldeisers", "apply"],
        ["schuldeisers", "list"],
    ),
    *(["dossier", "show"], ["bezorging", "list"], ["bezorging", "show"], ["certs", "dev"]),
    *(["werkbak", "list"], ["werkbak", "show"], ["werkbak", "done"], ["werkbak", "assign"]),
    *(["overzicht", "schuldeisers"], ["overzicht", "gemeenten"]),
)
SENDER = """
[[afzender]]
naam = "Gemeente Voorbeeld"
oin = "00000099000000363000"
amqp_gebruiker = "gem-0363"
client_id = "gem-0363"
gemeenten = ["0363"]
"""


@dataclass
class Installation:
    """A directory with settings, keys and messages, and the command run in it."""

    directory: Path
    port: int

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return command(arguments, self.directory, stdin)

    async def arun(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """The same, while the servers of this test go on."""
        return await asyncio.to_thread(self.run, *arguments)

    def write(self, name: str, content: object) -> str:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.directory / name).write_text(text, "utf-8")
        return name

    def settings(self, more: str = "", ledger: str = "sqlite:///ledger.db") -> None:
        self.write(
            "gateway.toml",
            f"""
[ledger]
url = "{ledger}"
sleutel = "file:certs/ledger.key"
[http]
luister = "127.0.0.1:{self.port}"
[register]
bestand = "schuldeisers.toml"
{SENDER}
{more}
""",
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """`kennisgeving serve`, once it is ready; ended by the test or else here."""
        gateway = await asyncio.create_subprocess_exec(
            KENNISGEVING,
            "serve",
            cwd=self.directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                await self._ready(gateway)
            yield gateway
        finally:
            if gateway.returncode is None:
                gateway.kill()
                await gateway.communicate()

    async def _ready(self, gateway: asyncio.subprocess.Process) -> None:
        async with aiohttp.ClientSession() as session:
            while gateway.returncode is None:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as reply:
                        if reply.ok:
                            return
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
        raise AssertionError((await gateway.communicate())[1].decode())


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """With settings, a key and a register of two creditors that nobody listens for."""
    made = Installation(tmp_path, free_port())
    make_dev_pki(tmp_path / "certs")
    made.settings()
    made.write("webhook.key", "whsec_" + base64.b64encode(os.urandom(32)).decode())
    made.write("schuldeisers.toml", register_toml([entry("energie"), entry("zorg")]))
    return made


def entry(creditor: str, **more: object) -> dict[str, Any]:
    table = {"url": f"https://127.0.0.1:9/{creditor}", "sleutels": ["file:webhook.key"]}
    return {"id": creditor, "naam": f"{creditor} Voorbeeld", "kanalen": ["webhook"], **more, "webhook": table}


def notice(**data: object) -> dict[str, Any]:
    """A kennisgeving that is valid today."""
    event = deepcopy(NOTICE)
    today = Clock().today()
    event["data"]["toelating"]["datum"] = str(today)
    event["data"]["pauze"]["ingangsdatum"] = str(today)
    event["data"].update(data)
    return event


def errors(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()


# -- what there is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    shown = capsys.readouterr()
    assert "kennisgeving " + " ".join(command) in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("name", ABSENT_YET)
def test_what_is_not_built_is_absent(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert name not in capsys.readouterr().out
    assert run([name]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["schuldeisers"],
        ["serve", "--onzin"],
        ["bezorging", "onzin"],
        ["bezorging", "list", "--toestand", "onzin"],
        ["werkbak"],
        ["werkbak", "list", "--soort", "onzin"],
        ["werkbak", "list", "--aantal", "0"],
        ["werkbak", "done", "x"],
        ["werkbak", "done", "x", "--reden", " "],
        ["werkbak", "done", "x", "--reden", "gebeld", "--door", "gateway"],
        ["werkbak", "assign", "x"],
        ["werkbak", "assign", "x", "Noor", "--reden", ""],
        ["dossier", "show"],
        ["dossier", "show", "Amsterdam", "D-1"],
        ["validate"],
        ["validate", "er-is-geen-bestand.json"],
        ["validate", "gateway.toml", "--afzender", "onbekend"],
        ["schuldeisers", "apply", "--bestand", "er-is-geen-bestand.toml"],
        ["schuldeisers", "list", "--config", "er-is-geen-bestand.toml"],
        ["certs", "dev"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(installation.directory)
    assert run(arguments) == 2


def test_exit_codes_are_those_of_the_process(installation: Installation) -> None:
    assert subprocess.run([KENNISGEVING, "--version"], check=False, capture_output=True).returncode == 0
    done = subprocess.run([KENNISGEVING, "certs", "--onzin"], check=False, capture_output=True)
    assert (done.returncode, "Traceback" in errors(done)) == (2, False)


def test_settings_come_from_the_environment_too(installation: Installation) -> None:
    (installation.directory / "gateway.toml").rename(installation.directory / "elders.toml")
    done = command(["schuldeisers", "apply"], installation.directory, env={"KENNISGEVING_CONFIG": "elders.toml"})
    assert done.returncode == 0


# -- certs ------------------------------------------------------------------------------------------------------------


def test_certs_dev_makes_a_key_and_a_pki_once(installation: Installation) -> None:
    directory = installation.directory / "nieuw"
    assert installation.run("certs", "dev", "--map", str(directory)).returncode == 0
    key = (directory / "ledger.key").read_bytes()
    assert key.count(b"\n") == 1
    assert len(base64.b64decode(key, validate=False)) == 32
    made = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert {"ca.pem", "server.pem", "server.key", "gateway.pem", "gateway.key"} <= made.keys()
    assert installation.run("certs", "dev", "--map", str(directory)).returncode == 0
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == made


# -- validate ---------------------------------------------------------------------------------------------------------


def test_validate_accepts_what_is_valid_from_file_and_standard_input(installation: Installation) -> None:
    installation.write("goed.json", notice())
    assert installation.run("validate", "goed.json").returncode == 0
    done = installation.run("validate", "-", "--json", stdin=json.dumps(notice()).encode())
    assert done.returncode == 0
    assert json.loads(done.stdout) == [{"bestand": "-", "geldig": True, "fouten": []}]


def test_validate_takes_a_pauzeverzoek(installation: Installation) -> None:
    installation.write("verzoek.json", pause_request())
    assert installation.run("validate", "verzoek.json").returncode == 0


def test_validate_names_every_violation_at_once_and_never_the_value(installation: Installation) -> None:
    wrong = notice()
    wrong["data"]["hulpvrager"]["bsn"] = "123456789"
    wrong["data"]["toelating"]["datum"] = str(Clock().today() + timedelta(days=2))
    wrong["data"]["extra"] = "Kanarievogel"
    installation.write("fout.json", wrong)
    installation.write("goed.json", notice())
    done = installation.run("validate", "fout.json", "goed.json", "--json")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert {(fault["pad"], fault["code"]) for fault in first["fouten"]} == {
        ("/data/hulpvrager/bsn", "bsn_elfproef"),
        ("/data/toelating/datum", "toelating_toekomst"),
        ("/data/extra", "veld_onbekend"),
    }
    assert (first["geldig"], second["geldig"]) == (False, True)
    shown = installation.run("validate", "fout.json")
    for output in (done.stdout, shown.stdout, shown.stderr):
        assert b"123456789" not in output
        assert b"Kanarievogel" not in output
    assert b"/data/hulpvrager/bsn" in shown.stdout


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"\xff\xfe", b"{}" * 40_000], ids=["0", "1", "2", "3", "4"])
def test_validate_says_so_when_it_is_no_event_at_all(installation: Installation, broken: bytes) -> None:
    done = installation.run("validate", "-", "--json", stdin=broken)
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["fouten"]


def test_validate_as_a_sender_checks_what_he_may_say(installation: Installation) -> None:
    installation.write("elders.json", notice(gemeente="0344"))
    assert installation.run("validate", "elders.json").returncode == 0
    done = installation.run("validate", "elders.json", "--afzender", "gem-0363", "--json")
    assert done.returncode == 1
    assert [fault["code"] for fault in json.loads(done.stdout)[0]["fouten"]] == ["gemeente_niet_van_afzender"]


# -- schuldeisers -----------------------------------------------------------------------------------------------------


def test_applying_a_register_shows_the_difference_first_and_is_idempotent(installation: Installation) -> None:
    first = installation.run("schuldeisers", "apply").stdout.decode()
    assert "nieuw: energie" in first
    assert "nieuw: zorg" in first
    assert "geen verschil" in installation.run("schuldeisers", "apply").stdout.decode()
    installation.write("schuldeisers.toml", register_toml([entry("energie", sector="energie"), entry("bank")]))
    dry = installation.run("schuldeisers", "apply", "--droog").stdout.decode()
    assert listed(installation) == {"energie", "zorg"}
    for line in ("gewijzigd: energie", "  sector: – → energie", "nieuw: bank", "vervallen: zorg"):
        assert line in dry.splitlines()
    assert installation.run("schuldeisers", "apply").returncode == 0
    assert listed(installation) == {"energie", "bank"}


def test_the_difference_is_there_as_records_too(installation: Installation) -> None:
    installation.run("schuldeisers", "apply")
    installation.write("schuldeisers.toml", register_toml([entry("energie", sector="energie")]))
    expected = [
        {"schuldeiser": "energie", "verschil": "gewijzigd", "regels": ["sector: – → energie"]},
        {"schuldeiser": "zorg", "verschil": "vervallen", "regels": []},
    ]
    assert json.loads(installation.run("schuldeisers", "apply", "--json", "--droog").stdout) == expected
    assert json.loads(installation.run("schuldeisers", "apply", "--json").stdout) == expected
    assert json.loads(installation.run("schuldeisers", "apply", "--json").stdout) == []
    assert listed(installation) == {"energie"}


def test_a_wrong_register_is_refused_whole_with_every_error(installation: Installation) -> None:
    wrong = register_toml([entry("energie", onzin=1), entry("zorg", kvk="12")])
    installation.write("fout.toml", wrong)
    done = installation.run("schuldeisers", "apply", "--bestand", "fout.toml")
    assert done.returncode == 2
    assert '"energie" onzin' in errors(done)
    assert '"zorg" kvk' in errors(done)
    assert not (installation.directory / "ledger.db").exists()


def listed(installation: Installation) -> set[str]:
    done = installation.run("schuldeisers", "list", "--json")
    assert done.returncode == 0
    return {creditor["id"] for creditor in json.loads(done.stdout)}


# -- looking things up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["schuldeisers", "list"],
        ["dossier", "show", "0363", "D-1"],
        ["bezorging", "list"],
        ["bezorging", "show", "x"],
        ["werkbak", "list"],
        ["werkbak", "done", "x", "--reden", "gebeld"],
    ],
    ids=" ".join,
)
def test_looking_makes_no_ledger(installation: Installation, arguments: list[str]) -> None:
    done = installation.run(*arguments)
    assert done.returncode == 1
    assert "er is nog geen grootboek" in errors(done)
    assert not (installation.directory / "ledger.db").exists()


def test_a_ledger_that_is_away_is_a_failure_and_no_traceback(installation: Installation) -> None:
    installation.settings(ledger=f"postgresql://gateway@127.0.0.1:{free_port()}/ledger")
    done = installation.run("bezorging", "list")
    assert (done.returncode, "Traceback" in errors(done)) == (1, False)
    assert "niet bereikbaar" in errors(done)


def test_check_fails_when_something_is_wrong(installation: Installation) -> None:
    done = installation.run("check", "--json")
    assert done.returncode == 1
    assert any(finding["goed"] is False and "energie" in finding["melding"] for finding in json.loads(done.stdout))
    assert b"FOUT" in installation.run("check").stdout


# -- serve, and a notice from end to end ------------------------------------------------------------------------------


async def test_a_published_notice_is_delivered_answered_and_shown(installation: Installation) -> None:
    pki = make_dev_pki(installation.directory / "certs")
    async with WebhookCreditor(installation.directory, pki.server) as creditor:
        register = [
            entry(name, netwerken=["127.0.0.0/8"], ca="file:certs/ca.pem")
            | {"webhook": creditor.add(name, decide=agree)}
            for name in ("energie", "zorg")
        ]
        installation.write("schuldeisers.toml", register_toml(register))
        installation.write("bericht.json", notice())
        published = await installation.arun("publish", "bericht.json", "--json")
        assert json.loads(published.stdout) == [
            {"bestand": "bericht.json", "sleutel": "0363.kennisgeving", "id": "k-1"}
        ]
        async with installation.serving() as gateway:
            lines = await until_answered(installation, 2)
            gateway.send_signal(signal.SIGTERM)
            output, log = await gateway.communicate()
        assert (gateway.returncode, output) == (0, b"")
    assert all("event" in json.loads(line) for line in log.splitlines())
    assert log
    assert {line["bezorging"] for line in lines} == {seen.delivery for seen in creditor.journal.receipts}
    shown_as_json(installation, lines)
    shown_to_people(installation, lines)


async def until_answered(installation: Installation, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while True:
            done = await installation.arun("bezorging", "list", "--toestand", "bevestigd", "--json")
            lines: list[dict[str, Any]] = json.loads(done.stdout)
            if len(lines) == count:
                return lines


def shown_as_json(installation: Installation, lines: list[dict[str, Any]]) -> None:
    dossier = json.loads(installation.run("dossier", "show", "GM0363", "SHV-1", "--json").stdout)
    assert dossier == json.loads(installation.run("dossier", "show", dossier["id"], "--json").stdout)
    assert [(one["soort"], one["versie"]) for one in dossier["berichten"]] == [("kennisgeving", 1)]
    assert {one["bezorging"] for one in dossier["bezorgingen"]} == {line["bezorging"] for line in lines}
    for line in lines:
        shown = json.loads(installation.run("bezorging", "show", line["bezorging"], "--json").stdout)
        assert shown in dossier["bezorgingen"]
        assert [answer["soort"] for answer in shown["antwoorden"]] == ["pauze_ingesteld"]
        assert [attempt["uitkomst"] for attempt in shown["pogingen"]] == ["overgedragen"]
        assert shown["bewijskracht"] == 3
    elsewhere = installation.run("bezorging", "list", "--gemeente", "0344", "--json")
    assert json.loads(elsewhere.stdout) == []


def shown_to_people(installation: Installation, lines: list[dict[str, Any]]) -> None:
    dossier = installation.run("dossier", "show", "0363", "SHV-1").stdout.decode()
    assert "energie Voorbeeld" in dossier
    assert "antwoord: pauze ingesteld tot en met " in dossier
    assert "poging 1 via webhook: afgeleverd (200)" in dossier
    first = lines[0]["bezorging"]
    assert "kennisgeving (versie 1): bevestigd" in installation.run("bezorging", "show", first).stdout.decode()
    page = installation.run("bezorging", "list", "--aantal", "1").stdout.decode()
    assert f"Meer: --na {first}" in page
    for missing in (["dossier", "show", "0363", "SHV-2"], ["bezorging", "show", "onbekend"]):
        assert installation.run(*missing).returncode == 1


async def test_a_task_of_a_gateway_that_runs_is_found_and_closed(installation: Installation) -> None:
    installation.write("bericht.json", notice(schuldeisers=[{"schuldeiser": "kvk:00000000"}]))
    await installation.arun("publish", "bericht.json")
    async with installation.serving(), asyncio.timeout(30):
        while not (tasks := json.loads((await installation.arun("werkbak", "list", "--json")).stdout)):
            await asyncio.sleep(0.05)
        ((task, about),) = [(one["taak"], (one["soort"], one["gemeente"], one["schuldeiser"])) for one in tasks]
        assert about == ("schuldeiser_onbekend", "0363", "kvk:00000000")
        shown = (await installation.arun("dossier", "show", "0363", "SHV-1")).stdout.decode()
        assert "kvk:00000000, niet in het register" in shown
        assert "schuldeiser onbekend: taak in de werkbak" in shown
        done = await installation.arun("werkbak", "done", task, "--reden", "staat nu in het register")
        assert (done.returncode, errors(done)) == (0, "")
        again = await installation.arun("werkbak", "done", task, "--reden", "nog eens")
        assert (again.returncode, "al afgehandeld" in errors(again)) == (1, True)
        assert json.loads((await installation.arun("werkbak", "list", "--json")).stdout) == []


def test_serve_lists_every_wrong_setting_as_log_lines(installation: Installation) -> None:
    installation.settings('[tempo]\nlease = "onzin"\n[onzin]\n')
    done = installation.run("serve")
    assert (done.returncode, done.stdout) == (2, b"")
    said = [json.loads(line)["melding"] for line in done.stderr.splitlines()]
    assert any("onzin" in line for line in said)
    assert any("lease" in line for line in said)


def test_serve_refuses_to_start_without_its_key(installation: Installation) -> None:
    (installation.directory / "certs" / "ledger.key").unlink()
    done = installation.run("serve")
    assert done.returncode == 2
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["settings_refused"]


async def test_serve_ends_with_1_and_says_why_when_it_cannot_go_on(installation: Installation) -> None:
    squatter = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", installation.port)
    async with squatter:
        done = await installation.arun("serve")
    assert (done.returncode, done.stdout) == (1, b"")
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["event"], last["level"]) == ("not_started", "error")
    assert last["reden"].lower().endswith(os.strerror(errno.EADDRINUSE).lower())
    assert str(installation.port) in last["reden"]


# -- publish to a broker ----------------------------------------------------------------------------------------------


async def test_publish_hands_a_broker_the_message_safely(installation: Installation, broker: Broker) -> None:
    installation.settings(f'[amqp]\nurl = "{broker.url()}"')
    installation.write("bericht.json", notice())
    async with await aio_pika.connect(broker.url("gem-0363")) as _, await aio_pika.connect(broker.url()) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("kennisgeving.in", "topic", durable=True)
        nobody_takes_it = await installation.arun("publish", "bericht.json", "--amqp", broker.url("gem-0363"))
        assert nobody_takes_it.returncode == 1
        queue = await channel.declare_queue("kennisgeving.intake", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, "0363.kennisgeving")
        done = await installation.arun("publish", "bericht.json", "--amqp", broker.url("gem-0363"))
        assert (done.returncode, errors(done)) == (0, "")
        message = await queue.get(timeout=5)
    assert json.loads(message.body) == notice()
    assert (message.user_id, message.routing_key) == ("gem-0363", "0363.kennisgeving")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/cloudevents+json"


@pytest.mark.parametrize("user", ["gateway@", "gem-0344:geheim@", ""])
def test_publish_as_nobody_who_sends_is_wrong_use(installation: Installation, user: str) -> None:
    installation.write("bericht.json", notice())
    url = f"amqp://{user}127.0.0.1:{free_port()}/"
    installation.settings(f'[amqp]\nurl = "{url}"')
    for arguments in ([], ["--amqp", url]):
        done = installation.run("publish", "bericht.json", *arguments)
        assert (done.returncode, done.stdout, "--amqp" in errors(done)) == (2, b"", True)
        assert "amqp_gebruiker" in errors(done)
        assert "geheim" not in errors(done)


def test_publish_says_so_when_the_broker_is_away_or_the_message_cannot_be_addressed(
    installation: Installation,
) -> None:
    installation.settings(f'[amqp]\nurl = "amqp://gem-0363@127.0.0.1:{free_port()}/"')
    installation.write("bericht.json", notice())
    away = installation.run("publish", "bericht.json")
    assert (away.returncode, "niet bereikbaar" in errors(away)) == (1, True)
    nameless = installation.run("publish", "-", stdin=b"{}")
    assert (nameless.returncode, "validate" in errors(nameless)) == (1, True)
