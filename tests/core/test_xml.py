import codecs
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import xml
from gateway.core.errors import XmlRefused
from tests.core import examples

ANSWER = examples.raw("antwoord.xml").decode()
CANARY = "Kanarie999990019"


def refusal(body: bytes) -> tuple[str, ...]:
    """Why it is refused; empty: it is not."""
    try:
        xml.parse(body)
    except XmlRefused as why:
        return why.reasons
    return ()


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"geen xml",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>\0</a>",
        b"<a>&onbekend;</a>",
        b"<a>&#0;</a>",
        b"<a b='1' b='2'/>",
        b"<x:a/>",
        b"<a>\xff</a>",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        b'<!DOCTYPE a [<!ENTITY % e SYSTEM "file:///etc/passwd"> %e;]><a/>',
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>'.encode(),
        b'<?xml version="1.0" encoding="UTF-16"?><a/>',
        b'<?xml version="1.0" encoding="UTF-7"?><a/>',
        b"<?xml version='1.0' encoding='EBCDIC-CP-NL'?><a/>",
        '<?xml version="1.0"?><!DOCTYPE a><a/>'.encode("utf-16"),
        codecs.BOM_UTF16_LE + "<a/>".encode("utf-16-le"),
        "<a/>".encode("utf-32"),
        b"<?opdracht x?><a/>",
        b"<a><?opdracht x?></a>",
        b"<a/><?opdracht x?>",
        b"<?xml-stylesheet href='http://127.0.0.1:9/x'?><a/>",
        b"<a>" * (xml.DEPTH + 1) + b"</a>" * (xml.DEPTH + 1),
        b"<a>" * 300 + b"</a>" * 300,
        b"<r>" + b"<a/>" * (2 * xml.ELEMENTS) + b"</r>",
        b"<a " + b" ".join(b"a%d='1'" % n for n in range(xml.ATTRIBUTES + 1)) + b"/>",
        b"<r>" + b"".join(b"<a xmlns:n%d='u%d'/>" % (n, n) for n in range(xml.NAMESPACES + 1)) + b"</r>",
        b"<a>" + b" " * xml.BYTES + b"</a>",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_never_read(body: bytes) -> None:
    assert refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        codecs.BOM_UTF8 + "<a>ë</a>".encode(),
        "<a>ë</a>".encode(),
        '<?xml version="1.0" encoding="ISO-8859-1"?><a>ë</a>'.encode("latin-1"),
        "<?xml version='1.0' encoding='windows-1252'?><a>ë</a>".encode("cp1252"),
        b"<a>&#235;</a>",
        "<a><![CDATA[ë]]></a>".encode(),
        "<a><!-- x -->ë</a>".encode(),
    ],
    ids=repr,
)
def test_what_is_read_alike(body: bytes) -> None:
    assert xml.parse(body).text == "ë"


def test_a_comment_does_not_cut_a_text_in_two() -> None:
    assert xml.parse(b"<a>99<!-- -->99</a>").text == "9999"


def test_no_refusal_repeats_what_was_read() -> None:
    for body in (f"<{CANARY}>", f"<a>{CANARY}", f"<a>&{CANARY};</a>", f"<a>{CANARY}</{CANARY}>"):
        [reason] = refusal(body.encode())
        assert CANARY not in reason


def test_another_limit_may_be_asked() -> None:
    with pytest.raises(XmlRefused):
        xml.parse(b"<a></a>", limit=6)


@given(st.binary(max_size=200) | st.text("<>/ab&;![]-?\"'= x", max_size=80).map(str.encode))
def test_no_bytes_are_too_strange_to_judge(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("urn:nl", "urn:be"), "/Antwoord: is hier geen bekend document"),
        (lambda text: text.replace("Antwoord", "Iets"), "/Iets: is hier geen bekend document"),
        (lambda text: text.replace("pauze_gedeeltelijk", CANARY), "/Antwoord/Soort: is geen van de toegestane waarden"),
        (lambda text: text.replace("2026-11-23", "2026-02-30"), "/Antwoord/Van: is geen waarde van dit type"),
        (lambda text: text.replace("2026-11-23", f"{CANARY}"), "/Antwoord/Van: "),
        (lambda text: text.replace("2026-11-23", "2026-11-23Z"), "/Antwoord/Van: voldoet niet aan het patroon"),
        (lambda text: text.replace("1234.56", "1234.567"), "/Antwoord/Saldo/Bedrag: voldoet niet aan het patroon"),
        (lambda text: text.replace("1234.56", "-1"), "/Antwoord/Saldo/Bedrag: voldoet niet aan het patroon"),
        (lambda text: text.replace("1234.56", "1E2"), "/Antwoord/Saldo/Bedrag: "),
        (lambda text: text.replace("Reden>", "Waarom>"), "/Antwoord/Vorderingen/Vordering[2]/Waarom: de elementen"),
        (lambda text: text.replace("<Kenmerk>termijn 11</Kenmerk>", ""), "verwacht: Kenmerk"),
        (lambda text: text.replace("<Van>", "<Van x='1'>"), "/Antwoord/Van: "),
        (lambda text: text.replace("<Saldo>", f"<Saldo>{CANARY}"), "/Antwoord/Saldo: hier staat tekst"),
        (lambda text: text.replace("K-99812", "x" * 101), "/Antwoord/Klantnummer: is te lang"),
        (lambda text: text.replace("K-99812", f"{CANARY}\n"), "/Antwoord/Klantnummer: "),
        (lambda text: text.replace("K-99812", ""), "/Antwoord/Klantnummer: "),
        (lambda text: text.replace("c01</Bezorging>", "C01</Bezorging>"), "/Antwoord/Bezorging: "),
        (lambda text: text.replace("Klantnummer", CANARY), "/Antwoord/*: de elementen"),
    ],
)
def test_what_the_schema_refuses_is_named_by_path_and_rule(change: Callable[[str], str], reason: str) -> None:
    reasons = xml.valid(xml.parse(change(ANSWER).encode()))
    assert any(reason in line for line in reasons), reasons
    assert not any(CANARY in line or "99999" in line for line in reasons)


@pytest.mark.parametrize("name", examples.names(suffix=".xml"))
def test_valid_documents_have_no_faults_and_survive_writing(name: str) -> None:
    root = xml.parse(examples.raw(f"{name}.xml"))
    assert xml.valid(root) == []
    written = xml.document(root)
    assert written.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
    assert xml.document(xml.parse(written)) == written


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1))
def test_any_text_survives_writing_and_reading(text: str) -> None:
    root = xml.parse(b"<a/>")
    root.text = text
    assert xml.parse(xml.document(root)).text == text
