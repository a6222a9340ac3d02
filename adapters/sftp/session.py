"""The one kept connection of a link."""

import asyncio

import asyncssh

from adapters.sftp.settings import SftpSettings, client_key, host_keys
from gateway.contract import Endpoint, connect_allowed

_KEEPALIVE_SECONDS = 15
# AES-GCM first: hardware does it. No compression: it costs more than it saves on files of 2 KB.
_CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


class Session:
    """An SFTP session with a creditor's server, dialled when first asked for and again after it was lost.

    Many requests run on it at once; only one task dials. The server must show one of the pinned host keys, whatever
    its address: without a key there is no connection.
    """

    def __init__(self, settings: SftpSettings, endpoint: Endpoint) -> None:
        self._settings = settings
        self._networks = endpoint.networks
        self._options = _options(settings)
        self._dialling = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._is_closed = False

    async def open(self) -> asyncssh.SFTPClient:
        """Raises OSError, asyncssh.Error."""
        async with self._dialling:
            if self._sftp is None or self._connection is None or self._connection.is_closed():
                self._sftp = await self._dial()
            return self._sftp

    def drop(self, sftp: asyncssh.SFTPClient) -> None:
        """Give up a session that failed, with all that waits on it, unless the next one is there already."""
        if self._sftp is sftp:
            self._abort()

    async def aclose(self) -> None:
        """For good: who dials meanwhile, or asks for a session later, gets none."""
        self._is_closed = True
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _dial(self) -> asyncssh.SFTPClient:
        self._abort()
        self._go_on_unless_closed()
        sock = await connect_allowed(self._settings.host, self._settings.poort, self._networks)
        self._connection = await asyncssh.connect(sock=sock, options=self._options)
        self._go_on_unless_closed()
        return await self._connection.start_sftp_client()

    def _go_on_unless_closed(self) -> None:
        if self._is_closed:
            self._abort()
            raise ConnectionAbortedError("de verbinding is gesloten")

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._sftp = None


def _options(settings: SftpSettings) -> asyncssh.SSHClientConnectionOptions:
    """Nothing is read from ~/.ssh, no agent is asked, and no other method of logging in is tried."""
    return asyncssh.SSHClientConnectionOptions(
        config=None,
        known_hosts=(host_keys(settings), [], []),
        username=settings.gebruiker,
        client_keys=[client_key(settings)],
        preferred_auth="publickey",
        agent_path=None,
        encryption_algs=_CIPHERS,
        compression_algs=["none"],
        keepalive_interval=_KEEPALIVE_SECONDS,
    )
