"""The creditor's side of `bericht-1.0.xsd`: reading a message, writing an answer. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from lxml import etree

from gateway.core import xml
from gateway.core.errors import XmlRefused

_ANSWER_ORDER: Final = (
    "soort",
    "van",
    "totEnMet",
    "vorderingen",
    "naar",
    "reden",
    "klantnummer",
    "factuurnummers",
    "saldo",
    "contact",
)
_ITEMS: Final = {"vorderingen": "vordering", "factuurnummers": "factuurnummer"}


def read_message(body: bytes) -> dict[str, Any]:
    """The view in a valid `<Bericht>`, as JSON has it but for numbers; raises XmlRefused."""
    root = xml.parse(body)
    if faults := xml.valid(root):
        raise XmlRefused(*faults)
    if xml.local_name(root) != "Bericht":
        raise XmlRefused("het document is geen Bericht")
    return {_json_name(child): _value(child) for child in root}


def write_answer(delivery: str, answer: Mapping[str, Any]) -> bytes:
    root = _root("Antwoord", delivery)
    for name in _ANSWER_ORDER:
        if name in answer:
            _put(root, name, answer[name])
    return xml.document(root)


def write_receipt(delivery: str) -> bytes:
    return xml.document(_root("Ontvangstbevestiging", delivery))


def _root(name: str, delivery: str) -> etree._Element:
    root = etree.Element(_tag(name), nsmap={None: xml.NAMESPACE})
    etree.SubElement(root, _tag("Bezorging")).text = delivery
    return root


def _put(parent: etree._Element, name: str, value: Any) -> None:
    element = etree.SubElement(parent, _tag(name))
    match value:
        case list():
            for item in value:
                _put(element, _ITEMS[name], item)
        case dict():
            for inner, text in value.items():
                _put(element, inner, text)
        case _:
            element.text = str(value)


def _value(element: etree._Element) -> Any:
    if _json_name(element) in _ITEMS:
        return [_value(child) for child in element]
    if len(element) or _json_name(element) == _ITEMS["vorderingen"]:  # a claim of which nothing is known
        return {_json_name(child): _value(child) for child in element}
    return element.text or ""


def _tag(name: str) -> str:
    return f"{{{xml.NAMESPACE}}}{name[0].upper()}{name[1:]}"


def _json_name(element: etree._Element) -> str:
    name = xml.local_name(element)
    return name[0].lower() + name[1:]
