"""Answers that a creditor leaves in `outbox/`: read once complete, handed over, then shelved."""

import asyncio

import asyncssh

from adapters.sftp import wire
from adapters.sftp.remote import make_directory, read_whole, write_whole
from adapters.sftp.settings import SftpSettings
from gateway.contract import Inbound, Receive, Surroundings

_AT_MOST = 1000
_AT_ONCE = 8
Look = tuple[int | None, int | None]


class Outbox:
    """One creditor's outbox. Remembers how large an unfinished file was at the last poll."""

    def __init__(self, settings: SftpSettings, creditor: str, surroundings: Surroundings) -> None:
        self._settings = settings
        self._creditor = creditor
        self._now = surroundings.now
        self._timeout = surroundings.attempt_timeout
        self._unfinished: dict[bytes, Look] = {}
        self._prepared: asyncssh.SFTPClient | None = None

    async def collect(self, sftp: asyncssh.SFTPClient, receive: Receive) -> None:
        """Every file is tried, also where another one fails. Raises asyncssh.Error, OSError of the first that did."""
        async with asyncio.timeout(self._timeout):
            await self._prepare(sftp)
            names = await self._names(sftp)
        self._unfinished = {name: look for name, look in self._unfinished.items() if name in names}
        turn = asyncio.Semaphore(_AT_ONCE)
        results = await asyncio.gather(
            *[self._in_turn(turn, sftp, name, receive) for name in names], return_exceptions=True
        )
        for result in results:
            if result is not None:
                self._prepared = None  # perhaps a shelf is gone: look again at the next poll
                raise result

    async def _prepare(self, sftp: asyncssh.SFTPClient) -> None:
        """Once per connection, and after a failure: the two shelves are made where they are absent."""
        if self._prepared is not sftp:
            for shelf in (wire.ARCHIVE, wire.REJECTED):
                await make_directory(sftp, self._settings.path(wire.OUTBOX, shelf))
            self._prepared = sftp

    async def _names(self, sftp: asyncssh.SFTPClient) -> list[bytes]:
        """Names as bytes: one that is not UTF-8 must not hide the others."""
        listed = await sftp.listdir(self._settings.path(wire.OUTBOX).encode())
        return sorted(name for name in listed if wire.is_for_us(name))[:_AT_MOST]

    async def _in_turn(self, turn: asyncio.Semaphore, sftp: asyncssh.SFTPClient, name: bytes, receive: Receive) -> None:
        async with turn, asyncio.timeout(self._timeout):
            await self._take(sftp, name, receive)

    async def _take(self, sftp: asyncssh.SFTPClient, name: bytes, receive: Receive) -> None:
        path = self._path(name)
        try:
            attributes = await sftp.lstat(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return
        if reason := wire.refused_unread(attributes):
            await self._reject(sftp, name, b"", (reason,))
        elif (raw := await read_whole(sftp, path, wire.ANSWER_BYTES)) is not None:
            await self._hand_over(sftp, name, raw, (attributes.size, attributes.mtime), receive)

    async def _hand_over(
        self, sftp: asyncssh.SFTPClient, name: bytes, raw: bytes, look: Look, receive: Receive
    ) -> None:
        reply = wire.read_reply(raw)
        if isinstance(reply, wire.Unreadable):
            if reply.is_complete or self._unfinished.get(name) == look:
                await self._reject(sftp, name, raw, reply.reasons)
            else:
                self._unfinished[name] = look
            return
        verdict = await receive(
            Inbound(reply.kind, self._creditor, reply.delivery, wire.source(name, raw), raw, reply.answer)
        )
        if verdict.kind in {"recorded", "repeated"}:
            await self._shelve(sftp, name, raw, wire.ARCHIVE)
        else:
            await self._reject(sftp, name, raw, verdict.reasons or wire.REASONS[verdict.kind])

    async def _reject(self, sftp: asyncssh.SFTPClient, name: bytes, raw: bytes, reasons: tuple[str, ...]) -> None:
        shelved = await self._shelve(sftp, name, raw, wire.REJECTED)
        path = self._settings.path(wire.OUTBOX, wire.REJECTED, shelved + wire.REASON_SUFFIX)
        await write_whole(sftp, path, wire.reason_text(shelved, reasons))

    async def _shelve(self, sftp: asyncssh.SFTPClient, name: bytes, raw: bytes, shelf: str) -> str:
        """Move to `shelf` under a name that is free there, and return that name; nothing is overwritten."""
        for candidate in wire.shelf_names(name, raw, self._now()):
            path = self._settings.path(wire.OUTBOX, shelf, candidate)
            if not await sftp.lexists(path):
                break
        await sftp.rename(self._path(name), path.encode())
        return candidate

    def _path(self, name: bytes) -> bytes:
        return self._settings.path(wire.OUTBOX).encode() + b"/" + name
