"""The mail relay: TLS verified, always; logged in where there is a user; trusted to deliver."""

import ssl

import aiosmtplib

from adapters.email import wire
from adapters.email.settings import EmailSettings, Host
from adapters.email.submission import Pool, introduce
from gateway.contract import Finding, Outcome, client_ssl, read_secret

CONNECTIONS = 8


class RelayRoute:
    """All creditors' mail shares its connections."""

    def __init__(self, host: Host, settings: EmailSettings) -> None:
        """Reads `ca` and `wachtwoord`. Raises SettingsRefused, SecretMissing."""
        self._host = host
        self._domain = settings.domain
        self._tls: ssl.SSLContext = client_ssl(settings.ca)
        self._user = settings.gebruiker
        self._password = read_secret(settings.wachtwoord).strip().decode() if settings.wachtwoord else None

        self._pool = Pool(self._dial, CONNECTIONS, is_relay=True)

    async def deliver(self, envelope: wire.Envelope, body: bytes, deadline: float) -> Outcome:
        mail, _, _ = body.partition(wire.BARE_SEPARATOR)
        return await self._pool.deliver(envelope, mail, deadline)

    async def look(self) -> Finding:
        """Connect, verify, log in; send nothing."""
        place = f"relais {self._host.name}:{self._host.port}"
        try:
            client = await self._dial()
        except wire.FAILED as why:
            return Finding(False, f"{place}: {wire.failure_text(why)}")
        client.close()
        return Finding(True, f"{place}: bereikbaar, certificaat in orde" + (", aangemeld" if self._user else ""))

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _dial(self) -> aiosmtplib.SMTP:
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
        await introduce(client)
        return client
