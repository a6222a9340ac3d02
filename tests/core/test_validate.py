import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.nl import bsn

from gateway.core import strict_json
from gateway.core.errors import Violation
from gateway.core.notice import KINDS, Notice, Sender, canonical, content_hash, encode, plain_gemeente
from gateway.core.validate import BYTES, READABLE_BYTES, Reading, Valid, check, parse, parse_binary
from tests.core import examples

TODAY = date(2026, 11, 23)
GEMEENTE = Sender("Gemeente Proef", "00000099000000599000", ("0599", "0363"), "gem-0599", "gem-0599")
PAUSE_BUTTON = Sender("Pauzeknop", "00000099000000777000", ())
NOTICE = examples.read("kennisgeving-vol")

Found = set[tuple[str, str]]
Change = Callable[[dict[str, Any]], object]


def body(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def found(result: Valid | list[Violation]) -> Found:
    return set() if isinstance(result, Valid) else {(violation.pad, str(violation.code)) for violation in result}


def judge(raw: bytes, sender: Sender | None = GEMEENTE) -> Found:
    return found(check(parse(raw), sender, TODAY))


def changed(change: Change) -> bytes:
    event = copy.deepcopy(NOTICE)
    change(event)
    return body(event)


def put(path: str, value: object) -> Change:
    """Sets a value; `/data/schuldeisers/0/x`."""

    def change(event: dict[str, Any]) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")[1:]]
        node: Any = event
        for step in steps:
            node = node[step]
        node[last] = value

    return change


def drop(path: str) -> Change:
    def change(event: dict[str, Any]) -> None:
        *steps, last = path.split("/")[1:]
        node: Any = event
        for step in steps:
            node = node[step]
        del node[last]

    return change


# -- what is good ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in examples.names() if name.split("-")[0] in KINDS])
def test_valid_messages_become_themselves(name: str) -> None:
    sender = PAUSE_BUTTON if name == "pauzeverzoek" else GEMEENTE
    valid = check(parse(examples.raw(name)), sender, date(2027, 8, 1))
    assert isinstance(valid, Valid)
    data = examples.read(name)["data"]
    assert json.loads(encode(valid.message)) == {**data, "gemeente": plain_gemeente(data["gemeente"])}
    assert valid.soort == name.split("-", maxsplit=1)[0]
    assert valid.envelope.id == examples.read(name)["id"]


def test_amounts_stay_exact_and_absent_stays_absent() -> None:
    valid = check(parse(examples.raw("kennisgeving-vol")), GEMEENTE, TODAY)
    assert isinstance(valid, Valid)
    assert isinstance(valid.message, Notice)
    assert [claim.amount for creditor in valid.message.creditors for claim in creditor.claims] == [
        Decimal("120.5"),
        Decimal("0.07"),
        Decimal(1200),
    ]
    assert b'"bedrag":0.07' in encode(valid.message)
    assert b"null" not in encode(valid.message)


# -- bad JSON --------------------------------------------------------------------------------------------------------

DEEP = b'{"data":' + b'{"data":' * 600 + b"1" + b"}" * 601


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a":1,}',
        b'{"a":1}{}',
        b'{"id":"1","id":"2"}',
        b'{"data":{"versie":1,"versie":1}}',
        b'{"data":{"versie":1,"\\u0076ersie":2}}',
        b'{"data":{"versie":1e400}}',
        b'{"data":{"versie":-1e400}}',
        b'{"data":{"versie":1e-400}}',
        b'{"data":{"versie":NaN}}',
        b'{"data":{"versie":-Infinity}}',
        b'{"data":{"versie":' + b"9" * 5000 + b"}}",
        b'{"id":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"id":"a\nb"}',
        b'{"id":"\xff"}',
        b'\xef\xbb\xbf{"id":"1"}',
        '{"id":"1"}'.encode("utf-16"),
        b"[" * 20_000,
        DEEP,
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_what_two_readers_could_read_differently_is_no_json(raw: bytes) -> None:
    assert judge(raw) >= {("", "json_ongeldig")}


def test_no_depth_is_too_great_to_judge() -> None:
    """There are depths that a reader still can read, and a writer not write."""
    for deep in range(300, 1100):
        assert judge(b'{"id":"\\ud83d\\ude00","x":' + b"[" * deep + b"]" * deep + b"}")


@pytest.mark.parametrize("raw", [b"1", b"[]", b"null", b'"x"', b"true"])
def test_json_that_is_no_object_is_no_event(raw: bytes) -> None:
    assert judge(raw) == {("", "cloudevent_ongeldig")}


@pytest.mark.parametrize(("literal", "value"), [("-0", 0), ("-0.0", 0), ("1200.00", 1200), ("1e2", 100)])
def test_whole_numbers_are_whole_however_they_are_written(literal: str, value: int) -> None:
    read = strict_json.decode(literal.encode())
    assert read == value
    assert type(read) is int


def test_other_numbers_lose_nothing() -> None:
    assert strict_json.decode(b"0.10000000000000000000000000000000001") == Decimal(
        "0.10000000000000000000000000000000001"
    )
    assert str(strict_json.decode(b"1200.50")) == "1200.5"


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange_to_judge(raw: bytes) -> None:
    assert judge(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["data", "gemeente", "bsn"]), inner),
)


