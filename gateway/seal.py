"""Sealing: AES-256-GCM, bound to the row it stands in, so that a value moved to another row does not open.

Format: version byte 1 | nonce (12 random bytes) | ciphertext and tag. A dossier's key seals a few thousand values
at most; the gateway's own key is good for 2^32 (NIST SP 800-38D §8.3, random nonces).
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.keys import KeyBroken, Keys

_VERSION = b"\x01"
_NONCE_END = 13
_SHORTEST = _NONCE_END + 16


class SealBroken(Exception):
    """A sealed value is damaged, stands in a row it was not sealed for, or its key is gone."""


def aad(table: str, row: str, *more: str) -> bytes:
    """Names a place unambiguously: each part with its length, so ("ab", "c") is not ("a", "bc")."""
    return "".join([f"{len(part)}:{part}" for part in (table, row, *more)]).encode()


class Sealer:
    """`wrapped` is a dossier's wrapped key, or None for rows that belong to no dossier."""

    def __init__(self, keys: Keys, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = keys
        self._entropy = entropy

    def seal(self, wrapped: bytes | None, plaintext: bytes, aad: bytes) -> bytes:
        """Raises SealBroken where `wrapped` is not a key of ours."""
        nonce = self._entropy(12)
        return _VERSION + nonce + self._cipher(wrapped).encrypt(nonce, plaintext, aad)

    def open(self, wrapped: bytes | None, sealed: bytes, aad: bytes) -> bytes:
        """Raises SealBroken."""
        if len(sealed) < _SHORTEST or sealed[:1] != _VERSION:
            raise SealBroken
        try:
            return self._cipher(wrapped).decrypt(sealed[1:_NONCE_END], sealed[_NONCE_END:], aad)
        except InvalidTag as why:
            raise SealBroken from why

    def _cipher(self, wrapped: bytes | None) -> AESGCM:
        if wrapped is None:
            return self._keys.gateway_cipher
        try:
            return self._keys.cipher(wrapped)
        except KeyBroken as why:
            raise SealBroken from why
