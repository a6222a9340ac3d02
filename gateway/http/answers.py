"""The answer page `/antwoord/<token>`: for a creditor that was told by e-mail (contract: email).

    GET                                    step 1, always the same, changes nothing
    POST referentie                        right: step 2 with what was told · wrong: step 1 again, and counted
    POST referentie, stap, soort, …        the reference is judged again, then the answer is recorded

The reference travels in a hidden field, so no cookie is needed and every post is judged alone. One page is one source
of evidence: of two decisions posted at once the ledger records one, whatever becomes of the page afterwards.
"""

import hmac
from typing import Literal

from aiohttp import web

from gateway.contract import DeliveryId, Inbound
from gateway.core.answer import AnswerKind
from gateway.http import pages
from gateway.http.body import read_body
from gateway.http.doors import Doors
from gateway.http.form import Typed, answer_from, read_form
from gateway.http.told import Told, told_of
from gateway.ledger import evidence, read
from gateway.ledger.evidence import Entry, Page
from gateway.log import logger
from gateway.seal import SealBroken, aad

log = logger(__name__)

PREFIX = "/antwoord/"
TOKEN = "[A-Za-z0-9_-]{16,128}"  # noqa: S105 - how one looks
MOST_WRONG = 5
BODY_CAP = 32_768

_ERRORS = {
    "blank": "Vul uw klantnummer in, of de code uit de brief.",
    "wrong": "Deze referentie hoort niet bij de brief.",
}


class AnswerPages:
    def __init__(self, doors: Doors) -> None:
        self._ledger = doors.ledger
        self._receipts = doors.receipts
        self._testimony = doors.testimony
        self._sealer = doors.sealer
        self._clock = doors.clock

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(f"{PREFIX}stijl.css", self._style)  # a token has no full stop
        app.router.add_get(f"{PREFIX}{{token:{TOKEN}}}", self.show)
        app.router.add_post(f"{PREFIX}{{token:{TOKEN}}}", self.take)

    async def _style(self, _: web.Request) -> web.Response:
        return pages.stylesheet()

    async def show(self, request: web.Request) -> web.Response:
        page = await self._ledger.run(evidence.page, self._token_hash(request))
        if page is None:
            return pages.notice(404)
        match self._barred(page):
            case "ended":
                return pages.notice(410)
            case "locked":
                return pages.notice(423)
            case None:
                return pages.entrance()

    async def take(self, request: web.Request) -> web.Response:
        token_hash = self._token_hash(request)
        if request.content_type != "application/x-www-form-urlencoded":
            return pages.notice(415)
        typed = read_form(await read_body(request, BODY_CAP))
        entered = await self._ledger.run(
            evidence.enter_page, token_hash, lambda page: self._entry(page, typed.values["referentie"])
        )
        if entered is None:
            return pages.notice(404)
        page, entry = entered
        match entry:
            case "ended":
                return pages.notice(410)
            case "locked":
                return pages.notice(423)
            case "blank":
                return pages.entrance(403, _ERRORS[entry])
            case "wrong":
                return pages.entrance(403, f"{_ERRORS[entry]} {_left(page)}")
            case "open":
                return await self._inside(page, token_hash, typed)

    def _token_hash(self, request: web.Request) -> bytes:
        return self._testimony.token_hash(request.match_info["token"])

    def _barred(self, page: Page) -> Literal["ended", "locked"] | None:
        if page.decided or page.expires_at <= self._clock.micros():
            return "ended"
        return "locked" if page.wrong >= MOST_WRONG else None

    def _entry(self, page: Page, reference: str) -> Entry:
        """An empty form is not counted: mail scanners submit those, and would lock the creditor out."""
        if barred := self._barred(page):
            return barred
        if not reference:
            return "blank"
        typed = self._testimony.reference_hash(page.delivery_id, reference)
        return "open" if any(hmac.compare_digest(typed, right) for right in page.reference_hashes) else "wrong"

    async def _inside(self, page: Page, token_hash: bytes, typed: Typed) -> web.Response:
        """Whoever comes here has typed a right reference."""
        told = await self._told(page)
        if not typed.has_answer:
            return pages.answer_form(told, typed, {})
        answer = answer_from(typed, told.claims if told else ())
        if isinstance(answer, dict):
            return pages.answer_form(told, typed, answer)
        return await self._record(page, token_hash, typed, answer)

    async def _record(self, page: Page, token_hash: bytes, typed: Typed, answer: bytes) -> web.Response:
        """A decision is recorded first and closes the page then; a crash in between is mended by the next post."""
        is_final = typed.values["soort"] != AnswerKind.RECEIVED
        inbound = Inbound(
            kind="answer",
            creditor=page.creditor,
            delivery=DeliveryId(page.delivery_id),
            source=f"pagina:{token_hash.hex()}" + ("" if is_final else ":ontvangen"),
            raw=answer,
            answer=answer,
        )
        verdict = await self._receipts.receive(inbound)
        if verdict.kind not in ("recorded", "repeated"):
            return pages.notice(404)
        if is_final:
            await self._ledger.run(evidence.close_page, token_hash)
        if is_final and verdict.kind == "repeated":
            return pages.notice(410)
        return pages.confirmation(typed, is_final=is_final)

    async def _told(self, page: Page) -> Told | None:
        found = await self._ledger.run(read.view_of, page.delivery_id)
        if found is None:
            return None
        sealed, key = found
        try:
            return told_of(self._sealer.open(key, sealed, aad("payload", page.delivery_id, "aanzicht", page.creditor)))
        except SealBroken:
            log.error("seal_broken", stap="antwoordpagina", bezorging=page.delivery_id)
            return None


def _left(page: Page) -> str:
    left = MOST_WRONG - page.wrong
    if left <= 0:
        return "De pagina is nu op slot. Neem contact op met de afzender van de brief."
    return f"U kunt het nog {left} keer proberen."
