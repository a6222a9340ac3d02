"""Mail straight to a creditor's exchanger, with a real name server in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import msgspec
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.email.adapter import Email, EmailLink
from adapters.email.direct import DirectRoute, Names
from gateway.conformance import CANARIES, LOOPBACK, Conformance, draft, parcel, surroundings
from gateway.contract import (
    Draft,
    Endpoint,
    HandedOver,
    Outcome,
    OwnFault,
    RefusedForGood,
    Transient,
)
from gateway.pki import Authority, Issued
from gateway.sandbox.https_server import server_ssl
from gateway.sandbox.mail_creditor import MailCreditor
from tests.adapters.mail import SENDER, changed, dsn_server, parameters, parts

# -- direct


Fault = Literal["SERVFAIL", "REFUSED", "silence"]


class Zone(asyncio.DatagramProtocol):
    """A name server with a few records; `is_validated` sets the AD bit, as a validating resolver does. `fault`: all
    that it answers; "silence": nothing at all."""

    def __init__(
        self, records: dict[tuple[str, str], list[str]], *, is_validated: bool, fault: Fault | None = None
    ) -> None:
        self.fault = fault
        self.records = records
        self.is_validated = is_validated
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.fault == "silence":
            return
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        reply = dns.message.make_response(query)
        found = self.records.get((question.name.to_text(), kind))
        if found is None and not any(name == question.name.to_text() for name, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        if self.fault is not None:
            reply.set_rcode(dns.rcode.from_text(self.fault))
        if self.is_validated:
            reply.flags |= dns.flags.AD
        assert self.transport is not None
        self.transport.sendto(reply.to_wire(), addr)


MX = {("creditor.example.", "MX"): ["10 localhost."]}


@asynccontextmanager
async def names_of(
    records: dict[tuple[str, str], list[str]], *, is_validated: bool = True, fault: Fault | None = None
) -> AsyncIterator[Names]:
    """As asked of a name server with these records."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Zone(records, is_validated=is_validated, fault=fault), local_addr=("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.lifetime = 0.3
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        yield Names(resolver)
    finally:
        transport.close()


class Direct(Email):
    """Without a relay; exchangers are found by `names`, and listen at `port`."""

    def __init__(self, names: Names, port: int) -> None:
        super().__init__(surroundings({"afzender": SENDER}))
        self._names = names
        self._port = port

    def link(self, endpoint: Endpoint) -> EmailLink:
        route = DirectRoute(self.settings, endpoint, self._names, self._port)
        return EmailLink(self, endpoint, route, owns_route=True)


class Street:
    """A gateway without a relay, a creditor's exchanger on localhost, and the names in between."""

    def __init__(self, place: Path, exchanger: MailCreditor, ca: Path) -> None:
        self.exchanger = exchanger
        table = exchanger.add("x", "not", domain="creditor.example")
        self.endpoint = Endpoint("x", "X", table, 8, LOOPBACK, f"file:{ca}")
        self.port = exchanger.port

    async def send(
        self,
        records: dict[tuple[str, str], list[str]],
        message: Draft,
        *,
        is_validated: bool = True,
        fault: Fault | None = None,
    ) -> Outcome:
        async with names_of(records, is_validated=is_validated, fault=fault) as names:
            link = Direct(names, self.port).link(self.endpoint)
            try:
                return await link.send(parcel(link, self.endpoint, message))
            finally:
                await link.aclose()


@pytest_asyncio.fixture
async def street(tmp_path: Path, server_certificate: Issued, authority: Authority) -> AsyncIterator[Street]:
    async with MailCreditor(tmp_path, server_certificate, is_relay=False, canaries=CANARIES) as exchanger:
        yield Street(tmp_path, exchanger, authority.certificate)


@pytest_asyncio.fixture
async def plain_street(tmp_path: Path, authority: Authority) -> AsyncIterator[Street]:
    async with MailCreditor(tmp_path, None, is_relay=False) as exchanger:
        yield Street(tmp_path, exchanger, authority.certificate)


def tlsa(certificate: Path, port: int, *, is_right: bool = True) -> dict[tuple[str, str], list[str]]:
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = sha256(der if is_right else b"iets anders").hexdigest()
    return {**MX, (f"_{port}._tcp.localhost.", "TLSA"): [f"3 1 1 {digest}"]}


@pytest.mark.asyncio
async def test_an_exchanger_with_a_verified_certificate_gets_the_mail(street: Street) -> None:
    message = draft()
    assert isinstance(await street.send(MX, message), HandedOver)
    assert street.exchanger.refused == []
    assert [seen.soort for seen in street.exchanger.journal.of(message.delivery)] == ["kennisgeving"]


@pytest.mark.asyncio
async def test_the_first_mail_asks_for_delivery_status(street: Street, server_certificate: Issued) -> None:
    said: list[str] = []
    message = draft()
    async with dsn_server(said, tls=server_ssl(server_certificate)) as street.port:
        assert isinstance(await street.send(MX, message), HandedOver)
    asked = "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;schuldhulp.x@creditor.example"
    assert parameters(said) == [f"ENVID={message.delivery} RET=HDRS", asked]


