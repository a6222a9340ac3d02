"""The door of RabbitMQ: what comes in is acknowledged after it is committed, and nothing that comes in stops it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from gateway import amqp, amqp_client, app, intake, planning, topology
from gateway.app import make_broker
from gateway.config import AmqpSettings
from gateway.ledger import schema
from gateway.outbox import Publication
from gateway.queue_safety import look_at_queues
from tests.conftest import Broker
from tests.faults.proxy import Proxy
from tests.flow.desk import notice
from tests.flow.postbox import INTAKE, ODD_PROPERTIES, PARKED, Postbox, postbox, publish_odd
from tests.flow.relay import Relay
from tests.flow.running import Neighbour, Town, event_faults, neighbour, running
from tests.servers import PostgreSQL, RabbitMQ

RESUMES_WITHIN = 15.0
SILENT_AT_MOST = 20.0
"""Seconds within which a silent broker has been given up; with the shortest heartbeat it takes some seven."""


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "WATCH", 0.3)


@pytest.fixture
def creditors() -> list[Neighbour]:
    return [neighbour("energie"), neighbour("zorg")]


@asynccontextmanager
async def opened(broker: Broker) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(broker.url()) as connection, connection.channel() as channel:
        yield channel


async def accepted(town: Town, *dossiers: str) -> None:
    """Wait until there is a message of each of these dossiers and of no other, and of each one."""

    async def look() -> bool:
        found = [row.kenmerk for row in await town.rows(schema.dossier)]
        return len(found) >= len(dossiers)

    await town.until(look)
    assert sorted(row.kenmerk for row in await town.rows(schema.dossier)) == sorted(dossiers)
    assert len(await town.rows(schema.message)) == len(dossiers)


async def comes(town: Town, box: Postbox, name: str, number: int = 1) -> Sequence[Any]:
    """The data of the events of this name, once there are so many."""

    async def look() -> Sequence[Any]:
        return box.told(name) if len(box.told(name)) >= number else ()

    return await town.until(look)


async def is_empty(town: Town, box: Postbox) -> None:
    """Everything was acknowledged: the gateway, once stopped, has given nothing back."""
    await town.stop()
    assert await box.waiting(INTAKE) == 0


# -- modes -----------------------------------------------------------------------------------------------------------


def binary(event: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The arguments for `publish` of an event in binary mode."""
    attributes = {f"{prefix}{name}": value for name, value in event.items() if name not in ("data", "datacontenttype")}
    return {"body": json.dumps(event["data"]).encode(), "headers": attributes, "content_type": "application/json"}


async def test_structured_and_binary_events_are_the_same_to_the_gateway(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town, postbox(broker) as box:
        await box.publish(notice("SHV-1"), content_type="application/cloudevents+json; charset=utf-8")
        await box.publish(notice("SHV-2"), content_type="application/json")
        await box.publish(**binary(notice("SHV-3"), "cloudEvents:"))
        await box.publish(**binary(notice("SHV-4"), "cloudEvents_"))
        await accepted(town, "SHV-1", "SHV-2", "SHV-3", "SHV-4")
        await box.publish(**binary(notice("SHV-1"), "cloudEvents:"))  # the same message in another mode
        await box.publish(notice("SHV-5"))
        await accepted(town, "SHV-1", "SHV-2", "SHV-3", "SHV-4", "SHV-5")
        told = await comes(town, box, "bericht-geaccepteerd", 5)
        assert {data["bericht"]["id"] for data in told} == {f"SHV-{nr}-1" for nr in range(1, 6)}
        await town.hand_over()
        await comes(town, box, "bezorging-afgeleverd", 10)
        assert [fault for event in box.events.values() for fault in event_faults(event)] == []
        assert {(one.content_type, one.delivery_mode, one.message_id in box.events) for one in box.came} == {
            ("application/cloudevents+json", aio_pika.DeliveryMode.PERSISTENT, True)
        }
        assert {one.routing_key for one in box.came} == {"0363.bericht-geaccepteerd", "0363.bezorging-afgeleverd"}
        await is_empty(town, box)


# -- who -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "padding"), [(None, 0), ("vreemde", 400_000)])
async def test_a_message_of_nobody_we_know_is_parked_unchanged_with_its_reason_and_the_queue_moves_on(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour], user: str | None, padding: int
) -> None:
    async with (
        running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town,
        postbox(broker) as box,
        postbox(broker, "vreemde", binding=None) as stranger,
        postbox(broker, "gateway", "onbekend.#") as operator,
    ):
        body = json.dumps(notice("SHV-1")).encode() + b" " * padding
        many = {f"k{nr:03}": "x" * 1000 for nr in range(120)}
        await stranger.publish(
            body, user_id=user, message_id="m-1", headers={"a-kleur": "rood", "diep": {"a": {}}, **many}
        )
        await box.publish(notice("SHV-2"))
        await accepted(town, "SHV-2")
        parked = await operator.fetch(PARKED)
        assert (parked.body, parked.message_id) == (body, "m-1")
        assert parked.headers["x-reden"] == "afzender_onbekend"
        assert parked.headers["a-kleur"] == "rood"
        (kept,) = await town.rows(schema.refusal)
        assert (kept.kind, kept.door, kept.sender) == ("geparkeerd", "amqp", user)
        assert body[:40] not in kept.body
        assert await town.tasks() == ["afzender_onbekend"]
        (told,) = await comes(town, operator, "bericht-geweigerd")
        assert (told["gemeente"], told["fouten"][0]["code"]) == ("onbekend", "afzender_onbekend")
        assert box.told("bericht-geweigerd") == []
        await is_empty(town, box)


