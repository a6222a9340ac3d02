"""The email adapter against a real SMTP server."""

import asyncio
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiosmtplib
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from adapters.email import wire
from adapters.email.adapter import Email, EmailLink
from adapters.email.submission import Pool
from gateway.conformance import CANARIES, LOOPBACK, Conformance, draft, parcel, surroundings
from gateway.contract import (
    Deferred,
    Endpoint,
    HandedOver,
    Outcome,
    OwnFault,
    RefusedForGood,
    SettingsRefused,
    Transient,
    Uncertain,
)
from gateway.pki import Authority, Issued
from gateway.sandbox.https_server import server_ssl
from gateway.sandbox.mail_creditor import MailCreditor, Stage
from tests.adapters.mail import DELIVERY, KEY, SENDER, changed, dsn_server, parameters, writer


@pytest_asyncio.fixture
async def creditor(tmp_path: Path, server_certificate: Issued) -> AsyncIterator[MailCreditor]:
    async with MailCreditor(tmp_path, server_certificate, canaries=CANARIES) as creditor:
        yield creditor


@pytest.fixture
def endpoint(creditor: MailCreditor) -> Endpoint:
    table = creditor.add("woning-voorbeeld", "not")
    return Endpoint("woning-voorbeeld", "Woning Voorbeeld", table, 8, LOOPBACK)


@pytest_asyncio.fixture
async def channel(creditor: MailCreditor, authority: Authority) -> AsyncIterator[Email]:
    channel = Email(surroundings({"afzender": SENDER, **creditor.relay(authority.certificate)}))
    yield channel
    await channel.aclose()


@pytest_asyncio.fixture
async def link(channel: Email, endpoint: Endpoint) -> EmailLink:
    return channel.link(endpoint)


class TestEmailConformance(Conformance):
    is_guarded = False

    @pytest.fixture
    def peer(self, creditor: MailCreditor) -> MailCreditor:
        return creditor

    @pytest.fixture
    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        return endpoint

    @pytest_asyncio.fixture
    async def channel(self, channel: Email) -> Email:
        return channel


# -- settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "email.afzender"),
        ({"afzender": "geen adres"}, "email.afzender"),
        ({"afzender": SENDER, "relais": "http://x"}, "email.relais"),
        ({"afzender": SENDER, "relais": "smtp://gebruiker@x"}, "email.relais"),
        ({"afzender": SENDER, "gebruiker": "x"}, "email.wachtwoord"),
        ({"afzender": SENDER, "certificaat": "file:/x"}, "email.certificaat_sleutel"),
        ({"afzender": SENDER, "inkomend": {"imap": "imap://x", "gebruiker": "x", "wachtwoord": "file:/x"}}, "inkomend"),
        ({"afzender": SENDER, "onzin": 1}, "email.onzin"),
    ],
)
def test_a_wrong_table_is_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsRefused, match=re.escape(named)):
        Email(surroundings(settings))


def test_an_elliptic_certificate_cannot_be_encrypted_for(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue_server("ec")
    with pytest.raises(SettingsRefused, match="RSA"):
        writer({}, {"certificaat": f"file:{issued.certificate}"})


# -- sending

REPLIES: list[tuple[Stage, str, type[Outcome]]] = [
    ("MAIL", "451 4.3.0 Later", Transient),
    ("MAIL", "550 5.7.1 U niet", OwnFault),
    ("RCPT", "450 4.2.1 Later", Transient),
    ("RCPT", "550 5.1.1 Onbekend", RefusedForGood),
    ("DATA", "452 4.3.1 Vol", Transient),
    ("DATA", "554 5.6.0 Nee", RefusedForGood),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("stage", "reply", "kind"), REPLIES)
async def test_a_reply_means_what_the_table_says_and_the_connection_stays_good(
    link: EmailLink, endpoint: Endpoint, creditor: MailCreditor, stage: Stage, reply: str, kind: type[Outcome]
) -> None:
    sent = parcel(link, endpoint, draft())
    async with creditor.replies_with(stage, reply):
        outcome = await link.send(sent)
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Transient | OwnFault | RefusedForGood)
    assert (outcome.evidence.code, outcome.evidence.reply) == (reply[:3], reply.encode())
    handed_over = await link.send(sent)
    assert isinstance(handed_over, HandedOver)
    assert handed_over.evidence.reply == b"250 2.0.0 Aangenomen"
    assert creditor.connections_made == 1


