"""The webhook adapter against a real HTTPS server."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import schemas
from adapters.webhook import wire
from adapters.webhook.adapter import Webhook, WebhookLink
from gateway.clock import Clock
from gateway.conformance import LOOPBACK, TOO_DEEP, Conformance, draft, parcel, surroundings
from gateway.contract import (
    Endpoint,
    HandedOver,
    Outcome,
    OwnFault,
    Proof,
    RefusedForGood,
    SecretMissing,
    SettingsRefused,
    Transient,
    Uncertain,
)
from gateway.core import standard_webhooks
from gateway.pki import Authority, Issued
from gateway.sandbox.decisions import agree, know_nobody, pass_on, pause_in_part, vary
from gateway.sandbox.webhook_creditor import WebhookCreditor, fault_in


@pytest_asyncio.fixture
async def creditor(tmp_path: Path, authority: Authority, server_certificate: Issued) -> AsyncIterator[WebhookCreditor]:
    async with WebhookCreditor(tmp_path, server_certificate, log=tmp_path / "ontvangen.jsonl") as creditor:
        yield creditor


@pytest.fixture
def peer(creditor: WebhookCreditor) -> WebhookCreditor:
    return creditor


@pytest.fixture
def endpoint(creditor: WebhookCreditor, authority: Authority) -> Endpoint:
    table = creditor.add("energie-voorbeeld")
    return Endpoint("energie-voorbeeld", "Energie Voorbeeld", table, 8, LOOPBACK, f"file:{authority.certificate}")


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Webhook]:
    channel = Webhook(surroundings())
    yield channel
    await channel.aclose()


@pytest_asyncio.fixture
async def link(channel: Webhook, endpoint: Endpoint) -> AsyncIterator[WebhookLink]:
    link = channel.link(endpoint)
    yield link
    await link.aclose()


class TestWebhookConformance(Conformance):
    """A lost reply cannot be asked about."""


def kind(outcome: Outcome | None) -> str:
    match outcome:
        case HandedOver(evidence=evidence) | OwnFault(evidence=evidence) | Uncertain(evidence=evidence):
            return f"{type(outcome).__name__} {evidence.code}"
        case Transient(evidence=evidence, retry_after=wait):
            return f"Transient {evidence.code} {wait}"
        case RefusedForGood(evidence=evidence, whole_channel=whole):
            return f"RefusedForGood {evidence.code}" + (" whole_channel" if whole else "")
        case _:
            return repr(outcome)


# -- the bytes


def test_the_event_holds_the_view_byte_for_byte(link: WebhookLink) -> None:
    message = draft()
    odd = msgspec.structs.replace(
        message, view_json=message.view_json.replace(b":", b" : ").replace("ë".encode(), b"e")
    )
    body = link.render(odd).body
    assert odd.view_json in body
    event = json.loads(body)
    assert event == {
        "specversion": "1.0",
        "id": message.delivery,
        "source": "urn:nld:oin:00000099000000001000:systeem:kennisgeving",
        "type": "nl.schuldhulpverlening.kennisgeving.v1",
        "time": message.time,
        "datacontenttype": "application/json",
        "data": json.loads(odd.view_json),
    }
    assert schemas.validator("cloudevent").is_valid(event)
    assert fault_in(wire.CONTENT_TYPE, message.delivery, body) is None


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (None, None),
        (b"", None),
        (b"OK", None),
        (b"\xff\xfe", None),
        (b"[]", None),
        (b'{"antwoord":null}', None),
        (b'{"antwoord":{"soort":"ontvangen"}', None),
        (TOO_DEEP, None),
        (b'{"x":%b,"antwoord":{"soort":"ontvangen"}}' % TOO_DEEP, None),
        (b'{"ander":{"soort":"ontvangen"}}', None),
        (b'{"antwoord":{"soort":"ontvangen"}}', b'{"soort":"ontvangen"}'),
        (b' { "meer" : 1, "antwoord" : { "soort" : "x" } } ', b'{ "soort" : "x" }'),
        (b'{"antwoord":"ja"}', b'"ja"'),
        (b'{"antwoord":{"soort":7}}', b'{"soort":7}'),
    ],
)
def test_an_answer_is_taken_as_it_is_and_judged_elsewhere(body: bytes | None, answer: bytes | None) -> None:
    assert wire.answer_in(body) == answer


# -- what statuses mean


STATUSES = [
    (200, "HandedOver 200"),
    (201, "HandedOver 201"),
    (202, "HandedOver 202"),
    (204, "HandedOver 204"),
    (299, "HandedOver 299"),
    (301, "RefusedForGood 301"),
    (307, "RefusedForGood 307"),
    (400, "RefusedForGood 400"),
    (401, "RefusedForGood 401"),
    (404, "RefusedForGood 404"),
    (408, "Transient 408 None"),
    (410, "RefusedForGood 410 whole_channel"),
    (413, "RefusedForGood 413"),
    (422, "RefusedForGood 422"),
    (425, "Transient 425 None"),
    (429, "Transient 429 None"),
    (500, "Transient 500 None"),
    (503, "Transient 503 None"),
]


@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_a_status_means_what_the_contract_says(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink, status: int, expected: str
) -> None:
    async with creditor.answers_with(status):
        assert kind(await link.send(parcel(link, endpoint, draft()))) == expected


async def test_a_hint_to_wait_is_passed_on(creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink) -> None:
    async with creditor.answers_with(429, {"Retry-After": "120"}):
        assert kind(await link.send(parcel(link, endpoint, draft()))) == "Transient 429 120.0"
    async with creditor.answers_with(503, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}):
        assert kind(await link.send(parcel(link, endpoint, draft()))) == "Transient 503 86400.0"


async def test_a_redirect_is_not_followed(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink, authority: Authority
) -> None:
    creditor.add("ander")
    sent = parcel(link, endpoint, draft())
    async with creditor.answers_with(307, {"Location": f"{creditor.origin}/ander"}):
        assert kind(await link.send(sent)) == "RefusedForGood 307"
    assert creditor.received(sent.delivery) == []


async def test_the_peers_words_are_kept_as_evidence(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink
) -> None:
    async with creditor.answers_with(503, {"X-Reden": "onderhoud"}, b"tot straks"):
        outcome = await link.send(parcel(link, endpoint, draft()))
    assert isinstance(outcome, Transient)
    head, _, body = outcome.evidence.reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503\r\n")
    assert b"X-Reden: onderhoud" in head
    assert body == b"tot straks"


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 5 << 20])
async def test_a_reply_is_read_up_to_a_mebibyte(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink, size: int
) -> None:
    body = b'{"antwoord":{"soort":"ontvangen"}}'.ljust(size)
    async with creditor.answers_with(200, body=body):
        outcome = await link.send(parcel(link, endpoint, draft()))
    assert isinstance(outcome, HandedOver)
    assert (outcome.answer is not None) == (size <= 1 << 20)
    assert isinstance(await link.send(parcel(link, endpoint, draft())), HandedOver)


async def test_a_compressed_reply_is_not_unpacked(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink
) -> None:
    async with creditor.answers_with(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b bom"):
        assert kind(await link.send(parcel(link, endpoint, draft()))) == "HandedOver 200"


@asynccontextmanager
async def speaks(reply: bytes) -> AsyncIterator[int]:
    """The port of a server that reads one request, says `reply`, and hangs up."""
    said = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head, separator, rest = reply.partition(b"\r\n\r\n")
        writer.write(head + separator)
        await asyncio.sleep(0.05)  # so that the head is not in one segment with what is wrong after it
        writer.write(rest)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        said.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await said.wait()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", "Uncertain verbroken"),
        (b"HTTP/1.1 200 OK", "Uncertain verbroken"),
        (b"dag\r\n\r\n", "Uncertain verbroken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "HandedOver 200"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HandedOver 200"),
        (b"HTTP/1.1 503 Nee\r\nContent-Length: 900\r\n\r\n{", "Transient 503 None"),
    ],
)
async def test_a_reply_that_breaks_off_counts_for_the_status_it_gave(
    channel: Webhook, endpoint: Endpoint, reply: bytes, expected: str
) -> None:
    async with speaks(reply) as port:
        plain = {**endpoint.settings, "url": f"http://127.0.0.1:{port}/"}
        link = channel.link(msgspec.structs.replace(endpoint, settings=plain))
        outcome = await link.send(parcel(link, endpoint, draft()))
        await link.aclose()
    assert kind(outcome) == expected


# -- whom we speak to


@pytest.mark.parametrize(
    ("hosts", "days", "starts"),
    [(("127.0.0.1",), -1.0, 0.0), (("127.0.0.1",), 10.0, 1.0), (("ander.example",), 10.0, 0.0)],
    ids=["expired", "not yet valid", "another host"],
)
async def test_a_certificate_that_is_not_right_gets_nothing(
    tmp_path: Path, authority: Authority, channel: Webhook, hosts: tuple[str, ...], days: float, starts: float
) -> None:
    wrong = authority.issue_server(f"fout-{days}-{starts}", hosts, days, starts)
    async with WebhookCreditor(tmp_path, wrong) as creditor:
        endpoint = Endpoint("x", "X", creditor.add("x"), 8, LOOPBACK, f"file:{authority.certificate}")
        link = channel.link(endpoint)
        sent = parcel(link, endpoint, draft())
        assert kind(await link.send(sent)) == "Transient tls None"
        assert creditor.visible() == b""
        await link.aclose()
        findings = await channel.check(endpoint)
        assert [finding.ok for finding in findings] == [True, False]


async def test_the_systems_anchors_do_not_count_where_one_is_named(
    channel: Webhook, endpoint: Endpoint, creditor: WebhookCreditor
) -> None:
    link = channel.link(msgspec.structs.replace(endpoint, ca=None))
    assert kind(await link.send(parcel(link, endpoint, draft()))) == "Transient tls None"
    await link.aclose()


async def test_a_name_that_does_not_resolve_may_do_so_later(channel: Webhook, endpoint: Endpoint) -> None:
    unknown = {**endpoint.settings, "url": "https://bestaat-niet.invalid/"}
    link = channel.link(msgspec.structs.replace(endpoint, settings=unknown))
    assert kind(await link.send(parcel(link, endpoint, draft()))) == "Transient dns None"
    await link.aclose()


async def test_an_endpoint_that_points_inside_is_our_own_fault(channel: Webhook, endpoint: Endpoint) -> None:
    for url in ("https://127.0.0.1:1/", "https://localhost:1/", "https://169.254.169.254/", "https://[::ffff:a00:1]/"):
        link = channel.link(msgspec.structs.replace(endpoint, settings={**endpoint.settings, "url": url}, networks=()))
        assert kind(await link.send(parcel(link, endpoint, draft()))) == "OwnFault adres_geweigerd"
        await link.aclose()


async def test_proxies_of_the_environment_are_not_used(
    channel: Webhook, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    link = channel.link(endpoint)
    assert kind(await link.send(parcel(link, endpoint, draft()))) == "HandedOver 200"
    await link.aclose()


# -- keys


async def test_every_attempt_is_signed_anew_over_the_same_bytes(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink
) -> None:
    sent = parcel(link, endpoint, draft())
    for _ in range(2):
        assert kind(await link.send(sent)) == "HandedOver 200"
    assert len(creditor.received(sent.delivery)) == 2
    assert creditor.refused == []


async def test_a_stranger_or_an_old_signature_is_refused_by_the_creditor(
    creditor: WebhookCreditor, endpoint: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "vreemd.whsec").write_text(standard_webhooks.new_secret(bytes(24)))
    stranger = {**endpoint.settings, "sleutels": [f"file:{tmp_path / 'vreemd.whsec'}"]}
    late = Webhook(surroundings(now=lambda: Clock().now().replace(year=2020)))
    for channel, settings in ((Webhook(surroundings()), stranger), (late, endpoint.settings)):
        link = channel.link(msgspec.structs.replace(endpoint, settings=settings))
        assert kind(await link.send(parcel(link, endpoint, draft()))) == "RefusedForGood 401"
        await link.aclose()
    assert creditor.journal.receipts == []


async def test_with_several_keys_the_creditor_needs_only_one(
    creditor: WebhookCreditor, endpoint: Endpoint, channel: Webhook, tmp_path: Path
) -> None:
    pair = Ed25519PrivateKey.generate()
    (tmp_path / "nieuw.whsk").write_bytes(b"whsk_" + b64encode(pair.private_bytes_raw()))
    current = endpoint.settings["sleutels"]
    assert isinstance(current, list)
    both = {**endpoint.settings, "sleutels": [f"file:{tmp_path / 'nieuw.whsk'}", *current]}
    link = channel.link(msgspec.structs.replace(endpoint, settings=both))
    assert kind(await link.send(parcel(link, endpoint, draft()))) == "HandedOver 200"
    await link.aclose()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", "http://schuldeiser.example/"),
        ("url", 7),
        ("sleutels", []),
        ("sleutels", "file:/x"),
        ("sleutels", ["whsec_geheim"]),
        ("antwoord_sleutels", [7]),
        ("onbekend", True),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_without_its_value(endpoint: Endpoint, key: str, value: object) -> None:
    with pytest.raises(SettingsRefused, match=key) as refused:
        Webhook.check_settings({**endpoint.settings, key: value})
    assert "geheim" not in str(refused.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsRefused, match=r"(?s)onzin.*url.*sleutels"):
        Webhook.check_settings({"onzin": 1})


def test_a_key_file_that_is_absent_or_wrong_is_refused_when_linking(
    channel: Webhook, endpoint: Endpoint, tmp_path: Path
) -> None:
    with pytest.raises(SecretMissing):
        channel.link(msgspec.structs.replace(endpoint, settings={**endpoint.settings, "sleutels": ["file:/nergens"]}))
    (tmp_path / "fout").write_text("whsec_kort")
    wrong = {**endpoint.settings, "sleutels": [f"file:{tmp_path / 'fout'}"]}
    with pytest.raises(SettingsRefused, match="sleutels"):
        channel.link(msgspec.structs.replace(endpoint, settings=wrong))


async def test_check_says_what_is_right_and_what_is_not(
    channel: Webhook, endpoint: Endpoint, creditor: WebhookCreditor
) -> None:
    assert [finding.ok for finding in await channel.check(endpoint)] == [True, True]
    async with creditor.is_down():
        assert [finding.ok for finding in await channel.check(endpoint)] == [True, False]
    outside = msgspec.structs.replace(endpoint, networks=())
    assert [finding.ok for finding in await channel.check(outside)] == [True, False]
    nothing = msgspec.structs.replace(endpoint, settings={})
    assert [finding.ok for finding in await channel.check(nothing)] == [False]
    assert creditor.journal.receipts == []


# -- answers


async def test_an_answer_in_the_reply_comes_with_the_hand_over(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink
) -> None:
    sent = parcel(link, endpoint, draft())
    first, second = await link.send(sent), await link.send(sent)
    assert isinstance(first, HandedOver)
    assert isinstance(second, HandedOver)
    assert first.proof is Proof.TRANSPORT
    assert first.answer == second.answer
    answer = json.loads(first.answer or b"")
    assert answer == {"soort": "pauze_ingesteld", "van": "2026-11-23", "totEnMet": "2027-07-22"}
    assert schemas.validator("antwoord").is_valid(answer)


class Door:
    """A gateway's door for answers, as far as a creditor sees it."""

    def __init__(self, key: standard_webhooks.VerifyingKey) -> None:
        self.answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.refusals = 1
        self._key = key

    async def take(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        standard_webhooks.verify([self._key], request.headers.items(), body, Clock().now())
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        self.answers.put_nowait((request.path, body))
        return web.Response(status=202)


async def test_an_answer_later_is_called_back_signed_until_it_is_taken(
    creditor: WebhookCreditor, endpoint: Endpoint, channel: Webhook, tmp_path: Path
) -> None:
    settings = creditor.add("later", "by_callback", know_nobody)
    door = Door(standard_webhooks.verifying_key((tmp_path / "later-antwoord.whsec").read_bytes()))
    server = web.Server(door.take)
    async with await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0) as listening:
        creditor.gateway_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        link = channel.link(msgspec.structs.replace(endpoint, settings=settings))
        sent = parcel(link, endpoint, draft())
        assert kind(await link.send(sent)) == "HandedOver 202"
        async with asyncio.timeout(5):
            path, body = await door.answers.get()
        await link.aclose()
        await server.shutdown(0.1)
    assert path == "/v1/antwoorden/later"
    assert json.loads(body)["bezorging"] == sent.delivery
    assert json.loads(body)["antwoord"]["soort"] == "klant_onbekend"