# -- what --------------------------------------------------------------------------------------------------------------


def changed(nr: int, **data: Any) -> bytes:
    return json.dumps(notice(f"SLECHT-{nr}", 1, **data)).encode()


BAD = [
    (b'{"id": "kanarie', {}, "", "json_ongeldig"),
    (b"\xff\xfe\x00kanarie", {}, "", "json_ongeldig"),
    (b"[" * 60_000, {}, "", "json_ongeldig"),
    (changed(1, verzoekkenmerk="kanarie" * 9_400), {}, "", "te_groot"),
    (changed(11) + b" " * 300_000, {}, "", "te_groot"),
    (gzip.compress(changed(2)), {"content_encoding": "gzip"}, "", "json_ongeldig"),
    (changed(3, vogel="kanarie"), {}, "/data/vogel", "veld_onbekend"),
    (changed(4, versie="kanarie"), {}, "/data/versie", "waarde_ongeldig"),
    (changed(5, gemeente="0344"), {}, "/data/gemeente", "gemeente_niet_van_afzender"),
    (changed(6).replace(b"999990019", b"123456789"), {}, "/data/hulpvrager/bsn", "bsn_elfproef"),
    (changed(7).replace(b"kennisgeving.v1", b"kanarie.v1"), {}, "/type", "type_onbekend"),
    (changed(8).replace(b"SLECHT-8-1", b"kanarie\\u0000"), {}, "/id", "cloudevent_ongeldig"),
    (changed(9).replace(b"Anna Sophia", b"kanarie\\ud800"), {}, "", "json_ongeldig"),
]


async def test_bad_input_of_a_sender_comes_back_to_him_with_field_and_rule_and_never_a_value(
    broker: Broker, ledger_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, ledger_url, creditors, amqp={"url": broker.url()}) as town, postbox(broker) as box:
        for body, properties, _, _ in BAD:
            await box.publish(body, **properties)
        nested = binary(notice("SLECHT-10"), "cloudEvents:")
        nested["headers"]["cloudEvents:vogel"] = {"a": {"b": ["kanarie"]}}
        await box.publish(**nested)
        await box.publish(notice("SHV-1"))
        await accepted(town, "SHV-1")
        told = await comes(town, box, "bericht-geweigerd", len(BAD) + 1)
        expected = [*((path, code) for _, _, path, code in BAD), ("/vogel", "cloudevent_ongeldig")]
        for data, fault in zip(told, expected, strict=True):
            assert fault in {(one["pad"], one["code"]) for one in data["fouten"]}
            assert not {"kanarie", "123456789", "0344"}.intersection(
                word for one in data["fouten"] for word in one["melding"].split()
            )
            assert data["gemeente"] == "0363"
        assert {row.kind for row in await town.rows(schema.refusal)} == {"geweigerd"}
        await is_empty(town, box)


