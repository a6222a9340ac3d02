"""What a creditor answers, in JSON or XML, and what it means.

Strict in form, so that a misspelt field is noticed; tolerant in content, so that what was meant is not lost: apart
from `soort` everything may be absent (a pause without end is the pause that was asked, a transfer without `naar` is
still a transfer). One contradiction is refused: a pause that ends before it begins.

| soort                                             | meaning  | moves to    |
|---------------------------------------------------|----------|-------------|
| ontvangen                                         | receipt  | ontvangen   |
| pauze_ingesteld, pauze_gedeeltelijk, overgedragen | confirms | bevestigd   |
| the others                                        | refuses  | geweigerd   |
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct

import schemas
from gateway.core import strict_json, violations, xml
from gateway.core.errors import Code, JsonRefused, Violation, XmlRefused

BYTES = 1024 * 1024
Meaning = Literal["receipt", "confirms", "refuses"]
Plain = str | Decimal | list["Plain"] | dict[str, "Plain"]

_LISTS = frozenset({"vorderingen", "factuurnummers"})


class AnswerKind(StrEnum):
    """`soort` of an answer, as on the wire (domain: answers a creditor can give)."""

    RECEIVED = "ontvangen"
    PAUSED = "pauze_ingesteld"
    PAUSED_IN_PART = "pauze_gedeeltelijk"
    CLIENT_UNKNOWN = "klant_onbekend"
    RECENTLY_SETTLED = "recente_finale_kwijting"
    RECENTLY_STABILISED = "recente_stabilisatiepoging"
    NO_COOPERATION = "geen_samenwerking"
    TRANSFERRED = "overgedragen"
    NOT_ELIGIBLE = "niet_in_aanmerking"


_PAUSES = frozenset({AnswerKind.PAUSED, AnswerKind.PAUSED_IN_PART})


class ClaimAnswer(
    Struct, frozen=True, omit_defaults=True, rename={"reference": "kenmerk", "until": "totEnMet", "reason": "reden"}
):
    """The decision on one claim."""

    reference: str
    soort: AnswerKind
    until: date | None = None
    reason: str | None = None


class Balance(Struct, frozen=True, rename={"amount": "bedrag", "on": "datum"}):
    """What is owed, in euro, on a date."""

    amount: Decimal
    on: date


class Contact(Struct, frozen=True, omit_defaults=True, rename={"name": "naam", "phone": "telefoon"}):
    name: str | None = None
    phone: str | None = None
    email: str | None = None


class Answer(
    Struct,
    frozen=True,
    omit_defaults=True,
    rename={
        "starts": "van",
        "until": "totEnMet",
        "claims": "vorderingen",
        "transferred_to": "naar",
        "reason": "reden",
        "client_number": "klantnummer",
        "invoices": "factuurnummers",
        "balance": "saldo",
    },
):
    """A creditor's answer; dates are inclusive."""

    soort: AnswerKind
    starts: date | None = None
    until: date | None = None
    claims: tuple[ClaimAnswer, ...] = ()
    transferred_to: str | None = None
    """Register id, `kvk:<8 digits>` or a name."""
    reason: str | None = None
    client_number: str | None = None
    invoices: tuple[str, ...] = ()
    balance: Balance | None = None
    contact: Contact | None = None


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(dict[str, object]).decode


def parse_answer(raw: bytes | Mapping[str, object]) -> Answer | list[Violation]:
    """The answer in JSON bytes or in an object that `strict_json` decoded, or everything that is wrong with it."""
    try:
        value = _read(raw) if isinstance(raw, bytes) else raw
    except JsonRefused as why:
        return [Violation("", Code.JSON_INVALID, reason) for reason in why.reasons]
    found = violations.of(schemas.validator("antwoord"), value)
    if found or not isinstance(value, Mapping):
        return found
    answer = msgspec.convert(_contact_as_object(value), Answer)
    if answer.starts and answer.until and answer.until < answer.starts:
        return [Violation("/totEnMet", Code.VALUE_INVALID, "totEnMet ligt voor van")]
    return answer


def answer_from_xml(root: xml.Element) -> tuple[str, Answer | None]:
    """The delivery id and the answer; None: an Ontvangstbevestiging. Raises XmlRefused with every reason."""
    if faults := xml.valid(root):
        raise XmlRefused(*faults)
    name = xml.local_name(root)
    if name not in {"Antwoord", "Ontvangstbevestiging"}:
        raise XmlRefused(f"/{name}: dit document is geen antwoord")
    first, *fields = root
    delivery = (first.text or "").strip()
    if name == "Ontvangstbevestiging":
        return delivery, None
    answer = parse_answer({_json_name(field): plain for field in fields if (plain := _plain(field)) != ""})
    if isinstance(answer, list):
        raise XmlRefused(*(f"{violation.pad}: {violation.melding}" for violation in answer))
    return delivery, answer


