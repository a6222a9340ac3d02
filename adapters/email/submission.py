"""SMTP transactions on connections that are kept and used again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import aiosmtplib

from adapters.email import wire
from gateway.contract import Deferred, Evidence, HandedOver, Outcome, Uncertain

_IDLE_SECONDS = 1.0
"""A connection unused for longer is asked first whether it still works (NOOP): relays close idle ones."""
_BUSY_SECONDS = 5.0
_Result = TypeVar("_Result")
Dial = Callable[[], Awaitable[aiosmtplib.SMTP]]


class Pool:
    """At most `size` connections to one server, the last used first; one more is dialled when there is need of it."""

    def __init__(self, dial: Dial, size: int, *, is_relay: bool) -> None:
        self._dial = dial
        self._is_relay = is_relay
        self._turn = asyncio.Semaphore(size)
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []
        self._is_closed = False

    async def deliver(self, envelope: wire.Envelope, mail: bytes, deadline: float) -> Outcome:
        """One attempt, until `deadline` (the loop's clock), of which half may go into waiting for a connection.

        Raises what `dial` raises and wire.FAILED does not name.
        """
        try:
            async with asyncio.timeout((deadline - _time()) / 2):
                await self._turn.acquire()
        except TimeoutError:
            return Deferred(_BUSY_SECONDS, "alle verbindingen zijn bezet")
        try:
            return await self._attempt(envelope, mail, deadline)
        finally:
            self._turn.release()

    async def aclose(self) -> None:
        """For good: the connection of an attempt under way ends with it, and who asks for one later gets none."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[0].close()

    async def _attempt(self, envelope: wire.Envelope, mail: bytes, deadline: float) -> Outcome:
        try:
            async with asyncio.timeout_at(deadline):
                client = await self._take()
        except wire.FAILED as why:
            return wire.not_taken(why, is_relay=self._is_relay)
        transaction = _Transaction(client, deadline)
        try:
            return await transaction.run(envelope, mail, is_relay=self._is_relay)
        finally:
            if transaction.is_over and client.is_connected and not self._is_closed:
                self._idle.append((client, _time()))
            else:
                client.close()

    async def _take(self) -> aiosmtplib.SMTP:
        while self._idle:
            client, since = self._idle.pop()
            if await _works(client, since):
                return client
        if not self._is_closed:
            client = await self._dial()
            if not self._is_closed:
                return client
            client.close()
        raise ConnectionAbortedError("de verbinding is gesloten")


async def introduce(client: aiosmtplib.SMTP) -> None:
    """EHLO where none holds: TLS makes the server forget the one before it, and what it offers is known only after one
    (RFC 3207 §4.2). Raises wire.FAILED, and then the connection is closed."""
    try:
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
    except BaseException:
        client.close()
        raise


class _Transaction:
    """MAIL, RCPT, DATA (RFC 5321 §3.3). Once `is_over`, the connection may be used for the next one."""

    def __init__(self, client: aiosmtplib.SMTP, deadline: float) -> None:
        self.is_over = False
        self._client = client
        self._deadline = deadline

    async def run(self, envelope: wire.Envelope, mail: bytes, *, is_relay: bool) -> Outcome:
        try:
            await self._in_time(self._address(envelope))
        except wire.FAILED as why:
            await self._reset(why)
            return wire.not_taken(why, is_relay=is_relay)
        try:
            reply = await self._in_time(self._client.data(mail))
        except aiosmtplib.SMTPDataError as why:
            await self._reset(why)
            return wire.not_taken(why, is_relay=is_relay)
        except OSError:  # timed out or lost: perhaps after the final dot
            return Uncertain(Evidence("verbinding"))
        self.is_over = True
        return HandedOver(wire.reply_evidence(reply.code, reply.message))

    async def _address(self, envelope: wire.Envelope) -> None:
        has_dsn = self._client.supports_extension("dsn")
        await self._client.mail(envelope.sender, options=envelope.sender_options if has_dsn else ())
        await self._client.rcpt(envelope.recipient, options=envelope.recipient_options if has_dsn else ())

    async def _reset(self, why: BaseException) -> None:
        """After a refusal the connection is good for another; after anything else it is not."""
        if isinstance(why, aiosmtplib.SMTPResponseException) and why.code != wire.CLOSING:
            try:
                await self._in_time(self._client.rset())
            except wire.FAILED:
                return
            self.is_over = True

    async def _in_time(self, request: Coroutine[Any, Any, _Result]) -> _Result:
        async with asyncio.timeout_at(self._deadline):
            return await request


async def _works(client: aiosmtplib.SMTP, since: float) -> bool:
    if client.is_connected and _time() - since < _IDLE_SECONDS:
        return True
    try:
        await client.noop()
    except wire.FAILED:
        client.close()
        return False
    except asyncio.CancelledError:
        client.close()
        raise
    return True


def _time() -> float:
    return asyncio.get_running_loop().time()
