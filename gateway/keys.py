"""The key-encryption key (KEK) of this installation, and what hangs from it.

    KEK (32 bytes, a file) ─┬─ wraps (AES-KWP, RFC 5649) ─► a data key per dossier and per pause request, in its row
                            ├─ HKDF "gateway" ─► the cipher of rows that belong to no dossier (spool, refusals)
                            └─ HKDF <label>   ─► subkeys: return paths, token hashes

Destroy a dossier's wrapped key and everything sealed with it is unreadable, in backups too.
"""

import base64
import binascii
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from gateway.contract import SettingsRefused, read_secret

KEY_BYTES = 32
_CIPHERS_KEPT = 4096
_STRANGERS = (
    (stat.S_IWGRP, stat.S_IXGRP | stat.S_IXOTH),
    (stat.S_IROTH | stat.S_IWOTH, stat.S_IXOTH),
)
"""What may not be done with a key file, and what lets those who would do it pass a directory."""


class KeyRefused(SettingsRefused):
    """The key-encryption key is not 32 bytes of base64, or others can read its file."""


class KeyBroken(Exception):
    """A dossier's wrapped key does not open under this key-encryption key."""


class Keys:
    """Raises KeyRefused unless `kek` is 32 bytes. `entropy(n)` gives n random bytes."""

    def __init__(self, kek: bytes, entropy: Callable[[int], bytes] = os.urandom) -> None:
        if len(kek) != KEY_BYTES:
            raise KeyRefused(f"de sleutel moet {KEY_BYTES} bytes zijn (base64, één regel)")
        self._kek = kek
        self._entropy = entropy
        self.cipher = lru_cache(_CIPHERS_KEPT)(self._unwrap)
        """The cipher of a wrapped dossier key; raises KeyBroken. The latest 4,096 are kept."""
        self.gateway_cipher = AESGCM(self.derive("gateway"))

    def new_dossier_key(self) -> bytes:
        """A fresh data key, wrapped: 40 bytes, to be stored with its dossier."""
        return aes_key_wrap_with_padding(self._kek, self._entropy(KEY_BYTES))

    def derive(self, label: str) -> bytes:
        """The 32-byte subkey of `label`: the same at every start, unrelated to any other label's."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"kennisgeving/1/{label}".encode()).derive(self._kek)

    def _unwrap(self, wrapped: bytes) -> AESGCM:
        try:
            return AESGCM(aes_key_unwrap_with_padding(self._kek, wrapped))
        except (InvalidUnwrap, ValueError) as why:
            raise KeyBroken from why


def read_keys(reference: str) -> Keys:
    """The keys under the KEK that `file:<path>` or `env:<NAME>` holds as one line of base64.

    Raises KeyRefused, SecretMissing, SettingsRefused.
    """
    kind, _, name = reference.partition(":")
    if kind == "file":
        _refuse_exposed(Path(name))
    try:
        return Keys(base64.b64decode(read_secret(reference).strip(), validate=True))
    except binascii.Error as why:
        raise KeyRefused("de sleutel is geen geldige base64") from why


def is_exposed(path: Path) -> bool:
    """Others than its owner can change it, or who is not in its group either can read it: its own mode lets them, and
    they can pass every directory on the way to where it really lies. Raises OSError."""
    mode, directories = path.stat().st_mode, path.resolve().parents
    ways_in = [passes for lets, passes in _STRANGERS if mode & lets]
    return any(all(directory.stat().st_mode & passes for directory in directories) for passes in ways_in)


def _refuse_exposed(path: Path) -> None:
    """Absence is for read_secret to report."""
    try:
        exposed = is_exposed(path)
    except OSError:
        return
    if exposed:
        raise KeyRefused(f"anderen kunnen bij {path}: geef alleen de eigenaar en zijn groep leesrecht (chmod 640)")
