"""The one hardened XML parser, the check against `bericht-1.0.xsd`, and the one way to write a document.

Refused, whatever the schema says: more than 1 MiB; any DOCTYPE, so that there are no entities to expand or fetch;
processing instructions; encodings in which markup could hide from a reader of ASCII; trees that are too deep, too
large, or have elements with too many attributes or namespaces. libxml2 stops most bombs by itself, but it reads
200,000 attributes without a murmur: hence limits of our own.

Comments are dropped and do not cut a text in two (`a<!-- -->b` is `ab`), as signatures see it (exclusive C14N).
"""

import re
from collections.abc import Iterator
from itertools import chain

from lxml import etree

import schemas
from gateway.core.errors import XmlRefused
from gateway.core.violations import is_repeatable

Element = etree._Element

NAMESPACE = "urn:nl:schuldhulpverlening:bericht:1"
BYTES = 1024 * 1024
ELEMENTS = 20_000
DEPTH = 32
ATTRIBUTES = 20
NAMESPACES = 100

_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_ENCODINGS = frozenset({b"utf-8", b"us-ascii", b"iso-8859-1", b"iso-8859-15", b"windows-1252"})
_UTF8_MARK = b"\xef\xbb\xbf"
_EXPECTED = re.compile(r"Expected is (?:one of )?\( (.*) \)\.")
_RULES = {
    "SCHEMAV_CVC_ELT_1": "is hier geen bekend document",
    "SCHEMAV_ELEMENT_CONTENT": "de elementen zijn niet die van het schema, of niet in die volgorde",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "heeft een onbekend attribuut",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_3": "hier staat tekst tussen de elementen",
    "SCHEMAV_CVC_PATTERN_VALID": "voldoet niet aan het patroon",
    "SCHEMAV_CVC_ENUMERATION_VALID": "is geen van de toegestane waarden",
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "is geen waarde van dit type (datum, getal)",
    "SCHEMAV_CVC_MINLENGTH_VALID": "is te kort",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "is te lang",
    "SCHEMAV_CVC_MININCLUSIVE_VALID": "is te klein",
    "SCHEMAV_CVC_MAXINCLUSIVE_VALID": "is te groot",
}


def parse(body: bytes, limit: int = BYTES) -> Element:
    """The root of the document in `body`; raises XmlRefused. `limit` in bytes."""
    _refuse_by_its_bytes(body, limit)
    try:
        root = etree.fromstring(body, _parser())
    except etree.XMLSyntaxError as why:
        line, column = why.position
        raise XmlRefused(f"geen welgevormde XML: fout op regel {line}, teken {column}") from None
    _refuse_by_its_tree(root)
    return root


def valid(root: Element) -> list[str]:
    """What `bericht-1.0.xsd` has against the document: path and rule in Dutch, never a value. Empty: valid."""
    if schemas.xsd().validate(root):
        return []
    schema = schemas.load_xsd()
    schema.validate(root)
    return list(dict.fromkeys(_fault(root, error) for error in schema.error_log)) or ["het document is niet geldig"]


def document(root: Element) -> bytes:
    """The document as UTF-8 with an XML declaration; equal trees give equal bytes."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def local_name(element: Element) -> str:
    """The name without its namespace."""
    return etree.QName(element).localname


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        collect_ids=False,
    )


def _refuse_by_its_bytes(body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise XmlRefused(f"het document is groter dan {limit} bytes")
    declared = _DECLARED_ENCODING.match(body.removeprefix(_UTF8_MARK))
    if b"\0" in body or (declared and declared[1].lower() not in _ENCODINGS):
        raise XmlRefused("de codering is niet toegestaan; gebruik UTF-8")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise XmlRefused("een DOCTYPE is niet toegestaan")
    if body.count(b"<") > 2 * ELEMENTS or body.count(b"xmlns") > NAMESPACES:
        raise XmlRefused("het document heeft te veel elementen of naamruimten")


def _refuse_by_its_tree(root: Element) -> None:
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlRefused("een DOCTYPE is niet toegestaan")
    for node in chain(root.itersiblings(preceding=True), root.itersiblings(), root.iter()):
        if not isinstance(node.tag, str):
            raise XmlRefused("verwerkingsinstructies zijn niet toegestaan")
        if len(node.attrib) > ATTRIBUTES:
            raise XmlRefused("een element heeft te veel attributen")
    if _depth(root) > DEPTH:
        raise XmlRefused("het document is te diep genest")


def _depth(root: Element) -> int:
    deepest = depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _fault(root: Element, error: etree._LogEntry) -> str:
    rule = _RULES.get(error.type_name, f"voldoet niet aan het schema ({error.type_name.removeprefix('SCHEMAV_CVC_')})")
    expected = _EXPECTED.search(error.message) if error.type_name == "SCHEMAV_ELEMENT_CONTENT" else None
    names = f"; verwacht: {expected[1].replace(f'{{{NAMESPACE}}}', '')}" if expected else ""
    return f"{_path(root, error.path)}: {rule}{names}"


def _path(root: Element, path: str | None) -> str:
    found = root.getroottree().xpath(path) if path else []
    element = found[0] if isinstance(found, list) and found and isinstance(found[0], Element) else root
    return "".join(_steps(element))


def _steps(element: Element) -> Iterator[str]:
    for step in [*reversed(list(element.iterancestors())), element]:
        name = local_name(step) if is_repeatable(local_name(step)) else "*"
        place = 1 + len(list(step.itersiblings(str(step.tag), preceding=True)))
        yield f"/{name}[{place}]" if place > 1 else f"/{name}"
