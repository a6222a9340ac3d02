"""A dossier as it stands: per creditor what it was told, what it has, what it decided, and until when it pauses.

All of it follows from what is on record, whatever the order in which it came. The rules:

1. A *thread* is everything of one dossier that went to one addressee: a creditor in its own right, or an agent that
   acts for one. Its notices are the kennisgevingen in it, and the reminders of these.
2. Four facts stay apart: handed over, received, decided, paused. Silence is never a pause.
3. The current decision of a thread is the latest authenticated one; earlier ones stay on record. An agent may decide
   for its principal as long as the principal is silent. A decision about some claims (`pauze_gedeeltelijk`) leaves
   what an earlier one said of others (`answer.claims_decided`); any other decision is about all of them.
4. "Paused until" comes from an answer, or from a binding covenant once the creditor has received the notice; otherwise
   a pause is only "asked until". An answer that names no day means the day that was asked.
5. The latest kennisgeving (by version) says what is asked; extensions lengthen it, a second term after a saldo-opgave
   too; the latest ending cuts it off on the day before `per`, unless a later message reaches beyond it.
6. A claim that was transferred (`overgedragen`) is paused by whoever has it now: the agent's own thread says so.
"""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.answer import AnswerKind, meaning_of
from gateway.core.deadlines import day_of
from gateway.core.lifecycle import AWAITING_ANSWER, SETTLED, TOLD, State
from gateway.core.outcome import Proof
from gateway.core.pause import PauseTerm
from gateway.core.withdrawn import MARK, NOBODY, UpTo, up_to

Key = tuple[str, str | None]
"""(creditor id, id of the creditor it acts for): a creditor in its own right, or as an agent."""

NOTICES = frozenset({"kennisgeving", "herinnering"})


class Delivery(Struct, frozen=True):
    """One message to one addressee, as far as the story of its dossier needs it. Instants: epoch µs."""

    id: str
    creditor: str
    soort: str
    versie: int
    state: State
    created_at: int
    agent_for: str | None = None
    fence: int = 0
    """How often it was claimed, or put back with a backup; 0: nobody has tried it."""
    proof: int = 0
    view_digest: bytes = b""
    waits_for: str | None = None
    handed_over_at: int | None = None
    received_at: int | None = None
    decided_at: int | None = None
    decision: str | None = None
    paused_until: date | None = None
    transferred_to: str | None = None
    balance_on: date | None = None
    reminds: str | None = None
    terms: tuple[PauseTerm, ...] = ()
    stands: State | None = None
    """Set while it is sent again: what it stays all the while, and `state` says too."""

    @property
    def is_repeated(self) -> bool:
        return self.stands is not None

    @property
    def key(self) -> Key:
        return self.creditor, self.agent_for

    @property
    def is_open(self) -> bool:
        """Still to be handed over."""
        return self.state not in SETTLED

    @property
    def is_told(self) -> bool:
        return self.state in TOLD

    @property
    def awaits_answer(self) -> bool:
        return self.state in AWAITING_ANSWER

    @property
    def is_lost(self) -> bool:
        """Withdrawn or given up: the creditor does not have it."""
        return self.state in (State.WITHDRAWN, State.FAILED)


