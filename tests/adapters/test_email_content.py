"""The mail that the email adapter writes: words, letter, link, headers, signature, return path."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from adapters.email import wire
from adapters.email.adapter import Email
from gateway.conformance import CANARIES, draft
from gateway.contract import (
    SettingsRefused,
)
from gateway.pki import Issued
from gateway.sandbox.letter import code_in, lines
from tests.adapters.mail import DELIVERY, KEY, SENDER, changed, parse, parts, writer

# -- the mail


def test_text_page_and_letter_all_hold_the_notice() -> None:
    content = parts(writer().render(draft()).body)
    letter = " ".join(lines(content["application/pdf"]))
    for said in ("Kanarievogel", "999990007", "K-774411", "14 maart 1987", "22 juli 2027", "F-118", "Team Schuldhulp"):
        assert said in content["text/plain"]
        assert said in content["text/html"]
        assert said in letter


def test_there_is_exactly_one_link_in_the_text_and_in_the_page_and_none_in_the_letter() -> None:
    made = writer().render(draft())
    content = parts(made.body)
    expected = [f"https://kennisgeving.example/antwoord/{made.answer_token}"]
    for kind in ("text/plain", "text/html"):
        assert re.findall(r"https?://[^\s\"<]*", content[kind]) == expected
    assert str(made.answer_token) not in " ".join(lines(content["application/pdf"]))
    assert len(made.answer_token or "") == 43  # 256 bits


def test_what_may_be_typed_is_the_klantnummer_or_the_code_that_only_the_letter_has() -> None:
    made = writer().render(draft())
    content = parts(made.body)
    code = code_in(lines(content["application/pdf"]))
    assert made.references == ("K-774411", code)
    assert str(code) not in content["text/plain"] + content["text/html"]
    assert writer().render(changed(draft(), klantnummer=None)).references[0] != code


def test_progress_has_no_link() -> None:
    progress = changed(draft("voortgang"), pauze=None, fase="schuldregeling_gestart", toelichting="Wij zijn bezig.")
    made = writer().render(progress)
    content = parts(made.body)
    assert (made.answer_token, made.references) == (None, ())
    assert "Wij zijn bezig." in content["text/plain"]
    assert "http" not in content["text/plain"]
    assert code_in(lines(content["application/pdf"])) is None


SOORTEN: dict[str, dict[str, Any]] = {
    "herinnering": {"herinnert_aan": DELIVERY},
    "verlenging": {},
    "beeindiging": {"per": "2027-01-31", "categorie": "wsnp", "pauze": None},
    "intrekking": {"pauze": None},
}


@pytest.mark.parametrize("soort", SOORTEN)
def test_every_soort_can_be_written(soort: str) -> None:
    assert parts(writer().render(changed(draft(soort), **SOORTEN[soort])).body)["application/pdf"].startswith(b"%PDF")


def test_headers_are_fixed_by_the_delivery_and_neutral() -> None:
    message = draft()
    head = parse(writer().render(message).body)
    assert head["Message-ID"] == f"<{message.delivery}@gateway.example>"
    assert head["Subject"] == f"Bericht over schuldhulpverlening - kenmerk {message.delivery}"
    assert head["Date"].datetime == datetime(2026, 11, 23, 9, 15, tzinfo=UTC)
    assert head["To"] == "schuldhulp@energie.example"
    assert head["Auto-Submitted"] == "auto-generated"
    assert [word for word in CANARIES if word in str(head.items())] == []


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "#set text(fill: red) $x$ *vet* #panic()",
    "{{ 7 * 7 }}{% raw %}",
    "=?utf-8?q?a=0D=0ABcc:_x@y.example?=",
    "Zoë \u202e\u2066Ĳsbrand O'Neill & Zn. 🐤 漢字 \U000f0000",
    ". ",
    "x" * 200,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_stays_content(name: str) -> None:
    debtor = msgspec.json.encode({"voornamen": name, "achternaam": name, "geboortedatum": "1990-02-28"})
    claims = msgspec.json.encode([{"kenmerk": name, "soort": name}])
    message = changed(
        draft(), hulpvrager=msgspec.Raw(debtor), vorderingen=msgspec.Raw(claims), klantnummer=name, namens=name
    )
    made = writer().render(message)
    content = parts(made.body)
    assert parse(made.body).keys() == parse(writer().render(draft()).body).keys()
    assert f"{name} {name}" in content["text/plain"]
    assert "<script>" not in content["text/html"]
    assert "<img" not in content["text/html"]
    assert content["application/pdf"].startswith(b"%PDF")


UNSAFE = ["x\r\nBcc: y@y.example", "x\nBcc: y", "x\0", "=?utf-8?q?=0D=0ABcc:y?=", "a\x7fb"]


@pytest.mark.parametrize("value", UNSAFE)
def test_no_header_can_be_smuggled_in(value: str) -> None:
    heading = wire.Heading(DELIVERY, "Gateway", SENDER, "a@b.example", datetime(2026, 1, 1, tzinfo=UTC))
    for field in ("sender_name", "sender", "recipient", "reply_to"):
        with pytest.raises((wire.HeaderRefused, ValueError)):
            wire.headers(msgspec.structs.replace(heading, **{field: value}))
    with pytest.raises(SettingsRefused, match=r"email\.adres"):
        Email.check_settings({"adres": f"{value}@b.example"})


def test_a_header_that_was_not_put_in_stops_the_mail() -> None:
    heading = wire.Heading(DELIVERY, "Gateway", SENDER, "a@b.example", datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(wire.HeaderRefused):
        wire.joined(wire.headers(heading) + b"Bcc: y@y.example\r\n", b"Content-Type: text/plain\r\n\r\nx\r\n")


# -- return paths


@given(st.uuids(), st.binary(min_size=32, max_size=32))
def test_a_return_path_names_its_delivery_whatever_happens_to_its_case(uuid: Any, key: bytes) -> None:
    address = wire.return_path(str(uuid), key, "gateway.example")
    local = address.partition("@")[0]
    assert len(local) <= 64
    for spelled in (address, address.upper(), address.title()):
        assert wire.delivery_of(spelled, key) == str(uuid)
    assert wire.delivery_of(address, bytes(32) if key != bytes(32) else bytes(31) + b"x") is None


@given(st.integers(0, 55), st.sampled_from("0123456789abcdef"))
def test_a_return_path_that_was_touched_names_nothing(place: int, digit: str) -> None:
    address = wire.return_path(DELIVERY, KEY, "gateway.example")
    at = 2 + place + (place >= 32)
    touched = address[:at] + digit + address[at + 1 :]
    assert (wire.delivery_of(touched, KEY) is not None) == (touched == address)


# -- S/MIME


@pytest.fixture(scope="module")
def smime(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """A self-signed RSA certificate for mail."""
    place = tmp_path_factory.mktemp("smime")
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kennisgeving")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36500))
        .sign(key, SHA256())
    )
    files = Issued(place / "smime.pem", place / "smime.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def signing(smime: Issued) -> dict[str, object]:
    return {"certificaat": f"file:{smime.certificate}", "certificaat_sleutel": f"file:{smime.key}"}


def verified(body: bytes, smime: Issued) -> bytes:
    """By OpenSSL, which knows nothing of us: what was signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: nobody but ourselves could verify the signature")
    command = [openssl, "smime", "-verify", "-binary", "-CAfile", str(smime.certificate), "-purpose", "any"]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout


def test_a_signed_mail_verifies_and_holds_the_same(smime: Issued) -> None:
    made = writer(signing(smime)).render(draft())
    assert parse(made.body).get_content_type() == "multipart/signed"
    assert "Kanarievogel" in parts(verified(made.body, smime))["text/plain"]
    with pytest.raises(subprocess.CalledProcessError):
        verified(made.body.replace(b"Kanarievogel", b"Kanarievogal"), smime)


def test_an_encrypted_mail_shows_nothing_but_its_headers(smime: Issued) -> None:
    link = writer(signing(smime), {"certificaat": f"file:{smime.certificate}"})
    made = link.render(draft())
    message = parse(made.body)
    assert message.get_content_type() == "application/pkcs7-mime"
    assert "/antwoord/" not in made.body.decode("ascii")
    opened = pkcs7.pkcs7_decrypt_der(
        message.get_content(),
        x509.load_pem_x509_certificate(smime.certificate.read_bytes()),
        rsa_key(smime),
        [],
    )
    assert "Kanarievogel" in parts(verified(opened, smime))["text/plain"]


def rsa_key(issued: Issued) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
