"""The `[schuldeiser.sftp]` table of the register, and the keys it names."""

from collections.abc import Mapping
from posixpath import join

import asyncssh
from msgspec import Struct

from gateway.contract import Reference, SettingsRefused, read_secret, read_table

_HIGHEST_PORT = 65_535


class SftpSettings(Struct, frozen=True):
    """One creditor's SFTP server. `hostsleutels` are OpenSSH public key lines; `map` holds `inbox` and `outbox`."""

    host: str
    gebruiker: str
    sleutel: Reference
    hostsleutels: tuple[str, ...]
    poort: int = 22
    map: str = "/"

    def path(self, *parts: str) -> str:
        return join(self.map, *parts)


def read_settings(table: Mapping[str, object]) -> SftpSettings:
    """Raises SettingsRefused, naming every wrong key."""
    settings = read_table(table, SftpSettings, "sftp")
    faults = [] if settings.host and settings.gebruiker else ["sftp.host, sftp.gebruiker: mogen niet leeg zijn"]
    if not 0 < settings.poort <= _HIGHEST_PORT:
        faults.append("sftp.poort: geen poort")
    if not settings.hostsleutels:
        faults.append("sftp.hostsleutels: ten minste één sleutel is vereist, een host wordt nooit ongezien vertrouwd")
    faults += [f"sftp.hostsleutels[{nr}]: geen publieke sleutel" for nr in _unreadable(settings.hostsleutels)]
    if faults:
        raise SettingsRefused("; ".join(faults))
    return settings


def host_keys(settings: SftpSettings) -> list[asyncssh.SSHKey]:
    return [asyncssh.import_public_key(line) for line in settings.hostsleutels]


def client_key(settings: SftpSettings) -> asyncssh.SSHKey:
    """Raises SecretMissing, SettingsRefused."""
    secret = read_secret(settings.sleutel)
    try:
        return asyncssh.import_private_key(secret)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as why:
        raise SettingsRefused("sftp.sleutel: geen private sleutel zonder wachtwoord") from why


def _unreadable(lines: tuple[str, ...]) -> list[int]:
    return [nr for nr, line in enumerate(lines) if not _is_public_key(line)]


def _is_public_key(line: str) -> bool:
    try:
        asyncssh.import_public_key(line)
    except asyncssh.KeyImportError:
        return False
    return True
