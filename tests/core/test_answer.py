import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from gateway.core import xml
from gateway.core.answer import Answer, AnswerKind, Contact, answer_from_xml, meaning, parse_answer, to_wire
from gateway.core.errors import Violation, XmlRefused
from tests.core import examples

FULL = examples.read("antwoord-vol")
DELIVERY = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d2c01"
CANARY = "Kanarie999990019"


def parsed(value: object) -> Answer:
    answer = parse_answer(json.dumps(value).encode())
    assert isinstance(answer, Answer), answer
    return answer


def violations(raw: bytes) -> set[tuple[str, str]]:
    answer = parse_answer(raw)
    assert not isinstance(answer, Answer)
    return {(violation.pad, str(violation.code)) for violation in answer}


def from_xml(text: str) -> tuple[str, Answer | None]:
    return answer_from_xml(xml.parse(text.encode()))


def answer_xml(fields: str) -> str:
    return f'<Antwoord xmlns="{xml.NAMESPACE}"><Bezorging>{DELIVERY}</Bezorging>{fields}</Antwoord>'


def test_an_answer_is_read_whole() -> None:
    answer = parsed(FULL)
    assert answer.soort is AnswerKind.PAUSED_IN_PART
    assert (answer.starts, answer.until) == (date(2026, 11, 23), date(2027, 7, 22))
    assert [claim.soort for claim in answer.claims] == [AnswerKind.PAUSED, AnswerKind.NOT_ELIGIBLE]
    assert answer.balance is not None
    assert answer.balance.amount == Decimal("1234.56")
    assert answer.invoices == ("F2026-118", "F2026-119")


def test_xml_and_json_say_the_same() -> None:
    assert answer_from_xml(xml.parse(examples.raw("antwoord.xml"))) == (DELIVERY, parsed(FULL))


def test_on_the_wire_it_is_what_came_in() -> None:
    assert to_wire(parsed(FULL)) == FULL
    assert to_wire(parsed({"soort": "ontvangen"})) == {"soort": "ontvangen"}
    assert list(to_wire(parsed(FULL))) == list(schemas.document("antwoord")["properties"])


@pytest.mark.parametrize("kind", AnswerKind)
def test_only_the_kind_is_needed(kind: AnswerKind) -> None:
    assert parsed({"soort": kind}) == Answer(kind)
    assert from_xml(answer_xml(f"<Soort>{kind}</Soort>")) == (DELIVERY, Answer(kind))


def test_what_an_answer_means() -> None:
    assert {kind: meaning(Answer(kind)) for kind in AnswerKind} == {
        "ontvangen": "receipt",
        "pauze_ingesteld": "confirms",
        "pauze_gedeeltelijk": "confirms",
        "overgedragen": "confirms",
        "klant_onbekend": "refuses",
        "recente_finale_kwijting": "refuses",
        "recente_stabilisatiepoging": "refuses",
        "geen_samenwerking": "refuses",
        "niet_in_aanmerking": "refuses",
    }


