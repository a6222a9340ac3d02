"""How creditors meet what they are asked, and whom gemeenten reach: from deliveries to figures.

Rules, which agree with those of `core/case.py`:

1. What is counted is a notice: one creditor told in one dossier, in one role (in its own right, or as the agent of
   another). A corrected kennisgeving is the same notice again; what is known of any of its deliveries, or of a reminder
   of one, is known of it. A reminder by itself tells nobody anything.
2. A notice comes to exactly one thing: withdrawn; else the current decision; else silent, when it was handed over;
   else failed, or still under way. Silence is never a pause (domain §2).
3. An answer is in term up to the end of the last of the creditor's working days after the first hand-over. The first
   decision counts for the time, the current one for what it says.
4. Only a binding covenant can be kept or broken, and only where it spoke for a claim in this notice. Kept: a pause not
   shorter than was asked, or the claim handed to an agent, who gets the same request. Broken: refused outright, paused
   in part, or shorter. The other standard reasons (unknown client, settled or stabilised lately) are facts about the
   debtor and count neither way; nor do silence and what was withdrawn.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from statistics import median
from typing import Final

from msgspec import Struct, field

from gateway.core.answer import AnswerKind
from gateway.core.deadlines import add_working_days, day_of, end_of_day
from gateway.core.lifecycle import TOLD, State
from gateway.core.outcome import Proof
from gateway.core.pause import decode_terms

_BREAKS: Final = frozenset({AnswerKind.NO_COOPERATION, AnswerKind.NOT_ELIGIBLE, AnswerKind.PAUSED_IN_PART})
_SECOND = 1_000_000


class Undecided(StrEnum):
    """What a notice without a decision comes to."""

    SILENT = "zonder_antwoord"
    WITHDRAWN = "ingetrokken"
    FAILED = "mislukt"
    UNDER_WAY = "onderweg"


class Sent(Struct, frozen=True):
    """A delivery of a kennisgeving, of a reminder or of an intrekking, as the ledger keeps it. Times in epoch µs."""

    id: str
    message_id: str
    dossier_id: str
    creditor: str
    agent_for: str | None
    soort: str
    state: str
    proof: int
    handed_over_at: int | None
    answered_at: int | None
    decided_at: int | None
    decision: str | None
    paused_until: str | None
    terms: str | None


class Response(Struct, frozen=True):
    """What came of one notice. `bound`: whether a binding covenant spoke for it; None: the ledger does not know.
    `is_shorter`: the pause ends before the last day that was asked."""

    creditor: str
    agent_for: str | None
    outcome: AnswerKind | Undecided
    was_told: bool
    is_received: bool
    is_decided: bool
    handed_over_at: int | None = None
    answered_at: int | None = None
    bound: bool | None = None
    is_shorter: bool = False


class Expectation(Struct, frozen=True):
    """What may be expected of a creditor: an answer within `answer_days`, a pause where its covenant is binding."""

    answer_days: int
    is_binding: bool


def response_to(sent: Sequence[Sent]) -> Response:
    """What the deliveries of one notice say together. `sent`: at least one, all of one creditor in one dossier and
    role, in the order in which they were made."""
    notices = [one for one in sent if one.soort == "kennisgeving" and one.state != State.WITHDRAWN]
    told = [one for one in notices if one.state in TOLD]
    answerable = [one for one in sent if one.soort != "intrekking"]
    decided = max((one for one in answerable if one.decision), key=lambda one: one.decided_at or 0, default=None)
    asked = _asked([*notices, *([decided] if decided else [])])
    return Response(
        creditor=sent[0].creditor,
        agent_for=sent[0].agent_for,
        outcome=_outcome(sent, notices, decided, bool(told)),
        was_told=bool(told) or decided is not None,
        is_received=decided is not None or any(one.proof >= Proof.RECEIVED for one in answerable if one.state in TOLD),
        is_decided=decided is not None,
        handed_over_at=_first(one.handed_over_at for one in told),
        answered_at=_first(one.answered_at for one in answerable),
        bound=None if asked is None else asked.is_binding,
        is_shorter=decided is not None and asked is not None and _is_shorter(decided, asked),
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

    def add(self, one: Response, expected: Expectation, now: int, closed: Collection[date] = ()) -> None:
        """`now`: epoch µs. `closed`: further days on which nobody works."""
        self.notices += 1
        self.told += one.was_told
        self.received += one.is_received
        self.answered += one.is_decided
        self.outcomes[one.outcome] += 1
        self._add_time(one, due_at(one.handed_over_at, expected.answer_days, closed), now)
        is_bound = expected.is_binding if one.bound is None else one.bound
        if is_bound and one.outcome is not Undecided.WITHDRAWN:
            self._add_adherence(one)

    @property
    def median_seconds(self) -> int | None:
        """From hand-over to the first decision."""
        return int(median(self.waits)) if self.waits else None

    def _add_time(self, one: Response, due: int | None, now: int) -> None:
        if one.answered_at is not None:
            is_late = due is not None and one.answered_at >= due
            self.late += is_late
            self.in_term += not is_late
            if one.handed_over_at is not None:
                self.waits.append(max(one.answered_at - one.handed_over_at, 0) // _SECOND)
        elif one.outcome is Undecided.SILENT:
            self.overdue += due is not None and now >= due

    def _add_adherence(self, one: Response) -> None:
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

    def add(self, one: Response) -> None:
        if one.agent_for is not None or one.outcome is Undecided.WITHDRAWN:
            return
        self.creditors += 1
        self.told += one.was_told
        self.answered += one.is_decided
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


def _outcome(
    sent: Sequence[Sent], notices: Sequence[Sent], decided: Sent | None, was_told: bool
) -> AnswerKind | Undecided:
    if not notices or any(one.soort == "intrekking" for one in sent):
        return Undecided.WITHDRAWN
    if decided is not None:
        return AnswerKind(decided.decision or "")
    if was_told:
        return Undecided.SILENT
    return Undecided.FAILED if notices[-1].state == State.FAILED else Undecided.UNDER_WAY


class _Asked(Struct, frozen=True):
    """`until`: the last day that was asked where a covenant binds, else of all."""

    is_binding: bool
    until: date


def _asked(sent: Sequence[Sent]) -> _Asked | None:
    """By the last of these that says. None: the ledger does not know what was asked."""
    return next((_read_terms(one.terms) for one in reversed(sent) if one.terms), None)


@lru_cache(4096)
def _read_terms(text: str) -> _Asked | None:
    terms = decode_terms(text)
    binding = [term for term in terms if term.is_binding]
    return _Asked(bool(binding), max(term.until for term in binding or terms)) if terms else None


def _is_shorter(decided: Sent, asked: _Asked) -> bool:
    """A pause without an end is the pause that was asked."""
    if decided.decision != AnswerKind.PAUSED or decided.paused_until is None:
        return False
    return date.fromisoformat(decided.paused_until) < asked.until


def _first(moments: Iterable[int | None]) -> int | None:
    return min((at for at in moments if at is not None), default=None)
