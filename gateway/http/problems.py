"""What is wrong with a request, told as RFC 9457 has it, with our `fouten` beside its members."""

from collections.abc import Mapping, Sequence

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler as Next
from msgspec import Struct

from gateway.core.errors import Violation
from gateway.ledger.engine import LedgerAway
from gateway.log import logger

log = logger(__name__)

RETRY_AFTER = "5"
"""Seconds after which it makes sense to come back when the ledger is away."""

TITLES: Mapping[int, str] = {
    400: "Ongeldig verzoek",
    401: "Niet aangemeld",
    403: "Niet toegestaan",
    404: "Niet gevonden",
    405: "Methode niet toegestaan",
    408: "Verzoek duurde te lang",
    409: "Strijdig met wat er al is",
    413: "Te groot",
    415: "Mediatype niet ondersteund",
    503: "Tijdelijk niet beschikbaar",
}
_DETAILS: Mapping[int, str] = {
    404: "Dit adres bestaat niet, of niet voor u.",
    405: "Deze methode bestaat niet voor dit adres; Allow noemt wat er wel is.",
}


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """`application/problem+json`."""

    title: str
    status: int
    detail: str
    fouten: tuple[Violation, ...] = ()
    redenen: tuple[str, ...] = ()
    """Why the gateway is not ready."""
    tekens: Mapping[str, float | bool] | None = None
    """And what it can tell of itself."""


class Problem(Exception):
    """The request is answered with an error. `detail`: Dutch, for who sent it, never a value."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
        reasons: Sequence[str] = (),
        signs: Mapping[str, float | bool] | None = None,
    ) -> None:
        super().__init__(f"{status} {TITLES[status]}")
        self.status = status
        self.headers = dict(headers or {})
        self.document = ProblemDocument(
            TITLES[status], status, detail or _DETAILS[status], tuple(violations), tuple(reasons), signs
        )


def away() -> Problem:
    """The ledger cannot be reached; whether a commit just before that was kept, nobody knows."""
    detail = "Het grootboek is niet bereikbaar. Stuur hetzelfde later opnieuw; dubbel sturen kan geen kwaad."
    return Problem(503, detail, headers={"Retry-After": RETRY_AFTER})


def as_json(value: object, status: int = 200, kind: str = "application/json") -> web.Response:
    """`value` as msgspec encodes it."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=kind)


def as_response(problem: Problem) -> web.Response:
    response = as_json(problem.document, problem.status, "application/problem+json")
    response.headers.update(problem.headers)
    return response


def problem_of(why: web.HTTPException) -> Problem:
    """What the router says (404, 405) as ours; anything else it raises stays as it is."""
    if why.status not in _DETAILS:
        raise why
    allowed = {"Allow": why.headers["Allow"]} if "Allow" in why.headers else None
    return Problem(why.status, headers=allowed)


async def answered(request: web.Request, answer: Next) -> web.StreamResponse:
    """The response to a request; raises Problem where there is none to give."""
    try:
        return await answer(request)
    except web.HTTPException as why:
        raise problem_of(why) from why
    except LedgerAway as why:
        log.warning("ledger_away", stap="http", reden=str(why))
        raise away() from why