@pytest.mark.parametrize(
    ("contact", "read"),
    [
        ("Afdeling X", Contact(name="Afdeling X")),
        ({"telefoon": "010-1234567"}, Contact(phone="010-1234567")),
    ],
)
def test_a_contact_may_be_a_line_of_text(contact: object, read: Contact) -> None:
    assert parsed({"soort": "ontvangen", "contact": contact}).contact == read


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", {("", "json_ongeldig")}),
        (b"\xff", {("", "json_ongeldig")}),
        (b'{"soort":"ontvangen","soort":"klant_onbekend"}', {("", "json_ongeldig")}),
        (b'{"soort":"ontvangen","x":NaN}', {("", "json_ongeldig")}),
        (b" " * 1024 * 1024 + b"{}", {("", "json_ongeldig")}),
        (b'{"soort":' + b"[" * 500 + b"]" * 500 + b"}", {("", "json_ongeldig")}),
        (b"[]", {("", "waarde_ongeldig")}),
        (b'"pauze_ingesteld"', {("", "waarde_ongeldig")}),
        (b"{}", {("/soort", "veld_ontbreekt")}),
        (b'{"soort":"ja"}', {("/soort", "waarde_ongeldig")}),
        (b'{"soort":null}', {("/soort", "waarde_ongeldig")}),
        (b'{"soort":"ontvangen","totEnMeet":"2027-01-01"}', {("/totEnMeet", "veld_onbekend")}),
        (b'{"soort":"ontvangen","totEnMet":"2027-02-30"}', {("/totEnMet", "waarde_ongeldig")}),
        (b'{"soort":"pauze_ingesteld","van":"2027-01-02","totEnMet":"2027-01-01"}', {("/totEnMet", "waarde_ongeldig")}),
        (b'{"soort":"ontvangen","saldo":{"bedrag":1}}', {("/saldo/datum", "veld_ontbreekt")}),
        (b'{"soort":"ontvangen","saldo":{"bedrag":"1","datum":"2027-01-01"}}', {("/saldo/bedrag", "waarde_ongeldig")}),
        (
            b'{"soort":"pauze_gedeeltelijk","vorderingen":[{"kenmerk":"1"}]}',
            {("/vorderingen/0/soort", "veld_ontbreekt")},
        ),
        (b'{"soort":"ontvangen","reden":"a\\u0000b"}', {("/reden", "waarde_ongeldig")}),
        (b'{"soort":"ontvangen","contact":{}}', {("/contact", "waarde_ongeldig")}),
        (b'{"soort":"ontvangen","contact":7}', {("/contact", "waarde_ongeldig")}),
    ],
    ids=lambda value: repr(value[:50]) if isinstance(value, bytes) else "",
)
def test_what_is_no_answer(raw: bytes, expected: set[tuple[str, str]]) -> None:
    assert violations(raw) == expected


@given(
    st.dictionaries(st.sampled_from([*FULL, CANARY]), st.text() | st.integers() | st.lists(st.text()) | st.just(CANARY))
)
def test_no_answer_is_too_strange_and_no_error_repeats_a_value(value: dict[str, Any]) -> None:
    answer = parse_answer(json.dumps({"naar": [CANARY], **value}).encode())
    for violation in answer if isinstance(answer, list) else ():
        assert isinstance(violation, Violation)
        assert CANARY not in violation.pad + violation.melding


def test_a_receipt_has_no_answer() -> None:
    assert answer_from_xml(xml.parse(examples.raw("ontvangstbevestiging.xml"))) == (DELIVERY, None)


def test_whitespace_around_values_is_not_part_of_them() -> None:
    text = answer_xml("\n <Soort>\n  ontvangen\n </Soort>\n <Klantnummer> K-1 </Klantnummer>\n")
    assert from_xml(text) == (DELIVERY, Answer(AnswerKind.RECEIVED, client_number="K-1"))


@pytest.mark.parametrize(
    ("contact", "read"),
    [
        ("Afdeling X", Contact(name="Afdeling X")),
        ("<Naam>J</Naam><Email>j@x.example</Email>", Contact(name="J", email="j@x.example")),
        (" ", None),
    ],
)
def test_a_contact_in_xml(contact: str, read: Contact | None) -> None:
    _, answer = from_xml(answer_xml(f"<Soort>ontvangen</Soort><Contact>{contact}</Contact>"))
    assert answer is not None
    assert answer.contact == read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (answer_xml(""), "verwacht: Soort"),
        (answer_xml("<Soort>ja</Soort>"), "/Antwoord/Soort"),
        (answer_xml("<Soort>ontvangen</Soort><Foo/>"), "/Antwoord/Foo"),
        (answer_xml("<TotEnMet>2027-01-01</TotEnMet><Soort>ontvangen</Soort>"), "verwacht: Soort"),
        (answer_xml("<Soort>ontvangen</Soort><Soort>klant_onbekend</Soort>"), "/Antwoord/Soort[2]"),
        (
            answer_xml("<Soort>ontvangen</Soort><Van>2027-02-02</Van><TotEnMet>2027-01-01</TotEnMet>"),
            "totEnMet ligt voor",
        ),
        (examples.raw("bericht-kennisgeving.xml").decode(), "/Bericht: dit document is geen antwoord"),
        (
            f'<Berichten xmlns="{xml.NAMESPACE}">{answer_xml("")}{answer_xml("")}</Berichten>',
            "/Berichten: is hier geen",
        ),
    ],
)
def test_what_is_no_answer_in_xml(text: str, reason: str) -> None:
    with pytest.raises(XmlRefused) as refusal:
        from_xml(text.replace('<?xml version="1.0" encoding="UTF-8"?>', ""))
    assert any(reason in line for line in refusal.value.reasons), refusal.value.reasons
