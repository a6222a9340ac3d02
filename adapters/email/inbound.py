"""What comes back by mail: bounces, receipts, automatic replies, people. PURE.

A mail is about a delivery only if it was sent to that delivery's return path, whose HMAC nobody else can make. Then:

| the mail                                                   | is                                      |
|------------------------------------------------------------|-----------------------------------------|
| a delivery status (RFC 3464) that says `failed`            | a bounce                                |
| one that says `delivered`                                  | a receipt (level 2)                     |
| one that says `delayed`, `relayed`, `expanded`             | nothing                                 |
| from a mail system, in a dialect that flufl.bounce reads   | a bounce, or nothing while it still tries |
| from a mail system, unreadable                             | for a person                            |
| an automatic reply (RFC 3834), a read receipt (RFC 8098)   | nothing                                 |
| anything else                                              | for a person                            |

A person's reply to the address in From is matched by the Message-ID it answers: that proves nothing, and a person
reads it anyway.
"""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import compat32
from email.utils import getaddresses
from hashlib import sha256
from typing import Final, Literal

from flufl.bounce import all_failures
from msgspec import Struct

from adapters.email.wire import delivery_of
from gateway.contract import DeliveryId, Inbound

_ADDRESSED: Final = ("To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")
_ANSWERED: Final = ("In-Reply-To", "References")
_OURS: Final = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@([^>\s]+)>")
_SYSTEMS: Final = frozenset({"mailer-daemon", "postmaster"})
_AUTOMATIC_HEADERS: Final = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Apple-Action")
_AUTOMATIC_PRECEDENCE: Final = frozenset({"auto_reply", "bulk", "junk", "list"})
_AUTOMATIC_SUBJECT: Final = re.compile(
    r"\s*(auto(matic)?[ -]?reply|automatisch(e)? (antwoord|beantwoording)|afwezig|out of (the )?office)", re.IGNORECASE
)
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_DEEPEST = 20

Kind = Literal["bounce", "receipt", "human"]
_FOR_A_PERSON: Final[tuple[Kind, str]] = ("human", "")
_CHOKED: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What mail that keeps to no standard brings out of parsers that expect one."""


class Reading(Struct, frozen=True):
    """`inbound`: what the mail means; None: nothing, or the mail is about no delivery (not `is_ours`)."""

    is_ours: bool
    inbound: Inbound | None = None


def read_mail(raw: bytes, key: bytes, domain: str) -> Reading:
    """`key` made the return paths, `domain` is that of our own addresses."""
    message = _parsed(raw)
    delivery = _by_return_path(message, key)
    if delivery is not None:
        meaning = _readable_meaning(message)
        return Reading(True, None if meaning is None else _inbound(delivery, meaning, raw))
    delivery = None if _is_automatic(message) else _by_message_id(message, domain)
    if delivery is not None:
        return Reading(True, _inbound(delivery, _FOR_A_PERSON, raw))
    return Reading(is_ours=False)


def _parsed(raw: bytes) -> Message:
    """Where the mail is nested too deeply to parse, its headers alone."""
    try:
        return BytesParser(policy=compat32).parsebytes(raw)
    except RecursionError:
        return BytesHeaderParser(policy=compat32).parsebytes(raw)


def _inbound(delivery: DeliveryId, meaning: tuple[Kind, str], raw: bytes) -> Inbound:
    kind, code = meaning
    return Inbound(kind, None, delivery, f"sha256:{sha256(raw).hexdigest()}", raw, code=code)


def _by_return_path(message: Message, key: bytes) -> DeliveryId | None:
    values = [str(value) for name in _ADDRESSED for value in message.get_all(name, [])]
    found = {delivery_of(address.strip(), key) for _, address in getaddresses(values)} - {None}
    return found.pop() if len(found) == 1 else None


def _by_message_id(message: Message, domain: str) -> DeliveryId | None:
    values = " ".join(str(value) for name in _ANSWERED for value in message.get_all(name, []))
    found = {match[1] for match in _OURS.finditer(values) if match[2].lower() == domain.lower()}
    return DeliveryId(found.pop()) if len(found) == 1 else None


def _readable_meaning(message: Message) -> tuple[Kind, str] | None:
    try:
        return _meaning(message)
    except _CHOKED:
        return _FOR_A_PERSON


def _meaning(message: Message) -> tuple[Kind, str] | None:
    actions = dict(_actions(message))
    if actions:
        return _by_actions(actions)
    if message.get_param("report-type") == "disposition-notification":
        return None
    if _sender(message).partition("@")[0] in _SYSTEMS or message.get("X-Failed-Recipients"):
        return _by_dialect(message)
    return None if _is_automatic(message) else _FOR_A_PERSON


def _actions(message: Message) -> Iterator[tuple[str, str]]:
    """Action and status of every recipient in a delivery status (RFC 3464 §2.3), wherever it is in the mail."""
    for part in _parts(message, _DEEPEST):
        if part.get_content_type() == "message/delivery-status":
            for fields in part.get_payload() if part.is_multipart() else ():
                if isinstance(fields, Message) and (action := str(fields.get("Action", "")).strip().lower()):
                    status = _STATUS.search(str(fields.get("Status", "")))
                    yield action, status[0] if status else ""


def _parts(message: Message, deeper: int) -> Iterator[Message]:
    """The parts of this mail; not those of a mail that is attached to it, which is the one that came back."""
    yield message
    if message.get_content_maintype() == "multipart" and message.is_multipart() and deeper:
        for part in message.get_payload():
            if isinstance(part, Message):
                yield from _parts(part, deeper - 1)


def _by_actions(actions: dict[str, str]) -> tuple[Kind, str] | None:
    if "failed" in actions:
        return "bounce", actions["failed"]
    return ("receipt", actions["delivered"]) if "delivered" in actions else None


def _by_dialect(message: Message) -> tuple[Kind, str] | None:
    temporary, permanent = all_failures(message)
    if permanent or message.get("X-Failed-Recipients"):
        return "bounce", ""
    return None if temporary else _FOR_A_PERSON


def _is_automatic(message: Message) -> bool:
    return (
        str(message.get("Auto-Submitted", "no")).strip().lower().partition(";")[0] != "no"
        or any(message.get(name) is not None for name in _AUTOMATIC_HEADERS)
        or str(message.get("Precedence", "")).strip().lower() in _AUTOMATIC_PRECEDENCE
        or _AUTOMATIC_SUBJECT.match(str(message.get("Subject", ""))) is not None
        or _sender(message).partition("@")[0] in _SYSTEMS
    )


def _sender(message: Message) -> str:
    addresses = getaddresses([str(message.get("From", ""))])
    return addresses[0][1].lower() if addresses else ""
