"""One mail as bytes, its return path, and what an SMTP reply means. PURE but for the templates, read once.

| reply or failure                            | relay (ours)   | exchanger (theirs) |
|---------------------------------------------|----------------|--------------------|
| 250 to the final dot                        | HandedOver     | HandedOver         |
| 4xx, time-out, connection refused or lost   | Transient      | Transient          |
| lost or timed out after the mail was sent   | Uncertain      | Uncertain          |
| 5xx to RCPT TO or to the mail itself        | RefusedForGood | RefusedForGood     |
| 5xx to the greeting, EHLO, AUTH, MAIL FROM  | OwnFault       | RefusedForGood     |
| no STARTTLS, certificate not verified       | OwnFault       | a link only        |
"""

import hmac
import re
import socket
import ssl
from datetime import datetime
from email.errors import MultipartInvariantViolationDefect
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import SMTP, compat32
from email.utils import format_datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import aiosmtplib
import jinja2
from msgspec import Struct

from adapters.email.content import Content
from gateway.contract import AddressRefused, DeliveryId, Evidence, Outcome, OwnFault, RefusedForGood, Transient

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=jinja2.select_autoescape(),
    undefined=jinja2.StrictUndefined,
    trim_blocks=False,
)
_BARE: Final = ("alleen-link.txt", "alleen-link.html")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = 8
_REPLY_BYTES = 4096
_HEADERS: Final = frozenset(
    {
        *("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Content-Language", "Auto-Submitted"),
        *("X-Auto-Response-Suppress", "MIME-Version"),
    }
)
_DESCRIBING: Final = frozenset({"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"})
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f]|=\?.*\?=", re.DOTALL)
_RETURN: Final = re.compile(r"b-([0-9a-f]{32})-([0-9a-f]{24})@", re.IGNORECASE)
BARE_SEPARATOR: Final = b"\0"
"""Between the mail and its variant without personal data, where both are frozen; no mail has this byte in it."""


class HeaderRefused(ValueError):
    """A value for a mail header holds a line break, another control character or an encoded word."""


class Envelope(Struct, frozen=True):
    """`options` are the DSN parameters of MAIL FROM and RCPT TO (RFC 3461), for servers that offer them."""

    sender: str
    recipient: str
    sender_options: tuple[str, ...]
    recipient_options: tuple[str, ...]


def letter_code(entropy: bytes) -> str:
    """40 bits as eight characters that cannot be confused in print (Crockford), in two groups."""
    number = int.from_bytes(entropy[:5], "big")
    code = "".join(_CROCKFORD[number >> shift & 31] for shift in range(0, 5 * _CODE_LENGTH, 5))
    return f"{code[:4]} {code[4:]}"


def return_path(delivery: str, key: bytes, domain: str) -> str:
    """The address that bounces come back to: it proves by itself which delivery it belongs to."""
    digits = UUID(delivery).hex
    return f"b-{digits}-{_mac(digits, key)}@{domain}"


def delivery_of(address: str, key: bytes) -> DeliveryId | None:
    """The delivery whose return path this is; None where it was not made with `key`."""
    match = _RETURN.match(address)
    if match is None or not hmac.compare_digest(match[2].lower(), _mac(match[1].lower(), key)):
        return None
    return DeliveryId(str(UUID(match[1])))


def _mac(digits: str, key: bytes) -> str:
    return hmac.digest(key, f"return-path:{digits}".encode(), "sha256").hex()[:24]


def envelope(delivery: str, recipient: str, key: bytes, domain: str) -> Envelope:
    return Envelope(
        return_path(delivery, key, domain),
        recipient,
        (f"ENVID={delivery}", "RET=HDRS"),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT=rfc822;{_xtext(recipient)}"),
    )


def _xtext(address: str) -> str:
    """RFC 3461 §4: `+` and `=` as `+XX`."""
    return address.replace("+", "+2B").replace("=", "+3D")


class Heading(Struct, frozen=True):
    """What goes into the headers: nothing personal, nothing that differs between two attempts."""

    delivery: str
    sender_name: str
    sender: str
    recipient: str
    time: datetime
    reply_to: str | None = None

    @property
    def domain(self) -> str:
        return self.sender.partition("@")[2]


