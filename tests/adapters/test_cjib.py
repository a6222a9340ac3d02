"""The CJIB-style adapter against a real server with mTLS."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import RSAKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

import schemas
from adapters.cjib import wire
from adapters.cjib.adapter import Cjib, CjibLink
from gateway.clock import Clock
from gateway.conformance import LOOPBACK, TOO_DEEP, Conformance, draft, parcel, surroundings
from gateway.contract import (
    DeliveryId,
    Draft,
    Endpoint,
    Evidence,
    HandedOver,
    Inbound,
    OpenDelivery,
    Outcome,
    OwnFault,
    Parcel,
    Proof,
    RefusedForGood,
    Reply,
    SettingsRefused,
    Transient,
    Uncertain,
    Verdict,
)
from gateway.pki import Authority, Issued
from gateway.sandbox.cjib_creditor import CjibCreditor


@pytest_asyncio.fixture
async def creditor(tmp_path: Path, authority: Authority, server_certificate: Issued) -> AsyncIterator[CjibCreditor]:
    async with CjibCreditor(
        tmp_path, server_certificate, authority.certificate, log=tmp_path / "ontvangen.jsonl"
    ) as creditor:
        yield creditor


@pytest.fixture
def peer(creditor: CjibCreditor) -> CjibCreditor:
    return creditor


@pytest.fixture(scope="session")
def client(authority: Authority) -> Issued:
    return authority.issue_client("gateway")


@pytest.fixture
def endpoint(creditor: CjibCreditor, authority: Authority, client: Issued) -> Endpoint:
    return Endpoint("cjib", "CJIB", creditor.add("cjib", client), 8, LOOPBACK, f"file:{authority.certificate}")


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Cjib]:
    channel = Cjib(surroundings())
    yield channel
    await channel.aclose()


@pytest_asyncio.fixture
async def link(channel: Cjib, endpoint: Endpoint) -> AsyncIterator[CjibLink]:
    link = channel.link(endpoint)
    yield link
    await link.aclose()


class TestCjibConformance(Conformance):
    can_resolve = True
    sees_other_content = True


def code(outcome: Outcome | None) -> str:
    match outcome:
        case HandedOver() | OwnFault() | Uncertain() | RefusedForGood() | Transient():
            return f"{type(outcome).__name__} {outcome.evidence.code}"
        case _:
            return repr(outcome)


def changed(endpoint: Endpoint, **settings: object) -> Endpoint:
    return msgspec.structs.replace(endpoint, settings={**endpoint.settings, **settings})


async def sent_once(channel: Cjib, endpoint: Endpoint) -> str:
    link = channel.link(endpoint)
    try:
        return code(await link.send(parcel(link, endpoint, draft())))
    finally:
        await link.aclose()


async def resolved_once(channel: Cjib, endpoint: Endpoint) -> str:
    link = channel.link(endpoint)
    try:
        return code(await link.resolve(parcel(link, endpoint, draft())))
    finally:
        await link.aclose()


# -- what the API's states mean


def zaak(number: str, end: str | None = None, reason: str | None = None, *, paused: bool = True) -> dict[str, Any]:
    return {"zaaknummer": number, "stilgelegd": paused, "totEnMet": end, "reden": reason}


@pytest.mark.parametrize(
    ("cases", "answer"),
    [
        ([], {"soort": "klant_onbekend"}),
        (None, {"soort": "klant_onbekend"}),
        ([zaak("A", "2027-07-22")], {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}),
        (
            [zaak("A", "2027-07-22"), zaak("B", "2027-03-01"), zaak("C")],
            {"soort": "pauze_ingesteld", "totEnMet": "2027-03-01"},
        ),
        ([zaak("A")], {"soort": "pauze_ingesteld"}),
        (
            [zaak("A", "2027-07-22"), zaak("B", reason="verjaard", paused=False)],
            {
                "soort": "pauze_gedeeltelijk",
                "totEnMet": "2027-07-22",
                "vorderingen": [
                    {"kenmerk": "A", "soort": "pauze_ingesteld", "totEnMet": "2027-07-22"},
                    {"kenmerk": "B", "soort": "niet_in_aanmerking", "reden": "verjaard"},
                ],
            },
        ),
        (
            [zaak("A", reason="strafzaak", paused=False), zaak("B", reason="strafzaak", paused=False)],
            {"soort": "niet_in_aanmerking", "reden": "strafzaak"},
        ),
        ([zaak("A", paused=False)], {"soort": "niet_in_aanmerking"}),
    ],
)
def test_settled_cases_become_one_answer(cases: list[dict[str, Any]] | None, answer: dict[str, Any]) -> None:
    body = json.dumps({"id": "1", "kenmerk": "k", "status": "afgehandeld", "zaken": cases}).encode()
    request = wire.read_request(body)
    assert request is not None
    given = json.loads(wire.answer(request) or b"")
    assert given == answer
    assert schemas.validator("antwoord").is_valid(given)


@pytest.mark.parametrize("status", ["ontvangen", "in_behandeling"])
def test_an_unsettled_request_is_proof_of_receipt_and_no_answer(status: str) -> None:
    body = json.dumps({"id": "1", "kenmerk": "k", "status": status, "zaken": []}).encode()
    found = wire.inbound("cjib", DeliveryId("d"), "/v1/x", body)
    assert (found.kind, found.answer, found.code) == ("receipt", None, status)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"id":"1","kenmerk":"k","status":"kwijt"}', b"\xff", TOO_DEEP])
def test_what_cannot_be_read_goes_to_a_person(body: bytes) -> None:
    assert wire.inbound("cjib", DeliveryId("d"), "/v1/x", body).kind == "human"


def test_the_same_state_in_other_words_is_the_same_source() -> None:
    one = b'{"id":"1","kenmerk":"k","status":"ontvangen","zaken":[]}'
    same = b'{ "gezien": "12:01", "status": "ontvangen", "zaken": [], "kenmerk": "k", "id": "1" }'
    other = one.replace(b"ontvangen", b"in_behandeling")
    sources = [wire.inbound("cjib", DeliveryId("d"), "/v1/x", body).source for body in (one, same, other)]
    assert sources[0] == sources[1] != sources[2]


# -- replies to a POST


ROOT = URL("https://api.example/cjib")
STATE = b'{"id":"77","kenmerk":"k","status":"ontvangen","zaken":[]}'
PATH = "/cjib/v1/stabilisatieverzoeken/77"


def reply(status: int, body: bytes | None = STATE, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, CIMultiDictProxy(CIMultiDict(headers or {})), body, Evidence(str(status)))


def message(soort: str = "kennisgeving", notice_reference: str | None = None) -> Parcel:
    return Parcel(DeliveryId("d"), "cjib", soort, f"nl.schuldhulpverlening.{soort}.v1", 1, b"{}", notice_reference)


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("location", "reference"),
    [
        (PATH, PATH),
        (f"https://api.example{PATH}", PATH),
        (f"https://api.example:443{PATH}?a=b", PATH),
        ("/elders/77", "/elders/77"),
        (f"https://elders.example{PATH}", PATH),
        ("//elders.example/x", PATH),
        (f"http://api.example{PATH}", PATH),
        ("https://[::1", PATH),
        ("", PATH),
    ],
)
def test_a_location_counts_at_the_apis_own_origin_only(location: str, reference: str) -> None:
    outcome = wire.outcome(reply(201, headers={"Location": location}), ROOT, message(), NOW)
    assert isinstance(outcome, HandedOver)
    assert outcome.reference == reference


@pytest.mark.parametrize("path", ["//elders.example/x", "/\\elders.example/x", "/../x", "https://elders.example/x"])
def test_no_path_that_the_api_gives_leads_to_another_host(path: str) -> None:
    url = wire.target(ROOT, message("voortgang", path if path.startswith("/") else f"/{path}"))
    assert isinstance(url, URL)
    assert url.origin() == ROOT.origin()


@pytest.mark.parametrize(
    ("status", "body", "proof", "reference", "answered"),
    [
        (201, STATE, Proof.RECEIVED, PATH, False),
        (202, STATE.replace(b"ontvangen", b"in_behandeling"), Proof.RECEIVED, PATH, False),
        (201, STATE.replace(b"ontvangen", b"afgehandeld"), Proof.RECEIVED, PATH, True),
        (202, b"", Proof.TRANSPORT, None, False),
        (200, b"<html>", Proof.TRANSPORT, None, False),
        (200, TOO_DEEP, Proof.TRANSPORT, None, False),
        (201, None, Proof.TRANSPORT, None, False),
    ],
)
def test_every_2xx_is_a_hand_over_and_its_body_says_how_strong(
    status: int, body: bytes | None, proof: Proof, reference: str | None, answered: bool
) -> None:
    outcome = wire.outcome(reply(status, body), ROOT, message(), NOW)
    assert isinstance(outcome, HandedOver)
    assert (outcome.proof, outcome.reference, outcome.answer is not None) == (proof, reference, answered)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusedForGood(Evidence("400"))),
        (401, OwnFault(Evidence("401"))),
        (403, OwnFault(Evidence("403"))),
        (404, RefusedForGood(Evidence("404"))),
        (409, Transient(Evidence("409"), 9.0)),
        (410, RefusedForGood(Evidence("410"), whole_channel=True)),
        (422, RefusedForGood(Evidence("422"), other_content=True)),
        (429, Transient(Evidence("429"), 9.0)),
        (500, Transient(Evidence("500"), 9.0)),
    ],
)
def test_a_refusal_means_what_the_guarantee_says(status: int, expected: Outcome) -> None:
    assert wire.outcome(reply(status, headers={"Retry-After": "9"}), ROOT, message(), NOW) == expected


def test_a_request_that_is_gone_does_not_close_the_api() -> None:
    assert wire.outcome(reply(410), ROOT, message("voortgang", PATH), NOW) == RefusedForGood(Evidence("410"))


def test_what_follows_a_notice_goes_to_that_notice() -> None:
    assert wire.lacks_reference(message("voortgang"))
    assert not wire.lacks_reference(message("voortgang", PATH))
    assert not wire.lacks_reference(message())
    assert wire.target(ROOT, message("voortgang", PATH)) == URL(f"https://api.example{PATH}/berichten")
    assert wire.target(ROOT, message("kennisgeving", PATH)) == URL(f"https://api.example{PATH}/berichten")
    assert wire.target(ROOT, message()) == URL("https://api.example/cjib/v1/stabilisatieverzoeken")


def progress() -> Draft:
    """A voortgang."""
    made = draft()
    view = msgspec.structs.replace(made.view, soort="voortgang", fase="stabilisatie_loopt")
    return msgspec.structs.replace(made, view_json=msgspec.json.encode(view))


async def test_a_later_message_goes_to_its_notice_and_keeps_that_reference(
    creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink
) -> None:
    first = await link.send(parcel(link, endpoint, draft()))
    assert isinstance(first, HandedOver)
    later = parcel(link, endpoint, progress(), notice_reference=first.reference)
    second = await link.send(later)
    assert isinstance(second, HandedOver)
    assert (second.proof, second.reference, second.answer) == (Proof.RECEIVED, first.reference, None)
    assert await link.resolve(later) is None
    assert len(creditor.received(later.delivery)) == 1


async def test_a_notice_of_which_the_answer_was_lost_is_found_by_our_own_reference(
    creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink
) -> None:
    sent, never_arrived = parcel(link, endpoint, draft()), DeliveryId("0198f0c2-7d1e-7b52-9a41-3f6a1c5d2c01")
    async with creditor.drops_reply():
        assert code(await link.send(sent)) == "Uncertain verbroken"
    later = parcel(link, endpoint, progress(), notices=(never_arrived, sent.delivery))
    assert await link.resolve(later) is None
    outcomes = [await link.send(later) for _ in range(2)]
    assert [code(outcome) for outcome in outcomes] == ["HandedOver 201"] * 2
    known = await link.resolve(sent)
    assert isinstance(known, HandedOver)
    assert {getattr(outcome, "reference", None) for outcome in outcomes} == {known.reference}
    assert {seen.digest for seen in creditor.received(later.delivery)} == {sha256(later.body).hexdigest()}
    assert len(creditor.received(sent.delivery)) == 1


@pytest.mark.parametrize("notices", [(), (DeliveryId("0198f0c2-7d1e-7b52-9a41-3f6a1c5d2c01"),)])
async def test_what_follows_a_notice_that_the_api_does_not_know_is_refused_for_good(
    creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink, notices: tuple[DeliveryId, ...]
) -> None:
    later = parcel(link, endpoint, progress(), notices=notices)
    assert await link.send(later) == RefusedForGood(Evidence("geen_verwijzing"))
    assert creditor.received(later.delivery) == []


class Taciturn(CjibCreditor):
    """Its faults are for who asks, not for who hands over."""

    def is_delivery(self, request: web.BaseRequest) -> bool:
        return request.method == "GET"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda api: api.answers_with(503), "Transient 503"),
        (lambda api: api.answers_with(429, {"Retry-After": "9"}), "Transient 429"),
        (lambda api: api.answers_with(200, body=b"<html>"), "Transient onleesbaar"),
        (lambda api: api.answers_with(200, body=TOO_DEEP), "Transient onleesbaar"),
        (lambda api: api.answers_with(401), "OwnFault 401"),
        (lambda api: api.answers_with(404), "RefusedForGood geen_verwijzing"),
        (lambda api: api.drops_reply(), "Transient verbroken"),
        (lambda api: api.hangs(), "Transient timeout"),
        (lambda api: api.is_down(), "Transient verbinding"),
    ],
)
async def test_an_api_that_cannot_be_asked_after_the_notice_now_is_asked_again(
    tmp_path: Path,
    authority: Authority,
    server_certificate: Issued,
    client: Issued,
    fault: Callable[[CjibCreditor], AbstractAsyncContextManager[None]],
    expected: str,
) -> None:
    async with Taciturn(tmp_path, server_certificate, authority.certificate) as creditor:
        endpoint = Endpoint("cjib", "CJIB", creditor.add("cjib", client), 8, LOOPBACK, f"file:{authority.certificate}")
        link = Cjib(surroundings()).link(endpoint)
        sent = parcel(link, endpoint, draft())
        await link.send(sent)
        later = parcel(link, endpoint, progress(), notices=(sent.delivery,))
        async with fault(creditor):
            assert code(await link.send(later)) == expected
        assert creditor.received(later.delivery) == []
        assert code(await link.send(later)) == "HandedOver 201"
        await link.aclose()


async def test_a_key_used_for_another_body_is_refused(endpoint: Endpoint, link: CjibLink) -> None:
    sent = parcel(link, endpoint, draft())
    assert code(await link.send(sent)) == "HandedOver 201"
    other = msgspec.structs.replace(sent, body=sent.body.replace(b"Anna Sophia", b"Anna"))
    assert code(await link.send(other)) == "RefusedForGood 422"


async def test_a_key_that_is_being_worked_on_waits(creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink) -> None:
    sent = parcel(link, endpoint, draft())
    creditor.work_seconds = 0.3
    first = asyncio.create_task(link.send(sent))
    await asyncio.sleep(0.15)
    assert code(await link.send(sent)) == "Transient 409"
    assert code(await first) == "HandedOver 201"
    assert len(creditor.received(sent.delivery)) == 1


# -- tokens and certificates


def tokens_given(creditor: CjibCreditor) -> int:
    return creditor.visible().count(b"/cjib/token")


async def test_all_attempts_share_one_token(creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink) -> None:
    outcomes = await asyncio.gather(*[link.send(parcel(link, endpoint, draft())) for _ in range(20)])
    assert {code(outcome) for outcome in outcomes} == {"HandedOver 201"}
    assert tokens_given(creditor) == 1


class Ahead(Clock):
    """A clock that tests move forward."""

    seconds = 0

    def micros(self) -> int:
        return super().micros() + self.seconds * 1_000_000


async def test_a_token_is_kept_and_renewed_before_it_ends(
    tmp_path: Path, authority: Authority, server_certificate: Issued, client: Issued
) -> None:
    clock = Ahead()
    async with CjibCreditor(tmp_path, server_certificate, authority.certificate, clock=clock) as creditor:
        endpoint = Endpoint("cjib", "CJIB", creditor.add("cjib", client), 8, LOOPBACK, f"file:{authority.certificate}")
        link = Cjib(surroundings(now=clock.now)).link(endpoint)
        for seconds, tokens in ((0, 1), (260, 1), (280, 2), (540, 2), (560, 3)):
            clock.seconds = seconds
            assert code(await link.send(parcel(link, endpoint, draft()))) == "HandedOver 201"
            assert tokens_given(creditor) == tokens
        await link.aclose()


async def test_a_refused_token_is_replaced_once(creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink) -> None:
    await link.send(parcel(link, endpoint, draft()))
    creditor.forget_tokens()
    outcomes = await asyncio.gather(*[link.send(parcel(link, endpoint, draft())) for _ in range(8)])
    assert {code(outcome) for outcome in outcomes} == {"HandedOver 201"}
    assert tokens_given(creditor) == 2


async def test_a_second_refusal_is_our_own_fault(creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink) -> None:
    async with creditor.answers_with(401):
        assert code(await link.send(parcel(link, endpoint, draft()))) == "OwnFault 401"
    assert tokens_given(creditor) == 2


async def test_a_cancelled_attempt_leaves_the_others_their_token(
    creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink
) -> None:
    first = asyncio.create_task(link.send(parcel(link, endpoint, draft())))
    second = asyncio.create_task(link.send(parcel(link, endpoint, draft())))
    await asyncio.sleep(0)
    first.cancel()
    assert code(await second) == "HandedOver 201"
    assert tokens_given(creditor) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"client_id": "ander"}, "OwnFault token_401"),
        ({"uitgever": "https://ander.example"}, "OwnFault token_401"),
    ],
)
async def test_wrong_credentials_are_our_own_fault(
    channel: Cjib, endpoint: Endpoint, settings: dict[str, str], expected: str
) -> None:
    assert await sent_once(channel, changed(endpoint, **settings)) == expected
    assert await resolved_once(channel, changed(endpoint, **settings)) == expected


async def test_a_key_the_api_does_not_know_is_our_own_fault(channel: Cjib, endpoint: Endpoint, tmp_path: Path) -> None:
    assert await sent_once(
        channel, changed(endpoint, sleutel=pem(tmp_path, ec.generate_private_key(ec.SECP256R1())))
    ) == ("OwnFault token_401")


async def test_an_rsa_key_signs_with_ps256(
    channel: Cjib, creditor: CjibCreditor, endpoint: Endpoint, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    creditor.register_key("cjib", RSAKey.import_key(key.public_key()))
    assert await sent_once(channel, changed(endpoint, sleutel=pem(tmp_path, key))) == "HandedOver 201"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_key_of_another_kind_is_refused(
    channel: Cjib, endpoint: Endpoint, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    with pytest.raises(SettingsRefused, match="sleutel"):
        channel.link(changed(endpoint, sleutel=pem(tmp_path, ec.generate_private_key(curve))))


def pem(directory: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    path = directory / "token.pem"
    kind, form, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(kind, form, plain))
    return f"file:{path}"


async def test_a_client_certificate_they_do_not_trust_is_our_own_fault(
    channel: Cjib, endpoint: Endpoint, tmp_path: Path
) -> None:
    stranger = Authority.create(tmp_path / "vreemd").issue_client("vreemde")
    wrong = changed(endpoint, certificaat=f"file:{stranger.certificate}", certificaat_sleutel=f"file:{stranger.key}")
    assert await sent_once(channel, wrong) == "OwnFault mtls_geweigerd"
    assert await resolved_once(channel, wrong) == "OwnFault mtls_geweigerd"


async def test_an_expired_client_certificate_is_our_own_fault_and_is_not_tried(
    channel: Cjib, creditor: CjibCreditor, endpoint: Endpoint, authority: Authority
) -> None:
    old = authority.issue_client("verlopen", days=-1)
    made = creditor.connections_made
    expired = changed(endpoint, certificaat=f"file:{old.certificate}", certificaat_sleutel=f"file:{old.key}")
    assert await sent_once(channel, expired) == "OwnFault certificaat_verlopen"
    assert creditor.connections_made == made
    assert next(finding.ok for finding in await channel.check(expired)) is False


class TokenServer:
    """A token address that gives any reply."""

    def __init__(self, status: int, body: bytes) -> None:
        self._reply = (status, body)

    async def take(self, _request: web.BaseRequest) -> web.Response:
        status, body = self._reply
        return web.Response(status=status, body=body, headers={"Retry-After": "7"})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, b"", "Transient 503"),
        (429, b"", "Transient 429"),
        (400, b'{"error":"invalid_client"}', "OwnFault token_400"),
        (404, b"", "OwnFault token_404"),
        (302, b"", "OwnFault token_302"),
        (200, b"", "Transient token_200"),
        (200, b'{"access_token":7}', "Transient token_200"),
        (200, TOO_DEEP, "Transient token_200"),
        (200, b'{"access_token":"onbekend"}', "OwnFault 401"),
    ],
)
async def test_without_a_token_nothing_of_the_delivery_is_sent(
    channel: Cjib, creditor: CjibCreditor, endpoint: Endpoint, status: int, body: bytes, expected: str
) -> None:
    server = web.Server(TokenServer(status, body).take)
    async with await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        assert await sent_once(channel, changed(endpoint, token_url=url)) == expected
        await server.shutdown(0.1)
    assert creditor.journal.receipts == []


async def test_a_token_address_that_is_down_is_transient(channel: Cjib, endpoint: Endpoint) -> None:
    assert await sent_once(channel, changed(endpoint, token_url="http://127.0.0.1:1/")) == "Transient verbinding"


async def test_a_token_is_not_kept_as_evidence() -> None:
    evidence = Evidence("200", b'HTTP/1.1 200\r\nA: b\r\n\r\n{"access_token":"geheim"')
    refused = wire.token(Reply(200, CIMultiDictProxy(CIMultiDict()), b'{"access_token":', evidence), NOW)
    assert isinstance(refused, Transient)
    assert b"geheim" not in refused.evidence.reply


# -- polling


class Desk:
    """Receives what is collected."""

    def __init__(self) -> None:
        self.got: list[Inbound] = []

    async def receive(self, found: Inbound) -> Verdict:
        self.got.append(found)
        return Verdict("recorded")

    def kinds(self) -> list[str]:
        return [f"{found.kind} {found.code}" for found in self.got]


def waiting(sent: Parcel, reference: str | None, soort: str = "kennisgeving") -> OpenDelivery:
    return OpenDelivery(sent.delivery, soort, reference, Clock().now())


@pytest_asyncio.fixture
async def eager(endpoint: Endpoint) -> AsyncIterator[CjibLink]:
    """A link that may poll at every call."""
    patient = msgspec.structs.replace(surroundings(), poll_every=0.0, poll_at_most=0.0)
    link = Cjib(patient).link(endpoint)
    yield link
    await link.aclose()


async def test_polling_follows_a_request_until_it_is_answered(
    creditor: CjibCreditor, endpoint: Endpoint, eager: CjibLink
) -> None:
    creditor.polls = 4
    sent = parcel(eager, endpoint, draft())
    outcome = await eager.send(sent)
    assert isinstance(outcome, HandedOver)
    desk = Desk()
    for _ in range(6):
        await eager.collect([waiting(sent, outcome.reference)], desk.receive)
    assert desk.kinds() == ["receipt in_behandeling", "answer afgehandeld"]
    answer = desk.got[-1]
    assert (answer.creditor, answer.delivery) == ("cjib", sent.delivery)
    assert json.loads(answer.answer or b"") == {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
    assert json.loads(answer.raw)["status"] == "afgehandeld"
    assert len({found.source for found in desk.got}) == 2


async def test_a_request_without_a_location_is_found_by_our_own_reference(
    creditor: CjibCreditor, endpoint: Endpoint, eager: CjibLink
) -> None:
    sent, unknown = parcel(eager, endpoint, draft()), parcel(eager, endpoint, draft())
    await eager.send(sent)
    desk = Desk()
    await eager.collect([waiting(sent, None), waiting(unknown, None)], desk.receive)
    assert [found.delivery for found in desk.got] == [sent.delivery]


async def test_only_what_expects_an_answer_is_asked_about(
    creditor: CjibCreditor, endpoint: Endpoint, eager: CjibLink
) -> None:
    sent = parcel(eager, endpoint, draft())
    outcome = await eager.send(sent)
    assert isinstance(outcome, HandedOver)
    desk = Desk()
    await eager.collect([waiting(sent, outcome.reference, "voortgang")], desk.receive)
    assert desk.got == []


async def test_a_request_that_is_gone_does_not_hold_up_the_others(
    creditor: CjibCreditor, endpoint: Endpoint, eager: CjibLink
) -> None:
    sent = parcel(eager, endpoint, draft())
    outcome = await eager.send(sent)
    assert isinstance(outcome, HandedOver)
    gone = waiting(parcel(eager, endpoint, draft()), "/cjib/v1/stabilisatieverzoeken/weg")
    desk = Desk()
    await eager.collect([gone, waiting(sent, outcome.reference)], desk.receive)
    assert [found.delivery for found in desk.got] == [sent.delivery]


class Choosy(CjibCreditor):
    """Its faults are for who asks about some requests, by the last part of their path."""

    choice: Sequence[str] = ()
    failed: tuple[str, ...] = ()

    def is_delivery(self, request: web.BaseRequest) -> bool:
        last = request.path.rpartition("/")[2]
        if request.method != "GET" or last not in self.choice:
            return False
        self.failed += (last,)
        return True


@pytest_asyncio.fixture
async def choosy(tmp_path: Path, authority: Authority, server_certificate: Issued) -> AsyncIterator[Choosy]:
    async with Choosy(tmp_path, server_certificate, authority.certificate) as creditor:
        yield creditor


async def handed_over(link: CjibLink, endpoint: Endpoint, number: int) -> list[OpenDelivery]:
    """So many requests, the oldest first."""
    parcels = [parcel(link, endpoint, draft()) for _ in range(number)]
    outcomes = [await link.send(sent) for sent in parcels]
    return [waiting(sent, getattr(outcome, "reference", None)) for sent, outcome in zip(parcels, outcomes, strict=True)]


def last_part(one: OpenDelivery) -> str:
    return (one.reference or "").rpartition("/")[2]


async def collected(link: CjibLink, found: Sequence[OpenDelivery], desk: Desk) -> None:
    """One round, of which something fails."""
    with pytest.raises(OSError, match="500"):
        await link.collect(found, desk.receive)


@pytest.mark.parametrize(("at_once", "failing", "rounds"), [(8, 1, 1), (8, 7, 1), (8, 8, 2), (1, 1, 2), (1, 3, 4)])
async def test_requests_that_always_fail_hold_up_no_others(
    choosy: Choosy, authority: Authority, client: Issued, at_once: int, failing: int, rounds: int
) -> None:
    table, ca = choosy.add("cjib", client), f"file:{authority.certificate}"
    endpoint = Endpoint("cjib", "CJIB", table, at_once, LOOPBACK, ca)
    link = Cjib(msgspec.structs.replace(surroundings(), poll_every=0.0, poll_at_most=0.0)).link(endpoint)
    found = await handed_over(link, endpoint, failing + 4)
    choosy.choice = [last_part(one) for one in found[:failing]]
    desk = Desk()
    async with choosy.answers_with(500):
        for _ in range(rounds):
            await collected(link, found, desk)
    assert {one.delivery for one in desk.got} == {one.delivery for one in found[failing:]}
    await link.aclose()


async def test_a_peer_that_fails_whoever_is_asked_about_is_left_alone_until_the_next_round(
    choosy: Choosy, authority: Authority, client: Issued
) -> None:
    table, ca = choosy.add("cjib", client), f"file:{authority.certificate}"
    endpoint = Endpoint("cjib", "CJIB", table, 2, LOOPBACK, ca)
    link = Cjib(msgspec.structs.replace(surroundings(), poll_every=0.0, poll_at_most=0.0)).link(endpoint)
    found = await handed_over(link, endpoint, 6)
    choosy.choice = [last_part(one) for one in found]
    async with choosy.answers_with(500):
        for asked in (2, 4, 6):
            await collected(link, found, Desk())
            assert sorted(choosy.failed) == sorted(choosy.choice[:asked])
    await link.aclose()


async def test_a_clock_that_is_set_back_holds_up_no_polling(endpoint: Endpoint, creditor: CjibCreditor) -> None:
    clock = Ahead()
    creditor.polls = 2
    link = Cjib(surroundings(now=clock.now)).link(endpoint)
    found, desk = await handed_over(link, endpoint, 1), Desk()
    await link.collect(found, desk.receive)
    clock.seconds = -3600
    await asyncio.sleep(0.1)
    await link.collect(found, desk.receive)
    assert desk.kinds() == ["receipt in_behandeling", "answer afgehandeld"]
    await link.aclose()


async def test_what_is_not_open_in_one_round_keeps_its_place_for_the_next(
    endpoint: Endpoint, creditor: CjibCreditor
) -> None:
    """Where more are open than fit in one round they come in turns."""
    link = Cjib(msgspec.structs.replace(surroundings(), poll_every=60.0, poll_at_most=60.0)).link(endpoint)
    (one, other), desk = await handed_over(link, endpoint, 2), Desk()
    for found in ([one], [other], [one], [other]):
        await link.collect(found, desk.receive)
    assert [seen.delivery for seen in desk.got] == [one.delivery, other.delivery]
    assert creditor.visible().count(b"GET") == 2
    await link.aclose()


async def test_polling_a_peer_that_is_down_is_connection_trouble(
    creditor: CjibCreditor, endpoint: Endpoint, eager: CjibLink
) -> None:
    sent = parcel(eager, endpoint, draft())
    outcome = await eager.send(sent)
    assert isinstance(outcome, HandedOver)
    async with creditor.is_down():
        with pytest.raises(OSError, match="verbinding"):
            await eager.collect([waiting(sent, outcome.reference)], Desk().receive)


@pytest.mark.parametrize(
    ("waited", "since_last", "is_due"),
    [
        (timedelta(0), math.inf, True),
        (timedelta(seconds=30), 30.0, False),
        (timedelta(seconds=60), 60.0, True),
        (timedelta(minutes=30), 120.0, False),
        (timedelta(minutes=30), 180.0, True),
        (timedelta(days=3), 59 * 60.0, False),
        (timedelta(days=3), 60 * 60.0, True),
        (timedelta(hours=-1), 60.0, True),
    ],
)
def test_the_longer_it_takes_the_less_often_it_is_polled(waited: timedelta, since_last: float, is_due: bool) -> None:
    assert wire.is_due(waited, since_last, 60.0, 3600.0) is is_due


async def test_resolving_after_a_lost_reply_gives_the_reference_to_poll(
    creditor: CjibCreditor, endpoint: Endpoint, link: CjibLink
) -> None:
    sent = parcel(link, endpoint, draft())
    async with creditor.drops_reply():
        assert code(await link.send(sent)) == "Uncertain verbroken"
    resolved = await link.resolve(sent)
    again = await link.send(sent)
    assert isinstance(resolved, HandedOver)
    assert isinstance(again, HandedOver)
    assert resolved.reference == again.reference


# -- settings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", "http://api.example"),
        ("token_url", "http://api.example"),
        ("client_id", ""),
        ("sleutel", "-----BEGIN geheim"),
        ("certificaat", 7),
        ("certificaat_sleutel", "whsec_geheim"),
        ("onbekend", "x"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_without_its_value(endpoint: Endpoint, key: str, value: object) -> None:
    with pytest.raises(SettingsRefused, match=key) as refused:
        Cjib.check_settings({**endpoint.settings, key: value})
    assert "geheim" not in str(refused.value)


async def test_check_says_what_is_right_and_what_is_not(
    channel: Cjib, endpoint: Endpoint, creditor: CjibCreditor
) -> None:
    assert [finding.ok for finding in await channel.check(endpoint)] == [True, True, True, True]
    async with creditor.is_down():
        assert [finding.ok for finding in await channel.check(endpoint)] == [True, True, False, False]
    assert [finding.ok for finding in await channel.check(changed(endpoint, sleutel="file:/nergens"))] == [False]
    stranger = await channel.check(changed(endpoint, client_id="ander"))
    assert [finding.ok for finding in stranger] == [True, True, True, False]
    assert creditor.journal.receipts == []
