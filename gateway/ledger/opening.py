"""The ledger of the settings, with the TLS that they ask for."""

import ssl

from gateway.config import LedgerSettings
from gateway.contract import SecretMissing, SettingsRefused, client_ssl
from gateway.ledger.engine import Ledger


def open_ledger(settings: LedgerSettings, *, reading: bool = False, silent_at_most: float | None = None) -> Ledger:
    """`reading` and `silent_at_most` as of Ledger. Connects to nothing yet. Raises SettingsRefused, SecretMissing."""
    return Ledger(settings.url, reading=reading, tls=_tls(settings.ca), silent_at_most=silent_at_most)


def _tls(ca: str | None) -> ssl.SSLContext | None:
    try:
        return client_ssl(ca) if ca else None
    except (SecretMissing, SettingsRefused) as why:
        raise type(why)(f"[ledger] ca: {why}") from why
