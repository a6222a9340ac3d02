"""What anybody may ask: whether the gateway lives, whether it is ready, and where to report a weakness."""

from datetime import timedelta

from aiohttp import web

from gateway.http.doors import Doors
from gateway.http.problems import Problem, as_json

_VALID = timedelta(days=180)
"""RFC 9116 §2.5.5: less than a year."""


class WellKnown:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._readiness)
        app.router.add_get("/.well-known/security.txt", self._security)

    async def _health(self, _: web.Request) -> web.Response:
        return as_json({"status": "ok"})

    async def _readiness(self, _: web.Request) -> web.Response:
        reasons = await self._doors.ready()
        if reasons:
            raise Problem(503, "De gateway is nog niet gereed: " + "; ".join(reasons) + ".", reasons=reasons)
        return as_json({"status": "gereed"})

    async def _security(self, _: web.Request) -> web.Response:
        ends = self._doors.clock.now().replace(microsecond=0) + _VALID
        lines = (
            f"Contact: {self._doors.security_contact}",
            f"Expires: {ends.isoformat()}",
            "Preferred-Languages: nl, en",
            f"Canonical: {self._doors.settings.public_url}/.well-known/security.txt",
        )
        return web.Response(text="".join(f"{line}\n" for line in lines))
