"""I/O of the CJIB-style API: kept mTLS connections and one token per creditor. What replies mean is in wire.py."""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import ClassVar

import msgspec
from yarl import URL

from adapters.cjib import wire
from adapters.cjib.settings import CjibSettings, expiry, read_settings, token_key
from adapters.cjib.token import TokenSource
from gateway.contract import (
    DeliveryId,
    Draft,
    Endpoint,
    Evidence,
    Finding,
    HandedOver,
    HttpPeer,
    NotAnswered,
    OpenDelivery,
    Outcome,
    OwnFault,
    Parcel,
    Receive,
    RefusedForGood,
    Rendition,
    Reply,
    SecretMissing,
    SettingsRefused,
    Surroundings,
    Transient,
    Uncertain,
    checked_url,
    client_ssl,
    look_at_certificate,
    look_at_peer,
)

_TOKEN_SHARE = 0.4  # of the time for an attempt
_UNAUTHORIZED = 401
_NOTHING_THERE = {404, 410}
_ANSWERED_SOORTEN = {"kennisgeving", "herinnering"}


class PollFailed(OSError):
    """The API did not say how a request stands; the text is an evidence code."""


class CjibLink:
    """One creditor's API."""

    slow_render: ClassVar[bool] = False
    collects: ClassVar[bool] = True

    def __init__(self, surroundings: Surroundings, endpoint: Endpoint, settings: CjibSettings) -> None:
        self._surroundings = surroundings
        self._creditor = endpoint.creditor
        self._concurrent = endpoint.concurrent
        self._root = checked_url("cjib.url", settings.url)
        self._certificate_ends = expiry(settings.certificaat)
        tls = client_ssl(endpoint.ca, settings.certificaat, settings.certificaat_sleutel)
        seconds = surroundings.attempt_timeout
        self._peer = HttpPeer(endpoint.networks, tls, seconds, has_certificate=True)
        key = token_key(settings.sleutel)
        now, entropy = surroundings.now, surroundings.entropy
        self._tokens = TokenSource(self._peer, settings, key, now, entropy, seconds * _TOKEN_SHARE)
        self._polled: dict[str, float] = {}
        """When each was last asked about, on the event loop's own clock."""
        self._known: dict[str, str] = {}

    def render(self, draft: Draft) -> Rendition:
        return Rendition(draft.view_json)

    async def send(self, parcel: Parcel) -> Outcome:
        ends = self._ends()
        addressed = await self._addressed(parcel, ends) if wire.lacks_reference(parcel) else parcel
        if not isinstance(addressed, Parcel):
            return addressed
        reply = await self._ask("POST", wire.target(self._root, addressed), ends, addressed)
        return wire.outcome(reply, self._root, addressed, self._now()) if isinstance(reply, Reply) else reply

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        """A message to an earlier request cannot be asked about: it goes again, under the same key."""
        return None if wire.follows(parcel) else await self._look_up(parcel, parcel.delivery, self._ends())

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        """Asks about every delivery that is due, `concurrent` at a time, who was not asked about for longest first. One
        that fails holds up no other; where all fail that are asked about together, the rest is for the next round.
        Raises PollFailed of the first."""
        waiting = [delivery for delivery in open_deliveries if delivery.soort in _ANSWERED_SOORTEN]
        self._forget_all_but({delivery.delivery for delivery in waiting})
        failures: list[BaseException] = []
        for due in _in_groups(sorted(filter(self._is_due, waiting), key=self._last_polled), self._concurrent):
            polls = await asyncio.gather(*[self._poll(delivery, receive) for delivery in due], return_exceptions=True)
            failed = [poll for poll in polls if poll is not None]
            failures += failed
            if len(failed) == len(due):
                break
        for failure in failures:
            raise failure

    async def aclose(self) -> None:
        await self._tokens.aclose()
        await self._peer.aclose()

    async def try_token(self) -> Finding:
        """Whether the token address takes our certificate and key."""
        token = await self._tokens.get()
        if isinstance(token, str):
            return Finding(True, "token_url geeft een token")
        return Finding(False, f"token_url geeft geen token ({token.evidence.code})")

    async def _addressed(self, parcel: Parcel, ends: float) -> Parcel | Outcome:
        """With the reference of its notice, of which the answer never came: the API is asked by ours."""
        for notice in parcel.notices:
            match await self._look_up(parcel, notice, ends):
                case HandedOver(reference=reference):
                    return msgspec.structs.replace(parcel, notice_reference=reference)
                case None:
                    continue
                case outcome:
                    return outcome
        return RefusedForGood(Evidence("geen_verwijzing"))

    async def _look_up(self, parcel: Parcel, delivery: DeliveryId, ends: float) -> Outcome | None:
        """What the API knows of a notice by our reference; None: nothing. The question itself is never in doubt."""
        reply = await self._ask("GET", self._question(delivery), ends)
        if not isinstance(reply, Reply):
            return Transient(reply.evidence) if isinstance(reply, Uncertain) else reply
        if reply.status in _NOTHING_THERE:
            return None
        if not reply.is_success:
            return wire.outcome(reply, self._root, parcel, self._now())
        return wire.resolved(reply, self._root, delivery)

    def _now(self) -> datetime:
        return self._surroundings.now()

    def _ends(self) -> float:
        """When an attempt that begins now must have ended, on the event loop's own clock."""
        return _elapsed() + self._surroundings.attempt_timeout

    async def _ask(self, method: str, url: URL, ends: float, parcel: Parcel | None = None) -> Reply | NotAnswered:
        """One authorised request; a refused token is replaced once."""
        if self._now() > self._certificate_ends:
            return OwnFault(Evidence("certificaat_verlopen"))
        token = await self._tokens.get()
        if not isinstance(token, str):
            return token
        reply = await self._ask_with(token, method, url, parcel, ends)
        if not isinstance(reply, Reply) or reply.status != _UNAUTHORIZED:
            return reply
        token = await self._tokens.get(refused=token)
        return token if not isinstance(token, str) else await self._ask_with(token, method, url, parcel, ends)

    async def _ask_with(
        self, token: str, method: str, url: URL, parcel: Parcel | None, ends: float
    ) -> Reply | NotAnswered:
        headers = wire.headers(token, parcel) if parcel else wire.reading(token)
        body = parcel.body if parcel else None
        return await self._peer.ask(method, url, headers, body, max(ends - _elapsed(), 0.001))

    async def _poll(self, delivery: OpenDelivery, receive: Receive) -> None:
        self._polled[delivery.delivery] = _elapsed()
        path = delivery.reference or await self._find(delivery.delivery)
        body = await self._read(wire.at(self._root, path)) if path else None
        if path is None or body is None:
            return
        found = wire.inbound(self._creditor, delivery.delivery, path, body)
        if self._known.get(delivery.delivery) != found.source:
            await receive(found)
            self._known[delivery.delivery] = found.source

    async def _find(self, delivery: DeliveryId) -> str | None:
        """The path of a request that was handed over without the API saying where it is."""
        found = wire.read_found(await self._read(self._question(delivery)))
        request = found and found.of(delivery)
        return wire.path_of(request, self._root) if request else None

    async def _read(self, url: URL) -> bytes | None:
        """None where the API knows of no such thing: that one is not answered here, the others are."""
        reply = await self._ask("GET", url, self._ends())
        if isinstance(reply, Reply) and reply.status in _NOTHING_THERE:
            return None
        if not isinstance(reply, Reply) or not reply.is_success or reply.body is None:
            raise PollFailed(reply.evidence.code)
        return reply.body

    def _question(self, delivery: DeliveryId) -> URL:
        return self._root / wire.REQUESTS % {"kenmerk": delivery}

    def _is_due(self, delivery: OpenDelivery) -> bool:
        since_last = _elapsed() - self._last_polled(delivery)
        every, at_most = self._surroundings.poll_every, self._surroundings.poll_at_most
        return wire.is_due(self._now() - delivery.since, since_last, every, at_most)

    def _last_polled(self, delivery: OpenDelivery) -> float:
        return self._polled.get(delivery.delivery, -math.inf)

    def _forget_all_but(self, waiting: set[str]) -> None:
        """What was asked about lately is kept: it may be among those of the next round."""
        lately = _elapsed() - self._surroundings.poll_at_most
        self._polled = {key: at for key, at in self._polled.items() if key in waiting or at > lately}
        self._known = {key: source for key, source in self._known.items() if key in self._polled}