class Thread:
    """Everything of one dossier to one addressee, by version and then by age.

    `principal`: the creditor whose claims it is about; `withdrawn_to`: the version up to which all was withdrawn;
    `notices`: kennisgevingen that were not withdrawn; `answerable`: whatever asks for an answer.
    """

    def __init__(self, key: Key, deliveries: tuple[Delivery, ...], withdrawn_to: int = 0) -> None:
        self.key = key
        self.principal = key[1] or key[0]
        self.deliveries = deliveries
        self.withdrawn_to = withdrawn_to
        self._by_soort: dict[str, list[Delivery]] = {}
        for one in deliveries:
            self._by_soort.setdefault(one.soort, []).append(one)
        kennisgevingen = self._of("kennisgeving")
        sent = [one for one in kennisgevingen if one.state is not State.WITHDRAWN]
        self.notices = [one for one in sent if one.versie > withdrawn_to]
        self.answerable = [*kennisgevingen, *self._of("herinnering")]
        self.is_withdrawn = bool(self._of("intrekking")) or bool(kennisgevingen and not self.notices)
        self.decided = max((one for one in self.answerable if one.decision), key=_when_decided, default=None)
        """The delivery that holds the current decision."""
        self.told_at = min((one.handed_over_at for one in sent if one.handed_over_at), default=None)
        self.received_at = min((one.received_at for one in self.answerable if one.received_at), default=None)
        """First proof (level 2) that this addressee has a notice."""
        self._pauses: tuple[Pause, ...] | None = None

    @property
    def latest_notice(self) -> Delivery | None:
        return self.notices[-1] if self.notices else None

    @property
    def is_told(self) -> bool:
        return any(one.is_told for one in self.notices)

    @property
    def told_notices(self) -> list[Delivery]:
        """Those that asked for a pause, in order."""
        return [one for one in self.notices if one.is_told and one.terms]

    @property
    def balance_on(self) -> date | None:
        return max((one.balance_on for one in self.answerable if one.balance_on), default=None)

    @property
    def transfers(self) -> tuple[str, ...]:
        """Agents that the register knows and to whom claims of this thread went."""
        return tuple(dict.fromkeys(one.transferred_to for one in self.answerable if one.transferred_to))

    def reminder_of(self, notice: str) -> Delivery | None:
        return next((one for one in self._of("herinnering") if one.reminds == notice), None)

    def _of(self, soort: str) -> list[Delivery]:
        return self._by_soort.get(soort, [])

    # -- the pause ---------------------------------------------------------------------------------------------------

    @property
    def ends_on(self) -> date | None:
        """The last day that an ending leaves, where one is in force (rule 5)."""
        endings = [one for one in self._of("beeindiging") if not one.is_lost and one.terms]
        if not endings:
            return None
        ending = endings[-1]
        last = ending.terms[0].until
        later = [one for one in (*self.notices, *self._extensions()) if one.versie > ending.versie]
        return None if any(term.until > last for one in later for term in one.terms) else last

    def pauses(self) -> tuple["Pause", ...]:
        """One for each part of the claims; none as long as nothing was told, nor after a withdrawal."""
        if self._pauses is None:
            told = [] if self.is_withdrawn else self.told_notices
            self._pauses = tuple(map(self._pause, told[-1].terms)) if told else ()
        return self._pauses

    def _pause(self, term: PauseTerm) -> "Pause":
        received = day_of(self.received_at) if self.received_at else None
        asked = max(
            [
                term.until_when(received),
                *(longer.until for one in self._extensions() for longer in one.terms if longer.scope == term.scope),
            ]
        )
        asked = max(asked, term.second_until(self.balance_on) or asked)
        if self.ends_on is not None:
            asked = min(asked, self.ends_on)
        return Pause(term.scope, term.starts, asked, self._paused_until(term, asked), term.is_binding)

    def longer(self, until: date) -> tuple[PauseTerm, ...] | None:
        """The parts of its claims for which an extension up to `until` asks a longer pause; None: it lies beyond every
        term (domain: pause terms, rule 5 of `core/pause.py`)."""
        notice = self.latest_notice
        terms = notice.terms if notice else ()
        told = day_of(self.told_at or (notice.created_at if notice else 0))
        received = day_of(self.received_at) if self.received_at else None
        within = [term for term in terms if until <= term.reach(told, received, self.balance_on)]
        if terms and not within:
            return None
        return tuple(replace(term, until=until, asked=until) for term in within if until > self._asked_for(term))

    def _asked_for(self, term: PauseTerm) -> date:
        """The last day asked so far for a part, also by what is still on its way."""
        longer = [one for one in self._of("verlenging") if not one.is_lost]
        return max([term.until, *(other.until for one in longer for other in one.terms if other.scope == term.scope)])

    @property
    def extended_until(self) -> date | None:
        """The last day of an extension that is in force, or on its way."""
        if self.ends_on is not None:
            return None
        longer = [one for one in self._of("verlenging") if not one.is_lost]
        return max((term.until for one in longer for term in one.terms), default=None)

    def _extensions(self) -> tuple[Delivery, ...]:
        return tuple(one for one in self._of("verlenging") if one.is_told)

    def _paused_until(self, term: PauseTerm, asked: date) -> date | None:
        decided = self.decided
        if decided is None:
            return asked if term.is_binding and self.received_at is not None else None
        if decided.decision not in (AnswerKind.PAUSED, AnswerKind.PAUSED_IN_PART):
            return None
        named = decided.paused_until
        extended = self._extended_since(decided, term)
        until = named if named is not None and not extended else asked
        return min(until, self.ends_on) if self.ends_on else until

    def _extended_since(self, decided: Delivery, term: PauseTerm) -> bool:
        """A binding covenant carries an extension or a second term of which the creditor knows after its answer."""
        known = [one for one in self._extensions() if one.proof >= Proof.RECEIVED and one.versie > decided.versie]
        return term.is_binding and (bool(known) or term.second_until(self.balance_on) is not None)


class Pause(Struct, frozen=True):
    """How it stands with the pause of one part of a creditor's claims; dates are inclusive.

    `paused_until` None: it was only asked for, or refused. `scope` empty: all claims, or the others.
    """

    scope: tuple[str, ...]
    starts: date
    asked_until: date
    paused_until: date | None
    is_binding: bool


