"""All that an adapter may import: what it gets, what it returns, and its protocol.

An adapter is a package with an entry point in the group `kennisgeving.adapters`, naming a class that satisfies
`Channel`. The gateway makes one `Channel` per channel and one `Link` per creditor on it; a link keeps its
connections and reuses them.

    view ──render──► Rendition (frozen, stored, sealed) ──send──► Outcome
                                   crash or Uncertain ──resolve──► Outcome, or None: send the same bytes again
    answers the creditor leaves ──collect──► Inbound ──receive──► Verdict

An adapter *returns* an outcome; an exception out of `send` is a bug and is recorded as `Uncertain`, never as success.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Literal, NewType, Protocol, TypeVar

import msgspec
from msgspec import Struct

from gateway.core import standard_webhooks
from gateway.core.answer import answer_from_xml, to_wire
from gateway.core.errors import XmlRefused
from gateway.core.http_reply import refusal, retry_after
from gateway.core.outcome import (
    Deferred,
    Evidence,
    HandedOver,
    Outcome,
    OwnFault,
    Proof,
    RefusedForGood,
    Transient,
    Uncertain,
)
from gateway.core.view import View, read_view
from gateway.core.xml import document as xml_document
from gateway.core.xml import parse as parse_xml
from gateway.findings import Finding, look_at_certificate, look_at_peer
from gateway.http_peer import HttpPeer, NotAnswered, Reply
from gateway.net import (
    AddressRefused,
    Guard,
    checked_url,
    client_ssl,
    connect_allowed,
    is_allowed,
    resolve_allowed,
)
from gateway.secrets import SecretMissing, SettingsRefused, read_secret
from gateway.tables import Reference

__all__ = [
    "AddressRefused",
    "Channel",
    "Deferred",
    "DeliveryId",
    "Draft",
    "Endpoint",
    "Evidence",
    "Finding",
    "Guard",
    "HandedOver",
    "HttpPeer",
    "Inbound",
    "Link",
    "NotAnswered",
    "OpenDelivery",
    "Outcome",
    "OwnFault",
    "Parcel",
    "Proof",
    "Receive",
    "Reference",
    "RefusedForGood",
    "Rendition",
    "Reply",
    "SecretMissing",
    "SettingsRefused",
    "Surroundings",
    "Transient",
    "Uncertain",
    "Verdict",
    "View",
    "XmlRefused",
    "answer_from_xml",
    "checked_url",
    "client_ssl",
    "connect_allowed",
    "is_allowed",
    "look_at_certificate",
    "look_at_peer",
    "parse_xml",
    "read_json",
    "read_secret",
    "read_table",
    "refusal",
    "resolve_allowed",
    "retry_after",
    "standard_webhooks",
    "to_wire",
    "xml_document",
]

DeliveryId = NewType("DeliveryId", str)
Read = TypeVar("Read")
Settings = TypeVar("Settings", bound=Struct)


def read_table(table: Mapping[str, object], kind: type[Settings], name: str) -> Settings:
    """The table `name` of a settings file as a `kind`; raises SettingsRefused naming every wrong key at once."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [f"{name}.{key}: onbekend" for key in table if key not in fields]
    for key, field in fields.items():
        if key in table:
            faults += [] if _fits(table[key], field.type) else [f"{name}.{key}: van het verkeerde type"]
        elif field.required:
            faults.append(f"{name}.{key}: ontbreekt")
    if faults:
        raise SettingsRefused("; ".join(faults))
    return msgspec.convert(table, kind)


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def read_json(body: bytes | None, kind: type[Read]) -> Read | None:
    """What a peer says in JSON as a `kind`; None where it says something else, or is nested too deeply to read.

    Every adapter reads its peer's JSON with this: what cannot be read must not undo what the peer's status says.
    """
    try:
        return msgspec.json.decode(body or b"", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Surroundings(Struct, frozen=True):
    """What the gateway tells every channel. Durations in seconds."""

    oin: str
    name: str
    public_url: str
    attempt_timeout: float
    poll_every: float
    poll_at_most: float
    settings: Mapping[str, object]
    """The channel's own table of gateway.toml (`[email]`), raw; empty where there is none."""
    now: Callable[[], datetime]
    """Aware, UTC."""
    entropy: Callable[[int], bytes]
    channel_key: bytes
    """32 bytes, secret, the same at every start, this channel's own: for return paths and the like."""


class Endpoint(Struct, frozen=True):
    """One creditor on one channel, as the register has it. Every `file:` reference is absolute."""

    creditor: str
    name: str
    settings: Mapping[str, object]
    concurrent: int
    networks: tuple[str, ...] = ()
    """Private networks it may live in; empty: public addresses only."""
    ca: str | None = None
    """Reference to the trust anchor instead of the system's."""


class Draft(Struct, frozen=True):
    """What is to be rendered: `view_json` is the creditor's view as UTF-8 JSON, exactly as stored."""

    delivery: DeliveryId
    type: str
    """`nl.schuldhulpverlening.<soort>.v1`"""
    time: str
    """RFC 3339, when the delivery was made."""
    view_json: bytes

    @property
    def view(self) -> View:
        """The same as a typed value, decoded anew at each access."""
        return read_view(self.view_json)


class Rendition(Struct, frozen=True):
    """The bytes of one delivery on one channel: made once, then frozen.

    With an `answer_token` the gateway opens `/antwoord/<token>`, stores only its hash, and takes a typed reference
    only if it is among `references` (compared trimmed, case-folded, spaces ignored).
    """

    body: bytes
    answer_token: str | None = None
    references: tuple[str, ...] = ()


class Parcel(Struct, frozen=True):
    """One attempt: the frozen bytes and what goes around them."""

    delivery: DeliveryId
    creditor: str
    soort: str
    type: str
    attempt: int
    body: bytes
    notice_reference: str | None = None
    """The peer's reference (HandedOver.reference) of this dossier's kennisgeving on this channel, if any."""
    notices: tuple[DeliveryId, ...] = ()
    """What follows a kennisgeving: our own references of this dossier's kennisgevingen to this creditor on this
    channel, the newest first. By these a peer may know one of which no `notice_reference` was ever learned."""


class OpenDelivery(Struct, frozen=True):
    """A delivery that was handed over on this link, or may have been before it went on by another channel, and is not
    answered yet. `since`: aware, UTC. `reference`: None where the peer's own is not known."""

    delivery: DeliveryId
    soort: str
    reference: str | None
    since: datetime


class Inbound(Struct, frozen=True):
    """Something a creditor left for us, about one delivery.

    `kind`: `answer` carries `answer`, the JSON of contract §4; `receipt` is proof of receipt only (level 2);
    `bounce` says that what was handed over did not arrive; `human` is for a person to read.
    `source` names it uniquely within the channel (file name and digest, Location and status, Message-ID), so that the
    same thing read twice is recorded once. `raw` is what was received, byte for byte.
    """

    kind: Literal["answer", "receipt", "bounce", "human"]
    creditor: str | None
    """Who was authenticated as its author; None where only the delivery's own secret does that (a return path)."""
    delivery: DeliveryId
    source: str
    raw: bytes
    answer: bytes | None = None
    code: str = ""
    channel: str | None = None
    """Over which it came. The gateway fills it in where an adapter collects; None: the delivery's present channel."""


class Verdict(Struct, frozen=True):
    """What became of an Inbound. Only after it is returned may the adapter move or acknowledge the original."""

    kind: Literal["recorded", "repeated", "conflict", "invalid", "not_yours"]
    reasons: tuple[str, ...] = ()
    """Dutch, one line each, names field and rule, never a value."""


Receive = Callable[[Inbound], Awaitable[Verdict]]


class Link(Protocol):
    """One creditor on one channel."""

    slow_render: ClassVar[bool]
    """Rendering takes milliseconds (a PDF, RSA): it is then done in a thread."""
    collects: ClassVar[bool]
    """`collect` is to be called every `Surroundings.poll_every` seconds."""

    def render(self, draft: Draft) -> Rendition:
        """Pure apart from the injected clock and entropy; thread-safe where `slow_render`."""
        ...

    async def send(self, parcel: Parcel) -> Outcome:
        """One attempt, within `attempt_timeout` seconds; may be called `concurrent` times at once."""
        ...

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        """After an uncertain attempt: what the peer knows of it. None: cannot be asked, send it again."""
        ...

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        """Fetch what the creditor left and hand each to `receive`. Connection trouble raises OSError.

        `open_deliveries`: those that wait for an answer, in turns where there are very many."""
        ...

    async def aclose(self) -> None:
        """For good, also under an attempt: nothing is left open, and nothing is opened any more."""
        ...


class Channel(Protocol):
    """One kind of transport. Constructed once with the Surroundings; raises SettingsRefused on a wrong own table.

    A class that also has `resolves: ClassVar[bool] = True` says that its links' `resolve` asks the peer: after a
    restore that is done then, and what the peer has is not sent again. Without it a person decides. Where only some
    messages can be asked about, `resolves_only: ClassVar[frozenset[str]]` names their soorten.
    """

    name: ClassVar[str]

    def __init__(self, surroundings: Surroundings) -> None: ...

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        """Raise SettingsRefused naming every wrong, absent or unknown key of a creditor's table. No I/O."""
        ...

    def link(self, endpoint: Endpoint) -> Link:
        """Read keys, build what is kept. No network I/O. Raises SettingsRefused, SecretMissing."""
        ...

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        """For `kennisgeving check`: certificates, their expiry, reachability, host identity. Delivers nothing."""
        ...

    async def collect(self, receive: Receive) -> None:
        """Fetch what arrives for the channel as a whole (a mailbox of bounces); most channels have nothing."""
        ...

    async def aclose(self) -> None: ...