class Cjib:
    name: ClassVar[str] = "cjib"
    resolves: ClassVar[bool] = True
    resolves_only: ClassVar[frozenset[str]] = wire.REQUESTING

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        if surroundings.settings:
            raise SettingsRefused("cjib: heeft geen eigen tabel in gateway.toml")

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        read_settings(table)

    def link(self, endpoint: Endpoint) -> CjibLink:
        return CjibLink(self._surroundings, endpoint, read_settings(endpoint.settings))

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        now = self._surroundings.now()
        try:
            settings = read_settings(endpoint.settings)
            own = look_at_certificate(settings.certificaat, now)
            key = token_key(settings.sleutel)
            tls = client_ssl(endpoint.ca, settings.certificaat, settings.certificaat_sleutel)
        except (SettingsRefused, SecretMissing) as why:
            return [Finding(False, str(why))]
        urls = dict.fromkeys(URL(url).origin() for url in (settings.url, settings.token_url))
        peers = [await look_at_peer(url, endpoint.networks, tls, now) for url in urls]
        link = self.link(endpoint)
        try:
            return [
                own,
                Finding(True, f"sleutel voor private_key_jwt ({key.algorithm})"),
                *peers,
                await link.try_token(),
            ]
        finally:
            await link.aclose()

    async def collect(self, receive: Receive) -> None:
        """Nothing arrives for the channel as a whole."""

    async def aclose(self) -> None:
        """Each link closes its own connections."""


def _elapsed() -> float:
    """Seconds of the event loop's own clock, which never goes back."""
    return asyncio.get_running_loop().time()


def _in_groups(deliveries: Iterable[OpenDelivery], size: int) -> Iterable[list[OpenDelivery]]:
    rest = iter(deliveries)
    while group := list(islice(rest, size)):
        yield group