async def test_odd_properties_neither_stop_the_consumer_nor_cost_a_message(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town, postbox(broker) as box:
        dossiers = []
        for nr, (flags, properties) in enumerate(ODD_PROPERTIES.values()):
            dossiers.append(f"SHV-{nr}")
            await publish_odd(broker, "gem-0363", flags, properties, json.dumps(notice(dossiers[-1])).encode())
        lies: list[dict[str, Any]] = [
            {"delivery_mode": 1},
            {"priority": 255},
            {"message_id": "x" * 255, "correlation_id": "y" * 255},
            {"expiration": "86400000", "reply_to": "kennisgeving.geparkeerd"},
            {"headers": {"x-death": [{"count": 99, "reason": "rejected"}], "leeg": None, "diep": {"a": {"b": {}}}}},
            {"content_type": "text/plain", "content_encoding": "gzip", "message_type": "nl.x.y"},
        ]
        for nr, lie in enumerate(lies, len(dossiers)):
            dossiers.append(f"SHV-{nr}")
            await box.publish(notice(dossiers[-1]), **lie)
        await accepted(town, *dossiers)
        await is_empty(town, box)


@pytest.mark.parametrize("step", ["check", "make_view"])
async def test_a_bug_that_one_message_brings_out_costs_that_message_only(
    broker: Broker,
    sqlite_url: str,
    tmp_path: Path,
    creditors: list[Neighbour],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    module = intake if step == "check" else planning
    sound = getattr(module, step)

    def stumble(first: Any, *others: Any, **named: Any) -> Any:
        if "SLECHT-1" in str(first):
            raise ZeroDivisionError
        return sound(first, *others, **named)

    monkeypatch.setattr(module, step, stumble)
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town, postbox(broker) as box:
        for dossier in ("SHV-1", "SLECHT-1", "SHV-2"):
            await box.publish(notice(dossier))
        await accepted(town, "SHV-1", "SHV-2")
        (told,) = await comes(town, box, "bericht-geweigerd")
        assert told["fouten"][0]["melding"] == "het bericht kan niet worden verwerkt"
        await is_empty(town, box)


# -- topology ----------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "kennisgeving.geparkeerd",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


async def test_the_topology_is_made_as_the_contract_says(
    rabbitmq: RabbitMQ, broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}):
        said = await asyncio.to_thread(
            rabbitmq.ctl, "list_queues", "name", "durable", "arguments", "--formatter", "json"
        )
        queues = {queue["name"]: queue for queue in json.loads(said)}
        assert queues[INTAKE]["durable"] is True
        assert {name: value for name, _, value in queues[INTAKE]["arguments"]} == ARGUMENTS
        assert [argument[-1] for argument in queues[PARKED]["arguments"]] == ["quorum"]
        async with await aio_pika.connect(broker.url()) as connection, connection.channel() as channel:
            for exchange in ("kennisgeving.in", "kennisgeving.uit"):
                await channel.declare_exchange(exchange, "topic", durable=True)  # refused where it is another kind


async def test_a_topology_that_is_only_checked_is_not_made_and_what_is_missing_is_said(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"url": broker.url(), "declareer": False}
    async with running(tmp_path, sqlite_url, creditors, amqp=settings, is_ready=False) as town:
        said = ""

        async def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return "topology_refused" in said

        await town.until(is_said)
        (line, *_) = [json.loads(line) for line in said.splitlines() if "topology_refused" in line]
        assert (line["level"], "kennisgeving.in" in line["reden"]) == ("error", True)
        assert "de wachtrij van RabbitMQ wordt niet gelezen" in await town.gateway.reasons_not_ready()
        async with await aio_pika.connect(broker.url()) as connection:
            with pytest.raises(aio_pika.exceptions.ChannelClosed):
                await (await connection.channel()).declare_exchange("kennisgeving.in", passive=True)
            await make_broker(AmqpSettings(broker.url())).prepare(await connection.channel())
        await town.until(lambda: _is_consuming(town))


CLASSIC = {"x-queue-type": "classic"}
QUORUM = {"x-queue-type": "quorum"}
UNSAFE: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "a classic intake queue": ({INTAKE: CLASSIC, PARKED: QUORUM}, f"{INTAKE}: x-queue-type"),
    "an intake queue that expires": ({INTAKE: {**ARGUMENTS, "x-expires": 86_400_000}, PARKED: QUORUM}, "x-expires"),
    "a parked queue that forgets": ({INTAKE: ARGUMENTS, PARKED: {**QUORUM, "x-message-ttl": 1000}}, "x-message-ttl"),
    "a parked queue that drops": ({INTAKE: ARGUMENTS, PARKED: {**QUORUM, "x-max-length": 10}}, "x-max-length"),
}


