"""The form of the answer page: what was typed, as the answer of the contract or as what is wrong, per field."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from gateway.core.answer import AnswerKind, parse_answer
from gateway.core.errors import Violation
from gateway.http.problems import Problem

FIELDS = ("referentie", "stap", "soort", "totEnMet", "klantnummer", "naar", "toelichting")
_MOST_FIELDS = 200
_DUTCH_DATE = re.compile(r"([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]([0-9]{4})")

LABELS: Mapping[str, str] = {
    AnswerKind.PAUSED: "Wij pauzeren de invordering",
    AnswerKind.PAUSED_IN_PART: "Wij pauzeren een deel van de vorderingen",
    AnswerKind.TRANSFERRED: "De vordering ligt bij een incassobureau of deurwaarder",
    AnswerKind.RECEIVED: "Wij hebben het bericht ontvangen en beslissen later",
    AnswerKind.CLIENT_UNKNOWN: "Deze persoon is bij ons geen klant",
    AnswerKind.RECENTLY_SETTLED: "Deze persoon kreeg kort geleden al finale kwijting",
    AnswerKind.RECENTLY_STABILISED: "Er is kort geleden al een poging tot stabilisatie geweest",
    AnswerKind.NO_COOPERATION: "Wij werken niet samen met deze schuldhulpverlener",
    AnswerKind.NOT_ELIGIBLE: "Deze vordering komt niet in aanmerking voor een pauze",
}
"""In the order in which they are offered."""

_MESSAGES: Mapping[str, str] = {
    "soort": "Kies uw antwoord.",
    "totEnMet": "Vul een datum in die bestaat, bijvoorbeeld 31-12-2027.",
    "vordering": "Kies de vorderingen nog een keer.",
    "naar": "Vul ten hoogste 200 letters en cijfers in.",
    "klantnummer": "Vul ten hoogste 100 letters en cijfers in.",
    "toelichting": "Schrijf ten hoogste 1000 tekens.",
}
"""In the order of the page."""
_OF_ANSWER = {"reden": "toelichting", "vorderingen": "vordering"}
"""Fields that have another name in the answer."""


class Typed(Struct, frozen=True):
    """What came in. `values` has every name of FIELDS, "" where it was left empty; `claims`: the boxes that were
    ticked."""

    values: Mapping[str, str]
    claims: tuple[str, ...] = ()

    @property
    def has_answer(self) -> bool:
        """It is the form of the second step."""
        return bool(self.values["stap"] or self.values["soort"])


NOTHING = Typed(dict.fromkeys(FIELDS, ""))


def read_form(body: bytes) -> Typed:
    """Raises Problem 400 where it is no form (application/x-www-form-urlencoded)."""
    try:
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as why:
        raise Problem(400, "Dit is geen formulier.") from why
    values = {name: found.get(name, [""])[0].strip() for name in FIELDS}
    return Typed(values, tuple(found.get("vordering", ())))


def answer_from(typed: Typed, claims: Sequence[str]) -> bytes | dict[str, str]:
    """The answer as JSON, or per field what is wrong, in Dutch. `claims`: those the creditor could tick."""
    said = {name: " ".join(value.split()) for name, value in typed.values.items()}
    until = _iso(said["totEnMet"])
    answer: dict[str, object] = {
        "soort": said["soort"],
        "totEnMet": until,
        "vorderingen": _per_claim(typed.claims, claims, until) if said["soort"] == AnswerKind.PAUSED_IN_PART else [],
        "naar": said["naar"],
        "reden": said["toelichting"],
        "klantnummer": said["klantnummer"],
    }
    body = msgspec.json.encode({name: value for name, value in answer.items() if value})
    found = parse_answer(body)
    if not isinstance(found, list):
        return body
    wrong = set(map(_field, found))
    return {field: message for field, message in _MESSAGES.items() if field in wrong}


def _per_claim(ticked: Sequence[str], claims: Sequence[str], until: str) -> list[dict[str, str]]:
    """The decision per claim; none where nothing was ticked: then `toelichting` says which."""
    if not set(ticked).intersection(claims):
        return []
    end = {"totEnMet": until} if until else {}
    return [
        {"kenmerk": claim, "soort": str(AnswerKind.PAUSED), **end}
        if claim in ticked
        else {"kenmerk": claim, "soort": str(AnswerKind.NOT_ELIGIBLE)}
        for claim in claims
    ]


def _iso(typed: str) -> str:
    """A date as browsers send it; 31-12-2027 is how people type it. Anything else stays as it is, to be refused."""
    dutch = _DUTCH_DATE.fullmatch(typed)
    return f"{dutch[3]}-{dutch[2]:0>2}-{dutch[1]:0>2}" if dutch else typed


def _field(violation: Violation) -> str:
    name = violation.pad.split("/")[1]
    return _OF_ANSWER.get(name, name)
