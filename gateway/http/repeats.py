"""`POST /v1/bezorgingen/<id>/herhaling`: a sender has one of its deliveries sent again."""

from collections.abc import Mapping

from aiohttp import web
from sqlalchemy import Connection

from gateway.core import strict_json
from gateway.core.errors import Code, JsonRefused, Violation
from gateway.core.notice import Sender
from gateway.core.repeat import Plan
from gateway.core.task import NotKept
from gateway.core.task import reason as kept_reason
from gateway.core.violations import is_repeatable, pointer
from gateway.events import rfc3339
from gateway.http.body import read_body
from gateway.http.doors import Doors
from gateway.http.lookups import identifier_of
from gateway.http.problems import Problem, as_json
from gateway.http.records import Repeat
from gateway.ledger import read
from gateway.ledger.acts import Which
from gateway.ledger.queue import Lane
from gateway.repeats import Manner

BODY_BYTES = 4096
UNSAID = "gevraagd door de afzender"
"""The reason on record where the sender gives none."""


class RepeatDoor:
    def __init__(self, doors: Doors) -> None:
        self._ledger = doors.ledger
        self._repeats = doors.repeats
        self._clock = doors.clock
        self._on_deliveries = doors.on_deliveries

    async def take(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        """409: it cannot be repeated, with the reason. What is answered is not repeated this way."""
        identifier, reason, now = identifier_of(request), await _reason(request), self._clock.micros()

        def repeat(connection: Connection) -> tuple[Plan, list[Lane]]:
            found = read.delivery_with(connection, identifier)
            if found is None or found[0].gemeente not in sender.gemeenten:
                raise Problem(404)
            return self._repeats.carry_out(connection, Which((identifier,)), Manner(), sender.oin, reason, now)

        plan, lanes = await self._ledger.run(repeat)
        if not plan.steps:
            raise Problem(409, f"Deze bezorging kan niet worden herhaald: {plan.left[0][1]}.")
        self._on_deliveries(lanes)
        return as_json(Repeat(identifier, rfc3339(now)), 202)


async def _reason(request: web.Request) -> str:
    """What the body says, which may be empty; raises Problem."""
    body = await read_body(request, BODY_BYTES)
    if not body.strip():
        return UNSAID
    try:
        said = strict_json.decode(body)
    except JsonRefused as why:
        raise _refused([Violation("", Code.JSON_INVALID, reason) for reason in why.reasons]) from why
    if not isinstance(said, dict):
        raise _refused([Violation("", Code.VALUE_INVALID, "de inhoud is geen JSON-object")])
    unknown = dict.fromkeys(pointer(name) if is_repeatable(name) else "" for name in said if name != "reden")
    if unknown:
        raise _refused([Violation(pad, Code.FIELD_UNKNOWN, "dit veld bestaat hier niet") for pad in unknown])
    return _kept(said.get("reden", UNSAID))


def _kept(said: object) -> str:
    try:
        return kept_reason(said if isinstance(said, str) else "")
    except NotKept as why:
        raise _refused([Violation("/reden", Code.VALUE_INVALID, f"reden {why}")]) from why


def _refused(faults: list[Violation]) -> Problem:
    return Problem(400, "De inhoud klopt niet; laat haar weg, of stuur alleen een reden.", faults)
