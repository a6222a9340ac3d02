"""The sftp adapter: what it writes, against a real SFTP server, and what it takes from an outbox."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from adapters.sftp import wire
from adapters.sftp.adapter import Sftp, SftpLink
from gateway.conformance import LOOPBACK, Conformance, draft, parcel, surroundings
from gateway.contract import (
    Endpoint,
    HandedOver,
    Inbound,
    Outcome,
    OwnFault,
    Parcel,
    RefusedForGood,
    SettingsRefused,
    Transient,
    Uncertain,
    Verdict,
    View,
)
from gateway.core import xml
from gateway.sandbox.bericht_xml import read_message, write_answer, write_receipt
from gateway.sandbox.sftp_creditor import SftpCreditor

DELIVERY = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"
OTHER = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a02"
Do = Callable[[SftpLink, Parcel], Awaitable[Outcome | None]]


@pytest_asyncio.fixture
async def creditor(tmp_path: Path) -> AsyncIterator[SftpCreditor]:
    async with SftpCreditor(tmp_path) as creditor:
        yield creditor


@pytest.fixture
def endpoint(creditor: SftpCreditor) -> Endpoint:
    return Endpoint("zorg-voorbeeld", "Zorg Voorbeeld", creditor.add("zorg-voorbeeld", "not"), 8, LOOPBACK)


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Sftp]:
    channel = Sftp(surroundings())
    yield channel
    await channel.aclose()


@pytest_asyncio.fixture
async def link(channel: Sftp, endpoint: Endpoint) -> AsyncIterator[SftpLink]:
    link = channel.link(endpoint)
    yield link
    await link.aclose()


@pytest.fixture
def inbox(creditor: SftpCreditor, endpoint: Endpoint) -> Path:
    return creditor.accounts[endpoint.creditor].inbox


@pytest.fixture
def outbox(creditor: SftpCreditor, endpoint: Endpoint) -> Path:
    return creditor.accounts[endpoint.creditor].outbox


class TestSftpConformance(Conformance):
    can_resolve = True
    sees_other_content = True

    @pytest.fixture
    def peer(self, creditor: SftpCreditor) -> SftpCreditor:
        return creditor

    @pytest.fixture
    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        return endpoint

    @pytest_asyncio.fixture
    async def channel(self, channel: Sftp) -> Sftp:
        return channel


# -- the document


def text(longest: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
    return st.text(characters | st.sampled_from("<>&\"'\u202e\u2028]]>"), min_size=1, max_size=longest)


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


DATES = st.dates(date(1000, 1, 1), date(2999, 12, 31)).map(str)
NAMES = {"voornamen": text(20), "achternaam": text(20)}
ADDRESS = some(
    {
        "straat": text(20),
        "huisnummer": st.integers(1, 99999) | st.just(12.0),
        "postcode": st.sampled_from(["1015 CN", "1015cn"]),
    }
    | {"woonplaats": text(20)},
    {"huisletter": st.just("b"), "huisnummertoevoeging": text(10), "aanduiding": st.just("bij")},
)
AMOUNTS = st.decimals(0, 999999999, places=2).map(float) | st.just(-0.0) | st.integers(0, 10**9 - 1)
VIEWS = some(
    {
        "kenmerk": st.just(DELIVERY),
        "soort": st.just("kennisgeving"),
        "gemeente": st.just("0363"),
        "afzender": some({"naam": text(20), "oin": st.just("0" * 20)}, {}),
        "dossierkenmerk": text(20),
        "versie": st.integers(1, 999999),
        "hulpvrager": some(
            {**NAMES, "geboortedatum": DATES},
            {
                "voorletters": text(5),
                "geslacht": text(20),
                "bsn": st.just("999990007"),
                "adres": ADDRESS,
                "adresGeheim": st.booleans(),
                "partner": some({"achternaam": text(9)}, {"geboortedatum": DATES}),
            },
        ),
        "pauze": some({"ingangsdatum": DATES, "totEnMet": DATES, "grondslag": st.just("verzoek")}, {}),
        "contactpersoon": some({"naam": text(20)}, {"telefoon": st.just("+31 20 1234567")}),
    },
    {
        "klantnummer": text(20),
        "vorderingen": st.lists(
            some({}, {"kenmerk": text(20), "factuurnummer": text(9), "soort": text(9), "bedrag": AMOUNTS}), max_size=3
        ),
        "toelichting": text(50),
        "namens": text(20),
    },
)


def as_sent(value: Any) -> Any:
    """What XML keeps of JSON: texts; an empty list is absent."""
    match value:
        case dict():
            return {key: as_sent(inner) for key, inner in value.items() if inner != []}
        case list():
            return [as_sent(inner) for inner in value]
        case bool():
            return str(value).lower()
        case float():
            return Decimal(str(abs(value)))
        case int():
            return Decimal(value)
        case _:
            return value


def as_read(value: Any, like: Any) -> Any:
    match like:
        case dict():
            assert value.keys() == like.keys()
            return {key: as_read(value[key], like[key]) for key in like}
        case list():
            return [as_read(*pair) for pair in zip(value, like, strict=True)]
        case Decimal():
            return Decimal(value)
        case _:
            return value


@given(VIEWS)
@settings(max_examples=300, deadline=None)
def test_every_valid_view_becomes_a_valid_document_that_reads_back_the_same(view: dict[str, Any]) -> None:
    body = msgspec.json.encode(view)
    if schemas.validator("bericht").is_valid(view):
        expected = as_sent(view)
        assert as_read(read_message(wire.message(body)), expected) == expected


@pytest.mark.parametrize("soort", ["kennisgeving", "herinnering"])
def test_the_document_is_valid_and_in_the_order_of_the_contract(soort: str) -> None:
    view = msgspec.structs.replace(draft(soort).view, herinnert_aan=OTHER if soort == "herinnering" else None)
    root = xml.parse(wire.message(msgspec.json.encode(view)))
    assert xml.valid(root) == []
    assert [xml.local_name(child) for child in root][:5] == [
        "Kenmerk",
        "Soort",
        "Gemeente",
        "Afzender",
        "Dossierkenmerk",
    ]


def test_progress_is_valid() -> None:
    view = msgspec.structs.replace(
        draft("voortgang").view, hulpvrager=None, vorderingen=None, pauze=None, contactpersoon=None, klantnummer=None
    )
    view = msgspec.structs.replace(view, fase="schuldregeling_gestart", toelichting="Wij zijn bezig.")
    assert xml.valid(xml.parse(wire.message(msgspec.json.encode(view)))) == []


def test_every_field_of_the_view_has_an_element() -> None:
    names = set(schemas.document("bericht")["properties"])
    assert {field.name for field in wire._MESSAGE.fields} == names
    assert {msgspec.structs.fields(View)[i].encode_name for i in range(len(names))} == names


# -- settings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hostsleutels", []),
        ("hostsleutels", ["ssh-ed25519 onzin"]),
        ("poort", 0),
        ("host", ""),
        ("sleutel", "/etc/ssh/sleutel"),
    ],
)
def test_settings_that_cannot_be_safe_are_refused_by_name(endpoint: Endpoint, key: str, value: object) -> None:
    with pytest.raises(SettingsRefused, match=f"sftp.{key}"):
        Sftp.check_settings({**endpoint.settings, key: value})


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsRefused) as refused:
        Sftp.check_settings({"poort": "22", "onzin": 1})
    assert [
        name
        for name in ("host", "gebruiker", "sleutel", "hostsleutels", "poort", "onzin")
        if name not in str(refused.value)
    ] == []


# -- sending


@pytest.mark.asyncio
async def test_only_the_final_name_is_left_in_the_inbox(link: SftpLink, endpoint: Endpoint, inbox: Path) -> None:
    sent = parcel(link, endpoint, draft())
    (inbox / f".kennisgeving_{sent.delivery}.xml.part").write_bytes(b"x" * 100_000)  # of an attempt that was cut off
    assert isinstance(await link.send(sent), HandedOver)
    assert sorted(os.listdir(inbox)) == ["archief", f"kennisgeving_{sent.delivery}.xml"]
    assert (inbox / f"kennisgeving_{sent.delivery}.xml").read_bytes() == sent.body


@pytest.mark.asyncio
async def test_a_final_name_with_other_content_is_never_overwritten(
    link: SftpLink, endpoint: Endpoint, inbox: Path
) -> None:
    sent = parcel(link, endpoint, draft())
    final = inbox / f"kennisgeving_{sent.delivery}.xml"
    final.write_bytes(b"iets anders")
    outcome = await link.send(sent)
    assert isinstance(outcome, RefusedForGood)
    assert (outcome.evidence.code, outcome.other_content) == ("naambotsing", True)
    assert await link.resolve(sent) == outcome
    assert final.read_bytes() == b"iets anders"
    assert sorted(os.listdir(inbox)) == ["archief", final.name]


@pytest.mark.asyncio
async def test_what_the_creditor_archived_counts_as_handed_over(
    link: SftpLink, endpoint: Endpoint, inbox: Path
) -> None:
    sent = parcel(link, endpoint, draft())
    await link.send(sent)
    name = f"kennisgeving_{sent.delivery}.xml"
    (inbox / name).rename(inbox / "archief" / name)
    assert isinstance(await link.resolve(sent), HandedOver)
    (inbox / "archief" / name).unlink()
    assert await link.resolve(sent) is None


@pytest.mark.asyncio
async def test_a_message_larger_than_one_request_arrives_whole(link: SftpLink, endpoint: Endpoint, inbox: Path) -> None:
    sent = msgspec.structs.replace(parcel(link, endpoint, draft()), body=os.urandom(300_000))
    assert isinstance(await link.send(sent), HandedOver)
    assert (inbox / f"kennisgeving_{sent.delivery}.xml").read_bytes() == sent.body


@pytest.mark.asyncio
async def test_an_inbox_that_is_gone_is_a_transient_failure(link: SftpLink, endpoint: Endpoint, inbox: Path) -> None:
    os.rename(inbox, f"{inbox}-weg")
    assert isinstance(await link.send(parcel(link, endpoint, draft())), Transient)


SEND_OR_RESOLVE = pytest.mark.parametrize("do", [SftpLink.send, SftpLink.resolve])


@SEND_OR_RESOLVE
@pytest.mark.asyncio
async def test_a_key_that_the_server_does_not_know_is_our_own_fault(
    channel: Sftp, creditor: SftpCreditor, endpoint: Endpoint, tmp_path: Path, do: Do
) -> None:
    stranger = tmp_path / "vreemd.key"
    stranger.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    table = {**endpoint.settings, "sleutel": f"file:{stranger}"}
    link = channel.link(msgspec.structs.replace(endpoint, settings=table))
    outcome = await do(link, parcel(link, endpoint, draft()))
    assert isinstance(outcome, OwnFault)
    assert outcome.evidence.code == "aanmelden"


@SEND_OR_RESOLVE
@pytest.mark.asyncio
async def test_an_impostor_is_our_own_fault_so_that_an_operator_looks(
    link: SftpLink, endpoint: Endpoint, creditor: SftpCreditor, do: Do
) -> None:
    async with creditor.is_impostor():
        outcome = await do(link, parcel(link, endpoint, draft()))
    assert isinstance(outcome, OwnFault)
    assert outcome.evidence.code == "hostsleutel"


@pytest.mark.asyncio
async def test_what_could_not_be_asked_of_a_server_that_is_down_stays_uncertain(
    link: SftpLink, endpoint: Endpoint, creditor: SftpCreditor
) -> None:
    async with creditor.is_down():
        assert isinstance(await link.resolve(parcel(link, endpoint, draft())), Uncertain)


# -- collecting


class Desk:
    """Takes what is handed over, as the gateway would."""

    def __init__(self, kind: str = "recorded", reasons: Sequence[str] = ()) -> None:
        self.verdict = msgspec.convert({"kind": kind, "reasons": list(reasons)}, Verdict)
        self.taken: list[Inbound] = []

    async def receive(self, inbound: Inbound) -> Verdict:
        self.taken.append(inbound)
        return self.verdict


ANSWER = write_answer(DELIVERY, {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"})


@pytest.mark.asyncio
async def test_an_answer_is_handed_over_and_then_archived(link: SftpLink, outbox: Path) -> None:
    desk = Desk()
    (outbox / "antwoord.xml").write_bytes(ANSWER)
    (outbox / "bevestiging.xml").write_bytes(write_receipt(OTHER))
    await link.collect((), desk.receive)
    answer, receipt = sorted(desk.taken, key=lambda inbound: inbound.kind)
    assert (answer.kind, answer.creditor, answer.delivery) == ("answer", "zorg-voorbeeld", DELIVERY)
    assert msgspec.json.decode(answer.answer or b"") == {"soort": "pauze_ingesteld", "totEnMet": "2027-07-22"}
    assert answer.raw == ANSWER
    assert (receipt.kind, receipt.delivery, receipt.answer) == ("receipt", OTHER, None)
    assert sorted(os.listdir(outbox / "archief")) == ["antwoord.xml", "bevestiging.xml"]
    assert sorted(os.listdir(outbox)) == ["afgekeurd", "archief"]
    await link.collect((), desk.receive)
    assert len(desk.taken) == 2


@pytest.mark.asyncio
async def test_a_half_written_answer_is_left_alone_until_it_is_whole(link: SftpLink, outbox: Path) -> None:
    desk = Desk()
    file = outbox / "antwoord.xml"
    for end in (40, 90, 140):
        file.write_bytes(ANSWER[:end])
        await link.collect((), desk.receive)
        assert file.exists()
    file.write_bytes(ANSWER)
    await link.collect((), desk.receive)
    assert len(desk.taken) == 1
    assert (outbox / "archief" / "antwoord.xml").read_bytes() == ANSWER


@pytest.mark.asyncio
async def test_a_file_that_stopped_growing_and_is_no_xml_is_rejected_with_a_reason(
    link: SftpLink, outbox: Path
) -> None:
    desk = Desk()
    (outbox / "antwoord.xml").write_bytes(ANSWER[:90])
    await link.collect((), desk.receive)
    await link.collect((), desk.receive)
    assert desk.taken == []
    assert (outbox / "afgekeurd" / "antwoord.xml").read_bytes() == ANSWER[:90]
    assert "XML" in (outbox / "afgekeurd" / "antwoord.xml.reden.txt").read_text()


REFUSED = {
    "wrong root": ANSWER.replace(b"Antwoord", b"Bericht"),
    "unknown soort": ANSWER.replace(b"pauze_ingesteld", b"geheim-woord"),
    "no namespace": ANSWER.replace(xml.NAMESPACE.encode(), b"urn:anders"),
    "two answers": ANSWER.replace(b"</Antwoord>", b"</Antwoord><Antwoord/>"),
    "doctype": b"<!DOCTYPE Antwoord [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + ANSWER.partition(b"?>")[2],
    "empty": b"",
    "too large": b"<Antwoord>" + b" " * 1024 * 1024 + b"</Antwoord>",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_an_answer_is_rejected_without_its_values(link: SftpLink, outbox: Path, body: bytes) -> None:
    desk = Desk()
    (outbox / "antwoord.xml").write_bytes(body)
    await link.collect((), desk.receive)
    await link.collect((), desk.receive)
    assert desk.taken == []
    assert (outbox / "afgekeurd" / "antwoord.xml").read_bytes() == body
    reason = (outbox / "afgekeurd" / "antwoord.xml.reden.txt").read_text()
    assert "- " in reason
    assert "geheim-woord" not in reason


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["invalid", "not_yours"])
async def test_what_the_gateway_refuses_is_rejected_with_its_reasons(link: SftpLink, outbox: Path, kind: str) -> None:
    (outbox / "antwoord.xml").write_bytes(ANSWER)
    await link.collect((), Desk(kind, ["/totEnMet: ligt in het verleden"]).receive)
    assert "ligt in het verleden" in (outbox / "afgekeurd" / "antwoord.xml.reden.txt").read_text()
    (outbox / "nog-een.xml").write_bytes(ANSWER)
    await link.collect((), Desk(kind).receive)
    assert (outbox / "afgekeurd" / "nog-een.xml.reden.txt").exists()


@pytest.mark.asyncio
async def test_nothing_on_a_shelf_is_overwritten(link: SftpLink, outbox: Path) -> None:
    for turn in range(4):
        (outbox / "antwoord.xml").write_bytes(ANSWER + b"\n" * (turn // 2))
        await link.collect((), Desk().receive)
    assert len(list((outbox / "archief").iterdir())) == 4


@pytest.mark.asyncio
async def test_a_shelf_that_is_taken_away_is_made_again(link: SftpLink, outbox: Path) -> None:
    await link.collect((), Desk().receive)
    os.rename(outbox / "archief", outbox / "weg")
    (outbox / "antwoord.xml").write_bytes(ANSWER)
    with pytest.raises(OSError, match="sftp_2"):
        await link.collect((), Desk().receive)
    await link.collect((), Desk("repeated").receive)
    assert (outbox / "archief" / "antwoord.xml").read_bytes() == ANSWER


@pytest.mark.asyncio
async def test_links_and_directories_are_not_followed(link: SftpLink, outbox: Path, tmp_path: Path) -> None:
    secret = tmp_path / "geheim.xml"
    secret.write_bytes(ANSWER)
    (outbox / "link.xml").symlink_to(secret)
    (outbox / "map.xml").mkdir()
    (outbox / "goed.xml").write_bytes(ANSWER)
    desk = Desk()
    await link.collect((), desk.receive)
    assert [inbound.source.partition(":")[0] for inbound in desk.taken] == ["goed.xml"]
    assert secret.read_bytes() == ANSWER
    assert (outbox / "afgekeurd" / "link.xml.reden.txt").exists()
    assert (outbox / "afgekeurd" / "map.xml").is_dir()


STRANGE = [b"\xe2\x80\xaetxt.xml", b"nieuw\nregel.xml", b"latin-\xe9.xml", b"a" * 251 + b".xml", b"..xml.xml"]


@pytest.mark.asyncio
async def test_strange_names_hide_nothing_and_get_a_name_of_ours(link: SftpLink, outbox: Path) -> None:
    for name in STRANGE:
        (outbox / os.fsdecode(name)).write_bytes(ANSWER)
    (outbox / "goed.xml").write_bytes(ANSWER)
    (outbox / "antwoord.xml.part").write_bytes(ANSWER)
    (outbox / ".verborgen.xml").write_bytes(ANSWER)
    desk = Desk()
    await link.collect((), desk.receive)
    assert len(desk.taken) == len(STRANGE)  # all but the hidden ones, of which `..xml.xml` is one
    assert all(name.startswith(("goed", "onverwachte-naam-")) for name in os.listdir(outbox / "archief"))


@pytest.mark.asyncio
async def test_one_file_that_cannot_be_taken_does_not_hold_the_others(link: SftpLink, outbox: Path) -> None:
    for name in ("a.xml", "b.xml", "c.xml"):
        (outbox / name).write_bytes(ANSWER)
    taken: list[str] = []

    async def receive(inbound: Inbound) -> Verdict:
        taken.append(inbound.source)
        if inbound.source.startswith("a."):
            raise OSError("ledger away")
        return Verdict("recorded")

    with pytest.raises(OSError, match="verbinding"):
        await link.collect((), receive)
    assert sorted(os.listdir(outbox / "archief")) == ["b.xml", "c.xml"]
    assert (outbox / "a.xml").exists()


@pytest.mark.asyncio
async def test_a_server_that_is_down_raises_oserror(link: SftpLink, creditor: SftpCreditor) -> None:
    async with creditor.is_down():
        with pytest.raises(OSError, match="verbinding"):
            await link.collect((), Desk().receive)


# -- checking, and the creditor of the sandbox itself


@pytest.mark.asyncio
async def test_check_says_what_is_right_and_what_is_wrong(
    channel: Sftp, endpoint: Endpoint, creditor: SftpCreditor, outbox: Path
) -> None:
    assert [finding.ok for finding in await channel.check(endpoint)] == [True, True, True]
    os.rename(outbox, f"{outbox}-weg")
    assert [finding.ok for finding in await channel.check(endpoint)] == [True, True, False]
    async with creditor.is_impostor():
        assert [finding.ok for finding in await channel.check(endpoint)] == [False]
    assert creditor.connections_open == 0


@pytest.mark.asyncio
async def test_a_creditor_of_the_sandbox_verifies_and_answers(channel: Sftp, creditor: SftpCreditor) -> None:
    table = creditor.add("cak", "confirms", archives=True)
    endpoint = Endpoint("cak", "CAK", table, 8, LOOPBACK)
    link = channel.link(endpoint)
    sent = parcel(link, endpoint, draft())
    assert isinstance(await link.send(sent), HandedOver)
    desk = Desk()
    async with asyncio.timeout(5):
        while len(desk.taken) < 2:
            await link.collect((), desk.receive)
    assert {inbound.kind for inbound in desk.taken} == {"answer", "receipt"}
    assert {inbound.delivery for inbound in desk.taken} == {sent.delivery}
    assert creditor.refused == []
    assert isinstance(await link.resolve(sent), HandedOver)
    await link.aclose()


# -- what an attempt that never ended left behind


@pytest.fixture
def brief() -> float:
    """Seconds that an attempt may take."""
    return 0.3


async def look(link: SftpLink, inbox: Path, after: float = 0.0) -> list[str]:
    """What lies in the inbox after one collection."""
    await asyncio.sleep(after)
    await link.collect([], Desk().receive)
    return sorted(path.name for path in inbox.iterdir() if path.is_file())


@pytest.mark.asyncio
async def test_a_part_that_no_attempt_can_be_writing_any_more_is_taken_away(
    endpoint: Endpoint, inbox: Path, brief: float
) -> None:
    link = Sftp(surroundings(attempt_timeout=brief)).link(endpoint)
    part, others = wire.part_name("kennisgeving", DELIVERY), [".werk.part", wire.final_name("kennisgeving", OTHER)]
    for name in (part, *others):
        (inbox / name).write_bytes(b"<half")
    assert part in await look(link, inbox), "an attempt of another gateway may be at work on it"
    assert await look(link, inbox, 2 * brief) == sorted(others)
    await link.aclose()


@pytest.mark.asyncio
async def test_a_part_that_still_grows_is_left_alone(endpoint: Endpoint, inbox: Path, brief: float) -> None:
    link = Sftp(surroundings(attempt_timeout=brief)).link(endpoint)
    part = inbox / wire.part_name("kennisgeving", DELIVERY)
    for size in (5, 10, 15):
        part.write_bytes(b"x" * size)
        assert await look(link, inbox, 2 * brief) == [part.name]
    assert await look(link, inbox, 2 * brief) == []
    await link.aclose()


@pytest.mark.asyncio
async def test_an_inbox_that_nobody_may_look_at_hides_no_answers(link: SftpLink, inbox: Path, outbox: Path) -> None:
    (outbox / "antwoord.xml").write_bytes(ANSWER)
    inbox.rename(inbox.with_name("weg"))
    desk = Desk()
    await link.collect([], desk.receive)
    assert len(desk.taken) == 1
