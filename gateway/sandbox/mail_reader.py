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
_DELIVERY: Final = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^>]+>")
_PARTS: Final = re.compile(r"Kenmerk: .*")


class MailRefused(Exception):
    """The mail is not as the contract promises."""


class Mail(Struct, frozen=True):
    """`link` where an answer is asked; `references`: what may be typed on the page, the best one first."""

    delivery: str
    soort: str
    head: bytes
    link: str | None
    references: tuple[str, ...]
    view: Mapping[str, Any]


def read_mail(body: bytes) -> Mail:
    """Raises MailRefused."""
    message = BytesParser(policy=default).parsebytes(body)
    delivery = _delivery(message)
    text, html = _part(message, "plain"), _part(message, "html")
    link = _one_link(text, html)
    facts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    code = _code(message, delivery) if "alleen-link" not in facts else None
    references = tuple(filter(None, (facts.get("Klantnummer bij u"), code)))
    return Mail(delivery, _soort(text), _head(message), link, references, _view(delivery, facts, text))


def _delivery(message: EmailMessage) -> str:
    found = _DELIVERY.fullmatch(str(message["Message-ID"]).strip())
    if found is None or found[1] not in str(message["Subject"]):
        raise MailRefused("Message-ID of onderwerp zonder kenmerk")
    return found[1]
