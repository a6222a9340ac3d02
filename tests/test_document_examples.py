"""The examples in the documents are right: settings can be used, messages are valid, programs and commands work."""

import base64
import json
import re
import shlex
import time
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import aio_pika
import pytest

import schemas
from adapters.cjib.wire import read_request
from adapters.email.settings import read_settings as read_email
from gateway.config import read_config
from gateway.core import standard_webhooks, xml
from gateway.core.answer import parse_answer
from gateway.core.validate import Valid, check, parse
from gateway.register import read_register
from gateway.sandbox.broker import GATEWAY, definitions
from gateway.topology import Broker, Topology
from tests.conftest import Broker as RunningBroker
from tests.documents import Example, all_examples, document
from tests.servers import RabbitMQ

TODAY = date(2027, 2, 1)


def place(example: Example) -> str:
    return example.place


# -- settings and messages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", all_examples("toml"), ids=place)
def test_a_toml_example_can_be_used_as_it_is(example: Example, tmp_path: Path) -> None:
    file = tmp_path / example.text.partition("\n")[0].removeprefix("# ")
    file.write_text(example.text)
    match file.name:
        case "gateway.toml":
            config = read_config(file, environ={})
            assert config.senders
            assert not config.channels or read_email(config.channels["email"]).afzender
        case "schuldeisers.toml":
            assert read_register(file)
        case "pyproject.toml":
            assert tomllib.loads(example.text)["project"]["entry-points"]["kennisgeving.adapters"]
        case _:
            pytest.fail(f"{example.place}: its first line names no file that we know")


def is_message(value: Mapping[str, Any]) -> bool:
    return value.get("source", "").startswith("urn:nld:oin:") and ":systeem:kennisgeving" not in value["source"]


def is_valid_message(text: str) -> bool:
    return isinstance(check(parse(text.encode()), None, TODAY), Valid)


def is_valid_event(value: Mapping[str, Any]) -> bool:
    """An event to a sender, or to a creditor with its view."""
    if "kenmerk" in value["data"]:
        return schemas.validator("cloudevent").is_valid(value) and is_valid_view(value["data"])
    return schemas.validator("gebeurtenissen").is_valid(value)


def is_valid_view(value: object) -> bool:
    return schemas.validator("bericht").is_valid(value)


def is_valid_answer(value: object) -> bool:
    return not isinstance(parse_answer(json.dumps(value).encode()), list)


@pytest.mark.parametrize("example", all_examples("json"), ids=place)
def test_a_json_example_is_valid(example: Example) -> None:
    value = json.loads(example.text)
    match value:
        case {"specversion": _} if is_message(value):
            assert is_valid_message(example.text)
        case {"specversion": _}:
            assert is_valid_event(value)
        case {"kenmerk": _, "versie": _}:
            assert is_valid_view(value)
        case {"antwoord": answer}:
            assert is_valid_answer(answer)
            assert set(value) <= {"bezorging", "antwoord"}
        case {"zaken": _}:
            assert read_request(example.text.encode()) is not None
        case {"gebeurtenissen": [], "volgende": str()}:
            assert len(value) == 2
        case _:
            assert is_valid_answer(value)


@pytest.mark.parametrize("example", all_examples("xml"), ids=place)
def test_an_xml_example_is_valid(example: Example) -> None:
    assert xml.valid(xml.parse(example.text.encode())) == []


# -- programs ---------------------------------------------------------------------------------------------------------


def names_of(example: Example) -> dict[str, Any]:
    """What a Python example defines."""
    defined: dict[str, Any] = {"__name__": "voorbeeld"}
    exec(compile(example.text, example.place, "exec"), defined)  # noqa: S102 - our own documents
    return defined


