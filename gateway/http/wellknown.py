"""What supervisors, load balancers and monitors ask: whether the gateway lives, whether it is ready, its figures. And
what anybody may ask: where to report a weakness."""

from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from aiohttp import web

from gateway.http.doors import Doors
from gateway.http.problems import Problem, as_json
from gateway.metrics import CONTENT_TYPE

_VALID = timedelta(days=180)
"""RFC 9116 §2.5.5: less than a year."""
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class WellKnown:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._readiness)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/.well-known/security.txt", self._security)

    async def _health(self, _: web.Request) -> web.Response:
        """An answer is what says that the event loop turns."""
        return as_json({"status": "ok"})

    async def _readiness(self, request: web.Request) -> web.Response:
        reasons = await self._doors.ready()
        signs = self._doors.signs() if _is_near(request) else None
        if reasons:
            detail = "De gateway is nog niet gereed: " + "; ".join(reasons) + "."
            raise Problem(503, detail, reasons=reasons, signs=signs)
        return as_json({"status": "gereed", "tekens": signs} if signs else {"status": "gereed"})

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._doors.metrics is None or not _is_near(request):
            raise Problem(404)
        return web.Response(body=self._doors.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _security(self, _: web.Request) -> web.Response:
        ends = self._doors.clock.now().replace(microsecond=0) + _VALID
        lines = (
            f"Contact: {self._doors.security_contact}",
            f"Expires: {ends.isoformat()}",
            "Preferred-Languages: nl, en",
            f"Canonical: {self._doors.settings.public_url}/.well-known/security.txt",
        )
        return web.Response(text="".join(f"{line}\n" for line in lines))


def _is_near(request: web.Request) -> bool:
    """From this machine or a private network, and not on behalf of somebody behind a proxy."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_private
