"""A creditor with an SFTP server: it verifies the files it gets and leaves its answers in its outbox.

Several creditors share one server: each is a user with a key and a directory of its own, from which it cannot get out.

hangs()         opens a file, never answers               drops_reply()   renames, then cuts the connection
refuses()       another file has the name already         takes(1.5)      does its job, but opens a file slowly
is_down()       nothing listens at its port               is_impostor()   there, with another host key
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import asyncssh

from gateway.clock import Clock
from gateway.core.errors import XmlRefused
from gateway.pki import write_secret
from gateway.sandbox.bericht_xml import read_message, write_answer, write_receipt
from gateway.sandbox.decisions import ASKS_FOR_ANSWER, Decide, agree
from gateway.sandbox.journal import Journal
from gateway.sandbox.peer import Sighting

Way = Literal["answers", "confirms", "not"]
"""`confirms`: an Ontvangstbevestiging first, and then the answer."""
Fault = Literal["hangs", "refuses", "drops_reply"]
_KEY_TYPE: Final = "ssh-ed25519"
_PATHS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """One creditor: who may log in, where its files are, how it answers."""

    creditor: str
    key: asyncssh.SSHKey
    directory: Path
    way: Way
    decide: Decide
    archives: bool

    @property
    def inbox(self) -> Path:
        return self.directory / "inbox"

    @property
    def outbox(self) -> Path:
        return self.directory / "outbox"


class SftpCreditor:
    """`async with SftpCreditor(directory) as creditor: table = creditor.add("energie-voorbeeld")`.

    `directory` gets the keys (kept from one start to the next) and the creditors' files, `log` a line of JSON per
    receipt.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.journal = Journal(log, clock or Clock())
        self.refused: list[str] = []
        self.connections_made = 0
        self.accounts: dict[str, Account] = {}
        self.fault: Fault | None = None
        self.fault_ends = asyncio.Event()
        self.opens_after = 0.0
        """Seconds."""
        self.logins: set[asyncssh.SSHServerConnection] = set()
        self._directory = directory
        self._host_key = _kept_key(directory / "host.sftp.key")
        self._paths: deque[bytes] = deque(maxlen=_PATHS_KEPT)
        self._arrived: asyncio.Queue[tuple[Account, str]] = asyncio.Queue()
        self._server: asyncssh.SSHAcceptor | None = None
        self._clerk: asyncio.Task[None] | None = None

    @property
    def connections_open(self) -> int:
        return len(self.logins)

    async def __aenter__(self) -> Self:
        await self._start(self._host_key)
        self._clerk = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._clerk is not None:
            self._clerk.cancel()
            await asyncio.gather(self._clerk, return_exceptions=True)
        await self._stop()
        self.journal.close()

    def add(
        self, creditor: str, way: Way = "answers", decide: Decide = agree, *, archives: bool = False
    ) -> dict[str, object]:
        """Open an account; returns its `[schuldeiser.sftp]` table. `archives`: moves what it read to inbox/archief."""
        key_file = self._directory / f"{creditor}.sftp.key"
        account = Account(creditor, _kept_key(key_file), self._directory / creditor, way, decide, archives)
        for place in (account.inbox / "archief", account.outbox):
            place.mkdir(parents=True, exist_ok=True)
        self.accounts[creditor] = account
        return {
            "host": self.host,
            "poort": self.port,
            "gebruiker": creditor,
            "sleutel": f"file:{key_file}",
            "hostsleutels": [self._host_key.export_public_key().decode().strip()],
            "map": "/",
        }

    def received(self, delivery: str) -> list[Sighting]:
        return [Sighting(delivery, seen.digest) for seen in self.journal.of(delivery)]

    def visible(self) -> bytes:
        """Users and paths."""
        return b"\n".join(self._paths)

    def note(self, *words: bytes) -> None:
        self._paths.append(b" ".join(words))

    def arrived(self, account: Account, path: Path) -> None:
        """A message has its final name."""
        body = path.read_bytes()
        soort, _, delivery = path.stem.partition("_")
        self.journal.record(account.creditor, delivery, body, soort)
        self._arrived.put_nowait((account, path.name))

    @asynccontextmanager
    async def misbehaves(self, fault: Fault) -> AsyncIterator[None]:
        self.fault, self.fault_ends = fault, asyncio.Event()
        try:
            yield
        finally:
            self.fault = None
            self.fault_ends.set()

    def hangs(self) -> AbstractAsyncContextManager[None]:
        return self.misbehaves("hangs")

    def refuses(self) -> AbstractAsyncContextManager[None]:
        return self.misbehaves("refuses")

    def drops_reply(self) -> AbstractAsyncContextManager[None]:
        return self.misbehaves("drops_reply")

    @asynccontextmanager
    async def takes(self, seconds: float) -> AsyncIterator[None]:
        self.opens_after = seconds
        try:
            yield
        finally:
            self.opens_after = 0.0

    @asynccontextmanager
    async def is_down(self) -> AsyncIterator[None]:
        await self._stop()
        try:
            yield
        finally:
            await self._start(self._host_key)

    @asynccontextmanager
    async def is_impostor(self) -> AsyncIterator[None]:
        await self._stop()
        await self._start(asyncssh.generate_private_key(_KEY_TYPE))
        try:
            yield
        finally:
            await self._stop()
            await self._start(self._host_key)

    async def _start(self, host_key: asyncssh.SSHKey) -> None:
        self._server = await asyncssh.listen(
            self.host,
            self.port,
            options=asyncssh.SSHServerConnectionOptions(
                config=None,
                server_factory=lambda: _Login(self),
                server_host_keys=[host_key],
                sftp_factory=lambda channel: _Files(channel, self),
                compression_algs=["none"],
                allow_pty=False,
            ),
        )
        self.port = self._server.get_port()

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self.logins):
                connection.abort()
            await self._server.wait_closed()
        self._server = None

    async def _work(self) -> None:
        while True:
            account, name = await self._arrived.get()
            self._handle(account, name)

    def _handle(self, account: Account, name: str) -> None:
        try:
            view = read_message((account.inbox / name).read_bytes())
        except XmlRefused as why:
            self.refused.extend(why.reasons)
            return
        if account.archives:
            (account.inbox / name).rename(account.inbox / "archief" / name)
        if account.way != "not" and view["soort"] in ASKS_FOR_ANSWER:
            delivery = view["kenmerk"]
            if account.way == "confirms":
                _drop(account.outbox, f"ontvangst_{delivery}.xml", write_receipt(delivery))
            _drop(account.outbox, f"antwoord_{delivery}.xml", write_answer(delivery, account.decide(view)))


