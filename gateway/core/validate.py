"""From bytes to a message, or to everything that is wrong with it, at once.

    parse, parse_binary   bytes ──► Reading: what it says, and what the schema has against it
    check                 Reading, sender, today ──► Valid, or all violations: those of the schema and of the rules

The rules also look at an event that the schema refuses, as far as it can be read, so that a sender mends everything
in one go. Whatever is wrong, `Reading` has the identity and the gemeente where these can be read: the refusal is told
under them. Pointers start at the root of the event, in binary mode too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct
from stdnum.nl import bsn

import schemas
from gateway.core import strict_json, violations
from gateway.core.errors import Code, JsonRefused, Violation
from gateway.core.notice import KINDS, TYPE, Envelope, Message, Sender, canonical, content_hash, plain_gemeente

BYTES: Final = 65_536
"""Of a whole event (NL GOV profile for CloudEvents: 64 KB)."""
READABLE_BYTES: Final = 4 * BYTES
"""Up to here a message that is too large is still read for its identity."""
LONGEST_NAME: Final = 255
LONGEST_PAUSE: Final = {"maanden": 8, "dagen": 240}

_SOORTEN: Final = {TYPE.format(soort): soort for soort in KINDS}
_SOURCE = re.compile(r"urn:nld:oin:([0-9]{20}):systeem:.+")
_GEMEENTE = re.compile(r"[0-9]{4}")
_BSN = re.compile(r"[0-9]{9}")
_DATE = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}")

Event = dict[str, object]


class Reading(Struct, frozen=True):
    """What could be read of a message. `violations`: the schema's. `event`: {} where it is not an event at all."""

    event: Event
    violations: tuple[Violation, ...] = ()
    source: str | None = None
    id: str | None = None
    gemeente: str | None = None

    @property
    def soort(self) -> str | None:
        """`kennisgeving`, …; None: a type that is not ours."""
        return _soort(self.event)

    @property
    def dossier(self) -> str | None:
        """The dossierkenmerk, where it is well-formed."""
        value = self._data.get("dossierkenmerk")
        return value if isinstance(value, str) and _is_good("kenmerk", value) else None

    @property
    def version(self) -> int | None:
        """The versie, where it is well-formed."""
        value = self._data.get("versie")
        return value if isinstance(value, int) and _is_good("versie", value) else None

    @property
    def creditors(self) -> Iterator[tuple[str, str]]:
        """Pointer and name of those it names, as sent; no more of them than a message may name."""
        return _named(self._data.get("schuldeisers"))

    @property
    def _data(self) -> Mapping[str, object]:
        return _mapping(self.event.get("data"))


class Valid(Struct, frozen=True):
    """A message without violations."""

    envelope: Envelope
    soort: str
    message: Message
    content_hash: bytes


def parse(body: bytes) -> Reading:
    """A structured event (`application/cloudevents+json`)."""
    if len(body) > BYTES:
        return _reading(_glimpse(body), [_too_large()])
    try:
        event = strict_json.decode(body)
    except JsonRefused as why:
        return _reading(_glimpse(body), _not_json("", why))
    if not isinstance(event, dict):
        return _reading({}, [Violation("", Code.CLOUDEVENT_INVALID, "het bericht is geen JSON-object")])
    return _judged(event)


def parse_binary(attributes: Mapping[str, object], body: bytes, content_type: str | None) -> Reading:
    """A binary event: `attributes` without their prefix, `body` the data, `content_type` that of the body."""
    event: Event = {name: _attribute(value) for name, value in attributes.items()}
    if content_type:
        event["datacontenttype"] = content_type
    if len(body) > BYTES:
        return _reading({**event, "data": _glimpse(body)}, [_too_large()])
    try:
        event["data"] = strict_json.decode(body)
    except JsonRefused as why:
        envelope_only = _schema_violations({**event, "data": {}}, "cloudevent")
        return _reading({**event, "data": _glimpse(body)}, [*envelope_only, *_not_json("/data", why)])
    if len(canonical(event)) > BYTES:  # the same bound as for the event in one piece
        return _reading(event, [_too_large()])
    return _judged(event)