@given(
    st.dictionaries(st.sampled_from(sorted(NOTICE)), JSON),
    st.dictionaries(st.sampled_from(sorted(NOTICE["data"])), JSON),
)
def test_no_event_is_too_strange_to_judge(envelope: dict[str, Any], data: dict[str, Any]) -> None:
    judge(body({**NOTICE, "data": {**NOTICE["data"], **data}}))
    judge(body({**NOTICE, **envelope}))


# -- bad envelopes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("/id"), {("/id", "cloudevent_ongeldig")}),
        (drop("/source"), {("/source", "cloudevent_ongeldig")}),
        (drop("/specversion"), {("/specversion", "cloudevent_ongeldig")}),
        (put("/specversion", "0.3"), {("/specversion", "cloudevent_ongeldig")}),
        (put("/id", ""), {("/id", "cloudevent_ongeldig")}),
        (put("/id", "x" * 256), {("/id", "cloudevent_ongeldig")}),
        (put("/id", 7), {("/id", "cloudevent_ongeldig")}),
        (put("/source", "https://gemeente.example"), {("/source", "cloudevent_ongeldig")}),
        (put("/time", "2026-11-23T09:15:00"), {("/time", "cloudevent_ongeldig")}),
        (put("/time", "gisteren"), {("/time", "cloudevent_ongeldig")}),
        (put("/datacontenttype", "text/xml"), {("/datacontenttype", "cloudevent_ongeldig")}),
        (put("/data_base64", "e30="), {("", "cloudevent_ongeldig")}),
        (put("/Extensie", 1), {("", "cloudevent_ongeldig")}),
        (put("/extensie", {"a": 1}), {("/extensie", "cloudevent_ongeldig")}),
        (drop("/data"), {("/data", "veld_ontbreekt")}),
        (put("/data", "tekst"), {("/data", "waarde_ongeldig")}),
        (put("/type", "com.example.iets"), {("/type", "type_onbekend")}),
        (put("/type", "nl.schuldhulpverlening.kennisgeving.v2"), {("/type", "type_onbekend")}),
        (drop("/type"), {("/type", "cloudevent_ongeldig")}),
        (put("/type", ["x"]), {("/type", "cloudevent_ongeldig")}),
    ],
)
def test_what_is_wrong_with_the_envelope(change: Change, expected: Found) -> None:
    assert judge(changed(change)) == expected


@pytest.mark.parametrize(
    "change",
    [
        put("/extensie", "x"),
        put("/extensie", None),
        put("/extensie", "x" * 50_000),
        put("/sequence", 3),
        drop("/time"),
        put("/datacontenttype", "application/json; charset=utf-8"),
    ],
)
def test_extension_attributes_pass(change: Change) -> None:
    assert judge(changed(change)) == set()


# -- bad data --------------------------------------------------------------------------------------------------------

