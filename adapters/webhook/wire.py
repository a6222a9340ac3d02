"""Bytes of the webhook channel. Pure: the same draft gives the same bytes, whenever it is rendered."""

from datetime import datetime
from typing import Final

import msgspec

from gateway.contract import Draft, HandedOver, Outcome, Reply, read_json, refusal, retry_after, standard_webhooks

CONTENT_TYPE: Final = "application/cloudevents+json"


class Envelope(msgspec.Struct, frozen=True):
    """The attributes of a structured CloudEvent (NL GOV profile), without its data."""

    id: str
    source: str
    type: str
    time: str
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class Taken(msgspec.Struct, frozen=True):
    """A 2xx body that carries an answer."""

    antwoord: msgspec.Raw


def render(draft: Draft, oin: str) -> bytes:
    """The event, with the stored view spliced in as it is; `oin` is the gateway's own."""
    source = f"urn:nld:oin:{oin}:systeem:kennisgeving"
    envelope = msgspec.json.encode(Envelope(draft.delivery, source, draft.type, draft.time))
    return b'%b,"data":%b}' % (envelope[:-1], draft.view_json)


def headers(keys: list[standard_webhooks.SigningKey], delivery: str, now: datetime, body: bytes) -> dict[str, str]:
    timestamp = int(now.timestamp())
    return {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_webhooks.sign(keys, delivery, timestamp, body),
    }


def outcome(reply: Reply, now: datetime) -> Outcome:
    """Contract §4: every 2xx is a hand-over, whatever its body says or fails to say."""
    if reply.is_success:
        return HandedOver(reply.evidence, answer=answer_in(reply.body))
    return refusal(reply.status, reply.evidence, retry_after(reply.headers.get("Retry-After"), now))


def answer_in(body: bytes | None) -> bytes | None:
    """The JSON of `antwoord`, valid or not, if the body is JSON that has one."""
    taken = read_json(body, Taken)
    answer = bytes(taken.antwoord) if taken else b"null"
    return None if answer == b"null" else answer
