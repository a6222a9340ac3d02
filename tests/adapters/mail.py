"""What the tests of the email adapter share."""

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import msgspec

from adapters.email.adapter import Email, EmailLink
from gateway.conformance import surroundings
from gateway.contract import (
    Draft,
    Endpoint,
)

SENDER = "kennisgeving@gateway.example"
KEY = bytes(range(32))
DELIVERY = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


def writer(settings: dict[str, object] | None = None, creditor: dict[str, object] | None = None) -> EmailLink:
    """A link to render with; nothing is sent. With a relay, so that there is one variant of a mail."""
    channel = Email(surroundings({"afzender": SENDER, "relais": "smtp://relais.example", **(settings or {})}))
    table = {"adres": "schuldhulp@energie.example", **(creditor or {})}
    return channel.link(Endpoint("energie", "Energie Voorbeeld B.V.", table, 8))


def parse(body: bytes) -> EmailMessage:
    return BytesParser(policy=default).parsebytes(body)


def parts(body: bytes) -> dict[str, Any]:
    return {part.get_content_type(): part.get_content() for part in parse(body).walk() if not part.is_multipart()}


def changed(message: Draft, **fields: Any) -> Draft:
    view = msgspec.structs.replace(message.view, **fields)
    return msgspec.structs.replace(message, view_json=msgspec.json.encode(view))