PERSON = "/data/hulpvrager"
CLAIM = "/data/schuldeisers/0/vorderingen/0"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("/data/__proto__", {}), {("/data/__proto__", "veld_onbekend")}),
        (put(f"{PERSON}/beroep", "x"), {(f"{PERSON}/beroep", "veld_onbekend")}),
        (put(f"{PERSON}/partner/bsn", "999990019"), {(f"{PERSON}/partner/bsn", "veld_onbekend")}),
        (put(f"{CLAIM}/rente", 1), {(f"{CLAIM}/rente", "veld_onbekend")}),
        (put("/data/a~b", 1), {("/data", "veld_onbekend")}),
        (put("/data/x999990019", 1), {("/data", "veld_onbekend")}),
        (drop("/data/versie"), {("/data/versie", "veld_ontbreekt")}),
        (drop("/data/toelating"), {("/data/toelating", "veld_ontbreekt")}),
        (drop(f"{PERSON}/adres"), {(f"{PERSON}/adres", "veld_ontbreekt")}),
        (drop(f"{PERSON}/adres/postcode"), {(f"{PERSON}/adres/postcode", "veld_ontbreekt")}),
        (drop("/data/schuldeisers"), {("/data/schuldeisers", "veld_ontbreekt")}),
        (put("/data/schuldeisers", []), {("/data/schuldeisers", "waarde_ongeldig")}),
        (put("/data/schuldeisers/0", "cjib"), {("/data/schuldeisers/0", "waarde_ongeldig")}),
        (put("/data/schuldeisers/0/schuldeiser", "kvk:123"), {("/data/schuldeisers/0/schuldeiser", "waarde_ongeldig")}),
        (put("/data/schuldeisers/0/schuldeiser", "A\tB"), {("/data/schuldeisers/0/schuldeiser", "waarde_ongeldig")}),
        (put("/data/schuldeisers/0/schuldeiser", "oin:1"), {("/data/schuldeisers/0/schuldeiser", "waarde_ongeldig")}),
        (put(f"{PERSON}/geslacht", "x" * 21), {(f"{PERSON}/geslacht", "waarde_ongeldig")}),
        (put("/data/contactpersoon/telefoon", "(02"), {("/data/contactpersoon/telefoon", "waarde_ongeldig")}),
        (put("/data/versie", 0), {("/data/versie", "waarde_ongeldig")}),
        (put("/data/versie", "1"), {("/data/versie", "waarde_ongeldig")}),
        (put("/data/versie", 1.5), {("/data/versie", "waarde_ongeldig")}),
        (put("/data/versie", True), {("/data/versie", "waarde_ongeldig")}),
        (put("/data/gemeente", "363"), {("/data/gemeente", "waarde_ongeldig")}),
        (put("/data/gemeente", "gm0599"), {("/data/gemeente", "waarde_ongeldig")}),
        (put("/data/verzoekkenmerk", None), {("/data/verzoekkenmerk", "waarde_ongeldig")}),
        (put(f"{PERSON}/geboortedatum", "1987-00-00"), {(f"{PERSON}/geboortedatum", "waarde_ongeldig")}),
        (put(f"{PERSON}/geboortedatum", "2026-02-30"), {(f"{PERSON}/geboortedatum", "waarde_ongeldig")}),
        (put(f"{PERSON}/geboortedatum", "0000-01-01"), {(f"{PERSON}/geboortedatum", "waarde_ongeldig")}),
        (put(f"{PERSON}/achternaam", "x" * 300), {(f"{PERSON}/achternaam", "waarde_ongeldig")}),
        (put(f"{PERSON}/achternaam", "a\r\nBcc: x"), {(f"{PERSON}/achternaam", "waarde_ongeldig")}),
        (put(f"{PERSON}/achternaam", "a\0"), {(f"{PERSON}/achternaam", "waarde_ongeldig")}),
        (put(f"{PERSON}/achternaam", "  "), {(f"{PERSON}/achternaam", "waarde_ongeldig")}),
        (put(f"{PERSON}/adresGeheim", "ja"), {(f"{PERSON}/adresGeheim", "waarde_ongeldig")}),
        (put(f"{PERSON}/adres/postcode", "0000AA"), {(f"{PERSON}/adres/postcode", "waarde_ongeldig")}),
        (put(f"{PERSON}/adres/aanduiding", "naast"), {(f"{PERSON}/adres/aanduiding", "waarde_ongeldig")}),
        (put(f"{PERSON}/bsn", "99999001"), {(f"{PERSON}/bsn", "waarde_ongeldig")}),
        (put(f"{PERSON}/bsn", 999990019), {(f"{PERSON}/bsn", "waarde_ongeldig")}),
        (put("/data/contactpersoon/email", "a b@c"), {("/data/contactpersoon/email", "waarde_ongeldig")}),
        (put(f"{CLAIM}/bedrag", -1), {(f"{CLAIM}/bedrag", "waarde_ongeldig")}),
        (put(f"{CLAIM}/bedrag", 0.001), {(f"{CLAIM}/bedrag", "waarde_ongeldig")}),
        (put(f"{CLAIM}/bedrag", 10**9), {(f"{CLAIM}/bedrag", "waarde_ongeldig")}),
        (put(f"{CLAIM}/bedrag", 10**300), {(f"{CLAIM}/bedrag", "waarde_ongeldig")}),
        (put(f"{CLAIM}/bedrag", "12,50"), {(f"{CLAIM}/bedrag", "waarde_ongeldig")}),
        (put("/data/pauze/aantal", 0), {("/data/pauze/aantal", "waarde_ongeldig")}),
        (put("/data/pauze/eenheid", "weken"), {("/data/pauze/eenheid", "waarde_ongeldig")}),
    ],
)
def test_what_the_schema_refuses(change: Change, expected: Found) -> None:
    assert judge(changed(change)) == expected


