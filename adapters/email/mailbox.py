"""The mailbox in which bounces and replies arrive, over IMAP: imap-tools, in a thread, on one kept connection."""

import asyncio
import imaplib
import ssl
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from imap_tools import BaseMailBox, ImapToolsError, MailBox

from adapters.email.settings import Host, Mailbox
from gateway.contract import Finding, read_secret

_AT_MOST: Final = 100
_MAIL_BYTES: Final = 1024 * 1024
"""Of each mail this much is read: a bounce says what it has to say before the copy of what was sent."""
_Result = TypeVar("_Result")


class Inbox:
    """Unread mail of one folder. What was dealt with is marked as read; what is not ours stays unread there."""

    def __init__(self, host: Host, settings: Mailbox, tls: ssl.SSLContext, timeout: float) -> None:
        """Reads `wachtwoord`. Raises SettingsRefused, SecretMissing."""
        self._host = host
        self._settings = settings
        self._password = read_secret(settings.wachtwoord).strip().decode()
        self._tls = tls
        self._timeout = timeout
        self._box: BaseMailBox | None = None
        self._left: set[str] = set()
        self._turn = asyncio.Lock()

    async def unread(self) -> list[tuple[str, bytes]]:
        """UID and bytes, oldest first, at most 100; what was left before is not among them. Raises OSError."""
        return await self._in_thread(self._fetch)

    async def mark(self, done: Iterable[str], left: Iterable[str]) -> None:
        """`done` becomes read; `left` is not fetched again by this process. Raises OSError."""
        self._left.update(left)
        uids = ",".join(done)
        if uids:
            await self._in_thread(lambda box: box.client.uid("STORE", uids, "+FLAGS.SILENT", r"(\Seen)"))

    async def look(self) -> Finding:
        place = f"postbus {self._host.name}:{self._host.port}"
        try:
            await self._in_thread(lambda box: box.client.noop())
        except ssl.SSLCertVerificationError:
            return Finding(False, f"{place}: het certificaat is niet te vertrouwen")
        except OSError as why:
            return Finding(False, f"{place}: niet bereikbaar of aanmelden mislukt ({why})")
        return Finding(True, f"{place}: aangemeld, map {self._settings.map} is er")

    async def aclose(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._close)

    async def _in_thread(self, work: Callable[[BaseMailBox], _Result]) -> _Result:
        async with self._turn:
            return await asyncio.to_thread(self._guarded, work)

    def _guarded(self, work: Callable[[BaseMailBox], _Result]) -> _Result:
        """A connection on which anything failed is not used again."""
        try:
            if self._box is None:
                self._box = self._open()
            return work(self._box)
        except (imaplib.IMAP4.error, ImapToolsError) as why:
            self._close()
            raise OSError(type(why).__name__) from why
        except OSError:
            self._close()
            raise

    def _open(self) -> BaseMailBox:
        box = MailBox(self._host.name, self._host.port, timeout=self._timeout, ssl_context=self._tls)
        return box.login(self._settings.gebruiker, self._password, self._settings.map)

    def _close(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            box.client.shutdown()

    def _fetch(self, box: BaseMailBox) -> list[tuple[str, bytes]]:
        box.client.noop()  # lets the server tell of new mail
        uids = [uid for uid in box.uids("UNSEEN", charset=None) if uid not in self._left]
        return [(uid, _body(box, uid)) for uid in uids[:_AT_MOST]]


def _body(box: BaseMailBox, uid: str) -> bytes:
    """Without marking it as read; empty where it is gone."""
    _, found = box.client.uid("FETCH", uid, f"(BODY.PEEK[]<0.{_MAIL_BYTES}>)")
    return next((part[1] for part in found if isinstance(part, tuple)), b"")
