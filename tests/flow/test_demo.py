"""The demo: it does what it says, embedded and over RabbitMQ and PostgreSQL, and it would notice if it did not."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.cli.demo.play import Progress
from gateway.cli.demo.stage import SENDER_OIN
from gateway.cli.demo.verdict import Account, missing
from gateway.cli.timeline import Told
from gateway.clock import Clock
from gateway.core.notice import Sender
from gateway.core.validate import Valid, check, parse
from gateway.sandbox.dossiers import Dossier, dossiers, gemeenten
from gateway.sandbox.register import entries, to_toml
from tests.conftest import Broker
from tests.servers import free_port

KENNISGEVING = Path(sys.executable).with_name("kennisgeving")
ONE_DEMO = 120.0


def command(tmp_path: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """`kennisgeving demo` and its environment, with `tmp_path` for temporary files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("KENNISGEVING_")}
    return [str(KENNISGEVING), "demo", *arguments], own | {"TMPDIR": str(tmp_path)}


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv, env = command(tmp_path, *arguments)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=ONE_DEMO, check=False)


# -- the samples ------------------------------------------------------------------------------------------------------


def test_the_register_is_large_and_varied() -> None:
    known = entries()
    assert len(known) >= 45
    assert Counter(channel for entry in known for channel in entry.channels).keys() == {
        "webhook",
        "sftp",
        "email",
        "cjib",
    }
    assert all("Voorbeeld" in entry.table["naam"] for entry in known)
    assert {entry.practice.decides for entry in known} >= {
        "pauze_ingesteld",
        "klant_onbekend",
        "overgedragen",
        "wisselend",
    }
    assert {bool(entry.table.get("convenant")) for entry in known} == {True, False}
    public = {entry.id for entry in known if "bsn_grondslag" in entry.table}
    assert public
    assert not any(
        entry.table["sector"] in ("webwinkel", "energie", "telecom") for entry in known if entry.id in public
    )


def test_the_dossiers_are_valid_and_have_fourteen_creditors_on_average_and_one_forty() -> None:
    clock = Clock()
    made = dossiers(entries(), SENDER_OIN, "x", clock.now())
    sizes = [len(dossier.creditors) for dossier in made]
    assert (len(made), sum(sizes), max(sizes)) == (25, 350, 40)
    assert len(set(gemeenten())) == 25
    sender = Sender("Kredietbank Voorbeeld", SENDER_OIN, gemeenten())
    for dossier in made:
        for body in (dossier.notice, dossier.progress, dossier.another_progress(3)):
            assert isinstance(check(parse(body), sender, clock.today()), Valid)


@pytest.mark.parametrize(
    "value", ["tekst", 'met "aanhaling" \\ en é', True, 12, 1.5, ["a", 1], {"a": ["b"], "c": {"d": 1}}]
)
def test_toml_is_read_back_as_it_was_written(value: object) -> None:
    assert tomllib.loads(f"x = {to_toml(value)}") == {"x": value}


# -- the demo itself --------------------------------------------------------------------------------------------------


def test_the_demo_delivers_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "In orde: " in done.stdout
    assert [entry.id for entry in entries() if entry.table["naam"] not in done.stdout] == []
    assert list(tmp_path.iterdir()) == []


