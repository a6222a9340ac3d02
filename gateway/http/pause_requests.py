"""`/v1/pauzeverzoeken`: what the pauzeknop sent for a gemeente, and that the gemeente has handled it.

The pauzeknop itself sees nothing here: it is no gemeente, whatever its entry says.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from gateway.core import strict_json
from gateway.core.errors import Code, JsonRefused, Violation
from gateway.core.notice import PauseRequest, Sender, plain_gemeente
from gateway.core.violations import is_repeatable, pointer
from gateway.events import rfc3339
from gateway.http.body import read_body
from gateway.http.doors import Doors
from gateway.http.lookups import identifier_of
from gateway.http.problems import Problem, as_json
from gateway.http.records import PauseRequestDetail, PauseRequestLine, PauseRequests
from gateway.ledger import pause_requests as rows
from gateway.log import logger
from gateway.pause_requests import by_sender, place
from gateway.seal import SealBroken

log = logger(__name__)

PER_PAGE = 100
BODY_BYTES = 1024


class PauseRequestDoor:
    def __init__(self, doors: Doors) -> None:
        self._ledger = doors.ledger
        self._sealer = doors.sealer
        self._clock = doors.clock

    async def listed(self, sender: Sender, query: Mapping[str, str], _: web.Request) -> web.Response:
        only = plain_gemeente(query["gemeente"]) if "gemeente" in query else None
        found = await self._ledger.run(
            rows.requests,
            [code for code in _gemeenten(sender) if only in (None, code)],
            is_open=query["open"] == "ja" if "open" in query else None,
            after=query.get("na", ""),
            limit=PER_PAGE,
        )
        more = found[-1].id if len(found) == PER_PAGE else None
        return as_json(PauseRequests(tuple(PauseRequestLine(**_line(row)) for row in found), more))

    async def one(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        row = await self._ledger.run(rows.request_with, identifier_of(request), _gemeenten(sender))
        if row is None:
            raise Problem(404)
        asked = self._opened(row)
        contact, preference = (asked.contact, asked.preference) if asked else (None, None)
        return as_json(PauseRequestDetail(**_line(row), contact=contact, voorkeur=preference))

    async def handle(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        """Saying it again changes nothing."""
        await _nothing_asked(request)
        handled = by_sender(sender, self._clock.micros())
        row = await self._ledger.run(rows.handle_one, identifier_of(request), _gemeenten(sender), handled)
        if row is None:
            raise Problem(404)
        return as_json(PauseRequestLine(**_line(row)))

    def _opened(self, row: Any) -> PauseRequest | None:
        """What the debtor asked; None: it can no longer be read."""
        try:
            event = msgspec.json.decode(self._sealer.open(row.key, row.sealed, place(row.id)))
        except SealBroken:
            log.error("seal_broken", stap="pauzeverzoeken", bericht=row.id)
            return None
        return msgspec.convert(event["data"], PauseRequest)


def _gemeenten(sender: Sender) -> tuple[str, ...]:
    return () if sender.is_pause_button else sender.gemeenten


async def _nothing_asked(request: web.Request) -> None:
    """The body is empty or an empty object; raises Problem."""
    body = await read_body(request, BODY_BYTES)
    if not body.strip():
        return
    try:
        said = strict_json.decode(body)
    except JsonRefused as why:
        raise _refused([Violation("", Code.JSON_INVALID, reason) for reason in why.reasons]) from why
    if not isinstance(said, dict):
        raise _refused([Violation("", Code.VALUE_INVALID, "de inhoud is geen JSON-object")])
    if said:
        pads = dict.fromkeys(pointer(name) if is_repeatable(name) else "" for name in said)
        raise _refused([Violation(pad, Code.FIELD_UNKNOWN, "dit veld bestaat hier niet") for pad in pads])


def _refused(faults: list[Violation]) -> Problem:
    return Problem(400, "De inhoud klopt niet; laat haar weg, of stuur een leeg object.", faults)


def _line(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "gemeente": row.gemeente,
        "verzoekkenmerk": row.kenmerk,
        "tijdstip": rfc3339(row.received_at),
        "afgehandeld": row.handled_at is not None,
        "afgehandeldOp": None if row.handled_at is None else rfc3339(row.handled_at),
    }
