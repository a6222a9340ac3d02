"""The ledger of the settings, with the TLS that they ask for."""

import ssl

from gateway.config import LedgerSettings
from gateway.contract import SecretMissing, SettingsRefused, client_ssl
from gateway.ledger.engine import Ledger


def open_ledger(settings: LedgerSettings, *, reading: bool = False) -> Ledger:
    """`reading` as of Ledger. Connects to nothing yet. Raises SettingsRefused, SecretMissing."""
    return Ledger(settings.url, reading=reading, tls=_tls(settings.ca))


def _tls(ca: str | None) -> ssl.SSLContext | None:
    try:
        return client_ssl(ca) if ca else None
    except (SecretMissing, SettingsRefused) as why:
        raise type(why)(f"[ledger] ca: {why}") from why