@pytest.mark.parametrize(
    "change",
    [
        put(CLAIM, {}),
        put("/data/schuldeisers/0/schuldeiser", "Jansen & Zn. (incasso)"),
        put(f"{PERSON}/geslacht", "non-binair"),
        put(f"{PERSON}/adres/postcode", "1012 ab"),
        put("/data/contactpersoon/telefoon", "(020) 123 45 67"),
    ],
)
def test_what_people_write_is_kept_as_they_wrote_it(change: Change) -> None:
    valid = check(parse(changed(change)), GEMEENTE, TODAY)
    assert isinstance(valid, Valid)
    data = json.loads(changed(change))["data"]
    assert json.loads(encode(valid.message)) == {**data, "gemeente": "0599"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put(f"{PERSON}/bsn", "123456789"), {(f"{PERSON}/bsn", "bsn_elfproef")}),
        (put(f"{PERSON}/geboortedatum", "2026-11-23"), set()),
        (put(f"{PERSON}/geboortedatum", "2026-11-24"), {(f"{PERSON}/geboortedatum", "waarde_ongeldig")}),
        (
            put(f"{PERSON}/partner/geboortedatum", "2027-01-01"),
            {(f"{PERSON}/partner/geboortedatum", "waarde_ongeldig")},
        ),
        (put(f"{PERSON}/bsn", "000000000"), {(f"{PERSON}/bsn", "bsn_elfproef")}),
        (put("/data/toelating/datum", "2026-11-24"), {("/data/toelating/datum", "toelating_toekomst")}),
        (put("/data/toelating/datum", "2026-11-23"), set()),
        (put("/data/pauze/aantal", 9), {("/data/pauze/aantal", "pauze_te_lang")}),
        (
            put("/data/pauze", {"ingangsdatum": "2026-11-23", "aantal": 241, "eenheid": "dagen"}),
            {("/data/pauze/aantal", "pauze_te_lang")},
        ),
        (put("/data/pauze", {"ingangsdatum": "2026-11-23", "aantal": 240, "eenheid": "dagen"}), set()),
        (put("/data/schuldeisers/2/schuldeiser", "cjib"), {("/data/schuldeisers/2/schuldeiser", "schuldeiser_dubbel")}),
        (put("/data/gemeente", "0363"), set()),
        (put("/data/gemeente", "GM0344"), {("/data/gemeente", "gemeente_niet_van_afzender")}),
        (
            put("/source", "urn:nld:oin:00000099000000363000:systeem:schuldhulp"),
            {("/source", "bron_niet_van_afzender")},
        ),
        (put("/source", "urn:nld:oin:00000099000000599000:systeem:een/ander-systeem"), set()),
    ],
)
def test_what_the_rules_refuse(change: Change, expected: Found) -> None:
    assert judge(changed(change)) == expected


