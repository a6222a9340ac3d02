"""The outsider's stories, small; and that the outsider would notice a broken promise."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.outside.creditors import Sighting, signature_fault
from tests.flow.outside.messages import Message
from tests.flow.outside.stories import Cast, broker_story, kill_story, pause_story
from tests.flow.outside.verdict import Event, faults
from tests.servers import RabbitMQ

NOW = 1_790_000_000
SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()


async def test_no_kill_loses_or_changes_a_delivery(broker: RabbitMQ, postgres_url: str, tmp_path: Path) -> None:
    found = await kill_story(Cast(notices=40, creditors=14, seed=1), 2, tmp_path, broker.url, postgres_url)
    assert found.faults == []
    assert (found.confirmed, found.deliveries, found.received) == (44, 44 * 14, 44 * 14)


async def test_a_dead_broker_loses_nothing_confirmed_and_is_consumed_again(
    rabbitmq: RabbitMQ, broker: RabbitMQ, postgres_url: str, tmp_path: Path
) -> None:
    assert broker is rabbitmq
    found = await broker_story(Cast(notices=30, creditors=4, seed=2), tmp_path, rabbitmq, postgres_url)
    assert found.faults == []
    assert found.deliveries == 33 * 4


async def test_a_gateway_that_stood_still_past_its_lease_and_goes_on_changes_nothing(
    broker: RabbitMQ, postgres_url: str, tmp_path: Path
) -> None:
    cast = Cast(notices=60, creditors=14, seed=3, trouble=0.05)
    found = await pause_story(cast, 4.0, tmp_path, broker.url, postgres_url)
    assert found.faults == []
    assert (found.confirmed, found.deliveries, found.received) == (66, 66 * 14, 66 * 14)


def message(nr: int) -> Message:
    return Message(f"m{nr}", "d", nr, "0363.kennisgeving", b"")


def accepted(nr: int, *deliveries: tuple[str, str]) -> Event:
    told = [{"schuldeiser": creditor, "bezorging": delivery} for creditor, delivery in deliveries]
    return event("bericht-geaccepteerd", bericht={"id": f"m{nr}"}, schuldeisers=told)


def handed_over(creditor: str, delivery: str) -> Event:
    return event("bezorging-afgeleverd", schuldeiser=creditor, bezorging=delivery)


def event(name: str, **data: object) -> Event:
    return {"type": f"nl.schuldhulpverlening.{name}.v1", "data": data}


def sighting(creditor: str, delivery: str, versie: int = 1, digest: str = "x", fault: str = "") -> Sighting:
    return Sighting(creditor, delivery, "d", versie, digest, fault)


KEPT: tuple[list[Message], list[Event], list[Sighting]] = (
    [message(1), message(2)],
    [
        accepted(1, ("a", "a1"), ("b", "b1")),
        accepted(2, ("a", "a2"), ("b", "b2")),
        *(handed_over(delivery[0], delivery) for delivery in ("a1", "b1", "a2", "b2")),
    ],
    [sighting("a", "a1"), sighting("b", "b1"), sighting("a", "a1"), sighting("a", "a2", 2), sighting("b", "b2", 2)],
)


def judge(confirmed: list[Message], events: list[Event], seen: list[Sighting]) -> list[str]:
    return faults(confirmed, {str(nr): event for nr, event in enumerate(events)}, seen, ["a", "b"])


def test_a_kept_promise_has_no_faults() -> None:
    assert judge(*KEPT) == []


@pytest.mark.parametrize(
    ("breach", "says"),
    [
        (lambda pub, ev, seen: (pub, ev[1:], seen), "m1 (d) is not accepted"),
        (lambda pub, ev, seen: (pub, [accepted(1, ("a", "a1")), *ev[1:]], seen), "message m1 has deliveries"),
        (lambda pub, ev, seen: (pub, [*ev, event("bericht-geweigerd")], seen), "unexpected bericht-geweigerd"),
        (lambda pub, ev, seen: (pub, ev, seen[:-1]), "('b', 'b2') never reached"),
        (lambda pub, ev, seen: (pub, ev[:-1], seen), "('b', 'b2') has no bezorging-afgeleverd"),
        (lambda pub, ev, seen: (pub, [*ev, handed_over("a", "a9")], seen), "('a', 'a9') is afgeleverd and was never"),
        (lambda pub, ev, seen: (pub, ev, [*seen, sighting("a", "b1")]), "('a', 'b1') reached a creditor and no event"),
        (lambda pub, ev, seen: (pub, ev, [*seen, sighting("a", "a1", digest="y")]), "2 different contents"),
        (lambda pub, ev, seen: (pub, ev, [seen[3], *seen]), "a got versie 1 of d after 2"),
        (lambda pub, ev, seen: (pub, ev, [*seen, sighting("a", "a1", fault="webhook-id")]), "bad webhook-id"),
    ],
)
def test_a_broken_promise_is_named(
    breach: Callable[[list[Message], list[Event], list[Sighting]], tuple[list[Message], list[Event], list[Sighting]]],
    says: str,
) -> None:
    assert any(says in fault for fault in judge(*breach(*KEPT)))


def signed(body: bytes, *, at: int = NOW, key: bytes = b"0" * 32) -> dict[str, str]:
    digest = hmac.new(key, f"id.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,AAAA v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": "id", "webhook-timestamp": str(at), "webhook-signature": signature}


def test_a_signature_holds_for_its_key_body_and_minute_only() -> None:
    assert signature_fault(SECRET, signed(b"{}"), b"{}", NOW) == ""
    assert signature_fault(SECRET, signed(b"{}"), b"{ }", NOW) == "webhook-signature"
    assert signature_fault(SECRET, signed(b"{}", key=b"1" * 32), b"{}", NOW) == "webhook-signature"
    assert signature_fault(SECRET, signed(b"{}", at=NOW - 301), b"{}", NOW) == "webhook-timestamp"
    assert signature_fault(SECRET, {}, b"{}", NOW) == "webhook-timestamp"
