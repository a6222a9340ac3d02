import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from openapi_spec_validator import validate as validate_openapi

import schemas
from adapters.sftp.wire import message as sftp_document
from gateway.core import xml
from gateway.core.answer import AnswerKind
from gateway.core.errors import Code
from gateway.core.notice import KINDS
from gateway.sandbox.bericht_xml import read_message
from tests.core import examples

SCHEMA_OF = {"gebeurtenis": "gebeurtenissen"}
XS = "{http://www.w3.org/2001/XMLSchema}"


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from parts(child)
    elif isinstance(node, list):
        for child in node:
            yield from parts(child)


def pascal(name: str) -> str:
    return name[0].upper() + name[1:]


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema_rs.meta.validate(dict(schemas.document(name)))
    assert schemas.document(name)["$id"].endswith(f"/{name}-1.0.json")
    assert schemas.validator(name) is schemas.validator(name)


@pytest.mark.parametrize("name", examples.names())
def test_every_example_is_valid(name: str) -> None:
    kind = name.split("-", maxsplit=1)[0]
    errors = list(schemas.validator(SCHEMA_OF.get(kind, kind)).iter_errors(examples.read(name)))
    assert errors == []


@pytest.mark.parametrize("name", examples.names(suffix=".xml"))
def test_every_xml_example_is_valid(name: str) -> None:
    assert xml.valid(xml.parse(examples.raw(f"{name}.xml"))) == []


def test_every_kind_of_message_has_a_schema_and_an_example() -> None:
    assert set(schemas.MESSAGES) == set(KINDS)
    assert {name.split("-")[0] for name in examples.names()} >= set(KINDS)


@pytest.mark.parametrize("name", [name for name in schemas.NAMES if name != "cloudevent"])
def test_every_object_is_closed(name: str) -> None:
    for part in parts(schemas.document(name)):
        if "properties" in part and "type" in part and isinstance(part["type"], str | list):
            assert part["additionalProperties"] is False, sorted(part["properties"])


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_text_and_every_list_is_bounded(name: str) -> None:
    for part in parts(schemas.document(name)):
        match part.get("type"):
            case "string":
                assert {"pattern", "format", "maxLength"} & set(part), part
            case "array" if name != "gebeurtenissen":
                assert "maxItems" in part, part


@pytest.mark.parametrize("control", ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9f", "\ufffe", "\uffff"])
def test_texts_refuse_control_characters(control: str) -> None:
    text = schemas.validator("delen#/$defs/tekst")
    assert not text.is_valid(f"a{control}b")
    assert not text.is_valid(control)


@pytest.mark.parametrize(
    "good", ["O'Neill", "van 't", "Łukasz", "عائشة", "李", "😀", "e\u0301", '"', "<b>&amp;", "=1+1"]
)
def test_texts_take_any_name(good: str) -> None:
    assert schemas.validator("delen#/$defs/tekst").is_valid(good)


@pytest.mark.parametrize(
    "bad", ["2026-02-30", "2025-02-29", "0000-01-01", "1987-00-00", "2026-1-1", "26-01-01", "2026-01-01T00:00:00Z", ""]
)
def test_dates_are_real_dates(bad: str) -> None:
    date = schemas.validator("delen#/$defs/datum")
    assert not date.is_valid(bad)
    assert date.is_valid("2024-02-29")


def test_validators_mask_values() -> None:
    errors = list(schemas.validator("delen#/$defs/datum").iter_errors("geheim"))
    assert errors
    assert not any("geheim" in error.message for error in errors)


def test_codes_and_answers_are_the_same_in_code_and_schema() -> None:
    assert schemas.document("gebeurtenissen")["$defs"]["code"]["enum"] == [str(code) for code in Code]
    assert schemas.document("antwoord")["$defs"]["soort"]["enum"] == [str(kind) for kind in AnswerKind]


# -- XML says the same as JSON ---------------------------------------------------------------------------------------

XSD = xml.parse(schemas.text("bericht-1.0.xsd").encode())


def xsd_type(name: str) -> xml.Element:
    [found] = (node for node in XSD if node.get("name") == name)
    return found


def xsd_fields(node: xml.Element) -> list[str]:
    """Names of the direct children that an element or type allows, in order."""
    sequence = next(node.iter(f"{XS}sequence"))
    return [str(child.get("name")) for child in sequence if child.tag == f"{XS}element"]


def json_fields(schema: str, *path: str) -> list[str]:
    node: Any = schemas.document(schema)
    for step in path:
        node = node[step]
    return [pascal(name) for name in node["properties"]]


@pytest.mark.parametrize(
    ("element", "fields"),
    [
        ("Bericht", json_fields("bericht")),
        ("Antwoord", ["Bezorging", *json_fields("antwoord")]),
        ("Ontvangstbevestiging", ["Bezorging"]),
        ("Afzender", json_fields("bericht", "properties", "afzender")),
        ("Pauze", json_fields("bericht", "properties", "pauze")),
        ("Hulpvrager", json_fields("delen", "$defs", "hulpvrager")),
        ("Partner", json_fields("delen", "$defs", "partner")),
        ("Adres", json_fields("delen", "$defs", "adres")),
        ("Contactpersoon", json_fields("delen", "$defs", "contactpersoon")),
    ],
)
def test_xml_has_the_fields_of_json_in_their_order(element: str, fields: list[str]) -> None:
    assert xsd_fields(xsd_type(element)) == fields


def test_claims_have_the_same_fields_in_xml() -> None:
    claims, decisions = (
        xsd_fields(next(next(xsd_type(name).iter(f"{XS}element")).iter(f"{XS}complexType")))
        for name in ("Vorderingen", "Besluiten")
    )
    assert claims == json_fields("delen", "$defs", "vordering")
    assert decisions == json_fields("antwoord", "properties", "vorderingen", "items")


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("BerichtSoort", schemas.document("bericht")["properties"]["soort"]["enum"]),
        ("AntwoordSoort", [str(kind) for kind in AnswerKind]),
        ("Fase", schemas.document("delen")["$defs"]["fase"]["enum"]),
        ("Categorie", schemas.document("delen")["$defs"]["categorie"]["enum"]),
    ],
)
def test_lists_of_values_are_the_same_in_xml(type_: str, values: list[str]) -> None:
    assert [node.get("value") for node in xsd_type(type_).iter(f"{XS}enumeration")] == values