def test_everything_that_is_wrong_is_said_at_once() -> None:
    def change(event: dict[str, Any]) -> None:
        put("/source", "urn:nld:oin:00000099000000363000:systeem:x")(event)
        put("/data/gemeente", "0344")(event)
        put("/data/versie", "een")(event)
        put("/data/beroep", "x")(event)
        put("/data/pauze/aantal", 9)(event)
        put("/data/toelating/datum", "2027-01-01")(event)
        put("/data/schuldeisers/1/schuldeiser", "cjib")(event)
        put(f"{PERSON}/bsn", "123456789")(event)
        drop("/data/contactpersoon")(event)

    assert judge(changed(change)) == {
        ("/source", "bron_niet_van_afzender"),
        ("/data/gemeente", "gemeente_niet_van_afzender"),
        ("/data/versie", "waarde_ongeldig"),
        ("/data/beroep", "veld_onbekend"),
        ("/data/pauze/aantal", "pauze_te_lang"),
        ("/data/toelating/datum", "toelating_toekomst"),
        ("/data/schuldeisers/1/schuldeiser", "schuldeiser_dubbel"),
        (f"{PERSON}/bsn", "bsn_elfproef"),
        ("/data/contactpersoon", "veld_ontbreekt"),
    }


def test_a_hundred_creditors_are_enough() -> None:
    many = [{"schuldeiser": f"kvk:{number:08}"} for number in range(101)]
    assert judge(changed(put("/data/schuldeisers", many))) == {("/data/schuldeisers", "waarde_ongeldig")}
    assert judge(changed(put("/data/schuldeisers", many[:100]))) == set()


def test_the_list_of_what_is_wrong_is_bounded() -> None:
    wrong = [{"x": 1}] * 3000
    assert 0 < len(judge(changed(put("/data/schuldeisers", wrong)))) <= 101


def test_creditors_named_by_name_only_are_named_once_too() -> None:
    event = examples.read("voortgang")
    event["data"]["schuldeisers"] = ["cjib", "kvk:68750110", "cjib"]
    assert judge(body(event)) == {("/data/schuldeisers/2", "schuldeiser_dubbel")}


@given(st.integers(0, 999_999_999).map("{:09}".format))
def test_the_elfproef_is_that_of_the_standard(number: str) -> None:
    expected = set() if bsn.is_valid(number) else {(f"{PERSON}/bsn", "bsn_elfproef")}
    assert judge(changed(put(f"{PERSON}/bsn", number))) == expected


# -- who may send ----------------------------------------------------------------------------------------------------


def test_only_the_pause_button_sends_a_pauzeverzoek() -> None:
    request = examples.read("pauzeverzoek")
    request["source"] = "urn:nld:oin:00000099000000599000:systeem:pauzeknop"
    assert ("/type", "waarde_ongeldig") in judge(body(request), GEMEENTE)


def test_the_pause_button_sends_nothing_else() -> None:
    event = {**NOTICE, "source": "urn:nld:oin:00000099000000777000:systeem:pauzeknop"}
    assert judge(body(event), PAUSE_BUTTON) == {
        ("/type", "waarde_ongeldig"),
        ("/data/gemeente", "gemeente_niet_van_afzender"),
    }


@pytest.mark.parametrize("fields", [{"name": "Pauzeknop"}, {"amqp_user": "pauzeknop"}, {"client_id": "pauzeknop"}])
def test_the_pause_button_is_known_by_any_of_its_names(fields: dict[str, str]) -> None:
    assert Sender(**{"name": "x", "oin": "1", "gemeenten": (), **fields}).is_pause_button  # type: ignore[arg-type]


def test_without_a_sender_the_rules_about_senders_are_left_out() -> None:
    event = {**NOTICE, "source": "urn:nld:oin:00000099000000363000:systeem:x"}
    assert judge(body(event), None) == set()


# -- identity of what is refused -------------------------------------------------------------------------------------

IDENTITY = (NOTICE["source"], NOTICE["id"], "0599")


def identity(reading: Reading) -> tuple[str | None, str | None, str | None]:
    return reading.source, reading.id, reading.gemeente


DOSSIER = NOTICE["data"]["dossierkenmerk"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (changed(put("/type", "onbekend")), (DOSSIER, 1)),
        (changed(put("/subject", "x" * BYTES)), (DOSSIER, 1)),
        (changed(put("/data/versie", 0)), (DOSSIER, None)),
        (changed(put("/data/versie", True)), (DOSSIER, None)),
        (changed(put("/data/versie", "1")), (DOSSIER, None)),
        (changed(put("/data/dossierkenmerk", "x" * 101)), (None, 1)),
        (changed(put("/data/dossierkenmerk", ["x"])), (None, 1)),
        (body(NOTICE).replace(DOSSIER.encode(), b"\\ud800"), (None, 1)),
        (b"{", (None, None)),
        (changed(put("/data", [])), (None, None)),
    ],
    ids=lambda value: repr(value[-30:]) if isinstance(value, bytes) else repr(value),
)
def test_a_refusal_knows_the_dossier_and_version_that_are_well_formed(
    raw: bytes, expected: tuple[str | None, int | None]
) -> None:
    reading = parse(raw)
    assert (reading.dossier, reading.version) == expected