@pytest.mark.parametrize("decide", [agree, know_nobody, pass_on, pause_in_part, vary])
def test_every_way_to_decide_gives_a_valid_answer(decide: Callable[..., dict[str, object]]) -> None:
    for turn in range(24):
        view = json.loads(draft().view_json)
        view["kenmerk"] = f"0198f0c2-7d1e-7b52-9a41-3f6a1c5d{turn:04x}"
        view["vorderingen"] = [{"kenmerk": "A"}, {"factuurnummer": "B"}, {"soort": "energie"}]
        assert schemas.validator("antwoord").is_valid(decide(view))


async def test_the_creditors_log_has_a_line_for_every_receipt(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink, tmp_path: Path
) -> None:
    sent = [parcel(link, endpoint, draft()) for _ in range(3)]
    for one in (*sent, sent[0]):
        await link.send(one)
    lines = [json.loads(line) for line in (tmp_path / "ontvangen.jsonl").read_text().splitlines()]
    assert [line["bezorging"] for line in lines] == [one.delivery for one in (*sent, sent[0])]
    assert lines[0]["sha256"] == lines[3]["sha256"] == creditor.received(sent[0].delivery)[0].digest


async def test_the_session_is_quiet_about_itself(
    creditor: WebhookCreditor, endpoint: Endpoint, link: WebhookLink
) -> None:
    await link.send(parcel(link, endpoint, draft()))
    assert b"aiohttp" not in creditor.visible().lower()
    assert aiohttp.__version__.encode() not in creditor.visible()
