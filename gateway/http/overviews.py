"""`/v1/overzicht`: figures over a period, of the sender's own gemeenten only."""

from collections.abc import Mapping

from aiohttp import web

import schemas
from gateway.core.errors import Code, Violation
from gateway.core.notice import Sender, plain_gemeente
from gateway.core.period import Period, PeriodRefused, period
from gateway.core.violations import pointer
from gateway.http.doors import Doors
from gateway.http.figures import creditor_overview, gemeente_overview
from gateway.http.problems import Problem, as_json
from gateway.ledger import overview as rows
from gateway.overviews import coverage, creditor_figures


class Overviews:
    def __init__(self, doors: Doors) -> None:
        self._ledger = doors.ledger
        self._links = doors.links
        self._clock = doors.clock
        self._closed = doors.closed_days

    async def creditors(self, sender: Sender, query: Mapping[str, str], _: web.Request) -> web.Response:
        over, own = self._period(query), own_gemeenten(sender, query)
        register = self._links.register.by_id
        figures = await creditor_figures(self._ledger, register, self._clock, self._closed, over, own)
        return as_json(creditor_overview(over, figures, register))

    async def gemeenten(self, sender: Sender, query: Mapping[str, str], _: web.Request) -> web.Response:
        over, own = self._period(query), own_gemeenten(sender, query)
        covered = await coverage(self._ledger, over, own)
        in_use = await self._ledger.run(rows.gemeenten_in_use, own)
        return as_json(gemeente_overview(over, covered, schemas.gemeenten(), in_use, own, own))

    def _period(self, query: Mapping[str, str]) -> Period:
        try:
            return period(query.get("van"), query.get("tot"), self._clock.today())
        except PeriodRefused as why:
            faults = [Violation(pointer(name), Code.VALUE_INVALID, f"{name} {fault}") for name, fault in why.faults]
            raise Problem(400, "De parameters van dit adres kloppen niet.", faults) from why


def own_gemeenten(sender: Sender, query: Mapping[str, str]) -> list[str]:
    """None for the pauzeknop: it passes on what debtors ask, and what became of it is not its business."""
    if sender.is_pause_button:
        return []
    only = plain_gemeente(query["gemeente"]) if "gemeente" in query else None
    return [code for code in sender.gemeenten if only in (None, code)]
