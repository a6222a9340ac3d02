"""The `[email]` table of gateway.toml, and the `[schuldeiser.email]` table of the register."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from gateway.contract import Reference, SettingsRefused, read_secret, read_table

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,253}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""addr-spec without quoting or comments (RFC 5321 §4.1.2), which no header can be smuggled through."""
_PORTS: Final = {"smtp": 25, "smtps": 465}


class Mailbox(Struct, frozen=True):
    """The mailbox in which bounces and replies arrive."""

    imap: str
    gebruiker: str
    wachtwoord: Reference
    map: str = "INBOX"


class EmailSettings(Struct, frozen=True):
    """Without `relais`, mail goes to the creditor's own mail exchanger."""

    afzender: str
    relais: str | None = None
    ca: Reference | None = None
    gebruiker: str | None = None
    wachtwoord: Reference | None = None
    certificaat: Reference | None = None
    certificaat_sleutel: Reference | None = None
    inkomend: Mailbox | None = None

    @property
    def domain(self) -> str:
        return self.afzender.partition("@")[2]


class CreditorSettings(Struct, frozen=True):
    """`certificaat`: its S/MIME certificate, to encrypt for."""

    adres: str
    certificaat: Reference | None = None


class Host(Struct, frozen=True):
    """Where to connect; `is_tls` from the first byte, else STARTTLS."""

    name: str
    port: int
    is_tls: bool


def read_settings(table: Mapping[str, object]) -> EmailSettings:
    """Raises SettingsRefused, naming every wrong key."""
    settings = read_table(table, EmailSettings, "email")
    faults = [] if _is_address(settings.afzender) else ["email.afzender: geen e-mailadres"]
    faults += _half_pairs(settings)
    faults += (
        [] if settings.relais is None or _host(settings.relais, _PORTS) else ["email.relais: geen smtp:// of smtps://"]
    )
    if settings.inkomend is not None and not _host(settings.inkomend.imap, {"imaps": 993}):
        faults.append("email.inkomend.imap: geen imaps://")
    if faults:
        raise SettingsRefused("; ".join(faults))
    return settings


def read_creditor(table: Mapping[str, object]) -> CreditorSettings:
    """Raises SettingsRefused, naming every wrong key."""
    settings = read_table(table, CreditorSettings, "email")
    if not _is_address(settings.adres):
        raise SettingsRefused("email.adres: geen e-mailadres")
    return settings


def relay_host(settings: EmailSettings) -> Host | None:
    return None if settings.relais is None else _host(settings.relais, _PORTS)


def mailbox_host(mailbox: Mailbox) -> Host | None:
    return _host(mailbox.imap, {"imaps": 993})


def recipient_certificate(settings: CreditorSettings) -> x509.Certificate | None:
    """Raises SecretMissing, SettingsRefused."""
    if settings.certificaat is None:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(read_secret(settings.certificaat))
    except ValueError as why:
        raise SettingsRefused("email.certificaat: geen certificaat in PEM") from why
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise SettingsRefused("email.certificaat: versleutelen kan alleen voor een RSA-sleutel")
    return certificate


def _half_pairs(settings: EmailSettings) -> list[str]:
    pairs = {
        "email.gebruiker, email.wachtwoord": (settings.gebruiker, settings.wachtwoord),
        "email.certificaat, email.certificaat_sleutel": (settings.certificaat, settings.certificaat_sleutel),
    }
    return [
        f"{keys}: beide of geen van beide" for keys, (one, other) in pairs.items() if (one is None) != (other is None)
    ]


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def _host(url: str, ports: Mapping[str, int]) -> Host | None:
    """None where `url` is more or less than scheme, host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ports or not parts.hostname or not is_bare:
        return None
    return Host(parts.hostname, port or ports[parts.scheme], parts.scheme.endswith("s"))
