"""Parts in the inbox that nobody will give their final name any more."""

import asyncio
from contextlib import suppress

import asyncssh

from adapters.sftp import wire
from adapters.sftp.remote import remove
from adapters.sftp.settings import SftpSettings

LOOK_EVERY = 3600.0
"""Seconds between two looks at the inbox, while no part stands there."""
Look = tuple[int | None, int | None]


class Litter:
    """A retry overwrites the part of the attempt before it. Where none follows, as the notice was withdrawn or went out
    on another channel, it stays. An attempt ends within `timeout` seconds; what stands as it stood that long ago is
    nobody's. Should its gateway have been frozen meanwhile, its rename fails, and it tries again."""

    def __init__(self, settings: SftpSettings, timeout: float) -> None:
        self._inbox = settings.path(wire.INBOX)
        self._timeout = timeout
        self._standing: dict[str, Look] = {}
        self._again = 0.0

    async def clear(self, sftp: asyncssh.SFTPClient) -> None:
        """Where the inbox may not be looked at, nothing is done."""
        now = asyncio.get_running_loop().time()
        if now < self._again:
            return
        with suppress(asyncssh.SFTPError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._look(sftp)
        self._again = now + (self._timeout if self._standing else LOOK_EVERY)

    async def _look(self, sftp: asyncssh.SFTPClient) -> None:
        found: dict[str, Look] = {}
        async for entry in sftp.scandir(self._inbox.encode()):
            if name := wire.own_part(entry.filename):
                found[name] = (entry.attrs.size, entry.attrs.mtime)
        nobodys = {name for name, look in found.items() if self._standing.get(name) == look}
        self._standing = {name: look for name, look in found.items() if name not in nobodys}
        for name in sorted(nobodys):
            await remove(sftp, f"{self._inbox}/{name}")
