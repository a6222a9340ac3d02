"""How creditors meet what they are asked, and whom gemeenten reach: from deliveries to figures.

Rules:

1. What is counted is a notice: one creditor told in one dossier, in one role (in its own right, or as the agent of
   another). A corrected kennisgeving is the same notice again; what is known of any of its deliveries is known of it.
2. A notice comes to exactly one thing: the current decision; else withdrawn; else silent, when it was handed over;
   else failed, or still under way. Silence is never a pause (domain §2).
3. An answer is in term up to the end of the last of the creditor's working days after the first hand-over. The first
   decision counts for the time, the current one for what it says.
4. Only a binding covenant can be kept or broken. Kept: a pause not shorter than was asked, or the claim handed to an
   agent, who gets the same request. Broken: refused outright, paused in part, or shorter. The other standard reasons
   (unknown client, settled or stabilised lately) are facts about the debtor and count neither way; nor does silence.
5. A reminder is no notice; it counts for nothing here.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct, field

from gateway.core.answer import AnswerKind
from gateway.core.deadlines import add_working_days, day_of, end_of_day
from gateway.core.lifecycle import TOLD, State

REFUSALS: Final = (
    AnswerKind.CLIENT_UNKNOWN,
    AnswerKind.RECENTLY_SETTLED,
    AnswerKind.RECENTLY_STABILISED,
    AnswerKind.NO_COOPERATION,
    AnswerKind.NOT_ELIGIBLE,
)
_BREAKS: Final = frozenset({AnswerKind.NO_COOPERATION, AnswerKind.NOT_ELIGIBLE, AnswerKind.PAUSED_IN_PART})
_WITHDRAWAL = "intrekking"
_SECOND = 1_000_000


class Undecided(StrEnum):
    """What a notice without a decision comes to."""

    SILENT = "zonder_antwoord"
    WITHDRAWN = "ingetrokken"
    FAILED = "mislukt"
    UNDER_WAY = "onderweg"


class Sent(Struct, frozen=True):
    """A delivery of a kennisgeving or an intrekking, as the ledger keeps it. Times in epoch µs."""

    id: str
    message_id: str
    dossier_id: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    state: str
    proof: int
    handed_over_at: int | None
    answered_at: int | None
    decided_at: int | None
    decision: str | None
    paused_until: str | None
    terms: str | None


class Standing(Struct, frozen=True):
    """Where one notice stands. `is_shorter`: the pause ends before the last day that was asked."""

    creditor: str
    agent_for: str | None
    outcome: AnswerKind | Undecided
    was_told: bool
    is_received: bool
    handed_over_at: int | None = None
    answered_at: int | None = None
    is_shorter: bool = False


class Expectation(Struct, frozen=True):
    """What may be expected of a creditor: an answer within `answer_days`, a pause where a covenant is `binding`."""

    answer_days: int
    is_binding: bool


def standing(sent: Sequence[Sent]) -> Standing:
    """What the deliveries of one notice say together. `sent`: at least one, of one creditor in one dossier and role."""
    notices = [one for one in sent if one.soort != _WITHDRAWAL] or sent
    told = [one for one in notices if one.state in TOLD]
    decided = max((one for one in notices if _decision(one)), key=lambda one: one.decided_at or 0, default=None)
    return Standing(
        creditor=sent[0].creditor,
        agent_for=sent[0].agent_for,
        outcome=_undecided(sent, bool(told)) if decided is None else AnswerKind(decided.decision or ""),
        was_told=bool(told),
        is_received=any(one.proof > 1 for one in told),
        handed_over_at=_first(one.handed_over_at for one in told),
        answered_at=None if decided is None else _first(one.answered_at for one in notices),
        is_shorter=decided is not None and _is_shorter(decided),
    )


class Figures(Struct):
    """Of many notices. `in_term` and `late` are fewer than `answered` where the ledger does not know when."""

    notices: int = 0
    told: int = 0
    received: int = 0
    answered: int = 0
    in_term: int = 0
    late: int = 0
    overdue: int = 0
    """Silent, and the term is over."""
    bound: int = 0
    """Under a binding covenant."""
    kept: int = 0
    broken: int = 0
    outcomes: Counter[AnswerKind | Undecided] = field(default_factory=Counter)
    waits: "array[int]" = field(default_factory=lambda: array("q"))
    """Seconds from hand-over to answer."""

    def add(self, one: Standing, expected: Expectation, now: int, closed: Collection[date] = ()) -> None:
        """`now`: epoch µs. `closed`: further days on which nobody works."""
        self.notices += 1
        self.told += one.was_told
        self.received += one.is_received
        self.answered += isinstance(one.outcome, AnswerKind)
        self.outcomes[one.outcome] += 1
        self._add_time(one, due_at(one.handed_over_at, expected.answer_days, closed), now)
        if expected.is_binding:
            self._add_adherence(one)

    @property
    def median_seconds(self) -> int | None:
        """From hand-over to the first decision."""
        return int(median(self.waits)) if self.waits else None

    def _add_time(self, one: Standing, due: int | None, now: int) -> None:
        if one.answered_at is not None:
            is_late = due is not None and one.answered_at >= due
            self.late += is_late
            self.in_term += not is_late
            if one.handed_over_at is not None:
                self.waits.append(max(one.answered_at - one.handed_over_at, 0) // _SECOND)
        elif one.outcome is Undecided.SILENT:
            self.overdue += due is not None and now >= due

    def _add_adherence(self, one: Standing) -> None:
        self.bound += 1
        is_broken = one.outcome in _BREAKS or one.is_shorter
        self.broken += is_broken
        self.kept += not is_broken and one.outcome in (AnswerKind.PAUSED, AnswerKind.TRANSFERRED)


class Coverage(Struct):
    """Whom one gemeente reaches: creditors in their own right, in its dossiers, without what was withdrawn."""

    dossiers: int = 0
    creditors: int = 0
    told: int = 0
    answered: int = 0
    paused: int = 0

    def add(self, one: Standing) -> None:
        if one.agent_for is not None or one.outcome is Undecided.WITHDRAWN:
            return
        self.creditors += 1
        self.told += one.was_told
        self.answered += isinstance(one.outcome, AnswerKind)
        self.paused += one.outcome is AnswerKind.PAUSED


class Adoption(StrEnum):
    """Whether a gemeente uses the gateway."""

    IN_USE = "gebruikt"
    NOT_YET = "nog_niet"
    NEVER_ANNOUNCED = "niet_aangemeld"


def adoption(gemeente: str, in_use: Collection[str], announced: Collection[str]) -> Adoption:
    """`in_use`: a message of theirs was processed; `announced`: a sender may speak for them."""
    if gemeente in in_use:
        return Adoption.IN_USE
    return Adoption.NOT_YET if gemeente in announced else Adoption.NEVER_ANNOUNCED


def due_at(handed_over_at: int | None, answer_days: int, closed: Collection[date] = ()) -> int | None:
    """Epoch µs from which an answer is late; None: nothing was asked yet."""
    if handed_over_at is None:
        return None
    return _end_of_term(day_of(handed_over_at), answer_days, frozenset(closed))


@lru_cache(4096)
def _end_of_term(day: date, answer_days: int, closed: frozenset[date]) -> int:
    return int(end_of_day(add_working_days(day, answer_days, closed)).timestamp()) * _SECOND


def _undecided(sent: Sequence[Sent], was_told: bool) -> Undecided:
    newest = max(sent, key=lambda one: one.versie)
    if newest.soort == _WITHDRAWAL or (newest.state == State.WITHDRAWN and not was_told):
        return Undecided.WITHDRAWN
    if was_told:
        return Undecided.SILENT
    return Undecided.FAILED if newest.state == State.FAILED else Undecided.UNDER_WAY


def _decision(one: Sent) -> bool:
    return one.decision is not None and one.decision != AnswerKind.RECEIVED


def _is_shorter(one: Sent) -> bool:
    """A pause without an end is the pause that was asked; so is one of which nobody knows what was asked."""
    if one.decision != AnswerKind.PAUSED or one.paused_until is None or one.terms is None:
        return False
    asked = _last_day_asked(one.terms)
    return asked is not None and one.paused_until < asked


class _Term(Struct):
    until: str | None = None


_terms = msgspec.json.Decoder(list[_Term])


@lru_cache(4096)
def _last_day_asked(terms: str) -> str | None:
    return max((term.until for term in _terms.decode(terms) if term.until), default=None)


def _first(moments: Iterable[int | None]) -> int | None:
    return min((at for at in moments if at is not None), default=None)