def test_the_demo_does_the_same_over_rabbitmq_and_postgresql(tmp_path: Path, broker: Broker, postgres_url: str) -> None:
    for _ in range(2):  # a second one finds what the first one left
        done = demo(tmp_path, "--once", "--amqp", broker.url(), "--ledger", postgres_url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "RabbitMQ en met PostgreSQL" in done.stdout


async def test_without_once_the_demo_stays_up_for_whoever_wants_to_look_around(tmp_path: Path) -> None:
    argv, env = command(tmp_path, "--map", str(tmp_path / "demo"))
    running = await asyncio.create_subprocess_exec(*argv, env=env, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(ONE_DEMO):
            said = await until_said(running, "schuldeisers list")
            url = next(line.split()[-1].removesuffix("/readyz") for line in said if line.endswith("/readyz"))
            token = next(line.partition("TOKEN=")[2] for line in said if "TOKEN=" in line)
            await look_around(url, token, tmp_path / "demo")
            running.send_signal(signal.SIGTERM)
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def until_said(running: asyncio.subprocess.Process, last: str) -> list[str]:
    said: list[str] = []
    assert running.stdout is not None
    while not said or last not in said[-1]:
        line = await running.stdout.readline()
        assert line, "the demo ended"
        said.append(line.decode().rstrip())
    return said


async def look_around(url: str, token: str, directory: Path) -> None:
    """As the printed lines suggest: the feed, the dossiers, and one more message."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers, raise_for_status=True) as session:
        async with session.get("/v1/gebeurtenissen?na=0") as reply:
            page = await reply.json()
        assert page["gebeurtenissen"]
        message = (directory / "voortgang.json").read_bytes()
        gemeente = json.loads(message)["data"]["gemeente"]
        async with session.get("/v1/dossiers", params={"gemeente": gemeente}) as reply:
            (dossier,) = (await reply.json())["dossiers"]
        async with session.post(
            "/v1/berichten", data=message, headers={"Content-Type": "application/cloudevents+json"}
        ) as reply:
            assert reply.status == 202
        assert {line["versie"] for line in dossier["bezorgingen"]} == {1, 2}


# -- when it does not go well -----------------------------------------------------------------------------------------


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, "--once", "--amqp", f"amqp://gast:gast@127.0.0.1:{free_port()}/")
    assert done.returncode == 1
    assert "de broker is niet bereikbaar" in done.stderr


def test_a_directory_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "iets").touch()
    assert demo(tmp_path, "--once", "--map", str(tmp_path)).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["iets"]


def test_a_ledger_with_creditors_of_its_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "eigen"
    own.mkdir()
    settings = own / "gateway.toml"
    environment = {**os.environ, "KENNISGEVING_CONFIG": str(settings)}
    subprocess.run([KENNISGEVING, "certs", "dev", "--map", own], check=True)
    settings.write_text('[ledger]\nurl = "sqlite:///ledger.db"\nsleutel = "file:ledger.key"\n')
    (own / "sleutel.whsec").write_text("whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=")
    (own / "register.toml").write_text(
        '[[schuldeiser]]\nid = "eigen"\nnaam = "Eigen B.V."\nkanalen = ["webhook"]\n'
        '[schuldeiser.webhook]\nurl = "https://eigen.example/"\nsleutels = ["file:sleutel.whsec"]\n'
    )
    apply = [str(KENNISGEVING), "schuldeisers", "apply", "--bestand", str(own / "register.toml")]
    subprocess.run(apply, env=environment, check=True)
    done = demo(tmp_path, "--once", "--ledger", f"sqlite:///{own / 'ledger.db'}")
    assert (done.returncode, "eigen schuldeisersregister" in done.stderr) == (2, True)
    listed = subprocess.run(
        [KENNISGEVING, "schuldeisers", "list", "--json"], env=environment, check=True, capture_output=True
    )
    assert [creditor["id"] for creditor in json.loads(listed.stdout)] == ["eigen"]


# -- the verdict has teeth --------------------------------------------------------------------------------------------

DIGEST = b"\x01" * 32


def delivery(identifier: str, soort: str, decision: str | None = None) -> Told:
    row = SimpleNamespace(
        id=identifier,
        kenmerk="d",
        soort=soort,
        creditor="bank",
        agent_for=None,
        channel="webhook",
        state="afgeleverd",
        decision=decision,
    )
    return Told(row, [SimpleNamespace(digest=DIGEST)], [], {"e": b"{}"} if decision else {})


def account(**changes: Any) -> Account:
    """Of one dossier with one creditor, everything as it should be but for `changes`."""
    progress = Progress([Dossier("0363", "Amsterdam", "d", ("bank",), b"", b"")], ["bank"])
    progress.handed_over |= {"1", "2"}
    progress.answered["1"] = "pauze_ingesteld"
    right = Account(
        due={("d", "kennisgeving", "bank", None), ("d", "voortgang", "bank", None)},
        answering={"bank"},
        told=[delivery("1", "kennisgeving", "pauze_ingesteld"), delivery("2", "voortgang")],
        receipts={"1": {("bank", DIGEST.hex())}, "2": {("bank", DIGEST.hex())}},
        given={"1": "pauze_ingesteld"},
        refused=[],
        progress=progress,
    )
    return msgspec.structs.replace(right, **changes)


def test_what_is_right_has_no_faults() -> None:
    assert missing(account()) == []


RECEIVED = account().receipts


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (account(due={*account().due, ("d", "voortgang", "zorg", None)}), "d: geen voortgang voor zorg"),
        (account(due=set()), "een kennisgeving te veel voor bank"),
        (account(receipts={"1": RECEIVED["1"]}), "voortgang aan bank via webhook: niet ontvangen"),
        (account(receipts={**RECEIVED, "2": {("bank", "00")}}), "andere inhoud"),
        (account(receipts={**RECEIVED, "2": {("zorg", DIGEST.hex())}}), "andere inhoud of schuldeiser"),
        (account(given={}), "geen antwoord gegeven"),
        (account(given={"1": "klant_onbekend"}), "antwoord klant_onbekend is niet vastgelegd (pauze_ingesteld)"),
        (account(refused=["handtekening"]), "geweigerd door een schuldeiser: handtekening"),
    ],
)
def test_what_is_wrong_is_named(wrong: Account, says: str) -> None:
    assert any(says in fault for fault in missing(wrong))


@pytest.mark.parametrize(
    ("forget", "says"),
    [
        (lambda progress: progress.handed_over.discard("2"), "geen gebeurtenis bezorging-afgeleverd"),
        (lambda progress: progress.answered.pop("1"), "geen gebeurtenis antwoord-ontvangen"),
        (lambda progress: progress.refused.append("/data/x veld_onbekend"), "geweigerd door de gateway: /data/x"),
    ],
)
def test_what_the_sender_was_not_told_is_named(forget: Callable[[Progress], object], says: str) -> None:
    wrong = account()
    forget(wrong.progress)
    assert any(says in fault for fault in missing(wrong))