@pytest.mark.asyncio
async def test_what_is_sent_is_as_the_contract_promises(
    link: EmailLink, endpoint: Endpoint, creditor: MailCreditor
) -> None:
    sent = parcel(link, endpoint, draft())
    assert isinstance(await link.send(sent), HandedOver)
    assert creditor.refused == []
    assert creditor.received(sent.delivery)[0].digest == sha256(sent.body).hexdigest()
    assert wire.return_path(sent.delivery, KEY, "gateway.example").encode() in creditor.visible()


@pytest.mark.asyncio
async def test_a_wrong_password_is_our_own_fault(
    creditor: MailCreditor, authority: Authority, endpoint: Endpoint, tmp_path: Path
) -> None:
    wrong = tmp_path / "fout.wachtwoord"
    wrong.write_text("fout")
    table = {"afzender": SENDER, **creditor.relay(authority.certificate), "wachtwoord": f"file:{wrong}"}
    link = Email(surroundings(table)).link(endpoint)
    outcome = await link.send(parcel(link, endpoint, draft()))
    assert isinstance(outcome, OwnFault)
    assert outcome.evidence.code == "535"


@pytest.mark.asyncio
async def test_a_relay_that_offers_no_tls_gets_nothing(
    authority: Authority, endpoint: Endpoint, tmp_path: Path
) -> None:
    async with MailCreditor(tmp_path, None, is_relay=False) as stripped:
        channel = Email(surroundings({"afzender": SENDER, **stripped.relay(authority.certificate)}))
        link = channel.link(msgspec.structs.replace(endpoint, settings=stripped.add("woning-voorbeeld")))
        sent = parcel(link, endpoint, draft())
        assert isinstance(await link.send(sent), OwnFault)
        assert stripped.visible() == b""
        await channel.aclose()


@pytest.mark.asyncio
async def test_all_creditors_share_a_few_connections(
    channel: Email, creditor: MailCreditor, endpoint: Endpoint
) -> None:
    endpoints = [
        msgspec.structs.replace(endpoint, creditor=name, settings=creditor.add(name, "not")) for name in "abcdefghijkl"
    ]
    links = [channel.link(each) for each in endpoints]
    parcels = [parcel(link, each, draft()) for link, each in zip(links, endpoints, strict=True)]
    for _ in range(2):
        outcomes = await asyncio.gather(*[link.send(sent) for link, sent in zip(links, parcels, strict=True)])
        assert {type(outcome) for outcome in outcomes} == {HandedOver}
    assert creditor.connections_made <= 8


@pytest.mark.asyncio
async def test_no_free_connection_in_time_is_ours_and_spends_nothing(
    channel: Email, creditor: MailCreditor, link: EmailLink, endpoint: Endpoint
) -> None:
    parcels = [parcel(link, endpoint, draft()) for _ in range(12)]
    async with creditor.hangs():
        outcomes = await asyncio.gather(*[link.send(sent) for sent in parcels])
    assert sorted({type(outcome) for outcome in outcomes}, key=str) == [Deferred, Transient]


# -- what a server offers


@pytest.mark.asyncio
@pytest.mark.parametrize("offers_dsn", [True, False])
async def test_delivery_status_is_asked_for_where_the_server_offers_it(offers_dsn: bool) -> None:
    said: list[str] = []
    envelope = wire.envelope(DELIVERY, "a+b@c.example", KEY, "gateway.example")
    async with dsn_server(said, offers_dsn=offers_dsn) as port:

        async def dial() -> aiosmtplib.SMTP:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="gateway.example")
            await client.connect()
            await client.ehlo()
            return client

        pool = Pool(dial, 1, is_relay=True)
        outcome = await pool.deliver(envelope, b"Subject: x\r\n\r\n.x\r\n", asyncio.get_running_loop().time() + 5)
        await pool.aclose()
    assert isinstance(outcome, HandedOver)
    assert outcome.evidence.reply == b"250 2.0.0 Ok: queued as 4X"
    expected = [f"ENVID={DELIVERY} RET=HDRS", "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb@c.example"]
    assert parameters(said) == (expected if offers_dsn else ["", ""])


@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_the_first_mail_on_a_connection_asks_for_delivery_status_too(
    scheme: str, endpoint: Endpoint, server_certificate: Issued, authority: Authority
) -> None:
    said: list[str] = []
    tls = server_ssl(server_certificate)
    async with dsn_server(said, tls=tls, starts_plain=scheme == "smtp") as port:
        table: dict[str, object] = {
            "afzender": SENDER,
            "relais": f"{scheme}://127.0.0.1:{port}",
            "ca": f"file:{authority.certificate}",
        }
        channel = Email(surroundings(table))
        link = channel.link(endpoint)
        parcels = [parcel(link, endpoint, draft()) for _ in range(2)]
        outcomes = [await link.send(sent) for sent in parcels]
        await channel.aclose()
    assert {type(outcome) for outcome in outcomes} == {HandedOver}
    address = str(endpoint.settings["adres"])
    asked = ["NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT=rfc822;{address}"]
    assert parameters(said) == [one for sent in parcels for one in (f"ENVID={sent.delivery} RET=HDRS", " ".join(asked))]