@pytest.mark.parametrize(
    "raw",
    [
        changed(put("/data/versie", "x")),
        changed(put("/type", "onbekend")),
        changed(put("/subject", "x" * BYTES)),
        body(NOTICE).replace(b'"versie": 1,', b'"versie": 1, "versie": 2,'),
        body(NOTICE).replace(b'"versie": 1,', b'"versie": NaN,'),
    ],
    ids=["schema", "type", "size", "twice", "nan"],
)
def test_a_refusal_knows_whose_it_is(raw: bytes) -> None:
    assert identity(parse(raw)) == IDENTITY
    assert parse(raw).violations


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        body(NOTICE)[:-1],
        body({"id": 7, "source": ["x"], "data": {"gemeente": 599}}),
        body({"id": "a\nb", "source": "x" * 300, "data": {"gemeente": "Rotterdam"}}),
        changed(put("/subject", "x" * READABLE_BYTES)),
        b"[" * 20_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_cannot_be_read_is_nobodys(raw: bytes) -> None:
    assert identity(parse(raw)) == (None, None, None)


# -- size ------------------------------------------------------------------------------------------------------------


def test_an_event_has_at_most_65536_bytes() -> None:
    exact = body(NOTICE) + b" " * (BYTES - len(body(NOTICE)))
    assert judge(exact) == set()
    assert judge(exact + b" ") == {("", "te_groot")}


def test_one_extension_may_take_all_the_room_there_is() -> None:
    room = BYTES - len(changed(put("/opvulling", "")))
    assert judge(changed(put("/opvulling", "x" * room))) == set()
    assert judge(changed(put("/opvulling", "x" * (room + 1)))) == {("", "te_groot")}


def test_a_binary_event_has_the_same_bound_as_in_one_piece() -> None:
    attributes, data = binary(NOTICE)
    attributes |= {f"x{number}": "y" * 4000 for number in range(15)}
    room = BYTES - len(canonical({**attributes, "last": "", "data": strict_json.decode(data)}))
    for last, expected in ((room, set()), (room + 1, {("", "te_groot")})):
        reading = parse_binary({**attributes, "last": "z" * last}, data, None)
        assert found(check(reading, GEMEENTE, TODAY)) == expected
        assert identity(reading) == IDENTITY
    assert found(check(parse_binary(attributes, data + b" " * BYTES, None), None, TODAY)) == {("", "te_groot")}


# -- binary mode -----------------------------------------------------------------------------------------------------


def binary(event: Mapping[str, Any]) -> tuple[dict[str, object], bytes]:
    attributes = {name: value for name, value in event.items() if name not in {"data", "datacontenttype"}}
    return attributes, body(event["data"])


@pytest.mark.parametrize(
    "name", [name for name in examples.names() if name.split("-")[0] in {"kennisgeving", "voortgang"}]
)
def test_binary_mode_says_the_same(name: str) -> None:
    attributes, data = binary(examples.read(name))
    assert parse_binary(attributes, data, "application/json") == parse(examples.raw(name))


@pytest.mark.parametrize(
    ("extra", "data", "content_type", "expected"),
    [
        ({}, b"{", None, {("/data", "json_ongeldig")}),
        ({"id": ""}, b"{", None, {("/data", "json_ongeldig"), ("/id", "cloudevent_ongeldig")}),
        ({}, b"[]", None, {("/data", "waarde_ongeldig")}),
        ({}, b'{"versie":1,"versie":1}', None, {("/data", "json_ongeldig")}),
        ({}, body(NOTICE["data"]), "text/plain", {("/datacontenttype", "cloudevent_ongeldig")}),
        ({"time": datetime(2026, 11, 23, 9, tzinfo=UTC)}, body(NOTICE["data"]), None, set()),
        ({"bytes": b"\xff"}, body(NOTICE["data"]), None, {("/bytes", "cloudevent_ongeldig")}),
        ({"table": {"a": {"b": 1}}}, body(NOTICE["data"]), None, {("/table", "cloudevent_ongeldig")}),
        ({"data": "x"}, body(NOTICE["data"]), None, set()),
        ({}, body({**NOTICE["data"], "versie": 0}), None, {("/data/versie", "waarde_ongeldig")}),
    ],
)
def test_what_is_wrong_in_binary_mode(
    extra: dict[str, object], data: bytes, content_type: str | None, expected: Found
) -> None:
    attributes, _ = binary(NOTICE)
    reading = parse_binary({**attributes, **extra}, data, content_type)
    assert found(check(reading, GEMEENTE, TODAY)) == expected
    assert reading.source == NOTICE["source"]


