"""`kennisgeving check`: right is called right, wrong is named, and looking changes nothing."""

import asyncio
import base64
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from gateway.app import apply_register, make_broker
from gateway.checking import check, line, reasons_not_to_start
from gateway.clock import Clock
from gateway.config import AmqpSettings, read_config
from gateway.contract import Finding
from gateway.ledger.engine import Ledger
from gateway.ledger.upgrade import upgrade
from gateway.queue_safety import judge_parked, judge_queue, look_at_queues, reasons_not_to_consume
from gateway.register import read_register
from gateway.topology import Broker, Topology
from tests import conftest
from tests.servers import RabbitMQ, ServerMissing, free_port

ENTRY = """
[[schuldeiser]]
id = "energie-voorbeeld"
naam = "Energie Voorbeeld B.V."
kanalen = ["webhook"]
netwerken = ["127.0.0.0/8"]
[schuldeiser.webhook]
url = "https://127.0.0.1:{port}/in"
sleutels = ["file:webhook.key"]
antwoord_sleutels = ["file:webhook.key"]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return furnish(tmp_path)


def furnish(directory: Path) -> Path:
    """With a key, a register of one creditor that does not listen, and no settings yet."""
    key = directory / "ledger.key"
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    key.chmod(0o600)
    webhook = directory / "webhook.key"
    webhook.write_text("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    webhook.chmod(0o640)
    (directory / "schuldeisers.toml").write_text(ENTRY.format(port=free_port()))
    return directory


async def findings(directory: Path, ledger: str = "sqlite:///ledger.db", more: str = "") -> list[Finding]:
    file = directory / "gateway.toml"
    file.write_text(
        f"""
