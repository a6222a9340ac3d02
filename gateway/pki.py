"""A certificate authority for development, the demo and tests: never for production.

    make_dev_pki(map) ─► ledger.key            the key-encryption key, made once and never overwritten
                         ca.pem      ca.key     trust anchor of what follows
                         server.pem  server.key for 127.0.0.1 and localhost
                         gateway.pem gateway.key the client certificate with which the gateway calls an API

All keys are EC P-256, PKCS#8 without a password, readable by the owner only.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.clock import Clock
from gateway.keys import KEY_BYTES

_BACKDATED = timedelta(hours=1)  # a peer's clock may be behind ours
_CA_DAYS = 3650
_LEAF_DAYS = 397
_CLOCK = Clock()
HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM files: the certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """One certificate authority, kept in `directory` as `<name>.pem` and `<name>.key`."""

    def __init__(self, directory: Path, files: Issued, clock: Clock) -> None:
        self.directory = directory
        self.certificate = files.certificate
        self._clock = clock
        self._key = _read_ec_key(files.key)
        self._issuer = x509.load_pem_x509_certificate(files.certificate.read_bytes())

    @classmethod
    def create(cls, directory: Path, name: str = "ca", clock: Clock = _CLOCK) -> "Authority":
        """The authority that lives in `directory`; made there where absent."""
        directory.mkdir(parents=True, exist_ok=True)
        files = _files(directory, name)
        if not files.certificate.exists():
            _write_authority(files, clock.now())
        return cls(directory, files, clock)

    def issue_server(
        self, name: str, hosts: Sequence[str] = HOSTS, days: float = _LEAF_DAYS, starts: float = 0
    ) -> Issued:
        """`<name>.pem` for TLS servers at `hosts` (names or addresses), replacing an earlier one.

        `days` counts from `starts` days after now, so that expired and future ones can be made for tests.
        """
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return self._issue(name, _name(name), self._span(days, starts), (server, names))

    def issue_client(self, name: str, oin: str | None = None, days: float = _LEAF_DAYS, starts: float = 0) -> Issued:
        """`<name>.pem` for a TLS client; `oin` becomes subject serialNumber, as with PKIoverheid."""
        client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._issue(name, _name(name, oin), self._span(days, starts), (client,))

    def _span(self, days: float, starts: float) -> tuple[datetime, datetime]:
        begin = self._clock.now() + timedelta(days=starts)
        return begin, begin + timedelta(days=days)

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        span: tuple[datetime, datetime],
        extensions: Sequence[x509.ExtensionType],
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(subject, self._issuer.subject, key.public_key(), span)
        draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        draft = draft.add_extension(_key_usage(signs_certificates=False), critical=True)
        anchor = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension in (anchor, *extensions):
            draft = draft.add_extension(extension, critical=False)
        files = _files(self.directory, name)
        _write(files, draft.sign(self._key, SHA256()), key)
        return files


@dataclass(frozen=True, slots=True)
class DevPki:
    """What `make_dev_pki` left in its directory."""

    ledger_key: Path
    authority: Authority
    server: Issued
    gateway: Issued


def make_dev_pki(directory: Path, hosts: Sequence[str] = HOSTS, oin: str | None = None) -> DevPki:
    """A key-encryption key and a local PKI in `directory`; what is there already is kept.

    `hosts` are the names and addresses of the server certificate, `oin` the gateway's own.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ledger_key = directory / "ledger.key"
    if not ledger_key.exists():
        write_secret(ledger_key, base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
    authority = Authority.create(directory)
    server = _kept(directory, "server") or authority.issue_server("server", hosts)
    gateway = _kept(directory, "gateway") or authority.issue_client("gateway", oin)
    return DevPki(ledger_key, authority, server, gateway)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; raises FileExistsError rather than overwrite."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def make_key(path: Path) -> Path:
    """A private EC P-256 key in PEM at `path`, for signing tokens; one that is there already is kept."""
    if not path.exists():
        write_secret(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    return path


def _files(directory: Path, name: str) -> Issued:
    return Issued(directory / f"{name}.pem", directory / f"{name}.key")


def _kept(directory: Path, name: str) -> Issued | None:
    files = _files(directory, name)
    return files if files.certificate.exists() and files.key.exists() else None


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, span: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    begin, end = span
    draft = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    draft = draft.serial_number(x509.random_serial_number())
    draft = draft.not_valid_before(min(begin - _BACKDATED, end)).not_valid_after(end)
    return draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _write_authority(files: Issued, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Kennisgeving ontwikkel-CA")
    draft = _draft(subject, subject, key.public_key(), (now, now + timedelta(days=_CA_DAYS)))
    draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    draft = draft.add_extension(_key_usage(signs_certificates=True), critical=True)
    _write(files, draft.sign(key, SHA256()), key)


def _name(common_name: str, oin: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if oin is not None:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, oin))
    return x509.Name(parts)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(files: Issued, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    files.key.unlink(missing_ok=True)
    write_secret(files.key, _pem(key))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _read_ec_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(path)
    return key