# -- the content hash ------------------------------------------------------------------------------------------------


def hash_of(raw: bytes) -> bytes:
    valid = check(parse(raw), GEMEENTE, TODAY)
    assert isinstance(valid, Valid)
    return valid.content_hash


def test_equal_content_has_an_equal_hash_however_it_is_written() -> None:
    same = [
        changed(put("/data/gemeente", "0599")),
        changed(put("/id", "another")),
        changed(put("/time", "2027-01-01T00:00:00Z")),
        body(dict(reversed(NOTICE.items()))),
        json.dumps(NOTICE, indent=3).encode(),
        body({**NOTICE, "data": dict(reversed(NOTICE["data"].items()))}),
        body(NOTICE).replace(b'"bedrag": 1200', b'"bedrag": 1200.00'),
        body(NOTICE).replace(b'"bedrag": 120.5', b'"bedrag": 1.205e2'),
    ]
    assert {hash_of(raw) for raw in same} == {hash_of(body(NOTICE))}


@pytest.mark.parametrize(
    "change", [put("/data/versie", 2), put(f"{PERSON}/achternaam", "Ander"), put(f"{CLAIM}/bedrag", 120.51)]
)
def test_other_content_has_another_hash(change: Change) -> None:
    assert hash_of(changed(change)) != hash_of(body(NOTICE))


def test_the_hash_is_over_type_and_data_by_rfc_8785() -> None:
    data = {**NOTICE["data"], "gemeente": "0599"}
    reference = hashlib.sha256(rfc8785.dumps({"type": NOTICE["type"], "data": data})).digest()
    assert hash_of(body(NOTICE)) == reference
    assert content_hash(NOTICE["type"], data) == reference


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
AMOUNT = st.integers(0, 99_999_999_999).map(lambda cents: Decimal(cents) / 100)
CONTENT = st.recursive(
    TEXT | st.booleans() | st.integers(0, 999_999) | AMOUNT,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(CONTENT)
@settings(max_examples=300)
def test_canonical_form_is_that_of_rfc_8785(content: object) -> None:
    sent = json.dumps(content, default=float).encode()
    assert canonical(strict_json.decode(sent)) == rfc8785.dumps(json.loads(sent))


# -- errors say nothing of the person --------------------------------------------------------------------------------

CANARY = "Kanarie999990019"


def leaves(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(node, dict):
        return [path] + [leaf for name, child in node.items() for leaf in leaves(child, (*path, name))]
    if isinstance(node, list):
        return [path] + [leaf for place, child in enumerate(node) for leaf in leaves(child, (*path, place))]
    return [path]


JUNK = [
    CANARY,
    CANARY * 30,
    f"{CANARY}\n",
    999990019,
    [CANARY],
    {CANARY: CANARY},
    {"999990019": CANARY, "x": {CANARY: [CANARY]}},
    {f"{CANARY} {CANARY}": 1},
]


@pytest.mark.parametrize("path", [path for path in leaves(NOTICE) if path], ids=lambda path: "/".join(map(str, path)))
def test_no_error_repeats_a_value(path: tuple[str | int, ...]) -> None:
    for junk in JUNK:
        event = copy.deepcopy(NOTICE)
        node = event
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = junk
        result = check(parse(body(event)), GEMEENTE, TODAY)
        for violation in [] if isinstance(result, Valid) else result:
            assert "Kanarie" not in violation.pad + violation.melding
            assert "999990019" not in violation.pad + violation.melding
            assert violation.melding


def test_no_error_about_json_repeats_it() -> None:
    for raw in (f'{{"a": "{CANARY}', f'{{"{CANARY}": 1, "{CANARY}": 2}}', f'{{"a": {CANARY}}}'):
        assert all("Kanarie" not in violation.melding for violation in parse(raw.encode()).violations)