def headers(heading: Heading) -> bytes:
    """All headers of the mail but those that describe its content. Raises HeaderRefused."""
    head = EmailMessage(policy=SMTP)
    head["From"] = Address(_safe(heading.sender_name), addr_spec=_safe(heading.sender))
    head["To"] = Address(addr_spec=_safe(heading.recipient))
    if heading.reply_to is not None:
        head["Reply-To"] = Address(addr_spec=_safe(heading.reply_to))
    head["Subject"] = f"Bericht over schuldhulpverlening - kenmerk {UUID(heading.delivery)}"
    head["Date"] = format_datetime(heading.time)
    head["Message-ID"] = f"<{UUID(heading.delivery)}@{_safe(heading.domain)}>"
    head["Content-Language"] = "nl"
    head["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: no vacation notice in return
    head["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    head["MIME-Version"] = "1.0"
    return head.as_bytes().removesuffix(b"\r\n")


def _safe(value: str) -> str:
    """Python's mail library let a line break hide in an encoded word (CVE-2026-1299, CVE-2024-6923)."""
    if _UNSAFE.search(value):
        raise HeaderRefused("a header value holds a control character or an encoded word")
    return value


def text_of(content: Content, link: str | None) -> str:
    return _TEMPLATES.get_template("bericht.txt").render(content=content, link=link)


def html_of(content: Content, link: str | None) -> str:
    return _TEMPLATES.get_template("bericht.html").render(content=content, link=link)


def entity(delivery: str, text: str, html: str, letter: bytes | None) -> bytes:
    """The content of the mail with the headers that describe it; its boundaries are fixed by `delivery`."""
    message = EmailMessage(policy=SMTP)
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    message.set_boundary(boundary(delivery, "tekst"))
    if letter is not None:
        message.add_attachment(letter, maintype="application", subtype="pdf", filename=f"brief-{delivery}.pdf")
        message.set_boundary(boundary(delivery, "delen"))
    del message["MIME-Version"]
    return message.as_bytes()


def bare_entity(delivery: str, content: Content, link: str) -> bytes:
    """For a mailbox that TLS cannot protect: a link, and nothing that is about a person."""
    text, html = (_TEMPLATES.get_template(name).render(content=content, link=link) for name in _BARE)
    return entity(delivery, text, html, None)


def boundary(delivery: str, part: str) -> str:
    """Cannot occur in base64 or quoted-printable, which never hold `=_`."""
    return f"=_{UUID(delivery).hex}_{part}"


def joined(head: bytes, content: bytes) -> bytes:
    """The whole mail, its headers read back: raises HeaderRefused where there is one that was not put in."""
    mail = head + content
    found = BytesHeaderParser(policy=compat32).parsebytes(mail)
    names = [name for name in found if name not in _DESCRIBING]
    # Python before 3.11.4 counts it as a defect of a multipart that its parts were not asked for.
    defects = [defect for defect in found.defects if not isinstance(defect, MultipartInvariantViolationDefect)]
    if set(names) - _HEADERS or len(names) != len(set(names)) or defects:
        raise HeaderRefused("the mail does not read back as it was made")
    return mail


CLOSING: Final = 421
"""The server closes the connection (RFC 5321 §3.8)."""
FAILED = (OSError, aiosmtplib.SMTPException)
"""What can come out of speaking SMTP: lost, timed out, TLS refused, a refusing reply."""
_PERMANENT = 500


class DnsTrouble(OSError):
    """The name servers did not answer, or not sensibly, or do not know the name: it may pass."""


class NoTls(Exception):
    """None of a domain's exchangers offers TLS that can be verified."""


def reply_evidence(code: int, message: str) -> Evidence:
    return Evidence(str(code), f"{code} {message}".encode()[:_REPLY_BYTES])


def not_taken(why: BaseException, *, is_relay: bool) -> Outcome:
    """What it means that an attempt ended in `why` before the mail itself was sent, or by a reply to it."""
    reason = str(why).encode()[:_REPLY_BYTES]
    match why:
        case aiosmtplib.SMTPResponseException():
            return _refused(why, is_relay=is_relay)
        case AddressRefused():
            return OwnFault(Evidence("netwerken"))
        case TimeoutError():
            return Transient(Evidence("tijdslimiet"))
        case DnsTrouble() | socket.gaierror():
            return Transient(Evidence("dns", reason))
        case _ if is_unverified(why):
            return OwnFault(Evidence("tls", reason))
        case OSError():
            return Transient(Evidence("verbinding", reason))
        case _:
            return OwnFault(Evidence("relais", reason))  # offers no STARTTLS, or no way to log in that we have


def failure_text(why: BaseException) -> str:
    """In Dutch, for a person."""
    match why:
        case aiosmtplib.SMTPResponseException():
            return f"geweigerd met {why.code}"
        case TimeoutError():
            return "antwoordt niet op tijd"
        case _ if is_unverified(why):
            return "het certificaat is niet te vertrouwen"
        case _:
            return f"niet bereikbaar ({type(why).__name__})"


def is_unverified(why: BaseException) -> bool:
    """Whether it is the peer's certificate that was not to be trusted."""
    return any(isinstance(error, ssl.SSLCertVerificationError) for error in (why, why.__cause__))


def _refused(why: aiosmtplib.SMTPResponseException, *, is_relay: bool) -> Outcome:
    evidence = reply_evidence(why.code, why.message)
    if why.code < _PERMANENT:
        return Transient(evidence)
    if isinstance(why, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError) or not is_relay:
        return RefusedForGood(evidence)
    return OwnFault(evidence)


GRACE = 600.0
"""Seconds in which a delivery status may tell that a mail in doubt has arrived, before it goes again."""


class Grace:
    """How much longer each mail in doubt is waited for: GRACE from the first time that it is asked after."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def left(self, delivery: str, now: float) -> float:
        """Seconds; 0 or less: long enough. `now` in seconds of a clock that never goes back."""
        self._since = {other: since for other, since in self._since.items() if now < since + 2 * GRACE}
        return GRACE - (now - self._since.setdefault(delivery, now))