class _Login(asyncssh.SSHServer):
    """Lets a creditor's gateway user in with its own key, and nobody else."""

    def __init__(self, creditor: SftpCreditor) -> None:
        self._creditor = creditor
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._creditor.connections_made += 1
        self._creditor.logins.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._creditor.logins.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        account = self._creditor.accounts.get(username)
        return account is not None and key.public_data == account.key.public_data


class _Files(asyncssh.SFTPServer):
    """One user's directory; notices that a message got its final name, and misbehaves when told to."""

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]", creditor: SftpCreditor) -> None:
        self._creditor = creditor
        self._account = creditor.accounts[channel.get_extra_info("username")]
        super().__init__(channel, chroot=os.fsencode(self._account.directory))

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self._creditor.note(self._account.creditor.encode(), path)
        if self._creditor.fault == "hangs":
            await self._creditor.fault_ends.wait()
        await asyncio.sleep(self._creditor.opens_after)
        if self._creditor.fault == "refuses" and path.endswith(b".part"):
            name = os.path.basename(path).removeprefix(b".").removesuffix(b".part")
            (self._account.inbox / os.fsdecode(name)).write_bytes(b"iets anders")
        return super().open(path, pflags, attrs)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._creditor.note(self._account.creditor.encode(), newpath)
        super().rename(oldpath, newpath)
        place = Path(os.fsdecode(self.map_path(newpath)))
        if place.parent == self._account.inbox:
            self._creditor.arrived(self._account, place)
            if self._creditor.fault == "drops_reply":
                self.connection.abort()


def _kept_key(path: Path) -> asyncssh.SSHKey:
    """The private key at `path`; made there where absent."""
    if not path.exists():
        write_secret(path, asyncssh.generate_private_key(_KEY_TYPE).export_private_key())
    return asyncssh.import_private_key(path.read_bytes())


def _drop(outbox: Path, name: str, document: bytes) -> None:
    """Written under a hidden name and renamed, so that nobody reads half a file."""
    part = outbox / f".{name}.part"
    part.write_bytes(document)
    part.rename(outbox / name)
