"""The development PKI: what it makes, and what it never overwrites."""

import base64
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from gateway.keys import read_keys
from gateway.pki import Authority, make_dev_pki, make_key, write_secret


def test_the_ledger_key_is_one_line_that_only_its_owner_reads(tmp_path: Path) -> None:
    pki = make_dev_pki(tmp_path / "local")
    line = pki.ledger_key.read_bytes()
    assert line.count(b"\n") == 1
    assert len(base64.b64decode(line, validate=False)) == 32
    read_keys(f"file:{pki.ledger_key}")


def test_every_key_is_for_its_owner_only(tmp_path: Path) -> None:
    make_dev_pki(tmp_path)
    make_key(tmp_path / "token.key")
    for path in tmp_path.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_making_it_again_changes_nothing(tmp_path: Path) -> None:
    make_dev_pki(tmp_path)
    make_key(tmp_path / "token.key")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    make_dev_pki(tmp_path)
    make_key(tmp_path / "token.key")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    write_secret(tmp_path / "sleutel", b"een")
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "sleutel", b"twee")
    assert (tmp_path / "sleutel").read_bytes() == b"een"


def test_openssl_finds_the_certificates_in_order(tmp_path: Path) -> None:
    pki = make_dev_pki(tmp_path)
    for issued, purpose in ((pki.server, "sslserver"), (pki.gateway, "sslclient")):
        verify = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(pki.authority.certificate)]
        subprocess.run([*verify, str(issued.certificate)], check=True, capture_output=True)


def test_a_client_is_known_by_its_oin(tmp_path: Path) -> None:
    issued = Authority.create(tmp_path).issue_client("gem-0363", "00000099000000363000")
    subject = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).subject
    assert [part.value for part in subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)] == [
        "00000099000000363000"
    ]