def check(reading: Reading, sender: Sender | None, today: date) -> Valid | list[Violation]:
    """The message, or every violation of schema and rules. `today` is the calendar day in Europe/Amsterdam.

    Without a sender (a file on somebody's disk) the rules about senders are left out.
    """
    found = [*reading.violations, *_broken_rules(reading, sender, today)]
    soort = reading.soort
    if found or soort is None:
        return found
    event = reading.event
    data = event["data"]
    return Valid(
        envelope=msgspec.convert(event, Envelope),
        soort=soort,
        message=msgspec.convert(data, KINDS[soort]),
        content_hash=content_hash(TYPE.format(soort), _mapping(data)),
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def _judged(event: Event) -> Reading:
    data = event.get("data")
    if isinstance(data, dict) and isinstance(code := data.get("gemeente"), str):
        data["gemeente"] = plain_gemeente(code)
    soort = _soort(event)
    found = _schema_violations(event, soort or "cloudevent")
    if soort is None and isinstance(event.get("type"), str):
        found = [violation for violation in found if violation.pad != "/type"]
        found.append(Violation("/type", Code.TYPE_UNKNOWN, "type is geen bekend soort bericht"))
    return _reading(event, found)


def _reading(event: Event, found: list[Violation]) -> Reading:
    return Reading(
        event=event,
        violations=tuple(found),
        source=_name(event.get("source")),
        id=_name(event.get("id")),
        gemeente=_gemeente(_mapping(event.get("data"))),
    )


def _is_good(part: str, value: str | int) -> bool:
    try:
        return schemas.validator(f"delen#/$defs/{part}").is_valid(value)
    except ValueError:  # a lenient reader lets half a surrogate pair pass
        return False


def _schema_violations(event: Event, name: str) -> list[Violation]:
    return [_of_envelope(violation) for violation in violations.of(schemas.validator(name), event)]


def _of_envelope(violation: Violation) -> Violation:
    """What is wrong outside `data` is wrong with the CloudEvent."""
    if violation.pad == "/data" or violation.pad.startswith("/data/") or violation.code is Code.JSON_INVALID:
        return violation
    return Violation(violation.pad, Code.CLOUDEVENT_INVALID, violation.melding)


def _glimpse(body: bytes) -> Event:
    """What a lenient reader makes of bytes that we refuse: only ever used to tell whose refusal it is."""
    if len(body) > READABLE_BYTES:
        return {}
    try:
        return dict(_mapping(json.loads(body)))
    except (ValueError, RecursionError):
        return {}


def _attribute(value: object) -> object:
    """An AMQP value as a JSON value; what no attribute may be becomes a list, which the schema refuses."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int) else []


def _soort(event: Event) -> str | None:
    type_ = event.get("type")
    return _SOORTEN.get(type_) if isinstance(type_, str) else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable() else None


def _gemeente(data: Mapping[str, object]) -> str | None:
    code = data.get("gemeente")
    if not isinstance(code, str):
        return None
    plain = plain_gemeente(code)
    return plain if _GEMEENTE.fullmatch(plain) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _too_large() -> Violation:
    return Violation("", Code.TOO_LARGE, f"het bericht is groter dan {BYTES} bytes")


def _not_json(pad: str, why: JsonRefused) -> list[Violation]:
    return [Violation(pad, Code.JSON_INVALID, reason) for reason in why.reasons]


# -- the rules -------------------------------------------------------------------------------------------------------


def _broken_rules(reading: Reading, sender: Sender | None, today: date) -> Iterator[Violation]:
    data = _mapping(reading.event.get("data"))
    if sender is not None:
        yield from _of_sender(reading, sender)
    yield from _of_admission(_mapping(data.get("toelating")), today)
    yield from _of_pause(_mapping(data.get("pauze")))
    yield from _of_debtor(_mapping(data.get("hulpvrager")), today)
    yield from _of_creditors(reading.creditors)


def _of_sender(reading: Reading, sender: Sender) -> Iterator[Violation]:
    source = _SOURCE.fullmatch(reading.source or "")
    if source and source[1] != sender.oin:
        yield Violation("/source", Code.SOURCE_NOT_OF_SENDER, "source bevat niet het OIN van de afzender")
    is_request = reading.soort == "pauzeverzoek"
    may_speak = reading.gemeente in sender.gemeenten or (is_request and sender.is_pause_button)
    if reading.gemeente and not may_speak:
        yield Violation(
            "/data/gemeente", Code.GEMEENTE_NOT_OF_SENDER, "gemeente is er geen waarvoor de afzender mag spreken"
        )
    if reading.soort and is_request is not sender.is_pause_button:
        yield Violation("/type", Code.VALUE_INVALID, "type is er geen dat deze afzender mag sturen")


def _of_admission(admission: Mapping[str, object], today: date) -> Iterator[Violation]:
    if _lies_ahead(admission.get("datum"), today):
        yield Violation("/data/toelating/datum", Code.ADMISSION_IN_FUTURE, "datum ligt in de toekomst")


def _of_pause(pause: Mapping[str, object]) -> Iterator[Violation]:
    count, unit = pause.get("aantal"), pause.get("eenheid")
    if isinstance(count, int) and isinstance(unit, str) and count > LONGEST_PAUSE.get(unit, count):
        yield Violation(
            "/data/pauze/aantal", Code.PAUSE_TOO_LONG, "aantal: een pauze duurt ten hoogste 8 maanden of 240 dagen"
        )


def _of_debtor(debtor: Mapping[str, object], today: date) -> Iterator[Violation]:
    pad = "/data/hulpvrager"
    for place, person in ((pad, debtor), (f"{pad}/partner", _mapping(debtor.get("partner")))):
        if _lies_ahead(person.get("geboortedatum"), today):
            yield Violation(f"{place}/geboortedatum", Code.VALUE_INVALID, "geboortedatum ligt in de toekomst")
    number = debtor.get("bsn")
    if isinstance(number, str) and _BSN.fullmatch(number) and not bsn.is_valid(number):
        yield Violation(f"{pad}/bsn", Code.BSN_CHECKSUM, "bsn voldoet niet aan de elfproef")


def _of_creditors(named: Iterable[tuple[str, str]]) -> Iterator[Violation]:
    """Named twice by the same name; once by id and once by kvk shows only in the register (`route.named_twice`)."""
    seen: set[str] = set()
    for pad, name in named:
        if name in seen:
            yield Violation(pad, Code.CREDITOR_TWICE, "deze schuldeiser is al eerder genoemd")
        seen.add(name)


def _named(creditors: object) -> Iterator[tuple[str, str]]:
    listed = creditors if isinstance(creditors, list) else ()
    for place, creditor in enumerate(islice(listed, violations.AT_MOST)):
        pad, name = f"/data/schuldeisers/{place}", creditor
        if isinstance(creditor, dict):
            pad, name = f"{pad}/schuldeiser", creditor.get("schuldeiser")
        if isinstance(name, str):
            yield pad, name


def _lies_ahead(day: object, today: date) -> bool:
    """A date that the schema takes, and after `today`."""
    return isinstance(day, str) and _DATE.fullmatch(day) is not None and day > today.isoformat() and _is_date(day)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
