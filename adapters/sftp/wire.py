"""A view as XML, the names of files, and what a failure means. PURE.

| failure                                | outcome        | why                                                    |
|----------------------------------------|----------------|--------------------------------------------------------|
| refused, timed out, no such name, lost | Transient      | theirs, and it may pass                                |
| no space, no permission, no inbox      | Transient      | theirs, and they will notice                           |
| login refused                          | OwnFault       | our key or user name is wrong                          |
| host key not one of the pinned         | OwnFault       | nothing was sent. An impostor, or a key they changed:  |
|                                        |                | no retry helps until an operator has looked, and       |
|                                        |                | neither may spend the budget of the delivery           |
| address outside `netwerken`            | OwnFault       | the register is wrong                                  |
| lost while renaming                    | Uncertain      | the rename may have been done                          |
| lost while asking after an attempt     | Uncertain      | that attempt stays what it was                         |
| final name taken by the same content   | HandedOver     | an earlier attempt arrived                             |
| final name taken by other content      | RefusedForGood | never overwritten; a person must look                  |
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal, cast

import asyncssh
import msgspec
from asyncssh.constants import FILEXFER_TYPE_REGULAR
from lxml import etree
from msgspec import Struct

from gateway.contract import (
    AddressRefused,
    DeliveryId,
    Evidence,
    Finding,
    HandedOver,
    Outcome,
    OwnFault,
    RefusedForGood,
    Transient,
    Uncertain,
    XmlRefused,
    answer_from_xml,
    parse_xml,
    to_wire,
    xml_document,
)

NAMESPACE: Final = "urn:nl:schuldhulpverlening:bericht:1"
INBOX: Final = "inbox"
OUTBOX: Final = "outbox"
ARCHIVE: Final = "archief"
REJECTED: Final = "afgekeurd"
REASON_SUFFIX: Final = ".reden.txt"
ANSWER_BYTES: Final = 1024 * 1024

LOST = (OSError, asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
"""The connection is gone or was never there; what was asked last may or may not have been done."""
FAILED = (*LOST, asyncssh.Error)

_REPLY_BYTES = 4096
_PART_NAME: Final = re.compile(r"\.[a-z]+_[0-9a-f-]{36}\.xml\.part")
_EXPECTED_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. ()+-]{0,150}\.xml")

Value = None | bool | int | Decimal | str | list["Value"] | dict[str, "Value"]


class Field(Struct, frozen=True):
    """One element: its name in JSON and in XML, and the elements in it (none: text), in their order."""

    name: str
    tag: str
    fields: tuple["Field", ...] = ()


def _field(name: str, *fields: Field) -> Field:
    return Field(name, f"{{{NAMESPACE}}}{name[0].upper()}{name[1:]}", fields)


def _texts(names: str) -> tuple[Field, ...]:
    return tuple(_field(name) for name in names.split())


_ADDRESS = _field(
    "adres",
    *_texts("straat huisnummer huisletter huisnummertoevoeging aanduiding locatieomschrijving postcode woonplaats"),
)
_DEBTOR = _field(
    "hulpvrager",
    *_texts("voornamen voorletters voorvoegsel achternaam geslacht geboortedatum bsn"),
    _ADDRESS,
    _field("adresGeheim"),
    _field("partner", *_texts("voornamen voorletters voorvoegsel achternaam geboortedatum")),
)
_MESSAGE = _field(
    "bericht",
    *_texts("kenmerk soort gemeente"),
    _field("afzender", *_texts("naam oin")),
    *_texts("dossierkenmerk versie"),
    _DEBTOR,
    _field("klantnummer"),
    _field("vorderingen", _field("vordering", *_texts("kenmerk factuurnummer soort bedrag"))),
    _field("pauze", *_texts("ingangsdatum totEnMet grondslag")),
    _field("contactpersoon", *_texts("naam telefoon email")),
    *_texts("fase toelichting per categorie herinnertAan namens"),
)
_decode: Callable[[bytes], dict[str, Value]] = msgspec.json.Decoder(float_hook=Decimal).decode


def message(view_json: bytes) -> bytes:
    """The view as `<Bericht>`: the same names in PascalCase, in the order of the schema, what is empty left out."""
    root = etree.Element(_MESSAGE.tag, nsmap={None: NAMESPACE})
    _fill(root, _MESSAGE, _decode(view_json))
    return xml_document(root)


def _fill(element: etree._Element, shape: Field, values: dict[str, Value]) -> None:
    if unknown := values.keys() - {field.name for field in shape.fields}:
        raise ValueError(f"no element for {sorted(unknown)}")
    for field in shape.fields:
        match values.get(field.name):
            case None | []:
                continue
            case list(items):
                each = etree.SubElement(element, field.tag)
                for item in items:
                    _fill(etree.SubElement(each, field.fields[0].tag), field.fields[0], cast(dict[str, Value], item))
            case dict(inner):
                _fill(etree.SubElement(element, field.tag), field, inner)
            case value:
                etree.SubElement(element, field.tag).text = _text(field.name, value)


def _text(name: str, value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal() if name == "bedrag":
            return f"{abs(value):.2f}"  # JSON has -0.0 and 1e2, XML Schema's decimal has neither
        case Decimal():
            return f"{value:.0f}"  # a whole number, written as 12.0
        case _:
            return str(value)


def final_name(soort: str, delivery: str) -> str:
    return f"{soort}_{delivery}.xml"


def part_name(soort: str, delivery: str) -> str:
    return f".{soort}_{delivery}.xml.part"


def own_part(name: bytes | str) -> str | None:
    """The name, where it is one that `part_name` gives."""
    text = name if isinstance(name, str) else name.decode("ascii", errors="replace")
    return text if _PART_NAME.fullmatch(text) else None


def not_handed_over(why: BaseException) -> Outcome:
    """What it means that an attempt ended in `why` before anything was renamed."""
    evidence = Evidence(failure_code(why), str(why).encode()[:_REPLY_BYTES])
    match why:
        case AddressRefused() | asyncssh.HostKeyNotVerifiable() | asyncssh.KeyExchangeFailed():
            return OwnFault(evidence)
        case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
            return OwnFault(evidence)
        case _:
            return Transient(evidence)


def not_asked(why: BaseException) -> OwnFault | Uncertain:
    """What it means that `why` kept us from asking what became of an earlier attempt: a fault of ours is one here too,
    and for the rest that attempt is as uncertain as it was."""
    outcome = not_handed_over(why)
    return outcome if isinstance(outcome, OwnFault) else Uncertain(Evidence(failure_code(why)))


def failure_code(why: BaseException) -> str:
    match why:
        case AddressRefused():
            return "netwerken"
        case asyncssh.HostKeyNotVerifiable() | asyncssh.KeyExchangeFailed():
            return "hostsleutel"
        case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
            return "aanmelden"
        case TimeoutError():
            return "tijdslimiet"
        case asyncssh.SFTPError():
            return f"sftp_{why.code}"
        case _:
            return "verbinding"


def found_there(found: bytes, body: bytes) -> Outcome:
    """What it means that a file with the final name exists, with `found` in it."""
    evidence = Evidence("aanwezig" if found == body else "naambotsing", f"sha256 {sha256(found).hexdigest()}".encode())
    return HandedOver(evidence) if found == body else RefusedForGood(evidence, other_content=True)


class Reply(Struct, frozen=True):
    """What a creditor left: an answer (JSON of the contract) or a receipt, about one delivery."""

    kind: Literal["answer", "receipt"]
    delivery: DeliveryId
    answer: bytes | None = None


class Unreadable(Struct, frozen=True):
    """Not a reply. Where it is not `is_complete`, it may be one that is still being written: XML ends with the end tag
    of its root, so what reads as XML is complete, and what does not may be a beginning."""

    reasons: tuple[str, ...]
    is_complete: bool


def read_reply(raw: bytes) -> Reply | Unreadable:
    try:
        root = parse_xml(raw)
    except XmlRefused as why:
        return Unreadable(why.reasons, is_complete=False)
    try:
        delivery, answer = answer_from_xml(root)
    except XmlRefused as why:
        return Unreadable(why.reasons, is_complete=True)
    if answer is None:
        return Reply("receipt", DeliveryId(delivery))
    return Reply("answer", DeliveryId(delivery), msgspec.json.encode(to_wire(answer)))


def is_for_us(name: bytes) -> bool:
    """Hidden files are someone's work in progress; a name with a slash is no name in this directory."""
    return name.endswith(b".xml") and not name.startswith(b".") and b"/" not in name