WRITTEN: list[tuple[str, object]] = [
    *(("/hulpvrager/geslacht", sex) for sex in ("v", "non-binair", " X ", "onbekend / anders  ?")),
    *(("/contactpersoon/telefoon", one) for one in ("(020) 123 45 67", "(+31) 20 12", "+31 (0)20 12", "020  ", "1()")),
    *(("/contactpersoon/email", address) for address in ("a@b.nl", '"a b"@b.nl', '"a@b"@b.nl')),
    *(("/hulpvrager/adres/postcode", code) for code in ("1012ab", "1012 ab", "1012 AB", "1012aB")),
    ("/vorderingen", [{}]),
]


@pytest.mark.parametrize(("pointer", "value"), WRITTEN)
def test_xml_takes_what_json_takes(pointer: str, value: object) -> None:
    view = examples.read("bericht-kennisgeving")
    *outer, last = pointer.split("/")[1:]
    node = view
    for step in outer:
        node = node[step]
    node[last] = value
    assert schemas.validator("bericht").is_valid(view)
    read: Any = read_message(sftp_document(json.dumps(view).encode()))
    for step in outer:
        read = read[step]
    assert read[last] == value


@pytest.mark.parametrize(
    ("part", "bad"),
    [
        *(("geslacht", sex) for sex in ("", " ", "x" * 21, "a\nb", 1)),
        *(("telefoon", phone) for phone in ("", "(", "(02", "()20123", "++3120", "tel. 020", ")020 123")),
        *(("schuldeiser", name) for name in ("", " ", "x" * 201, "a\tb", "kvk:", "kvk:1234567", "kvk:123456789")),
        *(("schuldeiser", name) for name in ("oin:123", "oin:" + "x" * 20, "kvk:12345678 ", 7)),
    ],
)
def test_what_the_parts_refuse(part: str, bad: object) -> None:
    assert not schemas.validator(f"delen#/$defs/{part}").is_valid(bad)


@pytest.mark.parametrize("name", ["cjib", "Jansen & Zn. (incasso)", "KVK 12345678", "é" * 200, "kvk:12345678"])
def test_a_creditor_may_have_any_name(name: str) -> None:
    assert schemas.validator("delen#/$defs/schuldeiser").is_valid(name)


# -- the two interfaces ----------------------------------------------------------------------------------------------


def test_the_cjib_style_api_is_valid_openapi() -> None:
    file = Path(schemas.__file__).parent / "cjib-stijl.openapi.yaml"
    validate_openapi(yaml.safe_load(schemas.text(file.name)), base_uri=file.as_uri())


def test_every_reference_in_asyncapi_leads_somewhere() -> None:
    document = yaml.safe_load(schemas.text("asyncapi.yaml"))
    references = [part["$ref"] for part in parts(document) if "$ref" in part]
    for reference in references:
        file, _, fragment = reference.partition("#")
        node = json.loads(schemas.text(file)) if file else document
        for step in filter(None, fragment.split("/")):
            node = node[step]
    assert {f"{name}-1.0.json" for name in (*schemas.MESSAGES, "gebeurtenissen")} <= set(references)


def test_asyncapi_names_the_events_of_the_schema() -> None:
    events = yaml.safe_load(schemas.text("asyncapi.yaml"))["channels"]["uit"]["parameters"]["gebeurtenis"]["enum"]
    types = schemas.document("gebeurtenissen")["properties"]["type"]["enum"]
    assert [f"nl.schuldhulpverlening.{event}.v1" for event in events] == types
    assert set(events) <= set(schemas.document("gebeurtenissen")["$defs"])


# -- gemeenten --------------------------------------------------------------------------------------------------------


def test_there_are_342_gemeenten_each_with_a_code_of_four_digits() -> None:
    known = schemas.gemeenten()
    assert len(known) == 342
    assert all(re.fullmatch("[0-9]{4}", code) for code in known)
    assert len(set(known.values())) == 342
    assert (known["0363"], known["1900"], known["0518"]) == ("Amsterdam", "Súdwest-Fryslân", "'s-Gravenhage")