async def _stand(broker: Broker, queues: Mapping[str, Mapping[str, Any]]) -> None:
    """Have a topology on the broker that is ours but for the arguments of its queues."""
    async with await aio_pika.connect(broker.url()) as connection, connection.channel() as channel:
        incoming = await channel.declare_exchange("kennisgeving.in", "topic", durable=True)
        await channel.declare_exchange("kennisgeving.uit", "topic", durable=True)
        for name, arguments in queues.items():
            await channel.queue_delete(name)
            queue = await channel.declare_queue(name, durable=True, arguments=dict(arguments))
            if name == INTAKE:
                await queue.bind(incoming, "#")


async def test_a_broker_that_is_lost_while_its_queues_are_looked_at_is_away(broker: Broker) -> None:
    known = make_broker(AmqpSettings(broker.url()))
    async with known.connection() as connection:
        await connection.close()
        with pytest.raises(amqp.AWAY):
            await look_at_queues(connection, known)


@pytest.mark.parametrize("unsafe", UNSAFE)
async def test_a_queue_that_may_lose_messages_is_not_consumed_by_who_was_there_before_the_broker(
    broker: Broker,
    sqlite_url: str,
    tmp_path: Path,
    creditors: list[Neighbour],
    unsafe: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queues, named = UNSAFE[unsafe]
    await _stand(broker, queues)
    async with Relay(broker.url()) as relay:
        await relay.cut()
        settings = {"url": relay.url, "declareer": False}
        async with running(tmp_path, sqlite_url, creditors, amqp=settings, is_ready=False) as town:
            async with opened(broker) as channel:
                await channel.default_exchange.publish(aio_pika.Message(json.dumps(notice("SHV-1")).encode()), INTAKE)
            await relay.mend()

            async def is_told() -> bool:
                return any(named in reason for reason in await town.gateway.reasons_not_ready())

            await town.until(is_told)
            lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
            told = [line for line in lines if line["event"] == "topology_refused"]
            assert [(line["level"], line["stap"]) for line in told[:1]] == [("error", "ontvangen")]
            assert named in told[0]["reden"]
            async with opened(broker) as channel:
                waiting = (await channel.get_queue(INTAKE)).declaration_result
                assert (waiting.message_count, waiting.consumer_count) == (1, 0)
            await _stand(broker, {INTAKE: ARGUMENTS, PARKED: QUORUM})
            await town.until(lambda: _is_consuming(town))
            assert await town.gateway.reasons_not_ready() == []


async def _is_consuming(town: Town) -> bool:
    return bool(town.gateway.consumer and town.gateway.consumer.consuming)


async def test_an_intake_queue_that_is_deleted_is_made_anew(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town, postbox(broker) as box:
        async with await aio_pika.connect(broker.url()) as connection, connection.channel() as channel:
            await channel.queue_delete(INTAKE)
        await town.until(lambda: _is_away(town))
        await town.until(lambda: _is_consuming(town))
        await box.publish(notice("SHV-1"))
        await accepted(town, "SHV-1")


async def _is_away(town: Town) -> bool:
    return not await _is_consuming(town)


# -- servers that go away ----------------------------------------------------------------------------------------------


async def test_while_the_ledger_is_away_nothing_is_acknowledged_and_afterwards_each_message_is_accepted_once(
    broker: Broker,
    postgres: PostgreSQL,
    postgres_url: str,
    tmp_path: Path,
    creditors: list[Neighbour],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.5)
    monkeypatch.setattr(app, "LAST_EVENTS", 0.5)
    dossiers = [f"SHV-{nr}" for nr in range(30)]
    async with (
        running(tmp_path, postgres_url, creditors, amqp={"url": broker.url()}, tempo={"lease": "1 s"}) as town,
        postbox(broker) as box,
    ):
        for dossier in dossiers[:5]:
            await box.publish(notice(dossier))
        await accepted(town, *dossiers[:5])
        await asyncio.to_thread(postgres.kill)
        try:
            for dossier in dossiers[5:]:
                await box.publish(notice(dossier))
            await town.until(lambda: _is_away(town))
            assert "het grootboek is niet bereikbaar" in await town.gateway.reasons_not_ready()
            await town.stop()
            assert await box.waiting(INTAKE) == 25
            await town.start(is_ready=False)
        finally:
            await asyncio.to_thread(postgres.start)
        await accepted(town, *dossiers)
        await town.until(lambda: _is_consuming(town))
        await town.hand_over()
        assert len(await town.deliveries()) == 60
        assert await town.rows(schema.refusal) == []
        await is_empty(town, box)


async def test_after_the_broker_was_killed_the_gateway_consumes_and_publishes_by_itself(
    rabbitmq: RabbitMQ, broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    assert broker is rabbitmq
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town:
        async with postbox(broker) as box:
            await box.publish(notice("SHV-1"))
            await comes(town, box, "bezorging-afgeleverd", 2)
        await asyncio.sleep(1.0)  # a broker that dies within half a second of making a quorum queue knows it no more
        rabbitmq.kill()
        await town.send(notice("SHV-2"))  # by another door
        await town.hand_over()
        await town.until(lambda: _all_numbered(town))
        await asyncio.to_thread(rabbitmq.start)
        await town.until(lambda: _is_consuming(town), RESUMES_WITHIN)
        async with postbox(broker) as box:
            await box.publish(notice("SHV-3"))
            await accepted(town, "SHV-1", "SHV-2", "SHV-3")
            await comes(town, box, "bezorging-afgeleverd", 4)
            made = {event["id"]: event for event in await town.events() if "SHV-1" not in str(event)}
            assert {id_: event for id_, event in box.events.items() if id_ in made} == made


@asynccontextmanager
async def before(broker: Broker) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the broker, and the address of the gateway there, with the shortest heartbeat."""
    url = urlsplit(broker.url())
    assert url.port is not None
    async with Proxy(url.port) as proxy:
        place = f"{url.username}:{url.password}@127.0.0.1:{proxy.port}"
        yield proxy, f"amqp://{place}/?heartbeat=1"


async def test_a_broker_that_fell_silent_is_published_to_when_it_speaks_again_and_the_feed_never_stops(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_client, "CONNECT_WITHIN", 1.0)
    async with (
        before(broker) as (proxy, url),
        running(tmp_path, sqlite_url, creditors, amqp={"url": url}) as town,
        postbox(broker) as box,
    ):
        async with proxy.spoiled(mute=True):
            reached = len(proxy.came)
            await town.send(notice("SHV-1"))  # by another door; its events wait for the broker's confirmation

            async def is_given_up() -> bool:
                return len(proxy.came) > reached

            await town.until(is_given_up, SILENT_AT_MOST)
            await town.send(notice("SHV-2"))
            await town.hand_over()
            await town.until(lambda: _all_numbered(town))
        await comes(town, box, "bezorging-afgeleverd", 4)
        await town.until(lambda: _is_consuming(town), RESUMES_WITHIN)


async def test_a_broker_that_falls_silent_while_a_session_is_opened_is_connected_to_anew(broker: Broker) -> None:
    async with before(broker) as (proxy, url):

        class SilentAtFirst(topology.Broker, frozen=True):
            """Connects, and then says nothing for as long as the first connection lasts."""

            async def prepare(self, channel: aio_pika.abc.AbstractChannel) -> None:
                async with proxy.spoiled(mute=len(proxy.came) == 1):
                    await super().prepare(channel)

        publisher = amqp.Publisher(SilentAtFirst(url, None, topology.Topology()))
        publishing = asyncio.create_task(publisher.run())
        try:
            async with asyncio.timeout(SILENT_AT_MOST):
                while not await publisher.publish([Publication("e-1", "0363.proef", b"{}")]):
                    assert not publishing.done()
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])


async def _all_numbered(town: Town) -> bool:
    """The feed goes on while the broker is away."""
    return all(row.nr for row in await town.rows(schema.outbox))


async def test_an_event_that_no_queue_takes_is_done_with(
    broker: Broker, sqlite_url: str, tmp_path: Path, creditors: list[Neighbour]
) -> None:
    async with running(tmp_path, sqlite_url, creditors, amqp={"url": broker.url()}) as town:
        await town.send(notice("SHV-1"))
        await town.hand_over()
        await town.until(lambda: _all_done(town))
        assert len(await town.rows(schema.outbox)) == 3


async def _all_done(town: Town) -> bool:
    return all(row.nr and row.next_at is None for row in await town.rows(schema.outbox))
