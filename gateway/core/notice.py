"""The messages of a sender as typed values, and who may send them.

Attributes are English, the wire is Dutch: `_DUTCH` is the glossary. These types check nothing: `validate` does, against
the schemas, before it makes them. Encoded again they give the sender's own JSON: same names, same order as in the
contract, absent stays absent, amounts exact.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import Struct

TYPE: Final = "nl.schuldhulpverlening.{}.v1"
_WITH_PREFIX = re.compile(r"GM([0-9]{4})")
_PAUSE_BUTTON = "pauzeknop"

_DUTCH = {
    "dossier": "dossierkenmerk",
    "version": "versie",
    "request": "verzoekkenmerk",
    "admission": "toelating",
    "pause": "pauze",
    "debtor": "hulpvrager",
    "contact_person": "contactpersoon",
    "creditors": "schuldeisers",
    "creditor": "schuldeiser",
    "client_number": "klantnummer",
    "claims": "vorderingen",
    "reference": "kenmerk",
    "invoice": "factuurnummer",
    "kind": "soort",
    "amount": "bedrag",
    "on": "datum",
    "starts": "ingangsdatum",
    "count": "aantal",
    "unit": "eenheid",
    "first_names": "voornamen",
    "initials": "voorletters",
    "prefix": "voorvoegsel",
    "surname": "achternaam",
    "sex": "geslacht",
    "born": "geboortedatum",
    "address": "adres",
    "address_withheld": "adresGeheim",
    "street": "straat",
    "number": "huisnummer",
    "letter": "huisletter",
    "addition": "huisnummertoevoeging",
    "designation": "aanduiding",
    "location": "locatieomschrijving",
    "postal_code": "postcode",
    "town": "woonplaats",
    "name": "naam",
    "phone": "telefoon",
    "phase": "fase",
    "explanation": "toelichting",
    "until": "totEnMet",
    "ends": "per",
    "category": "categorie",
    "reason": "reden",
    "preference": "voorkeur",
}


class Sender(Struct, frozen=True):
    """Who may speak for which gemeenten. `gemeenten`: 4-digit codes, the first is his own."""

    name: str
    oin: str
    gemeenten: tuple[str, ...]
    amqp_user: str | None = None
    client_id: str | None = None

    @property
    def is_pause_button(self) -> bool:
        """The national pauzeknop: the only one that sends a pauzeverzoek, and it sends nothing else."""
        return _PAUSE_BUTTON in {self.name.casefold(), self.amqp_user, self.client_id}


class Envelope(Struct, frozen=True):
    """(`source`, `id`) is the identity of a message; `time` is RFC 3339 as sent."""

    source: str
    id: str
    type: str
    time: str | None = None


class Address(Struct, frozen=True, omit_defaults=True, kw_only=True, rename=_DUTCH):
    street: str
    number: int
    letter: str | None = None
    addition: str | None = None
    designation: Literal["bij", "tegenover"] | None = None
    location: str | None = None
    postal_code: str
    town: str


class Partner(Struct, frozen=True, omit_defaults=True, kw_only=True, rename=_DUTCH):
    first_names: str | None = None
    initials: str | None = None
    prefix: str | None = None
    surname: str
    born: date | None = None


class Debtor(Struct, frozen=True, omit_defaults=True, kw_only=True, rename=_DUTCH):
    """`address` is always there in a notice; a creditor's view may go without."""

    first_names: str
    initials: str | None = None
    prefix: str | None = None
    surname: str
    sex: str | None = None
    born: date
    bsn: str | None = None
    address: Address | None = None
    address_withheld: bool | None = None
    partner: Partner | None = None


class ContactPerson(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    name: str
    phone: str | None = None
    email: str | None = None


class Admission(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    on: date
    reference: str | None = None


class AskedPause(Struct, frozen=True, rename=_DUTCH):
    starts: date
    count: int
    unit: Literal["maanden", "dagen"]


class Claim(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    """`amount` in euro; `kind` is free text."""

    reference: str | None = None
    invoice: str | None = None
    kind: str | None = None
    amount: Decimal | None = None


class CreditorRef(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    """One creditor as the sender names it: register id, `kvk:<8 digits>` or `oin:<20 digits>`."""

    creditor: str
    client_number: str | None = None
    claims: tuple[Claim, ...] = ()


class Notice(Struct, frozen=True, omit_defaults=True, kw_only=True, rename=_DUTCH):
    gemeente: str
    dossier: str
    version: int
    request: str | None = None
    admission: Admission
    pause: AskedPause
    debtor: Debtor
    contact_person: ContactPerson
    creditors: tuple[CreditorRef, ...]


class Progress(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    """`creditors` empty: all that were told so far; so for every message but the notice."""

    gemeente: str
    dossier: str
    version: int
    phase: str
    explanation: str | None = None
    creditors: tuple[str, ...] = ()


class Extension(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    gemeente: str
    dossier: str
    version: int
    until: date
    creditors: tuple[str, ...] = ()


class Ending(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    gemeente: str
    dossier: str
    version: int
    ends: date
    category: str
    creditors: tuple[str, ...] = ()


class Withdrawal(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    gemeente: str
    dossier: str
    version: int
    reason: str
    creditors: tuple[str, ...] = ()


class PauseRequest(Struct, frozen=True, omit_defaults=True, rename=_DUTCH):
    """From the pauzeknop; no creditor is told anything."""

    gemeente: str
    request: str
    contact: ContactPerson
    preference: str


CaseMessage = Notice | Progress | Extension | Ending | Withdrawal
Message = CaseMessage | PauseRequest

KINDS: Final[Mapping[str, type[Message]]] = {
    "kennisgeving": Notice,
    "voortgang": Progress,
    "verlenging": Extension,
    "beeindiging": Ending,
    "intrekking": Withdrawal,
    "pauzeverzoek": PauseRequest,
}
"""By soort."""

SOORTEN: Final[Mapping[type[Message], str]] = {kind: soort for soort, kind in KINDS.items()}
"""By type."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_canonical = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


def encode(part: Message | Debtor | ContactPerson | tuple[Claim, ...]) -> bytes:
    """A message or a part of one as the sender's JSON, UTF-8."""
    return _encode(part)


def plain_gemeente(code: str) -> str:
    """`GM0363` is kept as `0363`; anything else stays what it is."""
    match = _WITH_PREFIX.fullmatch(code)
    return match[1] if match else code


def content_hash(type_: str, data: Mapping[str, object]) -> bytes:
    """SHA-256 over the RFC 8785 form of `type` and `data`, 32 bytes. For valid data as `validate` read it, in which
    `GM0363` is already `0363`: the only thing that is made equal, so both spellings are one message."""
    return sha256(canonical({"data": data, "type": type_})).digest()


def canonical(value: object) -> bytes:
    """The RFC 8785 form, for what our schemas let through: ASCII names, no control characters, whole numbers as int
    and below 2^53, others as Decimal without trailing zeros and with at most two decimals. Within those bounds sorted
    compact JSON is that form, at a fortieth of the time of a general implementation; a test compares the two."""
    return _encode_canonical(value)