@pytest.mark.asyncio
async def test_a_mail_that_was_sent_whole_and_not_answered_is_uncertain(
    link: EmailLink, endpoint: Endpoint, creditor: MailCreditor
) -> None:
    sent = parcel(link, endpoint, draft())
    async with creditor.drops_reply():
        assert isinstance(await link.send(sent), Uncertain)
    assert await link.resolve(sent) is None


@pytest.mark.asyncio
@pytest.mark.parametrize("arrived", [True, False])
async def test_a_mail_in_doubt_waits_for_a_delivery_status_and_then_goes_again_byte_for_byte(
    creditor: MailCreditor,
    authority: Authority,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrived: bool,
) -> None:
    monkeypatch.setattr(wire, "GRACE", 0.2)
    password = tmp_path / "wachtwoord"
    password.write_text("geheim")
    inbox = {"imap": "imaps://127.0.0.1:1", "gebruiker": "x", "wachtwoord": f"file:{password}"}
    settings = {"afzender": SENDER, "inkomend": inbox, **creditor.relay(authority.certificate)}
    channel = Email(surroundings(settings))
    link = channel.link(endpoint)
    sent = parcel(link, endpoint, draft())
    if arrived:
        async with creditor.drops_reply():
            assert isinstance(await link.send(sent), Uncertain)
    waits = await link.resolve(sent)
    assert isinstance(waits, Deferred)
    assert 0 < waits.seconds <= wire.GRACE
    await asyncio.sleep(waits.seconds)
    assert await link.resolve(sent) is None
    assert isinstance(await link.send(sent), HandedOver)
    assert [seen.digest for seen in creditor.received(sent.delivery)] == [sha256(sent.body).hexdigest()] * (1 + arrived)
    await channel.aclose()


# -- checking, and the reader of the sandbox


@pytest.mark.asyncio
async def test_check_says_what_is_right_and_what_is_wrong(
    channel: Email, endpoint: Endpoint, creditor: MailCreditor
) -> None:
    assert [finding.ok for finding in await channel.check(endpoint)] == [None, True]
    async with creditor.is_impostor():
        assert [finding.ok for finding in await channel.check(endpoint)] == [None, False]
    async with creditor.is_down():
        assert [finding.ok for finding in await channel.check(endpoint)] == [None, False]
    assert creditor.visible() == b""


@pytest.mark.asyncio
@pytest.mark.parametrize("number", ["K-774411", None])
async def test_a_creditor_of_the_sandbox_answers_on_the_page(
    tmp_path: Path, server_certificate: Issued, authority: Authority, number: str | None
) -> None:
    posted: list[dict[str, Any]] = []

    async def page(request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            return web.Response(text='<form method="post"><input name="referentie"></form>', content_type="text/html")
        form = dict(await request.post())
        posted.append(form)
        if "soort" in form:
            return web.Response(text="Bedankt", content_type="text/html")
        fields = '<input type="hidden" name="bewijs" value="z"><input type="radio" name="soort" value="ontvangen">'
        return web.Response(
            text=f'<form method="post">{fields}<input name="totEnMet"></form>', content_type="text/html"
        )

    site = web.Server(page)
    runner = web.ServerRunner(site)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    told = msgspec.structs.replace(surroundings({}), public_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with MailCreditor(tmp_path, server_certificate) as creditor:
        table = {"afzender": SENDER, **creditor.relay(authority.certificate)}
        channel = Email(msgspec.structs.replace(told, settings=table))
        endpoint = Endpoint("x", "X", creditor.add("x"), 8)
        link = channel.link(endpoint)
        made = link.render(changed(draft(), klantnummer=number))
        sent = msgspec.structs.replace(parcel(link, endpoint, draft()), body=made.body)
        assert isinstance(await link.send(sent), HandedOver)
        async with asyncio.timeout(5):
            while len(posted) < 2:
                await asyncio.sleep(0.01)
        await channel.aclose()
    await runner.cleanup()
    assert posted[0] == {"referentie": made.references[0]}
    assert posted[1] == {"bewijs": "z", "soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
