"""What can be wrong, by stable code, and the errors of the core.

    Exception
    ├── Refused                what came from outside cannot be read
    │   ├── JsonRefused        not JSON as RFC 8259 and I-JSON (RFC 7493) have it, or nested too deeply
    │   └── XmlRefused         not XML that we are willing to read, or not valid against the schema
    └── lifecycle.NotAllowed   a bug of ours: a happening met a state that it cannot move

Bad content is not an exception: it is a list of violations, all of them at once. Neither a violation nor a refusal
ever repeats a value; they name the field and the rule.
"""

from enum import StrEnum

from msgspec import Struct


class Code(StrEnum):
    """The codes of `fouten`, as on the wire."""

    JSON_INVALID = "json_ongeldig"
    TOO_LARGE = "te_groot"
    CLOUDEVENT_INVALID = "cloudevent_ongeldig"
    TYPE_UNKNOWN = "type_onbekend"
    FIELD_UNKNOWN = "veld_onbekend"
    FIELD_MISSING = "veld_ontbreekt"
    VALUE_INVALID = "waarde_ongeldig"
    BSN_CHECKSUM = "bsn_elfproef"
    ADMISSION_IN_FUTURE = "toelating_toekomst"
    PAUSE_TOO_LONG = "pauze_te_lang"
    CREDITOR_TWICE = "schuldeiser_dubbel"
    GEMEENTE_NOT_OF_SENDER = "gemeente_niet_van_afzender"
    SOURCE_NOT_OF_SENDER = "bron_niet_van_afzender"
    SENDER_UNKNOWN = "afzender_onbekend"
    OTHER_MESSAGE_SAME_ID = "ander_bericht_zelfde_id"
    VERSION_EXISTS = "versie_bestaat"
    FIRST_VERSION_NO_NOTICE = "versie_een_geen_kennisgeving"
    CASE_UNKNOWN = "dossier_onbekend"
    AFTER_WITHDRAWAL = "na_intrekking"


class Violation(Struct, frozen=True):
    """One thing that is wrong. `pad`: JSON pointer from the root of what was sent (an event: `/data/…`), "" for the
    whole; `melding`: Dutch, names field and rule, never the value."""

    pad: str
    code: Code
    melding: str


class Refused(Exception):
    """What came from outside cannot be read. `reasons`: Dutch, one line each, never a value."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class JsonRefused(Refused):
    """Not JSON, or JSON in which two readers could read two things."""


class XmlRefused(Refused):
    """Not XML that we are willing to read, or not valid against the schema."""
