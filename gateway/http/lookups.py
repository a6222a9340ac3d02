"""What a sender may look up: its own dossiers, deliveries and events, and who can be addressed."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from msgspec import Raw
from sqlalchemy import Connection

from gateway.core.case import Case
from gateway.core.notice import Sender, plain_gemeente
from gateway.core.stand import dossier_coming, stand
from gateway.events import rfc3339
from gateway.http.doors import Doors
from gateway.http.problems import Problem, as_json
from gateway.http.records import (
    Creditors,
    DeliveryDetail,
    DeliveryLine,
    Dossier,
    DossierDetail,
    Dossiers,
    Feed,
    answers_by_author,
    attempt_line,
    coming_lines,
    creditor_line,
    delivery_fields,
    message_line,
    stand_line,
)
from gateway.http.routes import LARGEST_CURSOR, UUID
from gateway.ledger import agenda, read
from gateway.ledger.read import Rows
from gateway.log import logger
from gateway.seal import SealBroken, aad

log = logger(__name__)

DOSSIERS_PER_PAGE = 100
EVENTS_PER_PAGE = 500


class Lookups:
    def __init__(self, doors: Doors) -> None:
        self._ledger = doors.ledger
        self._sealer = doors.sealer
        self._events = doors.events
        self._links = doors.links
        self._clock = doors.clock
        self._terms = doors.terms

    async def dossiers(self, sender: Sender, query: Mapping[str, str], _: web.Request) -> web.Response:
        only = plain_gemeente(query["gemeente"]) if "gemeente" in query else None
        gemeenten = [code for code in sender.gemeenten if only in (None, code)]
        rows, lines = await self._ledger.run(
            _dossiers_with_lines,
            gemeenten=gemeenten,
            kenmerk=query.get("dossierkenmerk"),
            after=query.get("na", ""),
            limit=DOSSIERS_PER_PAGE,
        )
        more = rows[-1].id if len(rows) == DOSSIERS_PER_PAGE else None
        return as_json(Dossiers(tuple(Dossier(**_dossier(row, lines)) for row in rows), more))

    async def dossier(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        identifier = identifier_of(request)
        rows, lines = await self._ledger.run(
            _dossiers_with_lines, gemeenten=sender.gemeenten, dossier_id=identifier, limit=1
        )
        if not rows:
            raise Problem(404)
        messages, case, evidence = await self._ledger.run(_story, identifier)
        now = self._clock.micros()
        keys = {one.id: one.key for one in case.deliveries}
        answers = answers_by_author((keys[id_], bytes(raw)) for id_, raw in self._answers(rows[0].key, evidence))
        return as_json(
            DossierDetail(
                **_dossier(rows[0], lines),
                berichten=tuple(map(message_line, messages)),
                schuldeisers=tuple(stand_line(one, answers) for one in stand(case, now, self._terms)),
                hierna=coming_lines(dossier_coming(case, now, self._terms)),
            )
        )

    async def delivery(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        found = await self._ledger.run(read.delivery_with, identifier_of(request))
        if found is None or found[0].gemeente not in sender.gemeenten:
            raise Problem(404)
        row, attempts, evidence, _transitions = found
        return as_json(
            DeliveryDetail(
                **delivery_fields(row),
                antwoorden=tuple(raw for _, raw in self._answers(row.key, evidence)),
                pogingen=tuple(map(attempt_line, attempts)),
            )
        )

    async def feed(self, sender: Sender, query: Mapping[str, str], _: web.Request) -> web.Response:
        after = min(int(query.get("na", "0")), LARGEST_CURSOR)
        rows = await self._ledger.run(read.feed, sender.gemeenten, after, EVENTS_PER_PAGE)
        return as_json(Feed(tuple(self._opened(rows)), str(rows[-1].nr if rows else after)))

    async def creditors(self, _sender: Sender, _query: Mapping[str, str], _: web.Request) -> web.Response:
        register = self._links.register.by_id
        return as_json(Creditors(tuple(creditor_line(register[name]) for name in sorted(register))))

    def _answers(self, key: bytes, evidence: Rows) -> Iterable[tuple[str, Raw]]:
        """Delivery and answer."""
        for row in evidence:
            if row.kind != "answer" or row.answer is None:
                continue
            try:
                yield row.delivery_id, Raw(self._sealer.open(key, row.answer, aad("evidence", row.id, "answer")))
            except SealBroken:
                log.error("seal_broken", stap="antwoorden", bezorging=row.delivery_id)

    def _opened(self, rows: Rows) -> Iterable[Raw]:
        for row in rows:
            try:
                yield Raw(self._events.open(row.id, row.sealed, row.key))
            except SealBroken:
                log.error("seal_broken", stap="gebeurtenissen", gebeurtenis=row.id)


def _dossiers_with_lines(connection: Connection, /, **filters: Any) -> tuple[Rows, dict[str, list[DeliveryLine]]]:
    """Dossiers, and their deliveries by dossier id, of one moment."""
    rows = read.dossiers(connection, **filters)
    lines: dict[str, list[DeliveryLine]] = {row.id: [] for row in rows}
    for row in read.deliveries_of(connection, list(lines)):
        lines[row.dossier_id].append(DeliveryLine(**delivery_fields(row)))
    return rows, lines


def _story(connection: Connection, dossier_id: str) -> tuple[Rows, Case, Rows]:
    """The messages of a dossier, how it stands, and what creditors told about it."""
    case = agenda.case_of(connection, dossier_id) or Case(dossier_id, ())
    return read.messages_of(connection, dossier_id), case, read.evidence_of(connection, [dossier_id])


def identifier_of(request: web.Request) -> str:
    """The id in the path; what cannot be one of ours is not looked for."""
    identifier = request.match_info["id"]
    if not re.fullmatch(UUID, identifier):
        raise Problem(404)
    return identifier


def _dossier(row: Any, lines: Mapping[str, list[DeliveryLine]]) -> dict[str, Any]:
    return {
        "id": row.id,
        "gemeente": row.gemeente,
        "dossierkenmerk": row.kenmerk,
        "versie": row.versie,
        "tijdstip": rfc3339(row.created_at),
        "bezorgingen": tuple(lines[row.id]),
    }
