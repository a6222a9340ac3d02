"""The routes of `/v1` as data: what is served, what is checked, and what the OpenAPI document says are this table."""

import re
from collections.abc import Mapping
from typing import Literal

from aiohttp import web
from msgspec import Struct

from gateway.core.errors import Code, Violation
from gateway.core.violations import is_repeatable, pointer
from gateway.http.problems import Problem

PREFIX = "/v1"
VERSION = "1.0.0"
"""Of the API, in the header API-Version of every answer that is no error (NL API Design Rules)."""

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
LARGEST_CURSOR = 2**63 - 1
_GEMEENTE = "(GM)?[0-9]{4}"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NO_CONTROL = "[^\\x00-\\x1f\\x7f-\\x9f]{1,100}"


class Parameter(Struct, frozen=True):
    """A query parameter; `pattern` is what its whole value must match."""

    name: str
    pattern: str
    description: str


class Route(Struct, frozen=True):
    """`path` comes after PREFIX; `answers`, `body`: names of schemas in the OpenAPI document, "" where there is none.

    `who` may call it: a sender, a creditor (by signature), or anybody.
    """

    operation: str
    method: Literal["GET", "POST"]
    path: str
    summary: str
    answers: Mapping[int, str]
    who: Literal["afzender", "schuldeiser", "iedereen"] = "afzender"
    query: tuple[Parameter, ...] = ()
    body: str = ""
    body_types: tuple[str, ...] = ()
    body_is_optional: bool = False
    problems: tuple[int, ...] = ()


_OF_GEMEENTE = Parameter("gemeente", _GEMEENTE, "CBS-code van vier cijfers")
_NEXT_PAGE = Parameter("na", UUID, "De waarde van volgende op de vorige bladzijde")

