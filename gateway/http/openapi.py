"""The OpenAPI 3.1 document: generated from the route table, the records that are encoded, and our JSON Schemas."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

import schemas
from gateway.core.errors import Violation
from gateway.core.notice import ContactPerson
from gateway.http import figures, records, routes
from gateway.http.problems import TITLES, ProblemDocument
from gateway.http.routes import Parameter, Route

_REF = "#/components/schemas/{}"
_RECORDS: Mapping[type[Struct], str] = {
    figures.Adherence: "ConvenantNaleving",
    figures.AdoptionCounts: "Gebruik",
    figures.CreditorFigures: "CijfersSchuldeiser",
    figures.CreditorOverview: "OverzichtSchuldeisers",
    figures.GemeenteFigures: "CijfersGemeente",
    figures.GemeenteOverview: "OverzichtGemeenten",
    figures.Refusals: "Weigeringen",
    figures.Shares: "Dekking",
    records.AnswerTaken: "AntwoordOntvangen",
    records.Attempt: "Poging",
    records.ComingLine: "Hierna",
    records.CovenantLine: "Convenant",
    records.CreditorLine: "Schuldeiser",
    records.Creditors: "Schuldeisers",
    records.DeliveryDetail: "BezorgingDetail",
    records.DeliveryLine: "Bezorging",
    records.Dossier: "Dossier",
    records.DossierDetail: "DossierDetail",
    records.Dossiers: "Dossiers",
    records.Feed: "Gebeurtenissen",
    records.MessageLine: "Bericht",
    records.PauseLine: "Pauze",
    records.PauseRequestDetail: "PauzeverzoekDetail",
    records.PauseRequestLine: "Pauzeverzoek",
    records.PauseRequests: "Pauzeverzoeken",
    records.Repeat: "Herhaling",
    records.Received: "BerichtOntvangen",
    records.StandLine: "StandVanSchuldeiser",
    ContactPerson: "Contactpersoon",
    ProblemDocument: "Probleem",
    Violation: "Fout",
}
"""By the names that they have in the document, which is read by gemeenten and creditors."""
_SECURITY: Mapping[str, list[dict[str, list[str]]]] = {
    "afzender": [{"token": []}, {"certificaat": []}],
    "schuldeiser": [{"handtekening": []}],
    "iedereen": [],
}
_PATH_PARAMETERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "id": ("Kenmerk dat de gateway gaf", {"type": "string", "format": "uuid"}),
    "schuldeiser": ("Kenmerk in het schuldeisersregister", {"type": "string"}),
}
_ANSWERED = {200: "In orde", 202: "Vastgelegd"}


def document(public_url: str) -> dict[str, Any]:
    """`public_url`: how the gateway is reached, without a slash at the end."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kennisgeving-gateway",
            "version": routes.VERSION,
            "description": "Bezorgt kennisgevingen van schuldhulp bij schuldeisers, en hun antwoorden bij gemeenten.",
            "contact": {"name": "Beheer van deze gateway", "url": public_url},
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": f"{public_url}{routes.PREFIX}"}],
        "tags": [{"name": who} for who in _SECURITY],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security_schemes(), "headers": _headers()},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.who],
        "security": _SECURITY[route.who],
        "responses": {str(status): _answer(status, name) for status, name in sorted(route.answers.items())}
        | {str(status): _problem(status) for status in route.problems},
    }
    if parameters := [*_in_path(route), *map(_in_query, route.query), *_signature(route)]:
        operation["parameters"] = parameters
    if route.body:
        content = {kind: {"schema": {"$ref": _REF.format(route.body)}} for kind in route.body_types}
        operation["requestBody"] = {"required": not route.body_is_optional, "content": content}
    return operation


def _answer(status: int, name: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name)} if name else {"type": "object"}
    return {
        "description": _ANSWERED[status],
        "headers": {"API-Version": {"$ref": "#/components/headers/API-Version"}},
        "content": {"application/json": {"schema": schema}},
    }


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REF.format(_RECORDS[ProblemDocument])}
    return {"description": TITLES[status], "content": {"application/problem+json": {"schema": schema}}}


def _in_path(route: Route) -> Iterable[dict[str, Any]]:
    for name, (description, schema) in _PATH_PARAMETERS.items():
        if f"{{{name}}}" in route.path:
            yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": {"type": "string", "pattern": f"^{parameter.pattern}$"},
    }


def _signature(route: Route) -> Iterable[dict[str, Any]]:
    if route.who == "schuldeiser":
        for name, description in (
            ("webhook-id", "Kenmerk van dit antwoord; bij herhaling hetzelfde"),
            ("webhook-timestamp", "Seconden sinds 1970, ten hoogste vijf minuten oud"),
        ):
            yield {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }


def _security_schemes() -> dict[str, Any]:
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Toegangstoken (OAuth2 client credentials)",
        },
        "certificaat": {"type": "mutualTLS", "description": "Certificaat met uw OIN als serialNumber van het subject"},
        "handtekening": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks, met uw eigen sleutel uit het register",
        },
    }


def _headers() -> dict[str, Any]:
    return {"API-Version": {"description": "Versie van de API", "schema": {"type": "string"}}}


def _schemas() -> dict[str, Any]:
    _, generated = msgspec.json.schema_components(_RECORDS, ref_template="{name}")
    dutch = {kind.__name__: name for kind, name in _RECORDS.items()}
    own = {dutch.get(name, name): _in_dutch(schema, dutch) for name, schema in generated.items()}
    own["BezorgingDetail"]["properties"]["antwoorden"]["items"] = {"$ref": _REF.format("antwoord")}
    own["Gebeurtenissen"]["properties"]["gebeurtenissen"]["items"] = {"$ref": _REF.format("gebeurtenissen")}
    own["AangebodenBericht"] = {"oneOf": [{"$ref": _REF.format(name)} for name in schemas.MESSAGES]}
    own["AangebodenAntwoord"] = {
        "type": "object",
        "required": ["bezorging", "antwoord"],
        "properties": {
            "bezorging": {"type": "string", "format": "uuid"},
            "antwoord": {"$ref": _REF.format("antwoord")},
        },
        "additionalProperties": False,
    }
    own["GevraagdeHerhaling"] = {
        "type": "object",
        "properties": {"reden": {"type": "string", "minLength": 1, "maxLength": 500}},
        "additionalProperties": False,
    }
    for name in (*schemas.MESSAGES, "cloudevent", "gebeurtenissen", "antwoord", "delen"):
        own[name] = _bundled(schemas.document(name), name)
    return own


def _in_dutch(value: Any, dutch: Mapping[str, str]) -> Any:
    """A generated schema without what is meant for us: our names and docstrings."""
    if isinstance(value, list):
        return [_in_dutch(one, dutch) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _REF.format(dutch.get(inner, inner)) if key == "$ref" else _in_dutch(inner, dutch)
        for key, inner in value.items()
        if not (key in ("title", "description") and isinstance(inner, str))
    }


def _bundled(value: Any, name: str) -> Any:
    """Our schema `name` as a component: references to our files become references within the document."""
    if isinstance(value, list):
        return [_bundled(one, name) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _reference(inner, name) if key == "$ref" else _bundled(inner, name)
        for key, inner in value.items()
        if key not in ("$schema", "$id")
    }


def _reference(reference: str, name: str) -> str:
    file, _, fragment = reference.partition("#")
    return _REF.format(file.removesuffix("-1.0.json") or name) + fragment