class Standing(StrEnum):
    """Where one creditor stands, in one word."""

    NOT_TOLD = "niet_bezorgd"
    ASKED = "gevraagd"
    PAUSED = "gepauzeerd"
    PAUSED_IN_PART = "gedeeltelijk_gepauzeerd"
    REFUSED = "geweigerd"
    TRANSFERRED = "overgedragen"
    WITHDRAWN = "ingetrokken"


class Case:
    """One dossier. `last_news_at`: when the sender last had something told to all; `marks`: (name, subject) of what the
    clock has caused, and of what was withdrawn for some; `tasks`: (delivery id, soort) of those that are open;
    `under_way`: withdrawn deliveries with an attempt of which the end is not known; `may_have_arrived`: those with one
    that was handed over, or in doubt, and those that were in doubt after a restore."""

    def __init__(
        self,
        id: str,  # noqa: A002 - as everywhere
        deliveries: tuple[Delivery, ...],
        *,
        withdrawn_at: int | None = None,
        last_news_at: int = 0,
        notice_version: int = 0,
        marks: frozenset[tuple[str, str]] = frozenset(),
        tasks: frozenset[tuple[str, str]] = frozenset(),
        under_way: frozenset[str] = frozenset(),
        may_have_arrived: frozenset[str] = frozenset(),
    ) -> None:
        self.id = id
        self.deliveries = deliveries
        self.withdrawn_at = withdrawn_at
        self.last_news_at = last_news_at
        self.notice_version = notice_version
        self.marks = marks
        self.tasks = tasks
        self.under_way = under_way
        self.may_have_arrived = may_have_arrived
        self.threads = threads_of(deliveries, up_to(subject for name, subject in marks if name == MARK))
        self._families: dict[str, list[Thread]] = {}
        for thread in self.threads.values():
            self._families.setdefault(thread.principal, []).append(thread)

    @property
    def creditors(self) -> list[Thread]:
        """Those in their own right who have a kennisgeving, or are to get one."""
        own = [one for key, one in self.threads.items() if key[1] is None]
        return [one for one in own if one.notices and not one.is_withdrawn]

    def is_withdrawn(self, one: Delivery) -> bool:
        """Nothing is waited for on it any more."""
        thread = self.threads[one.key]
        return self.withdrawn_at is not None or thread.is_withdrawn or one.versie <= thread.withdrawn_to

    def family(self, principal: str) -> list[Thread]:
        """A creditor's own thread and those of the agents that act for it."""
        return self._families.get(principal, [])

    def decision_of(self, principal: str) -> Delivery | None:
        """The creditor's own, else the latest one of an agent (rule 3)."""
        own = self.threads.get((principal, None))
        if own is not None and own.decided is not None:
            return own.decided
        of_agents = [one.decided for one in self.family(principal) if one.decided]
        return max(of_agents, key=_when_decided, default=None)

    def is_transferred(self, key: Key) -> bool:
        """This agent has the claim now."""
        agent, principal = key
        return principal is not None and any(agent in one.transfers for one in self.family(principal))


def _when_decided(one: Delivery) -> tuple[int, str]:
    return one.decided_at or 0, one.id


def threads_of(deliveries: Iterable[Delivery], withdrawn: UpTo = NOBODY) -> dict[Key, Thread]:
    by_key: dict[Key, list[Delivery]] = {}
    for one in deliveries:
        by_key.setdefault(one.key, []).append(one)
    return {
        key: Thread(key, tuple(sorted(ones, key=_by_version)), withdrawn.get(key[1] or key[0], 0))
        for key, ones in by_key.items()
    }


def _by_version(one: Delivery) -> tuple[int, str]:
    return one.versie, one.id


def standing_of(thread: Thread, decided: Delivery | None) -> Standing:
    """`decided`: what counts as its decision, which may be an agent's."""
    if thread.is_withdrawn:
        return Standing.WITHDRAWN
    if decided is not None and decided.decision is not None:
        kind = AnswerKind(decided.decision)
        if kind is AnswerKind.TRANSFERRED:
            return Standing.TRANSFERRED
        if meaning_of(kind) == "refuses":
            return Standing.REFUSED
        return Standing.PAUSED_IN_PART if kind is AnswerKind.PAUSED_IN_PART else Standing.PAUSED
    if not thread.is_told:
        return Standing.NOT_TOLD
    return Standing.PAUSED if any(pause.paused_until for pause in thread.pauses()) else Standing.ASKED


def is_over(thread: Thread, today: date) -> bool:
    """No pause of it runs any more, and none is asked."""
    last = [max(pause.asked_until, pause.paused_until or pause.asked_until) for pause in thread.pauses()]
    return bool(last) and max(last) < today
