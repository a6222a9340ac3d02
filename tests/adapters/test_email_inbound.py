"""Bounces, receipts, automatic replies and people: over real bounce mails, and over a real IMAP connection."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.email.adapter import Email
from adapters.email.inbound import read_mail
from adapters.email.wire import return_path
from gateway.conformance import surroundings
from gateway.contract import Inbound, Verdict
from gateway.pki import Authority, Issued
from gateway.sandbox.https_server import server_ssl
from tests.adapters.mail import DELIVERY, KEY, SENDER

BOUNCES = Path(__file__).parents[1] / "data" / "bounces"
DOMAIN = "gateway.example"
BACK = return_path(DELIVERY, KEY, DOMAIN)

DIALECTS: dict[str, tuple[str, str] | None] = {
    "lhost-postfix-01": ("bounce", "5.1.1"),
    "lhost-postfix-05": ("bounce", "4.1.1"),
    "lhost-sendmail-03": ("bounce", "5.1.1"),
    "lhost-exchange2007-01": ("bounce", "5.1.1"),
    "lhost-amazonses-01": ("bounce", "5.0.0"),
    "lhost-exim-01": ("bounce", ""),
    "lhost-exchange2003-01": ("bounce", ""),
    "lhost-qmail-01": ("bounce", ""),
    "lhost-domino-01": ("bounce", ""),
    "lhost-gmail-01": ("bounce", ""),
    "lhost-opensmtpd-01": ("human", ""),  # of a mail system, in a dialect that nobody here reads
    "lhost-opensmtpd-13": None,  # delayed
    "rfc3464-07": None,  # delayed
    "rfc3834-01": None,  # out of office
    "rfc3834-03": None,
    "arf-01": ("human", ""),  # a complaint
}


def sent_back(raw: bytes, address: str = BACK) -> bytes:
    """The mail as our own mail server would leave it in the mailbox."""
    return b"Delivered-To: " + address.encode() + b"\r\n" + raw


def meaning(raw: bytes) -> tuple[str, str] | None:
    reading = read_mail(raw, KEY, DOMAIN)
    assert reading.is_ours
    if reading.inbound is None:
        return None
    assert (reading.inbound.delivery, reading.inbound.creditor, reading.inbound.raw) == (DELIVERY, None, raw)
    return reading.inbound.kind, reading.inbound.code


def test_every_sample_is_in_the_table() -> None:
    assert {path.stem for path in BOUNCES.glob("*.eml")} == DIALECTS.keys()


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects(name: str) -> None:
    assert meaning(sent_back((BOUNCES / f"{name}.eml").read_bytes())) == DIALECTS[name]


@pytest.mark.parametrize("name", DIALECTS)
def test_without_our_return_path_no_bounce_is_believed(name: str) -> None:
    raw = (BOUNCES / f"{name}.eml").read_bytes()
    forged = return_path(DELIVERY, bytes(32), DOMAIN)
    for mail in (raw, sent_back(raw, forged), sent_back(raw, f"b-{DELIVERY.replace('-', '')}@{DOMAIN}")):
        assert not read_mail(mail, KEY, DOMAIN).is_ours


def status(*recipients: str) -> bytes:
    """A delivery status with these actions, to our return path."""
    blocks = "\r\n".join(f"Final-Recipient: rfc822; a@b.example\r\n{fields}\r\n" for fields in recipients)
    return (
        f"To: <{BACK}>\r\nFrom: MAILER-DAEMON@b.example\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r\n\r\n'
        "--x\r\nContent-Type: text/plain\r\n\r\nStatus\r\n"
        f"--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; b\r\n\r\n{blocks}\r\n--x--\r\n"
    ).encode()


STATUSES: list[tuple[tuple[str, ...], tuple[str, str] | None]] = [
    (("Action: delivered\r\nStatus: 2.0.0",), ("receipt", "2.0.0")),
    (("Action: Failed\r\nStatus: 5.7.1 (nee)",), ("bounce", "5.7.1")),
    (("Action: relayed\r\nStatus: 2.0.0",), None),
    (("Action: expanded\r\nStatus: 2.0.0",), None),
    (("Action: delayed\r\nStatus: 4.4.1",), None),
    (("Action: delivered\r\nStatus: 2.0.0", "Action: failed\r\nStatus: 5.1.1"), ("bounce", "5.1.1")),
    (("Action: failed\r\nStatus: nonsense",), ("bounce", "")),
]


@pytest.mark.parametrize(("recipients", "expected"), STATUSES)
def test_delivery_statuses(recipients: tuple[str, ...], expected: tuple[str, str] | None) -> None:
    assert meaning(status(*recipients)) == expected


def test_a_status_inside_a_mail_that_came_back_is_not_ours_to_read() -> None:
    inner = status("Action: delivered\r\nStatus: 2.0.0").decode()
    outer = f'To: {BACK}\r\nFrom: a@b.example\r\nContent-Type: multipart/mixed; boundary="y"\r\n\r\n--y\r\n'
    raw = f"{outer}Content-Type: message/rfc822\r\n\r\n{inner}\r\n--y--\r\n".encode()
    assert meaning(raw) == ("human", "")


REPLIES: list[tuple[str, tuple[str, str] | None]] = [
    ("", ("human", "")),
    ("Auto-Submitted: no\r\n", ("human", "")),
    ("Auto-Submitted: auto-replied; x=y\r\n", None),
    ("Precedence: bulk\r\n", None),
    ("Subject: Automatisch antwoord: Bericht over schuldhulpverlening\r\n", None),
    ("Subject: Re: Bericht over schuldhulpverlening\r\n", ("human", "")),
    ("Content-Type: multipart/report; report-type=disposition-notification; boundary=z\r\n", None),
]


@pytest.mark.parametrize(("headers", "expected"), REPLIES)
def test_people_are_read_and_machines_are_not(headers: str, expected: tuple[str, str] | None) -> None:
    assert meaning(f"To: {BACK.upper()}\r\nFrom: Iemand <i@b.example>\r\n{headers}\r\nDag\r\n".encode()) == expected


def test_a_reply_to_the_sender_is_matched_by_what_it_answers_and_is_never_more_than_for_a_person() -> None:
    answers = f"In-Reply-To: <{DELIVERY}@{DOMAIN}>\r\n"
    reading = read_mail(f"To: {SENDER}\r\nFrom: i@b.example\r\n{answers}\r\nDag\r\n".encode(), KEY, DOMAIN)
    assert reading.inbound is not None
    assert (reading.inbound.kind, reading.inbound.delivery) == ("human", DELIVERY)
    forged = status("Action: failed\r\nStatus: 5.1.1").replace(BACK.encode(), SENDER.encode())
    assert not read_mail(answers.encode() + forged, KEY, DOMAIN).is_ours


def test_deliveries_that_are_named_together_are_not_guessed_at() -> None:
    other = return_path("0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a02", KEY, DOMAIN)
    assert not read_mail(f"To: {BACK}, {other}\r\n\r\nx".encode(), KEY, DOMAIN).is_ours


@pytest.mark.parametrize("depth", [100, 400, 20_000])
def test_nesting_ends(depth: int) -> None:
    nested = b"Content-Type: message/rfc822\r\n\r\n" * depth + b"x"
    assert meaning(sent_back(nested)) == ("human", "")


@given(st.binary(max_size=2000))
def test_no_mail_can_stop_the_reader(noise: bytes) -> None:
    assert read_mail(noise, KEY, DOMAIN).inbound is None
    read_mail(sent_back(noise), KEY, DOMAIN)


# -- over IMAP


class Postbox:
    """A small IMAP server: enough of RFC 3501 for one folder that is read and flagged."""

    def __init__(self, mails: list[bytes]) -> None:
        self.mails = dict(enumerate(mails, 1))
        self.seen: set[int] = set()
        self.logins = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := (await reader.readline()).decode().strip():
            tag, _, command = line.partition(" ")
            for reply in self._answer(command):
                writer.write(reply)
            writer.write(tag.encode() + b" OK done\r\n")
        writer.close()

    def _answer(self, command: str) -> list[bytes]:
        match command.split(maxsplit=3):
            case ["CAPABILITY"]:
                return [b"* CAPABILITY IMAP4rev1\r\n"]
            case ["LOGIN", *_]:
                self.logins += 1
                return []
            case ["SELECT", *_]:
                return [f"* {len(self.mails)} EXISTS\r\n".encode()]
            case ["UID", "SEARCH", *_]:
                unseen = [str(uid) for uid in self.mails if uid not in self.seen]
                return [f"* SEARCH {' '.join(unseen)}\r\n".encode()]
            case ["UID", "FETCH", uid, _]:
                mail = self.mails[int(uid)]
                head = f"* {uid} FETCH (UID {uid} BODY[]<0> {{{len(mail)}}}\r\n"
                return [head.encode(), mail, b")\r\n"]
            case ["UID", "STORE", uids, _]:
                self.seen |= {int(uid) for uid in uids.split(",")}
                return []
            case _:
                return []


@asynccontextmanager
async def mailbox(mails: list[bytes], tls: ssl.SSLContext) -> AsyncIterator[tuple[Postbox, int]]:
    postbox = Postbox(mails)
    async with await asyncio.start_server(postbox.talk, "127.0.0.1", 0, ssl=tls) as server:
        yield postbox, server.sockets[0].getsockname()[1]


def channel_with(port: int, ca: Path, password: Path) -> Email:
    password.write_text("geheim")
    box = {"imap": f"imaps://127.0.0.1:{port}", "gebruiker": "gateway", "wachtwoord": f"file:{password}"}
    relay = {"afzender": SENDER, "relais": "smtp://127.0.0.1:1", "ca": f"file:{ca}"}
    return Email(msgspec.structs.replace(surroundings({**relay, "inkomend": box}), channel_key=KEY))


@pytest.mark.asyncio
async def test_the_mailbox_is_read_once_and_what_is_not_ours_stays_unread(
    server_certificate: Issued, authority: Authority, tmp_path: Path
) -> None:
    taken: list[Inbound] = []

    async def receive(inbound: Inbound) -> Verdict:
        taken.append(inbound)
        return Verdict("recorded")

    mails = [
        status("Action: failed\r\nStatus: 5.1.1"),
        b"To: iemand@anders.example\r\n\r\nreclame",
        f"To: {BACK}\r\nAuto-Submitted: auto-replied\r\n\r\nafwezig".encode(),
        status("Action: delivered\r\nStatus: 2.0.0"),
    ]
    async with mailbox(mails, server_ssl(server_certificate)) as (postbox, port):
        channel = channel_with(port, authority.certificate, tmp_path / "imap.wachtwoord")
        await channel.collect(receive)
        await channel.collect(receive)
        await channel.aclose()
    assert [(inbound.kind, inbound.delivery) for inbound in taken] == [("bounce", DELIVERY), ("receipt", DELIVERY)]
    assert postbox.seen == {1, 3, 4}
    assert postbox.logins == 1


@pytest.mark.asyncio
async def test_what_could_not_be_recorded_is_read_again(
    server_certificate: Issued, authority: Authority, tmp_path: Path
) -> None:
    attempts: list[str] = []

    async def receive(inbound: Inbound) -> Verdict:
        attempts.append(inbound.source)
        if len(attempts) == 1:
            raise OSError("ledger away")
        return Verdict("recorded")

    async with mailbox([status("Action: failed\r\nStatus: 5.1.1")], server_ssl(server_certificate)) as (postbox, port):
        channel = channel_with(port, authority.certificate, tmp_path / "imap.wachtwoord")
        with pytest.raises(OSError, match="ledger"):
            await channel.collect(receive)
        assert postbox.seen == set()
        await channel.collect(receive)
        await channel.aclose()
    assert len(set(attempts)) == 1
    assert postbox.seen == {1}


@pytest.mark.asyncio
async def test_an_impostor_gets_no_password(authority: Authority, server_certificate: Issued, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path).issue_server("vreemd")

    async def receive(inbound: Inbound) -> Verdict:
        raise AssertionError(inbound)

    async with mailbox([], server_ssl(stranger)) as (postbox, port):
        channel = channel_with(port, authority.certificate, tmp_path / "imap.wachtwoord")
        with pytest.raises(OSError, match=re.compile("certificate", re.IGNORECASE)):
            await channel.collect(receive)
        await channel.aclose()
    assert postbox.logins == 0
