"""`POST /v1/antwoorden/<schuldeiser>`: a creditor's later answer, signed with its own key.

Who it is comes first: until the signature is right, nothing of the body is parsed and nothing is told that depends on
what is on record (401, then 400, then 404).
"""

import hashlib
import re
from collections.abc import Mapping

import msgspec
from aiohttp import web
from msgspec import Raw, Struct

from gateway.contract import DeliveryId, Inbound, SecretMissing, SettingsRefused, read_secret
from gateway.core import strict_json
from gateway.core.answer import parse_answer
from gateway.core.creditor import Creditor
from gateway.core.errors import Code, JsonRefused, Violation
from gateway.core.standard_webhooks import KeyMalformed, SignatureRefused, VerifyingKey, verify, verifying_key
from gateway.core.violations import is_repeatable, pointer
from gateway.http.body import read_body
from gateway.http.doors import Doors
from gateway.http.problems import Problem, as_json
from gateway.http.records import AnswerTaken
from gateway.http.routes import UUID
from gateway.ledger.evidence import Callback
from gateway.log import logger

log = logger(__name__)

BODY_CAP = 65_536
_FIELDS = ("bezorging", "antwoord")


class _Body(Struct):
    bezorging: str
    antwoord: Raw


class Callbacks:
    def __init__(self, doors: Doors) -> None:
        self._links = doors.links
        self._receipts = doors.receipts
        self._clock = doors.clock
        self._keys: dict[str, tuple[Creditor, list[VerifyingKey]]] = {}
        """Read once per register entry; another entry is another object."""

    async def take(self, request: web.Request) -> web.Response:
        """202 new, 200 replay; raises Problem, LedgerAway."""
        creditor = request.match_info["schuldeiser"]
        raw = await read_body(request, BODY_CAP)
        webhook_id = self._author(creditor, request, raw)
        delivery, answer = _read(raw)
        if not re.fullmatch(UUID, delivery):
            raise Problem(404)
        inbound = Inbound(
            kind="answer",
            creditor=creditor,
            delivery=DeliveryId(delivery),
            source=f"webhook:{webhook_id}",
            raw=raw,
            answer=answer,
            channel="webhook",
        )
        signed = Callback(creditor, webhook_id, hashlib.sha256(raw).digest())
        match (await self._receipts.receive(inbound, signed)).kind:
            case "recorded":
                return as_json(AnswerTaken(delivery), 202)
            case "repeated":
                return as_json(AnswerTaken(delivery), 200)
            case "conflict":
                raise Problem(409, "Er was al een ander antwoord met deze webhook-id.")
            case "not_yours":
                raise Problem(404)
            case "invalid":
                raise Problem(400, "Het antwoord voldoet niet aan het contract.")

    def _author(self, creditor: str, request: web.Request, raw: bytes) -> str:
        """The `webhook-id` of a request that this creditor signed; raises Problem 401, the same for every reason."""
        keys = self._keys_of(creditor)
        try:
            return verify(keys, request.headers.items(), raw, self._clock.now())
        except SignatureRefused as why:
            raise Problem(401, "De handtekening klopt niet, of het bericht is ouder dan vijf minuten.") from why

    def _keys_of(self, creditor: str) -> list[VerifyingKey]:
        """None for a creditor that is unknown, has no keys, or whose keys cannot be read (logged)."""
        entry = self._links.register.by_id.get(creditor)
        if entry is None:
            return []
        kept = self._keys.get(creditor)
        if kept is None or kept[0] is not entry:
            kept = self._keys[creditor] = entry, _read_keys(entry)
        return kept[1]


def _read_keys(entry: Creditor) -> list[VerifyingKey]:
    references = entry.endpoints.get("webhook", {}).get("antwoord_sleutels", ())
    if not isinstance(references, list | tuple):
        return []
    keys = []
    for reference in references:
        try:
            keys.append(verifying_key(read_secret(str(reference))))
        except (SecretMissing, SettingsRefused, KeyMalformed) as why:
            log.error("answer_key_refused", schuldeiser=entry.id, reden=str(why))
    return keys


def _read(raw: bytes) -> tuple[str, bytes]:
    """The delivery and the JSON of the answer; raises Problem 400 with everything that is wrong."""
    try:
        value = strict_json.decode(raw)
    except JsonRefused as why:
        raise _invalid([Violation("", Code.JSON_INVALID, reason) for reason in why.reasons]) from why
    if not isinstance(value, dict):
        raise _invalid([Violation("", Code.VALUE_INVALID, "het geheel moet een object zijn")])
    if faults := _faults(value):
        raise _invalid(faults)
    body = msgspec.json.decode(raw, type=_Body)
    answer = bytes(body.antwoord)
    parsed = parse_answer(answer)
    if isinstance(parsed, list):
        raise _invalid([Violation(f"/antwoord{one.pad}", one.code, one.melding) for one in parsed])
    return body.bezorging, answer


def _faults(value: Mapping[str, object]) -> list[Violation]:
    faults = [
        Violation(pointer(name), Code.FIELD_MISSING, f"{name} ontbreekt") for name in _FIELDS if name not in value
    ]
    for name in value:
        if name not in _FIELDS:
            pad = pointer(name) if is_repeatable(name) else ""
            faults.append(Violation(pad, Code.FIELD_UNKNOWN, "een veld is hier niet bekend"))
    if not isinstance(value.get("bezorging", ""), str):
        faults.append(Violation("/bezorging", Code.VALUE_INVALID, "bezorging moet een tekst zijn"))
    return faults


def _invalid(violations: list[Violation]) -> Problem:
    return Problem(400, "Het antwoord voldoet niet; fouten noemt alles wat er mis is.", violations)
