"""Reads a mail as a careful person would: everything is looked at, and what is not as promised is refused. Pure."""

import re
from collections.abc import Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, Final

from msgspec import Struct

from gateway.sandbox.letter import code_in, lines

_MONTHS: Final = (
    *("januari", "februari", "maart", "april", "mei", "juni"),
    *("juli", "augustus", "september", "oktober", "november", "december"),
)
_SOORTEN: Final = {
    "KENNISGEVING": "kennisgeving",
    "HERINNERING": "herinnering",
    "VOORTGANG": "voortgang",
    "VERLENGING": "verlenging",
    "EINDE": "beeindiging",
    "INTREKKING": "intrekking",
    "BERICHT": "kennisgeving",
}
"""By the first word of the text; the last is that of a mail with a link only."""
_LINK: Final = re.compile(r"https?://[^\s\"<>]+/antwoord/[A-Za-z0-9_-]+")
_MESSAGE_ID: Final = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^>]+>")
_ASKS: Final = frozenset({"kennisgeving", "herinnering"})


class MailRefused(Exception):
    """The mail is not as the contract promises. The text says what, without values."""


class Mail(Struct, frozen=True):
    """`link` where an answer is asked; `references`: what may be typed on the page, the best one first."""

    delivery: str
    soort: str
    link: str | None
    references: tuple[str, ...]
    view: Mapping[str, Any]


def parse(body: bytes) -> EmailMessage:
    return BytesParser(policy=default).parsebytes(body)


def delivery_of(message: EmailMessage) -> str:
    """Raises MailRefused."""
    found = _MESSAGE_ID.fullmatch(str(message["Message-ID"]).strip())
    if found is None or found[1] not in str(message["Subject"]):
        raise MailRefused("Message-ID of onderwerp zonder kenmerk")
    return found[1]


def is_encrypted(message: EmailMessage) -> bool:
    return message.get_content_type() == "application/pkcs7-mime"


def headers_of(message: EmailMessage) -> bytes:
    """Every header, of every part: what is visible without opening the mail, and the names of its attachments."""
    return "\n".join(f"{name}: {value}" for part in message.walk() for name, value in part.items()).encode()


def read_mail(message: EmailMessage) -> Mail:
    """Raises MailRefused."""
    delivery, text, html = delivery_of(message), _part(message, "plain"), _part(message, "html")
    facts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    soort = _soort(text)
    link = _one_link(text, html) if soort in _ASKS else None
    code = None if text.startswith("BERICHT") else _code(message, delivery)
    if link is not None and code is None and not text.startswith("BERICHT"):
        raise MailRefused("een brief zonder code")
    references = tuple(filter(None, (facts.get("Klantnummer bij u"), code)))
    return Mail(delivery, soort, link, references, _view(delivery, soort, facts, text))


def _part(message: EmailMessage, subtype: str) -> str:
    found = [part for part in message.walk() if part.get_content_type() == f"text/{subtype}"]
    if len(found) != 1:
        raise MailRefused(f"niet precies een deel text/{subtype}")
    content = found[0].get_content()
    return content if isinstance(content, str) else ""


def _one_link(text: str, html: str) -> str:
    links = [_LINK.findall(part) for part in (text, html)]
    if len(links[0]) != 1 or links[0] != links[1]:
        raise MailRefused("niet precies een link, in beide delen dezelfde")
    return str(links[0][0])


def _code(message: EmailMessage, delivery: str) -> str | None:
    """From the letter, which must be there and be about this delivery."""
    letters = [part.get_content() for part in message.walk() if part.get_content_type() == "application/pdf"]
    if len(letters) != 1 or not letters[0].startswith(b"%PDF-") or delivery not in lines(letters[0]):
        raise MailRefused("geen brief, of een brief zonder kenmerk")
    return code_in(letters[0])


def _soort(text: str) -> str:
    word = text.replace(":", " ").split(maxsplit=1)[0]
    if word not in _SOORTEN:
        raise MailRefused("een onbekende soort bericht")
    return _SOORTEN[word]


def _view(delivery: str, soort: str, facts: Mapping[str, str], text: str) -> dict[str, Any]:
    """As much of the contract's view as a reader needs to decide."""
    view: dict[str, Any] = {"kenmerk": delivery, "soort": soort}
    if "Tot en met" in facts:
        view["pauze"] = {"ingangsdatum": _iso(facts["Van"]), "totEnMet": _iso(facts["Tot en met"])}
    claims = [line.split("; ") for line in text.splitlines() if line.startswith(("Kenmerk: ", "Factuurnummer: "))]
    if claims:
        view["vorderingen"] = [
            {key.lower(): value for key, _, value in (fact.partition(": ") for fact in claim)} for claim in claims
        ]
    return view


def _iso(day: str) -> str:
    """`22 juli 2027` as `2027-07-22`."""
    number, month, year = day.split()
    return f"{year}-{_MONTHS.index(month) + 1:02}-{int(number):02}"