@pytest.mark.asyncio
async def test_a_published_key_is_enough_and_any_other_is_too_little(
    street: Street, server_certificate: Issued, authority: Authority
) -> None:
    stranger = Authority.create(authority.directory, "vreemd")
    street.endpoint = msgspec.structs.replace(street.endpoint, ca=f"file:{stranger.certificate}")
    certificate, port = server_certificate.certificate, street.exchanger.port
    assert isinstance(await street.send(tlsa(certificate, port), draft()), HandedOver)
    message = draft()
    assert isinstance(await street.send(tlsa(certificate, port, is_right=False), message), Transient)
    assert street.exchanger.received(message.delivery) == []


@pytest.mark.asyncio
async def test_a_published_key_that_nobody_validated_counts_for_nothing(
    street: Street, server_certificate: Issued
) -> None:
    records = tlsa(server_certificate.certificate, street.exchanger.port, is_right=False)
    assert isinstance(await street.send(records, draft(), is_validated=False), HandedOver)


@pytest.mark.asyncio
async def test_without_verified_tls_goes_a_link_and_nothing_personal(plain_street: Street) -> None:
    bodies: list[bytes] = []
    take = plain_street.exchanger.take

    def keep(envelope: Any) -> None:
        bodies.append(envelope.original_content)
        take(envelope)

    plain_street.exchanger.take = keep  # type: ignore[method-assign]
    outcome = await plain_street.send(MX, draft())
    assert isinstance(outcome, HandedOver)
    assert outcome.evidence.code == "250-alleen-link"
    said = str(parts(bodies[0]))
    assert "/antwoord/" in said
    assert [word for word in CANARIES if word in said] == []
    assert "application/pdf" not in said


@pytest.mark.asyncio
async def test_a_link_alone_is_of_no_use_without_a_klantnummer(plain_street: Street) -> None:
    message = changed(draft(), klantnummer=None)
    outcome = await plain_street.send(MX, message)
    assert isinstance(outcome, RefusedForGood)
    assert outcome.evidence.code == "geen_tls"
    assert plain_street.exchanger.received(message.delivery) == []


@pytest.mark.asyncio
async def test_a_certificate_that_is_not_to_be_trusted_is_no_tls(street: Street, authority: Authority) -> None:
    stranger = Authority.create(authority.directory, "vreemd")
    street.endpoint = msgspec.structs.replace(street.endpoint, ca=f"file:{stranger.certificate}")
    assert isinstance(await street.send(MX, changed(draft(), klantnummer=None)), RefusedForGood)


@pytest.mark.asyncio
async def test_a_domain_that_takes_no_mail_is_refused_for_good(street: Street) -> None:
    outcome = await street.send({("creditor.example.", "MX"): ["0 ."]}, draft())
    assert isinstance(outcome, RefusedForGood)
    assert outcome.evidence.code == "geen_mail"


TROUBLE: list[tuple[dict[tuple[str, str], list[str]], Fault | None]] = [
    ({}, None),  # NXDOMAIN
    ({("creditor.example.", "TXT"): ["nee"]}, None),  # no such record, and no address of that name
    ({("creditor.example.", "MX"): ["10 nergens.invalid."]}, None),
    (MX, "SERVFAIL"),
    (MX, "REFUSED"),
    (MX, "silence"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("records", "fault"), TROUBLE)
async def test_names_that_cannot_be_found_now_may_be_found_later(
    street: Street, records: dict[tuple[str, str], list[str]], fault: Fault | None
) -> None:
    message = draft()
    outcome = await street.send(records, message, fault=fault)
    assert isinstance(outcome, Transient)
    assert outcome.evidence.code == "dns"
    assert isinstance(await street.send(MX, message), HandedOver)


@pytest.mark.asyncio
async def test_an_exchanger_outside_its_networks_is_not_dialled(street: Street) -> None:
    street.endpoint = msgspec.structs.replace(street.endpoint, networks=())
    assert isinstance(await street.send(MX, draft()), OwnFault)
    assert street.exchanger.connections_made == 0


# -- closing


@pytest.mark.asyncio
class TestClosing:
    """A link that has connections of its own closes them as every other does."""

    test_closing = Conformance.test_closing_closes_every_connection
    test_closing_in_the_middle = Conformance.test_closing_in_the_middle_of_an_attempt_closes_every_connection

    @pytest_asyncio.fixture
    async def channel(self, street: Street) -> AsyncIterator[Direct]:
        async with names_of(MX) as names:
            yield Direct(names, street.port)

    @pytest.fixture
    def endpoint(self, street: Street) -> Endpoint:
        return street.endpoint

    @pytest.fixture
    def peer(self, street: Street) -> MailCreditor:
        return street.exchanger

    async def test_an_attempt_under_way_ends_well_and_the_next_is_not_made(
        self, channel: Direct, endpoint: Endpoint, peer: MailCreditor
    ) -> None:
        link = channel.link(endpoint)
        sent = parcel(link, endpoint, draft())
        async with asyncio.timeout(5):
            async with peer.keeps_reply():
                under_way = asyncio.create_task(link.send(sent))
                while not peer.received(sent.delivery):
                    await asyncio.sleep(0.01)
                await link.aclose()
            assert isinstance(await under_way, HandedOver)
            assert isinstance(await link.send(sent), Transient)
            while peer.connections_open:
                await asyncio.sleep(0.01)
        assert peer.connections_made == 1
