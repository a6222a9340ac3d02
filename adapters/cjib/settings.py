"""`[schuldeiser.cjib]` in the register (contract §5), and the keys that it names."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import ECKey, RSAKey
from msgspec import Struct

from gateway.contract import Reference, SettingsRefused, checked_url, read_secret, read_table


class CjibSettings(Struct, frozen=True):
    """`url` is the root before `/v1`; `sleutel` signs the assertion, `certificaat` is for TLS."""

    url: str
    token_url: str
    uitgever: str
    client_id: str
    sleutel: Reference
    certificaat: Reference
    certificaat_sleutel: Reference


class TokenKey(Struct, frozen=True):
    """The key of private_key_jwt and the algorithm that goes with it."""

    key: ECKey | RSAKey
    algorithm: Literal["ES256", "PS256"]


def read_settings(table: Mapping[str, object]) -> CjibSettings:
    """Raises SettingsRefused naming every wrong, absent or unknown key."""
    settings = read_table(table, CjibSettings, "cjib")
    checked_url("cjib.url", settings.url)
    checked_url("cjib.token_url", settings.token_url)
    if not (settings.uitgever and settings.client_id):
        raise SettingsRefused("cjib.uitgever, cjib.client_id: mogen niet leeg zijn")
    return settings


def token_key(reference: str) -> TokenKey:
    """A private EC P-256 or RSA key in PEM, without a password; raises SecretMissing, SettingsRefused."""
    try:
        key = load_pem_private_key(read_secret(reference), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as why:
        raise SettingsRefused(f"cjib.sleutel: {reference} bevat geen sleutel in PEM zonder wachtwoord") from why
    match key:
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            return TokenKey(ECKey.import_key(key), "ES256")
        case RSAPrivateKey():
            return TokenKey(RSAKey.import_key(key), "PS256")
        case _:
            raise SettingsRefused(f"cjib.sleutel: {reference} is geen EC P-256- of RSA-sleutel")


def expiry(reference: str) -> datetime:
    """Until when a certificate in PEM is valid: aware, UTC. Raises SecretMissing, SettingsRefused."""
    try:
        return x509.load_pem_x509_certificate(read_secret(reference)).not_valid_after_utc
    except ValueError as why:
        raise SettingsRefused(f"cjib.certificaat: {reference} bevat geen PEM-certificaat") from why
