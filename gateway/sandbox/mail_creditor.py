"""Creditors that read their mail: an SMTP server that verifies what it gets, and a reader who answers on the page.

Several creditors share one server, each at its own address. It is the relay and the mailbox in one: TLS and a login are
required before it takes anything.

hangs()           takes the recipient, never answers     drops_reply()   takes the mail, then cuts the connection
replies_with(…)   this instead of its own reply          keeps_reply()   takes the mail, never answers
refuses()         knows no recipient (550)               is_down()       nothing listens at its port
is_impostor()     there, with another's certificate
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Literal, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from gateway.clock import Clock
from gateway.pki import Authority, Issued, write_secret
from gateway.sandbox.answer_page import AnswerPage
from gateway.sandbox.decisions import Decide, agree
from gateway.sandbox.https_server import server_ssl
from gateway.sandbox.journal import Journal
from gateway.sandbox.mail_reader import Mail, MailRefused, OpenMail, open_mail, read_mail
from gateway.sandbox.peer import Sighting

Way = Literal["answers", "not"]
Fault = Literal["hangs", "drops_reply", "keeps_reply"]
Stage = Literal["MAIL", "RCPT", "DATA"]
DOMAIN: Final = "schuldeisers.example"
_USER: Final = "gateway"
_HEADS_KEPT = 1000
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of its own deprecations at every login


@dataclass(frozen=True, slots=True)
class Account:
    """One creditor, by its address."""

    creditor: str
    way: Way
    decide: Decide


class MailCreditor:
    """`async with MailCreditor(directory, certificate) as creditor: table = creditor.add("woning-voorbeeld")`.

    `log` gets a line of JSON per receipt; what is in `canaries` may not be visible outside the content of a mail; `ca`
    is the anchor of the answer page's certificate. As an exchanger (`is_relay=False`) it asks for no login, and
    without a certificate it has no TLS.
    """

    def __init__(
        self,
        directory: Path,
        certificate: Issued | None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Path | None = None,
        ca: Path | None = None,
        canaries: tuple[str, ...] = (),
        is_relay: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.canaries = canaries
        self.is_relay = is_relay
        self.journal = Journal(log, clock or Clock())
        self.refused: list[str] = []
        self.page = AnswerPage(ca)
        self.fault: Fault | None = None
        self.fault_ends = asyncio.Event()
        self.replies: dict[Stage, str] = {}
        self.connections: set[_Connection] = set()
        self.connections_made = 0
        self.accounts: dict[str, Account] = {}
        self.heads: deque[bytes] = deque(maxlen=_HEADS_KEPT)
        self.tls = server_ssl(certificate) if certificate else None
        self._password_file = directory / "relais.wachtwoord"
        if not self._password_file.exists():
            write_secret(self._password_file, token_urlsafe().encode())
        self._password = self._password_file.read_bytes()
        self._server: asyncio.Server | None = None

    @property
    def connections_open(self) -> int:
        return len(self.connections)

    async def __aenter__(self) -> Self:
        await self._start(self.tls)
        await self.page.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.page.__aexit__(kind, error, trace)
        await self._stop()
        self.journal.close()

    def relay(self, ca: Path) -> dict[str, object]:
        """The keys of `[email]` that say how to reach it; `ca`: the anchor of its certificate."""
        return {
            "relais": f"smtp://{self.host}:{self.port}",
            "ca": f"file:{ca}",
            "gebruiker": _USER,
            "wachtwoord": f"file:{self._password_file}",
        }

    def add(
        self, creditor: str, way: Way = "answers", decide: Decide = agree, *, domain: str = DOMAIN
    ) -> dict[str, object]:
        """Open a mailbox; returns its `[schuldeiser.email]` table for the register."""
        address = f"schuldhulp.{creditor}@{domain}"
        self.accounts[address] = Account(creditor, way, decide)
        return {"adres": address}

    def received(self, delivery: str) -> list[Sighting]:
        return [Sighting(delivery, seen.digest) for seen in self.journal.of(delivery)]

    def visible(self) -> bytes:
        """Envelopes, and the headers of the mails and of their parts."""
        return b"\n".join(self.heads)

    def is_login(self, user: bytes, password: bytes) -> bool:
        return (user, password) == (_USER.encode(), self._password)

    def take(self, envelope: Envelope) -> None:
        """A mail has come in whole."""
        body = envelope.original_content or b""
        try:
            opened = open_mail(body)
        except MailRefused as why:
            self.refused.append(str(why))
            return
        head = b"\n".join([str(envelope.mail_from).encode(), *map(str.encode, envelope.rcpt_tos), opened.head])
        self.heads.append(head)
        self.refused += [f"te zien zonder de mail te openen: {word}" for word in self.canaries if word.encode() in head]
        for address in envelope.rcpt_tos:
            self._read(self.accounts[address], opened, body)

    def _read(self, account: Account, opened: OpenMail, body: bytes) -> None:
        try:
            mail = None if opened.is_encrypted else read_mail(opened)
        except MailRefused as why:
            self.refused.append(str(why))
            return
        self.journal.record(account.creditor, opened.delivery, body, mail.soort if mail else "versleuteld")
        if mail is not None:
            self._answer(account, mail)

    def _answer(self, account: Account, mail: Mail) -> None:
        if account.way == "answers" and mail.link is not None:
            self.page.answer(mail, account.decide(mail.view))

    def hangs(self) -> AbstractAsyncContextManager[None]:
        return self._misbehaves("hangs")

    def refuses(self) -> AbstractAsyncContextManager[None]:
        return self.replies_with("RCPT", "550 5.1.1 Onbekend adres")

    @asynccontextmanager
    async def replies_with(self, stage: Stage, reply: str) -> AsyncIterator[None]:
        """`reply`: such as `451 4.3.0 Later`."""
        self.replies[stage] = reply
        try:
            yield
        finally:
            del self.replies[stage]

    def drops_reply(self) -> AbstractAsyncContextManager[None]:
        return self._misbehaves("drops_reply")

    def keeps_reply(self) -> AbstractAsyncContextManager[None]:
        return self._misbehaves("keeps_reply")

    @asynccontextmanager
    async def is_down(self) -> AsyncIterator[None]:
        await self._stop()
        try:
            yield
        finally:
            await self._start(self.tls)

    @asynccontextmanager
    async def is_impostor(self) -> AsyncIterator[None]:
        await self._stop()
        with TemporaryDirectory() as directory:
            stranger = Authority.create(Path(directory)).issue_server("vreemde", (self.host,))
            await self._start(server_ssl(stranger))
        try:
            yield
        finally:
            await self._stop()
            await self._start(self.tls)

    @asynccontextmanager
    async def _misbehaves(self, fault: Fault) -> AsyncIterator[None]:
        self.fault, self.fault_ends = fault, asyncio.Event()
        try:
            yield
        finally:
            self.fault = None
            self.fault_ends.set()

    async def _start(self, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, tls), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.cut()
        self._server = None


class _Connection(SMTP):
    """One connection; on a relay nothing is taken before TLS and a login."""

    def __init__(self, creditor: MailCreditor, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            _Desk(creditor),
            hostname="relais.example",
            tls_context=tls,
            require_starttls=tls is not None,
            auth_required=creditor.is_relay,
            authenticator=_Desk(creditor).login,
        )
        self._creditor = creditor
        creditor.connections_made += 1
        creditor.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._creditor.connections.discard(self)

    def cut(self) -> None:
        transport = cast(asyncio.WriteTransport | None, self.transport)
        if transport is not None and not transport.is_closing():  # Python 3.11.2 cannot abort a TLS one that is
            transport.abort()


class _Desk:
    """Decides on logins, recipients and mails, and misbehaves when told to."""

    def __init__(self, creditor: MailCreditor) -> None:
        self._creditor = creditor

    def login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        is_known = isinstance(data, LoginPassword) and self._creditor.is_login(data.login, data.password)
        return AuthResult(success=is_known, handled=False)

    async def handle_MAIL(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := self._creditor.replies.get("MAIL")) is None:
            envelope.mail_from = address
        return reply or "250 2.1.0 Goed"

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._creditor.fault == "hangs":
            await self._creditor.fault_ends.wait()
        if address not in self._creditor.accounts:
            return "550 5.1.1 Onbekend adres"
        if (reply := self._creditor.replies.get("RCPT")) is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 Goed"

    async def handle_DATA(  # noqa: N802  (aiosmtpd's name)
        self, server: _Connection, session: Session, envelope: Envelope
    ) -> str:
        if reply := self._creditor.replies.get("DATA"):
            return reply
        self._creditor.take(envelope)
        if self._creditor.fault == "drops_reply":
            server.cut()
        if self._creditor.fault == "keeps_reply":
            await self._creditor.fault_ends.wait()
        return "250 2.0.0 Aangenomen"
