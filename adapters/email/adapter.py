"""Mail through our relay, or straight to a creditor's exchangers. I/O only."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from adapters.email import wire
from adapters.email.composer import Composer
from adapters.email.direct import DirectRoute, Names
from adapters.email.inbound import read_mail
from adapters.email.mailbox import Inbox
from adapters.email.relay import RelayRoute
from adapters.email.settings import mailbox_host, read_creditor, read_settings, recipient_certificate, relay_host
from adapters.email.smime import signer_of
from gateway.contract import (
    Deferred,
    Draft,
    Endpoint,
    Finding,
    OpenDelivery,
    Outcome,
    Parcel,
    Receive,
    Rendition,
    Surroundings,
    client_ssl,
    look_at_certificate,
)


class Route(Protocol):
    """The way mail goes."""

    async def deliver(self, envelope: wire.Envelope, body: bytes, deadline: float) -> Outcome: ...

    async def look(self) -> Finding: ...

    async def aclose(self) -> None: ...


class EmailLink:
    """One creditor's address."""

    slow_render: ClassVar[bool] = True
    collects: ClassVar[bool] = False

    def __init__(self, channel: "Email", endpoint: Endpoint, route: Route, *, owns_route: bool) -> None:
        self._surroundings = channel.surroundings
        self._domain = channel.settings.domain
        self._composer = channel.composer
        self._route = route
        self._owns_route = owns_route
        self._name = endpoint.name
        self._reads_replies = channel.settings.inkomend is not None
        self._grace = wire.Grace()
        self._creditor = read_creditor(endpoint.settings)
        self._certificate = recipient_certificate(self._creditor)

    def render(self, draft: Draft) -> Rendition:
        return self._composer.render(draft, self._name, self._creditor, self._certificate)

    async def send(self, parcel: Parcel) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._surroundings.attempt_timeout
        envelope = wire.envelope(parcel.delivery, self._creditor.adres, self._surroundings.channel_key, self._domain)
        return await self._route.deliver(envelope, parcel.body, deadline)

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        """SMTP cannot be asked, but where we read what comes back a delivery status may still tell: that is waited for
        once. Then the same bytes go again, and their Message-ID shows that they are the same."""
        left = self._grace.left(parcel.delivery, asyncio.get_running_loop().time()) if self._reads_replies else 0
        return Deferred(left, "wacht_op_status") if left > 0 else None

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        """What comes back comes for the channel as a whole."""

    async def look(self) -> list[Finding]:
        async with asyncio.timeout(self._surroundings.attempt_timeout):
            return [await self._route.look()]

    async def aclose(self) -> None:
        if self._owns_route:
            await self._route.aclose()


class Email:
    """The channel `email`: one relay, or none, for all creditors."""

    name: ClassVar[str] = "email"

    def __init__(self, surroundings: Surroundings) -> None:
        """Raises SettingsRefused, SecretMissing."""
        self.surroundings = surroundings
        self.settings = read_settings(surroundings.settings)
        self.composer = Composer(surroundings, self.settings, signer_of(self.settings))
        host = relay_host(self.settings)
        self._relay = None if host is None else RelayRoute(host, self.settings)
        self._inbox = self._open_inbox()

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        read_creditor(table)

    def link(self, endpoint: Endpoint) -> EmailLink:
        if self._relay is not None:
            return EmailLink(self, endpoint, self._relay, owns_route=False)
        return EmailLink(self, endpoint, DirectRoute(self.settings, endpoint, Names()), owns_route=True)

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        link = self.link(endpoint)
        try:
            findings = [*self._own_certificate(), *await link.look()]
            return [*findings, await self._inbox.look()] if self._inbox is not None else findings
        finally:
            await link.aclose()

    async def collect(self, receive: Receive) -> None:
        """Bounces and replies. What cannot be recorded now is read again the next time."""
        if self._inbox is None:
            return
        done: list[str] = []
        left: list[str] = []
        try:
            for uid, raw in await self._inbox.unread():
                reading = read_mail(raw, self.surroundings.channel_key, self.settings.domain)
                if reading.inbound is not None:
                    await receive(reading.inbound)
                (done if reading.is_ours else left).append(uid)
        finally:
            await self._inbox.mark(done, left)

    async def aclose(self) -> None:
        if self._relay is not None:
            await self._relay.aclose()
        if self._inbox is not None:
            await self._inbox.aclose()

    def _open_inbox(self) -> Inbox | None:
        """Nothing is connected yet."""
        mailbox = self.settings.inkomend
        if mailbox is None or (host := mailbox_host(mailbox)) is None:
            return None
        return Inbox(host, mailbox, client_ssl(self.settings.ca), self.surroundings.attempt_timeout)

    def _own_certificate(self) -> list[Finding]:
        if self.settings.certificaat is None:
            return [Finding(None, "mail wordt niet ondertekend (email.certificaat ontbreekt)")]
        return [look_at_certificate(self.settings.certificaat, self.surroundings.now())]
