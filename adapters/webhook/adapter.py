"""I/O of the webhook channel: one kept set of connections per creditor. What bytes mean is in wire.py."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from adapters.webhook import wire
from adapters.webhook.settings import WebhookSettings, answer_keys, read_settings, signing_keys
from gateway.contract import (
    Draft,
    Endpoint,
    Finding,
    HttpPeer,
    OpenDelivery,
    Outcome,
    Parcel,
    Receive,
    Rendition,
    Reply,
    SecretMissing,
    SettingsRefused,
    Surroundings,
    checked_url,
    client_ssl,
    look_at_peer,
)


class WebhookLink:
    """One creditor's webhook. A lost reply cannot be asked about: the same bytes go again, under the same id."""

    slow_render: ClassVar[bool] = False
    collects: ClassVar[bool] = False

    def __init__(self, surroundings: Surroundings, endpoint: Endpoint, settings: WebhookSettings) -> None:
        self._oin = surroundings.oin
        self._now = surroundings.now
        self._url = checked_url("webhook.url", settings.url)
        self._keys = signing_keys(settings)
        self._peer = HttpPeer(endpoint.networks, client_ssl(endpoint.ca), surroundings.attempt_timeout)

    def render(self, draft: Draft) -> Rendition:
        return Rendition(wire.render(draft, self._oin))

    async def send(self, parcel: Parcel) -> Outcome:
        headers = wire.headers(self._keys, parcel.delivery, self._now(), parcel.body)
        reply = await self._peer.ask("POST", self._url, headers, parcel.body)
        return wire.outcome(reply, self._now()) if isinstance(reply, Reply) else reply

    async def resolve(self, parcel: Parcel) -> None:
        """A webhook has no question to ask."""

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        """Answers come in the reply or by callback."""

    async def aclose(self) -> None:
        await self._peer.aclose()


class Webhook:
    name: ClassVar[str] = "webhook"

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        if surroundings.settings:
            raise SettingsRefused("webhook: heeft geen eigen tabel in gateway.toml")

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        read_settings(table)

    def link(self, endpoint: Endpoint) -> WebhookLink:
        return WebhookLink(self._surroundings, endpoint, read_settings(endpoint.settings))

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        try:
            settings = read_settings(endpoint.settings)
            signing, answering = signing_keys(settings), answer_keys(settings)
            tls = client_ssl(endpoint.ca)
        except (SettingsRefused, SecretMissing) as why:
            return [Finding(False, str(why))]
        keys = f"{len(signing)} sleutel(s) om te ondertekenen, {len(answering)} om antwoorden te controleren"
        url = checked_url("webhook.url", settings.url)
        return [Finding(True, keys), await look_at_peer(url, endpoint.networks, tls, self._surroundings.now())]

    async def collect(self, receive: Receive) -> None:
        """Nothing arrives for the channel as a whole."""

    async def aclose(self) -> None:
        """Each link closes its own connections."""