def refused_unread(attributes: asyncssh.SFTPAttrs) -> str | None:
    """Why a file is not even read; `attributes` by lstat, as a link is never followed, whatever it points to."""
    if attributes.type != FILEXFER_TYPE_REGULAR:
        return "het is geen gewoon bestand"
    if (attributes.size or 0) > ANSWER_BYTES:
        return f"het is groter dan {ANSWER_BYTES} bytes"
    return None


def source(name: bytes, raw: bytes) -> str:
    """Names a file as it was read: the same file with other content is another one."""
    return f"{_plain_name(name)}:{sha256(raw).hexdigest()}"


def shelf_names(name: bytes, raw: bytes, now: datetime) -> tuple[str, str, str]:
    """Names to keep a file under, in order of preference; the last is free."""
    plain = _plain_name(name)
    stem, digest = plain.removesuffix(".xml"), sha256(raw).hexdigest()[:12]
    return plain, f"{stem}.{digest}.xml", f"{stem}.{digest}.{now:%Y%m%dT%H%M%S%f}.xml"


def _plain_name(name: bytes) -> str:
    """The name, or one of ours in the place of one that is too long or holds unexpected characters."""
    text = name.decode("ascii", errors="replace")
    return text if _EXPECTED_NAME.fullmatch(text) else f"onverwachte-naam-{sha256(name).hexdigest()[:16]}.xml"


REASONS: Final = {
    "invalid": ("het antwoord is ongeldig",),
    "not_yours": ("Bezorging: dit kenmerk is geen bezorging aan u",),
}


def reason_text(name: str, reasons: tuple[str, ...]) -> bytes:
    """What is put beside a file that was not taken."""
    lines = [
        f"{name} is niet verwerkt:",
        *(f"- {reason}" for reason in reasons),
        "Verbeter het en lever het opnieuw aan.",
    ]
    return "\r\n".join([*lines, ""]).encode()


def directory_finding(name: str, *, exists: bool) -> Finding:
    return Finding(exists, f"map {name} is er" if exists else f"map {name} ontbreekt")


def failure_finding(why: BaseException) -> Finding:
    return Finding(False, _FAILURES.get(failure_code(why), "verbinding mislukt") + f" ({type(why).__name__})")


_FAILURES: Final = {
    "netwerken": "het adres ligt niet in een toegestaan netwerk (netwerken)",
    "hostsleutel": "de server toont geen van de hostsleutels uit het register",
    "aanmelden": "de server weigert onze sleutel of gebruiker",
    "tijdslimiet": "de server antwoordt niet op tijd",
}
