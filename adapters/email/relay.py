"""Connections to the mail relay: TLS verified, always; logged in where there is a user."""

import ssl

import aiosmtplib

from adapters.email.settings import EmailSettings, Host
from gateway.contract import client_ssl, read_secret


class Relay:
    """Reads `ca` and `wachtwoord` once. Raises SettingsRefused, SecretMissing."""

    def __init__(self, host: Host, settings: EmailSettings) -> None:
        self._host = host
        self._domain = settings.domain
        self._tls: ssl.SSLContext = client_ssl(settings.ca)
        self._user = settings.gebruiker
        self._password = read_secret(settings.wachtwoord).strip().decode() if settings.wachtwoord else None

    async def dial(self) -> aiosmtplib.SMTP:
        """Raises wire.FAILED; nothing was said to a relay that was not verified."""
        client = aiosmtplib.SMTP(
            hostname=self._host.name,
            port=self._host.port,
            use_tls=self._host.is_tls,
            start_tls=not self._host.is_tls,
            tls_context=self._tls,
            local_hostname=self._domain,
            username=self._user,
            password=self._password,
            timeout=None,
        )
        await client.connect()
        return client