[ledger]
url = "{ledger}"
sleutel = "file:ledger.key"
[register]
bestand = "schuldeisers.toml"
{more}
"""
    )
    return [finding async for finding in check(file, Clock(), {})]


def wrong(found: list[Finding]) -> list[str]:
    return [finding.text for finding in found if finding.ok is False]


async def test_a_fresh_configuration_is_right_but_for_the_creditor_that_does_not_listen(directory: Path) -> None:
    found = await findings(directory)
    (unreachable,) = wrong(found)
    assert unreachable.startswith("energie-voorbeeld webhook: 127.0.0.1: niet bereikbaar")
    texts = "\n".join(map(line, found))
    for text in ("ledger.db: wordt bij de start gemaakt", "alleen de ingebouwde intake", "dit is een test-OIN"):
        assert text in texts


async def test_looking_makes_no_ledger(directory: Path) -> None:
    before = {*os.listdir(directory), "gateway.toml"}
    await findings(directory)
    assert set(os.listdir(directory)) == before


async def test_a_wrong_setting_is_all_that_is_told(directory: Path) -> None:
    found = await findings(directory, more='[tempo]\nlease = "1"\n[http]\nkleur = 1')
    assert [finding.ok for finding in found] == [False, False]
    assert [finding.text.split(":")[0] for finding in found] == ["[http] kleur", "[tempo] lease"]


async def test_a_key_that_others_can_read_is_wrong_and_channels_stay_closed(passable_path: Path) -> None:
    directory = furnish(passable_path)
    (directory / "ledger.key").chmod(0o644)
    found = await findings(directory)
    assert any("anderen kunnen bij" in text for text in wrong(found))
    assert sum("ledger.key: anderen kunnen dit geheim lezen" in text for text in wrong(found)) == 1
    assert [finding.text for finding in found if finding.ok is None] == ["kanalen: zonder sleutel niet te openen"]


async def test_a_creditors_key_that_others_can_read_is_wrong(passable_path: Path, tmp_path: Path) -> None:
    for directory, is_wrong in ((furnish(passable_path), True), (furnish(tmp_path), False)):
        (directory / "webhook.key").chmod(0o644)
        texts = wrong(await findings(directory))
        assert any("webhook.key: anderen kunnen dit geheim lezen" in text for text in texts) is is_wrong


async def test_a_wrong_register_is_told_by_creditor_and_key(directory: Path) -> None:
    (directory / "schuldeisers.toml").write_text(ENTRY.format(port=1) + 'kleur = "rood"\n')
    assert any(
        text.startswith('schuldeiser "energie-voorbeeld" webhook.kleur') for text in wrong(await findings(directory))
    )


async def test_a_ledger_is_looked_at_where_there_is_one(directory: Path, empty_url: str) -> None:
    before = await findings(directory, empty_url)
    ledger = Ledger(empty_url)
    await ledger.run(upgrade)
    await ledger.aclose()
    after = await findings(directory, empty_url)
    assert any("bij de start" in finding.text for finding in before)
    assert any(finding.text == "[ledger] bereikbaar, het huidige schema" for finding in after)
    assert len(wrong(after)) == 1


async def test_a_register_file_that_is_not_in_force_yet_is_looked_at_and_told(directory: Path) -> None:
    await findings(directory)
    ledger = Ledger(f"sqlite:///{directory}/ledger.db")
    await ledger.run(upgrade)
    file = directory / "schuldeisers.toml"
    await apply_register(ledger, Clock(), read_register(file))
    await ledger.aclose()
    assert not any("let op, bij" in finding.text for finding in await findings(directory))
    text = file.read_text()
    file.write_text(
        text + text.replace('id = "energie-voorbeeld"', 'id = "nieuw"').replace("127.0.0.0/8", "10.0.0.0/8")
    )
    found = await findings(directory)
    assert any("let op, bij 1 anders dan wat van kracht is" in finding.text for finding in found)
    assert any(text.startswith("nieuw webhook: ") and "netwerken" in text for text in wrong(found))


async def test_a_ledger_that_is_away_is_wrong(directory: Path) -> None:
    found = await findings(directory, f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    assert any(text.startswith("[ledger] niet bereikbaar") for text in wrong(found))


async def test_a_ledger_elsewhere_without_tls_is_wrong(directory: Path) -> None:
    (text,) = wrong(await findings(directory, "postgresql://gateway@db.example/kennisgeving"))
    assert text.startswith("[ledger] ca: ontbreekt")


async def test_a_certificate_that_is_not_there_is_wrong(directory: Path) -> None:
    found = await findings(directory, more='[http]\ncertificaat = "file:a.pem"\ncertificaat_sleutel = "file:a.key"')
    assert sum("a.pem" in text or "a.key" in text for text in wrong(found)) == 2


async def test_a_broker_that_is_away_is_wrong(directory: Path) -> None:
    found = await findings(directory, more=f'[amqp]\nurl = "amqp://127.0.0.1:{free_port()}"')
    assert any(text.startswith("RabbitMQ: niet bereikbaar") for text in wrong(found))


async def test_a_topology_that_a_start_makes_is_right_and_else_it_is_wrong(
    directory: Path, broker: conftest.Broker
) -> None:
    settings = f'[amqp]\nurl = "{broker.url()}"\ndeclareer = '
    ours = await findings(directory, more=settings + "true")
    theirs = await findings(directory, more=settings + "false")
    assert sum("ontbreekt, wordt bij de start gemaakt" in finding.text for finding in ours) == 4
    assert sum(text.startswith("RabbitMQ: ") and "ontbreekt" in text for text in wrong(theirs)) == 4
    assert any("noem [amqp] beheer_url" in finding.text for finding in ours if finding.ok is None)


@pytest.fixture(scope="module")
def managed() -> Iterator[RabbitMQ]:
    try:
        with RabbitMQ(management=True) as running:
            yield running
    except ServerMissing as why:
        conftest._fail_or_skip(why)


async def test_the_queue_that_we_declare_is_judged_right_and_a_policy_that_drops_messages_wrong(
    directory: Path, managed: RabbitMQ
) -> None:
    broker = Broker(managed.url(), None, Topology())
    async with broker.connection() as connection:
        await broker.prepare(await connection.channel())
    settings = f'[amqp]\nurl = "{managed.url()}"\nbeheer_url = "http://127.0.0.1:{managed.management_port}"'
    found = await findings(directory, more=settings)
    about = [finding for finding in found if "wachtrij kennisgeving.intake: " in finding.text]
    assert len(about) == 7
    assert all(finding.ok for finding in about)
    managed.ctl("set_policy", "ttl", "kennisgeving", '{"message-ttl": 60000}', "--apply-to", "queues")
    async with asyncio.timeout(30):  # the management API tells what it gathered some seconds ago
        while sum("message-ttl gooit berichten weg" in text for text in wrong(found)) < 2:
            found = await findings(directory, more=settings)
    reasons = await reasons_not_to_start(read_config(directory / "gateway.toml", {}), Clock())
    assert [reason.split(":")[1] for reason in reasons] == [
        " wachtrij kennisgeving.intake",
        " wachtrij kennisgeving.geparkeerd",
    ]
    broker = make_broker(AmqpSettings(managed.url(), management_url=f"http://127.0.0.1:{managed.management_port}"))
    async with broker.connection() as connection:
        assert reasons_not_to_consume(await look_at_queues(connection, broker)) == reasons


async def test_what_only_a_policy_can_mend_is_not_consumed_until_it_is_known(broker: conftest.Broker) -> None:
    silent = f"http://127.0.0.1:{free_port()}"
    async with await aio_pika.connect(broker.url()) as connection, connection.channel() as channel:
        for queue in ("kennisgeving.intake", "kennisgeving.geparkeerd"):
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
    reasons = {}
    for address in (None, silent):
        theirs = make_broker(AmqpSettings(broker.url(), declare=False, management_url=address))
        async with theirs.connection() as looking:
            reasons[address] = reasons_not_to_consume(await look_at_queues(looking, theirs))
    assert reasons[None] == []
    assert [text.partition(" (")[0] for text in reasons[silent]] == [
        "RabbitMQ: argumenten en beleid van de wachtrijen: beheer_url is niet bereikbaar"
    ]


async def test_a_queue_of_our_own_making_is_consumed_whether_the_management_address_answers_or_not(
    broker: conftest.Broker,
) -> None:
    ours = make_broker(AmqpSettings(broker.url(), management_url=f"http://127.0.0.1:{free_port()}"))
    async with ours.connection() as connection:
        await ours.prepare(await connection.channel())
        assert reasons_not_to_consume(await look_at_queues(connection, ours)) == []


async def test_looking_declares_nothing(directory: Path, broker: conftest.Broker) -> None:
    await findings(directory, more=f'[amqp]\nurl = "{broker.url()}"')
    async with await aio_pika.connect(broker.url()) as connection:
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await (await connection.channel()).get_queue("kennisgeving.intake")


def test_a_queue_that_may_lose_messages_is_wrong() -> None:
    found = list(judge_queue({"type": "quorum", "arguments": {"x-queue-type": "quorum"}}, Topology()))
    assert [finding.ok for finding in found] == [True, False, False, False, False]
    assert any('moet "at-least-once" zijn' in finding.text for finding in found)


@pytest.mark.parametrize("name", ["message-ttl", "expires", "max-length", "max-length-bytes"])
@pytest.mark.parametrize("where", [("effective_policy_definition", ""), ("arguments", "x-")])
def test_a_parked_queue_that_forgets_or_drops_is_wrong(name: str, where: tuple[str, str]) -> None:
    part, prefix = where
    (finding,) = judge_parked({part: {f"{prefix}{name}": 1}}, Topology())
    assert (finding.ok, finding.unsafe) == (False, True)
    assert f"kennisgeving.geparkeerd: {name} gooit" in finding.text
    (right,) = judge_parked({"arguments": {"x-queue-type": "quorum"}}, Topology())
    assert right.ok


def test_a_policy_counts_where_no_argument_does() -> None:
    policy = {
        "dead-letter-exchange": "",
        "dead-letter-routing-key": "kennisgeving.geparkeerd",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    queue = {"arguments": {"x-queue-type": "quorum"}, "effective_policy_definition": policy}
    assert all(finding.ok for finding in judge_queue(queue, Topology()))
