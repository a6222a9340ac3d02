"""Reads a mail as a careful person would: everything is looked at, and what is not as promised is refused. Pure."""

import re
from collections.abc import Mapping
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.policy import compat32
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


class OpenMail(Struct, frozen=True):
    """`head`: every header of every part, which is what can be seen without opening the mail; `parts`: content by
    type."""

    delivery: str
    head: bytes
    parts: Mapping[str, list[bytes]]

    @property
    def is_encrypted(self) -> bool:
        return "application/pkcs7-mime" in self.parts

    def only(self, kind: str) -> bytes:
        found = self.parts.get(kind, [])
        if len(found) != 1:
            raise MailRefused(f"niet precies een deel {kind}")
        return found[0]


def open_mail(body: bytes) -> OpenMail:
    """Raises MailRefused where it does not say about which delivery it is."""
    message = BytesParser(policy=compat32).parsebytes(body)
    found = _MESSAGE_ID.fullmatch(str(message["Message-ID"]).strip())
    if found is None or found[1] not in str(message["Subject"]):
        raise MailRefused("Message-ID of onderwerp zonder kenmerk")
    parts: dict[str, list[bytes]] = {}
    head: list[str] = []
    for part in message.walk():
        head += [f"{name}: {_shown(str(value))}" for name, value in part.items()]
        if isinstance(content := part.get_payload(decode=True), bytes):
            parts.setdefault(part.get_content_type(), []).append(content)
    return OpenMail(found[1], "\n".join(head).encode(), parts)


def _shown(value: str) -> str:
    """A header as a mail program shows it (RFC 2047)."""
    return str(make_header(decode_header(value))) if "=?" in value else value


def read_mail(mail: OpenMail) -> Mail:
    """Raises MailRefused."""
    text, html = mail.only("text/plain").decode(), mail.only("text/html").decode()
    facts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    soort, is_bare = _soort(text), text.startswith("BERICHT")
    link = _one_link(text, html) if soort in _ASKS else None
    code = None if is_bare else _code(mail)
    if link is not None and code is None and not is_bare:
        raise MailRefused("een brief zonder code")
    references = tuple(filter(None, (facts.get("Klantnummer bij u"), code)))
    return Mail(mail.delivery, soort, link, references, _view(mail.delivery, soort, facts, text))


def _one_link(text: str, html: str) -> str:
    links = [_LINK.findall(part) for part in (text, html)]
    if len(links[0]) != 1 or links[0] != links[1]:
        raise MailRefused("niet precies een link, in beide delen dezelfde")
    return str(links[0][0])


def _code(mail: OpenMail) -> str | None:
    """From the letter, which must be there and be about this delivery."""
    letter = mail.only("application/pdf")
    said = lines(letter) if letter.startswith(b"%PDF-") else []
    if mail.delivery not in said:
        raise MailRefused("een brief zonder kenmerk")
    return code_in(said)


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
