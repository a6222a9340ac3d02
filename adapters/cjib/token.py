"""The access token of one link: fetched once for all who wait for it, kept until shortly before it ends."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from joserfc import jwt
from yarl import URL

from adapters.cjib import wire
from adapters.cjib.settings import CjibSettings, TokenKey
from gateway.contract import Evidence, HttpPeer, OwnFault, Reply, Transient, Uncertain

_SPARE: Final = 0.9  # of its life, so that it does not end on its way
_JTI_BYTES = 16


class TokenSource:
    def __init__(
        self,
        peer: HttpPeer,
        settings: CjibSettings,
        key: TokenKey,
        now: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        seconds: float,
    ) -> None:
        self._peer = peer
        self._url = URL(settings.token_url)
        self._settings = settings
        self._key = key
        self._now = now
        self._entropy = entropy
        self._seconds = seconds
        self._token = ""
        self._ends: datetime | None = None
        self._fetching: asyncio.Task[str | Transient | OwnFault] | None = None

    async def get(self, refused: str | None = None) -> str | Transient | OwnFault:
        """A token other than `refused`. Whoever is cancelled while waiting leaves the others their token; whoever waits
        when the link is closed gets none."""
        if self._token and self._token != refused and self._ends is not None and self._now() < self._ends:
            return self._token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._done)
        fetching = self._fetching
        await asyncio.wait([fetching])
        return Transient(Evidence("verbroken")) if fetching.cancelled() else fetching.result()

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _done(self, _task: object) -> None:
        self._fetching = None

    async def _fetch(self) -> str | Transient | OwnFault:
        form = urlencode(wire.token_form(self._assertion())).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        asked = self._now()
        reply = await self._peer.ask("POST", self._url, headers, form, self._seconds)
        match reply:
            case Reply():
                token = wire.token(reply, self._now())
            case Uncertain(evidence):  # of the delivery itself nothing was sent
                return Transient(evidence)
            case Transient() | OwnFault():
                return reply
        if not isinstance(token, wire.Token):
            return token
        self._token, self._ends = token.access_token, asked + timedelta(seconds=token.expires_in * _SPARE)
        return self._token

    def _assertion(self) -> str:
        jti = self._entropy(_JTI_BYTES).hex()
        claims = wire.claims(self._settings.client_id, self._settings.uitgever, self._now(), jti)
        algorithm = self._key.algorithm
        return jwt.encode({"alg": algorithm}, dict(claims), self._key.key, algorithms=[algorithm])
