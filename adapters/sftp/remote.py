"""Whole small files over SFTP, in as few round trips as the protocol allows."""

import asyncio
from contextlib import suppress
from typing import cast

import asyncssh

_ONE_REQUEST = 32_768
"""Bytes of data that every server takes in one request (draft-ietf-secsh-filexfer-02 §3)."""


async def write_whole(sftp: asyncssh.SFTPClient, path: str, body: bytes) -> None:
    """Make or truncate `path`, write, sync where the server can, and check the size it says it has.

    Requests on one file are carried out in the order in which they were sent (filexfer-02 §6.1), so only the opening
    is waited for. Raises asyncssh.SFTPError, OSError.
    """
    small = len(body) <= _ONE_REQUEST
    file = await sftp.open(path, "wb", encoding=None, block_size=0 if small else -1)
    if not small:
        await file.write(body)
    written = [file.write(body)] if small else []
    *before, size, closed = await asyncio.gather(
        *written, file.fsync(), file.stat(), file.close(), return_exceptions=True
    )
    for result in (*before, size, closed):
        if isinstance(result, BaseException) and not isinstance(result, asyncssh.SFTPOpUnsupported):
            raise result
    if isinstance(size, asyncssh.SFTPAttrs) and size.size not in {None, len(body)}:
        raise asyncssh.SFTPFailure("size differs from what was written")


async def read_whole(sftp: asyncssh.SFTPClient, path: str | bytes, limit: int) -> bytes | None:
    """At most `limit` bytes of `path`; None where it does not exist."""
    try:
        async with sftp.open(path, "rb", encoding=None) as file:
            return cast(bytes, await file.read(limit, 0))  # bytes, as no encoding was given
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return None


async def remove(sftp: asyncssh.SFTPClient, path: str) -> None:
    """Remove `path` if that can be done; a leftover is overwritten by the next attempt anyway."""
    with suppress(asyncssh.SFTPError):
        await sftp.remove(path)


async def make_directory(sftp: asyncssh.SFTPClient, path: str) -> None:
    """Make `path` where it is absent."""
    if not await sftp.isdir(path):
        await sftp.mkdir(path)
