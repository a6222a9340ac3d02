"""Files put in a creditor's inbox, and its answers taken from its outbox. I/O only."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

import asyncssh

from adapters.sftp import wire
from adapters.sftp.litter import Litter
from adapters.sftp.outbox import Outbox
from adapters.sftp.remote import read_whole, remove, write_whole
from adapters.sftp.session import Session
from adapters.sftp.settings import read_settings
from gateway.contract import (
    Draft,
    Endpoint,
    Evidence,
    Finding,
    HandedOver,
    OpenDelivery,
    Outcome,
    Parcel,
    Receive,
    Rendition,
    SettingsRefused,
    Surroundings,
    Uncertain,
)


class SftpLink:
    """One creditor's server, on one kept connection."""

    slow_render: ClassVar[bool] = False
    collects: ClassVar[bool] = True

    def __init__(self, surroundings: Surroundings, endpoint: Endpoint) -> None:
        self._settings = read_settings(endpoint.settings)
        self._timeout = surroundings.attempt_timeout
        self._session = Session(self._settings, endpoint)
        self._outbox = Outbox(self._settings, endpoint.creditor, surroundings)
        self._litter = Litter(self._settings, self._timeout)

    def render(self, draft: Draft) -> Rendition:
        return Rendition(wire.message(draft.view_json))

    async def send(self, parcel: Parcel) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._timeout
        part = self._settings.path(wire.INBOX, wire.part_name(parcel.soort, parcel.delivery))
        sftp = None
        try:
            async with asyncio.timeout_at(deadline):
                sftp = await self._session.open()
                await write_whole(sftp, part, parcel.body)
        except wire.FAILED as why:
            self._forget(sftp, why)
            return wire.not_handed_over(why)
        return await self._publish(sftp, part, parcel, deadline)

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        """By the final name, then in the creditor's archive of what it took; None: it is in neither."""
        sftp = None
        try:
            async with asyncio.timeout(self._timeout):
                sftp = await self._session.open()
                return await self._find(sftp, parcel, (), (wire.ARCHIVE,))
        except wire.FAILED as why:
            self._forget(sftp, why)
            return wire.not_asked(why)

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        sftp = None
        try:
            async with asyncio.timeout(self._timeout):
                sftp = await self._session.open()
            await self._litter.clear(sftp)
            await self._outbox.collect(sftp, receive)
        except wire.FAILED as why:
            self._forget(sftp, why)
            raise OSError(wire.failure_code(why)) from why

    async def aclose(self) -> None:
        await self._session.aclose()

    async def check(self) -> list[Finding]:
        """Log in, and see whether the directories are there."""
        try:
            async with asyncio.timeout(self._timeout):
                sftp = await self._session.open()
                return [
                    Finding(True, "aangemeld; de server toonde een hostsleutel uit het register"),
                    *[
                        wire.directory_finding(name, exists=await sftp.isdir(self._settings.path(name)))
                        for name in (wire.INBOX, wire.OUTBOX)
                    ],
                ]
        except wire.FAILED as why:
            return [wire.failure_finding(why)]

    async def _publish(self, sftp: asyncssh.SFTPClient, part: str, parcel: Parcel, deadline: float) -> Outcome:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._rename(sftp, part, parcel)
        except wire.FAILED as why:
            self._forget(sftp, why)
            return Uncertain(Evidence(wire.failure_code(why)))

    async def _rename(self, sftp: asyncssh.SFTPClient, part: str, parcel: Parcel) -> Outcome:
        """Without flags, as with them asyncssh overwrites what is there."""
        try:
            await sftp.rename(part, self._final(parcel))
        except wire.LOST:
            raise
        except asyncssh.SFTPError as why:
            found = await self._find(sftp, parcel, ())
            await remove(sftp, part)
            return found or wire.not_handed_over(why)
        return HandedOver(Evidence("hernoemd"))

    async def _find(self, sftp: asyncssh.SFTPClient, parcel: Parcel, *folders: tuple[str, ...]) -> Outcome | None:
        for folder in folders:
            found = await read_whole(sftp, self._final(parcel, *folder), len(parcel.body) + 1)
            if found is not None:
                return wire.found_there(found, parcel.body)
        return None

    def _final(self, parcel: Parcel, *folder: str) -> str:
        return self._settings.path(wire.INBOX, *folder, wire.final_name(parcel.soort, parcel.delivery))

    def _forget(self, sftp: asyncssh.SFTPClient | None, why: BaseException) -> None:
        if sftp is not None and isinstance(why, wire.LOST):
            self._session.drop(sftp)


class Sftp:
    """The channel `sftp`; it has no table of its own in gateway.toml."""

    name: ClassVar[str] = "sftp"
    resolves: ClassVar[bool] = True

    def __init__(self, surroundings: Surroundings) -> None:
        if surroundings.settings:
            raise SettingsRefused("; ".join(f"sftp.{key}: onbekend" for key in surroundings.settings))
        self._surroundings = surroundings

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        read_settings(table)

    def link(self, endpoint: Endpoint) -> SftpLink:
        return SftpLink(self._surroundings, endpoint)

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        link = self.link(endpoint)
        try:
            return await link.check()
        finally:
            await link.aclose()

    async def collect(self, receive: Receive) -> None:
        """Nothing arrives for the channel as a whole."""

    async def aclose(self) -> None:
        """Each link closes its own connection."""