def to_wire(answer: Answer) -> dict[str, object]:
    """The answer as JSON values (contract: what is absent is left out; a contact is always an object)."""
    return _decode(_encode(answer))


def meaning(answer: Answer) -> Meaning:
    """What an authenticated answer does to its delivery."""
    return meaning_of(answer.soort)


def pause_end(answer: Answer) -> date | None:
    """The last day of the pause that the answer names; of a pause in part, that of the claim that pauses longest."""
    if answer.soort not in (AnswerKind.PAUSED, AnswerKind.PAUSED_IN_PART):
        return None
    return answer.until or max((one.until for one in answer.claims if one.soort in _PAUSES and one.until), default=None)


class Said(Struct, frozen=True):
    """What the ledger keeps in the clear of an answer: no reason, no claim, no amount, no name.

    `decision` None: it only says that the message was received. `transferred_to`: id of an agent in the register.
    """

    decision: str | None = None
    paused_until: date | None = None
    transferred_to: str | None = None
    balance_on: date | None = None

    def columns(self, at: int, answered_at: int | None) -> dict[str, object]:
        """Of the delivery that was answered at `at` (epoch µs); what the answer does not say stays as it is."""
        known: dict[str, object] = {}
        if self.decision is not None:
            until = self.paused_until
            known |= {
                "decision": self.decision,
                "decided_at": at,
                "answered_at": answered_at or at,
                "paused_until": None if until is None else until.isoformat(),
                "transferred_to": self.transferred_to,
            }
        return known | ({"balance_on": self.balance_on.isoformat()} if self.balance_on else {})


def said(answer: Answer, find: Callable[[str], str | None]) -> Said:
    """`find` gives the register id behind a name as the creditor wrote it."""
    decides = meaning(answer) != "receipt"
    return Said(
        decision=str(answer.soort) if decides else None,
        paused_until=pause_end(answer),
        transferred_to=find(answer.transferred_to) if is_transfer(answer) and answer.transferred_to else None,
        balance_on=answer.balance.on if answer.balance else None,
    )


def is_transfer(answer: Answer) -> bool:
    return answer.soort is AnswerKind.TRANSFERRED


def claims_decided(answers: Iterable[Answer]) -> tuple[ClaimAnswer, ...]:
    """What is decided on each claim, by the answers of one creditor, oldest first: a decision about some claims leaves
    the others as they were, any other decision is about all of them, so that none is named any more."""
    claims: dict[str, ClaimAnswer] = {}
    for answer in answers:
        if meaning(answer) == "receipt":
            continue
        if answer.soort is not AnswerKind.PAUSED_IN_PART:
            claims.clear()
        claims |= {claim.reference: claim for claim in answer.claims}
    return tuple(claims.values())


def contradicts(before: str | None, answer: Answer) -> bool:
    """A decision that takes back the one before: it confirmed and now refuses, or the other way round."""
    if before is None or meaning(answer) == "receipt":
        return False
    return meaning_of(AnswerKind(before)) != meaning(answer)


def meaning_of(soort: AnswerKind) -> Meaning:
    """By soort alone."""
    match soort:
        case AnswerKind.RECEIVED:
            return "receipt"
        case AnswerKind.PAUSED | AnswerKind.PAUSED_IN_PART | AnswerKind.TRANSFERRED:
            return "confirms"
        case (
            AnswerKind.CLIENT_UNKNOWN
            | AnswerKind.RECENTLY_SETTLED
            | AnswerKind.RECENTLY_STABILISED
            | AnswerKind.NO_COOPERATION
            | AnswerKind.NOT_ELIGIBLE
        ):
            return "refuses"


def _read(raw: bytes) -> object:
    if len(raw) > BYTES:
        raise JsonRefused(f"het antwoord is groter dan {BYTES} bytes")
    return strict_json.decode(raw)


def _contact_as_object(value: Mapping[str, object]) -> Mapping[str, object]:
    contact = value.get("contact")
    return {**value, "contact": {"naam": contact}} if isinstance(contact, str) else value


def _plain(element: xml.Element) -> Plain:
    """The JSON value of an element that the schema has judged."""
    name = _json_name(element)
    if name in _LISTS:
        return [_plain(child) for child in element]
    if len(element):
        return {_json_name(child): _plain(child) for child in element}
    text = (element.text or "").strip()
    return Decimal(text) if name == "bedrag" else text


def _json_name(element: xml.Element) -> str:
    name = xml.local_name(element)
    return name[0].lower() + name[1:]