def test_the_creditors_example_takes_our_signature_and_no_other() -> None:
    (example,) = document("docs/schuldeisers.md").examples("python")
    is_echt, handtekening = (names_of(example)[name] for name in ("is_echt", "handtekening"))
    secret, other = (standard_webhooks.new_secret(bytes([nr]) * 32) for nr in (1, 2))
    keys = [standard_webhooks.signing_key(one.encode()) for one in (other, secret)]
    now = int(time.clock_gettime(time.CLOCK_REALTIME))

    def headers(at: int, body: bytes) -> dict[str, str]:
        signature = standard_webhooks.sign(keys, "0198", at, body)
        return {"webhook-id": "0198", "webhook-timestamp": str(at), "webhook-signature": signature}

    assert is_echt(secret, headers(now, b"{}"), b"{}")
    assert not is_echt(secret, headers(now, b"{}"), b"{ }")
    assert not is_echt(secret, headers(now - 301, b"{}"), b"{}")
    assert not is_echt(standard_webhooks.new_secret(bytes(32)), headers(now, b"{}"), b"{}")
    assert not is_echt(secret, {}, b"{}")
    (ours,) = (standard_webhooks.sign([keys[1]], "a-1", now, b"{}").split(" "),)
    assert [handtekening(secret, "a-1", str(now), b"{}")] == ours


async def test_the_gemeentes_example_publishes_as_the_contract_asks(broker: RunningBroker) -> None:
    (example,) = document("docs/gemeenten.md").examples("python")
    async with await aio_pika.connect(broker.url()) as connection:
        channel = await connection.channel()
        await Broker(broker.url(), None, Topology()).prepare(channel)
        await names_of(example)["stuur"](broker.url("gem-0363"), "gem-0363", "0363.kennisgeving", b"{}")
        message = await (await channel.get_queue("kennisgeving.intake")).get(timeout=5)
        assert message is not None
        assert (message.body, message.user_id, message.delivery_mode) == (b"{}", "gem-0363", 2)
        assert message.content_type == "application/cloudevents+json"


def test_keys_made_as_the_manual_says_are_keys() -> None:
    random = base64.b64encode(bytes(range(32))).decode()
    assert any("whsec_$(openssl rand -base64 32)" in example.text for example in all_examples("sh"))
    assert standard_webhooks.signing_key(f"whsec_{random}\n".encode()) == standard_webhooks.Secret(bytes(range(32)))


# -- rights on the broker --------------------------------------------------------------------------------------------


def rights(user: str) -> list[list[str]]:
    """The rabbitmqctl commands in the manual that are about `user`, as words."""
    lines = [line for example in document("docs/operators.md").examples("sh") for line in example.text.splitlines()]
    given = [shlex.split(line) for line in lines if line.startswith("rabbitmqctl ")]
    return [words[1:] for words in given if user in words]


def test_a_senders_rights_in_the_manual_are_those_that_are_tested() -> None:
    user = "gem-0363"
    wanted = definitions({GATEWAY: "", user: ""}, {user: ["0363"]})
    (own,) = [right for right in wanted["permissions"] if right["user"] == user]
    assert rights(user) == [
        ["add_user", user],
        ["set_permissions", "-p", own["vhost"], user, own["configure"], own["write"], own["read"]],
        *(
            ["set_topic_permissions", "-p", right["vhost"], user, right["exchange"], right["write"], right["read"]]
            for right in wanted["topic_permissions"]
        ),
    ]


async def test_the_gateways_rights_in_the_manual_are_enough(rabbitmq: RabbitMQ, broker: RunningBroker) -> None:
    add, permit = rights(GATEWAY)
    user = "gateway-handleiding"
    rabbitmq.ctl(*[user if word == GATEWAY else word for word in add], "geheim")
    rabbitmq.ctl(*[user if word == GATEWAY else word for word in permit])
    url = re.sub(r"//.*@", f"//{user}:geheim@", broker.url())
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        topology = Topology()
        await Broker(url, None, topology).prepare(channel)
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), topology.parked)
        assert await (await channel.get_queue(topology.parked)).get(timeout=5) is not None
        outgoing = await channel.get_exchange(topology.outgoing)
        await outgoing.publish(aio_pika.Message(b"{}"), "0363.bericht-geaccepteerd", mandatory=False)