POST_MESSAGE = Route(
    "berichtAanbieden",
    "POST",
    "/berichten",
    "Bied een bericht aan: een CloudEvent, gestructureerd",
    {202: "BerichtOntvangen", 200: "BerichtOntvangen"},
    body="AangebodenBericht",
    body_types=("application/cloudevents+json", "application/json"),
    problems=(400, 401, 403, 408, 409, 413, 415, 503),
)
LIST_DOSSIERS = Route(
    "dossiersOpvragen",
    "GET",
    "/dossiers",
    "Vraag uw dossiers op, met de bezorgingen",
    {200: "Dossiers"},
    query=(
        _OF_GEMEENTE,
        Parameter("dossierkenmerk", _NO_CONTROL, "Uw kenmerk van het dossier"),
        _NEXT_PAGE,
    ),
    problems=(400, 401, 503),
)
GET_DOSSIER = Route(
    "dossierOpvragen",
    "GET",
    "/dossiers/{id}",
    "Vraag één dossier op, met berichten en bezorgingen",
    {200: "DossierDetail"},
    problems=(400, 401, 404, 503),
)
GET_DELIVERY = Route(
    "bezorgingOpvragen",
    "GET",
    "/bezorgingen/{id}",
    "Vraag één bezorging op, met antwoorden en pogingen",
    {200: "BezorgingDetail"},
    problems=(400, 401, 404, 503),
)
POST_REPEAT = Route(
    "bezorgingHerhalen",
    "POST",
    "/bezorgingen/{id}/herhaling",
    "Laat één bezorging nog eens versturen, met dezelfde verwijzing en inhoud; de reden mag weg",
    {202: "Herhaling"},
    body="GevraagdeHerhaling",
    body_types=("application/json",),
    body_is_optional=True,
    problems=(400, 401, 404, 408, 409, 413, 415, 503),
)
GET_FEED = Route(
    "gebeurtenissenOpvragen",
    "GET",
    "/gebeurtenissen",
    "Lees de gebeurtenissen in uw dossiers, in volgorde",
    {200: "Gebeurtenissen"},
    query=(Parameter("na", "[0-9]{1,19}", "De waarde van volgende in het vorige antwoord; weglaten: vanaf het begin"),),
    problems=(400, 401, 503),
)
LIST_PAUSE_REQUESTS = Route(
    "pauzeverzoekenOpvragen",
    "GET",
    "/pauzeverzoeken",
    "Vraag de pauzeverzoeken voor uw gemeenten op, zonder persoonsgegevens",
    {200: "Pauzeverzoeken"},
    query=(
        _OF_GEMEENTE,
        Parameter("open", "(ja|nee)", "ja: alleen wat nog niet is afgehandeld; nee: alleen wat dat wel is"),
        _NEXT_PAGE,
    ),
    problems=(400, 401, 503),
)
GET_PAUSE_REQUEST = Route(
    "pauzeverzoekOpvragen",
    "GET",
    "/pauzeverzoeken/{id}",
    "Vraag één pauzeverzoek op, met hoe de hulpvrager te bereiken is",
    {200: "PauzeverzoekDetail"},
    problems=(400, 401, 404, 503),
)
POST_PAUSE_REQUEST_HANDLED = Route(
    "pauzeverzoekAfhandelen",
    "POST",
    "/pauzeverzoeken/{id}/afhandeling",
    "Meld dat u een pauzeverzoek hebt afgehandeld; de inhoud blijft leeg",
    {200: "Pauzeverzoek"},
    problems=(400, 401, 404, 408, 413, 415, 503),
)
LIST_CREDITORS = Route(
    "schuldeisersOpvragen",
    "GET",
    "/schuldeisers",
    "Vraag op welke schuldeisers bereikbaar zijn, en hun termijnen",
    {200: "Schuldeisers"},
    problems=(400, 401),
)
_PERIOD = (
    Parameter(
        "van", _DATE, "Eerste dag, op de kennisgevingen die toen binnenkwamen; standaard twaalf maanden voor tot"
    ),
    Parameter("tot", _DATE, "Laatste dag, die meetelt; standaard vandaag"),
    Parameter("gemeente", _GEMEENTE, "Alleen deze van uw gemeenten (CBS-code)"),
)
CREDITOR_OVERVIEW = Route(
    "overzichtSchuldeisersOpvragen",
    "GET",
    "/overzicht/schuldeisers",
    "Vraag per schuldeiser op wat uw kennisgevingen opleverden",
    {200: "OverzichtSchuldeisers"},
    query=_PERIOD,
    problems=(400, 401, 503),
)
GEMEENTE_OVERVIEW = Route(
    "overzichtGemeentenOpvragen",
    "GET",
    "/overzicht/gemeenten",
    "Vraag per gemeente op hoeveel schuldeisers u bereikt",
    {200: "OverzichtGemeenten"},
    query=_PERIOD,
    problems=(400, 401, 503),
)
POST_ANSWER = Route(
    "antwoordGeven",
    "POST",
    "/antwoorden/{schuldeiser}",
    "Antwoord als schuldeiser op een bezorging, ondertekend volgens Standard Webhooks",
    {202: "AntwoordOntvangen", 200: "AntwoordOntvangen"},
    who="schuldeiser",
    body="AangebodenAntwoord",
    body_types=("application/json",),
    problems=(400, 401, 404, 408, 409, 413, 503),
)
GET_OPENAPI = Route(
    "openapiOpvragen",
    "GET",
    "/openapi.json",
    "Dit document",
    {200: ""},
    who="iedereen",
    problems=(400,),
)

ROUTES = (
    POST_MESSAGE,
    LIST_DOSSIERS,
    GET_DOSSIER,
    GET_DELIVERY,
    POST_REPEAT,
    GET_FEED,
    LIST_PAUSE_REQUESTS,
    GET_PAUSE_REQUEST,
    POST_PAUSE_REQUEST_HANDLED,
    LIST_CREDITORS,
    CREDITOR_OVERVIEW,
    GEMEENTE_OVERVIEW,
    POST_ANSWER,
    GET_OPENAPI,
)


def query_of(route: Route, request: web.Request) -> dict[str, str]:
    """The query parameters of a request; raises Problem 400 naming every unknown, doubled or wrong one."""
    known = {parameter.name: parameter for parameter in route.query}
    faults = []
    for name, value in request.query.items():
        pad = pointer(name) if is_repeatable(name) else ""
        if name not in known:
            faults.append(Violation(pad, Code.FIELD_UNKNOWN, "deze parameter bestaat hier niet"))
        elif len(request.query.getall(name)) > 1:
            faults.append(Violation(pad, Code.VALUE_INVALID, f"{name} staat er meer dan één keer"))
        elif not re.fullmatch(known[name].pattern, value):
            faults.append(Violation(pad, Code.VALUE_INVALID, f"{name} voldoet niet aan het patroon"))
    if faults:
        raise Problem(400, "De parameters van dit adres kloppen niet.", list(dict.fromkeys(faults)))
    return dict(request.query)
