"""Standard Webhooks: who sent these bytes, and when (https://www.standardwebhooks.com, specification 1.0).

Signed is `<webhook-id>.<webhook-timestamp>.<body>`; the header holds signatures side by side, so that a new key can
be taken into use before the old one goes.

| key file | scheme              | signature |
|----------|---------------------|-----------|
| `whsec_` | HMAC-SHA256         | `v1,`     |
| `whsk_`  | Ed25519, to sign    | `v1a,`    |
| `whpk_`  | Ed25519, to verify  | `v1a,`    |

    KeyMalformed        our key file is wrong
    SignatureRefused    their request is: absent, malformed, doubled, too old, too new or not theirs; never says which
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

LONGEST_AGE: Final = 300
"""Seconds, past and future, that a timestamp may be off."""
_ID = re.compile(r"[!-\-/-~]{1,256}")  # printable, without the full stop that separates what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_LONGEST_HEADER = 4096
_SEED_BYTES = 32
_KEY_PAIR_BYTES = 64  # seed and public half, as libsodium keeps it


class KeyMalformed(ValueError):
    """A key file does not hold one whsec_, whsk_ or whpk_ of the right length."""


class SignatureRefused(Exception):
    """The request is not proven to come from a holder of the key, now."""


class Secret(Struct, frozen=True):
    """A shared secret: signs and verifies."""

    key: bytes

    def sign(self, content: bytes) -> str:
        return "v1," + binascii.b2a_base64(self._digest(content), newline=False).decode()

    def verifies(self, version: str, signature: bytes, content: bytes) -> bool:
        return version == "v1" and hmac.compare_digest(self._digest(content), signature)

    def _digest(self, content: bytes) -> bytes:
        return hmac.digest(self.key, content, "sha256")


class PublicKey(Struct, frozen=True):
    key: Ed25519PublicKey

    def verifies(self, version: str, signature: bytes, content: bytes) -> bool:
        if version != "v1a":
            return False
        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class PrivateKey(Struct, frozen=True):
    key: Ed25519PrivateKey

    def sign(self, content: bytes) -> str:
        return "v1a," + binascii.b2a_base64(self.key.sign(content), newline=False).decode()

    def public(self) -> PublicKey:
        return PublicKey(self.key.public_key())


SigningKey = Secret | PrivateKey
VerifyingKey = Secret | PublicKey


def sign(keys: Sequence[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature per key. `timestamp` in epoch seconds."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join([key.sign(content) for key in keys])


def verify(keys: Sequence[VerifyingKey], headers: Iterable[tuple[str, str]], body: bytes, now: datetime) -> str:
    """The `webhook-id` of a request signed with one of `keys`, at most LONGEST_AGE from `now`.

    `headers` are the pairs as received (doubled ones included), `body` the raw bytes. Raises SignatureRefused.
    """
    message_id, timestamp, signatures = _own_headers(headers)
    if abs(now.timestamp() - int(timestamp)) > LONGEST_AGE:
        raise SignatureRefused
    content = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    for version, signature in _candidates(signatures):
        if any(key.verifies(version, signature, content) for key in keys):
            return message_id
    raise SignatureRefused


def _own_headers(headers: Iterable[tuple[str, str]]) -> tuple[str, str, str]:
    found = [(name.lower(), value) for name, value in headers if name.lower().startswith("webhook-")]
    own = dict(found)
    message_id, timestamp, signatures = [own.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    is_sound = (
        len(own) == len(found)
        and _ID.fullmatch(message_id)
        and _TIMESTAMP.fullmatch(timestamp)
        and len(signatures) <= _LONGEST_HEADER
    )
    if not is_sound:
        raise SignatureRefused
    return message_id, timestamp, signatures


def _candidates(signatures: str) -> Iterable[tuple[str, bytes]]:
    for signature in signatures.split(" "):
        version, _, encoded = signature.partition(",")
        try:
            yield version, base64.b64decode(encoded, validate=True)
        except ValueError:
            continue  # of a scheme unknown to us, or damaged: another may still match


def signing_key(content: bytes) -> SigningKey:
    """The key in a file that holds one `whsec_…` or `whsk_…`; raises KeyMalformed."""
    kind, raw = _decoded(content)
    if kind == "whsec":
        return _secret(raw)
    if kind == "whsk":
        return _private(raw)
    raise KeyMalformed("whpk_ kan niet ondertekenen")


def verifying_key(content: bytes) -> VerifyingKey:
    """The key in a file that holds one `whsec_…`, `whpk_…` or `whsk_…`; raises KeyMalformed."""
    kind, raw = _decoded(content)
    if kind == "whsec":
        return _secret(raw)
    if kind == "whsk":
        return _private(raw).public()
    if len(raw) != _SEED_BYTES:
        raise KeyMalformed("whpk_ moet 32 bytes zijn")
    return PublicKey(Ed25519PublicKey.from_public_bytes(raw))


def new_secret(entropy: bytes) -> str:
    """The text of a `whsec_` key file; `entropy` is 24 to 64 random bytes. Raises KeyMalformed."""
    return "whsec_" + base64.b64encode(_secret(entropy).key).decode()


def _decoded(content: bytes) -> tuple[str, bytes]:
    kind, separator, encoded = content.strip().decode("ascii", errors="replace").partition("_")
    if not separator or kind not in {"whsec", "whsk", "whpk"}:
        raise KeyMalformed("een sleutelbestand bevat één whsec_…, whsk_… of whpk_…")
    try:
        return kind, base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as why:
        raise KeyMalformed(f"{kind}_ bevat geen geldige base64") from why


def _secret(raw: bytes) -> Secret:
    if not 24 <= len(raw) <= 64:  # noqa: PLR2004  (specification, "Signature scheme")
        raise KeyMalformed("whsec_ moet 24 tot 64 bytes zijn")
    return Secret(raw)


def _private(raw: bytes) -> PrivateKey:
    if len(raw) not in {_SEED_BYTES, _KEY_PAIR_BYTES}:
        raise KeyMalformed("whsk_ moet 32 of 64 bytes zijn")
    key = Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
    if raw[_SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise KeyMalformed("de twee helften van whsk_ horen niet bij elkaar")
    return PrivateKey(key)
