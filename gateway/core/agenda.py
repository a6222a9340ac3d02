"""What the clock causes in a dossier, and when.

`review` lists everything that time may ever cause in a case as it stands, each with the instant from which it is due
and a mark; what is marked has been done and is struck off. What is due is returned in the order in which it became
due, so that after a standstill things happen in their order; the earliest of the rest is when to look again.

| due                                              | causes                                                         |
|--------------------------------------------------|----------------------------------------------------------------|
| 4 hours without hand-over                        | event bezorging-vertraagd                                      |
| 24 hours without hand-over                       | a task                                                         |
| the answer term (working days from hand-over)    | one reminder                                                   |
| the reminder's term, or a reminder that is lost  | event antwoord-verlopen, a task, nothing is waited for any more |
| every creditor has the kennisgeving, has decided | event dossier-volledig, once for each version                  |
| a claim was transferred to an agent we know      | the agent is told                                              |
| so long after the latest news (60 days)          | event voortgang-verschuldigd, and again                        |
| 30 and 14 days before a pause ends, and its end  | events pauze-loopt-af and pauze-geeindigd                      |
| the cause of a task went away                    | the task is closed, with the reason                            |

Terms that are counted in days end in the early morning of the day after, at a moment between six and eight that is each
dossier's own: not everything at midnight.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zlib import crc32

from msgspec import Struct, field

from gateway.core.answer import AnswerKind
from gateway.core.case import Case, Delivery, Pause, Thread, is_over
from gateway.core.creditor import Creditor
from gateway.core.deadlines import AMSTERDAM, Duration, add_working_days, after, day_of
from gateway.core.lane import SECOND
from gateway.core.lifecycle import State
from gateway.core.outcome import Proof
from gateway.core.task import TaskKind

DELAYED_AFTER = 4 * 3600 * SECOND
TASK_AFTER = 24 * 3600 * SECOND
"""A delivery without progress is reported to the gemeente and to an operator by then (guarantee: the promise)."""
IN_DOUBT_FOR = 120 * SECOND
"""So long the end of an attempt is waited for that was under way when its delivery was withdrawn."""
_SPREAD = 120 * SECOND
_MORNING = time(6)
_MORNING_SPREAD = 7200
NEAR = (30, 14)

Mark = tuple[str, str]
"""(name, subject)"""


class Terms(Struct, frozen=True):
    """What the agenda is made with: settings, the register, days without work."""

    creditor: Callable[[str], Creditor | None]
    closed_days: Collection[date] = ()
    reminder_term: Duration = Duration(5, "werkdagen")
    progress_every: Duration = Duration(60, "dagen")


class Tell(Struct, frozen=True):
    """An event to the sender, about a delivery or about the dossier as a whole; `facts`: its other members."""

    event: str
    about: Delivery | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class Ask(Struct, frozen=True):
    """A task about a delivery."""

    delivery: Delivery
    kind: TaskKind


class Remind(Struct, frozen=True):
    """One reminder of this notice."""

    notice: Delivery


class Expire(Struct, frozen=True):
    """Nothing is waited for any more; `overdue`: the sender is told, and a person."""

    deliveries: tuple[Delivery, ...]
    overdue: Delivery | None = None


class Concur(Struct, frozen=True):
    """The decision given on `decided` counts for this delivery too."""

    delivery: Delivery
    decided: Delivery


class TellAgent(Struct, frozen=True):
    """The claim went to `agent`, who is told what the holder of `notice` was told."""

    notice: Delivery
    agent: str
    principal: str


class Release(Struct, frozen=True):
    """A withdrawal waited for the end of an attempt: the creditor may have the notice, so it is told."""

    delivery: Delivery


class Drop(Struct, frozen=True):
    """The same, but nothing arrived: there is nothing to withdraw."""

    delivery: Delivery


class CloseTask(Struct, frozen=True):
    delivery_id: str
    kind: str
    reason: str


Act = Tell | Ask | Remind | Expire | Concur | TellAgent | Release | Drop | CloseTask


class Item(Struct, frozen=True):
    """Something that is due from `at` on (epoch µs); without a `mark` it does away with its own cause."""

    at: int
    act: Act
    mark: Mark | None = None


class Agenda(Struct, frozen=True):
    """`due`: what to do now, in order; `next_at`: when to look again (epoch µs), None: never."""

    due: tuple[Item, ...]
    next_at: int | None


def first_look(created_at: int, case: str) -> int:
    """When what was made at `created_at` (epoch µs) is reported as delayed, if it is not there by then: until then a
    new dossier has nothing on its agenda."""
    return created_at + DELAYED_AFTER + _spread(case, _SPREAD)


def review(case: Case, now: int, terms: Terms) -> Agenda:
    items = [item for item in _items(case, now, terms) if item.mark is None or item.mark not in case.marks]
    due = sorted((item for item in items if item.at <= now), key=lambda item: item.at)
    return Agenda(tuple(due), min((item.at for item in items if item.at > now), default=None))


def planned(case: Case, now: int, terms: Terms) -> tuple[Item, ...]:
    """What is still to come as things stand, in order."""
    items = [item for item in _items(case, now, terms) if item.at > now and item.mark not in case.marks]
    return tuple(sorted(items, key=lambda item: item.at))


def _items(case: Case, now: int, terms: Terms) -> Iterator[Item]:
    for one in case.deliveries:
        yield from _delays(case, one)
        yield from _withdrawal(case, one)
    for thread in case.threads.values():
        yield from _answers(case, thread, now, terms)
        yield from _transfers(case, thread, now)
        yield from _pause_ends(case, thread)
    yield from _completeness(case, now)
    yield from _progress(case, now, terms)
    yield from _closures(case, now)


# -- hand-over ---------------------------------------------------------------------------------------------------------


def _delays(case: Case, one: Delivery) -> Iterator[Item]:
    if not one.is_open:
        return
    late = first_look(one.created_at, case.id)
    yield Item(late, Tell("bezorging-vertraagd", one), ("bezorging-vertraagd", one.id))
    yield Item(one.created_at + TASK_AFTER, Ask(one, TaskKind.DELAYED), ("bezorging_vertraagd", one.id))


def _withdrawal(case: Case, one: Delivery) -> Iterator[Item]:
    """A withdrawal that waits to know whether there is anything to withdraw."""
    if one.soort != "intrekking" or one.waits_for is None or not one.is_open:
        return
    knows = one.waits_for in case.may_have_arrived or _is_told(case, one)
    if one.waits_for in case.under_way:
        yield Item(one.created_at + IN_DOUBT_FOR, Release(one))
    else:
        yield Item(one.created_at, Release(one) if knows else Drop(one))


def _is_told(case: Case, one: Delivery) -> bool:
    thread = case.threads[one.key]
    return any(notice.handed_over_at for notice in thread.deliveries if notice.soort == "kennisgeving")


# -- answers -----------------------------------------------------------------------------------------------------------


def _answers(case: Case, thread: Thread, now: int, terms: Terms) -> Iterator[Item]:
    waiting = [one for one in thread.answerable if one.awaits_answer and not one.is_repeated]
    unsent = [one for one in thread.answerable if one.soort == "herinnering" and one.is_open]
    decided = thread.decided
    if decided is None and (thread.key[1] is None or not _must_answer(case, thread)):
        decided = case.decision_of(thread.principal)
    if decided is not None:
        yield from _decided(thread, decided, [*waiting, *unsent], now)
        return
    withdrawn = tuple(one for one in waiting if case.is_withdrawn(one))
    in_force = [one for one in waiting if one not in withdrawn]
    if withdrawn:
        yield Item(now, Expire(withdrawn))
    if in_force and thread.ends_on is not None:
        yield Item(morning(thread.ends_on, case.id), Expire(tuple(in_force)))
    elif in_force:
        yield from _silence(case, thread, in_force, terms)


def _must_answer(case: Case, thread: Thread) -> bool:
    """The creditor itself, and an agent that has the claim; other agents are told for their information."""
    return thread.key[1] is None or case.is_transferred(thread.key)


def _decided(thread: Thread, decided: Delivery, open_ones: Iterable[Delivery], now: int) -> Iterator[Item]:
    """What still waits: the decision counts for it where it was given afterwards; else there is nothing to wait for."""
    speaks_for = thread.key[1] is None or decided.key == thread.key
    for one in open_ones:
        if one.id == decided.id:
            continue
        if speaks_for and (decided.decided_at or 0) >= one.created_at:
            yield Item(now, Concur(one, decided))
        elif one.awaits_answer:
            yield Item(now, Expire((one,)))


def _silence(case: Case, thread: Thread, waiting: list[Delivery], terms: Terms) -> Iterator[Item]:
    notices = [one for one in waiting if one.soort == "kennisgeving" and one.handed_over_at]
    if not notices:
        return
    notice = notices[-1]
    term_ends = _answer_due(notice, thread, case.id, terms)
    reminder = thread.reminder_of(notice.id)
    if not _must_answer(case, thread):
        yield Item(term_ends, Expire(tuple(waiting)))
    elif reminder is None:
        yield Item(term_ends, Remind(notice), ("herinnering", notice.id))
    elif not reminder.is_open:
        at = _after_reminder(reminder, case.id, terms) if reminder.awaits_answer else term_ends
        yield Item(at, Expire(tuple(waiting), notice), ("antwoord-verlopen", notice.id))


def _answer_due(notice: Delivery, thread: Thread, case: str, terms: Terms) -> int:
    """The morning after the last working day of the term of who must answer."""
    creditor = terms.creditor(thread.key[0])
    days = creditor.answer_days if creditor else Creditor.answer_days
    return morning(add_working_days(day_of(notice.handed_over_at or 0), days, terms.closed_days), case)


def _after_reminder(reminder: Delivery, case: str, terms: Terms) -> int:
    end = after(_moment(reminder.handed_over_at or 0), terms.reminder_term, terms.closed_days)
    return morning((end.astimezone(AMSTERDAM) - timedelta(microseconds=1)).date(), case)


def _transfers(case: Case, thread: Thread, now: int) -> Iterator[Item]:
    """Whom the claim went to is told once, by whomever it was handed on."""
    told = [one for one in thread.notices if one.is_told] if thread.transfers else []
    if not told or thread.is_withdrawn or case.withdrawn_at is not None:
        return
    for agent in thread.transfers:
        if agent != thread.principal and (agent, thread.principal) not in case.threads:
            mark = ("overgedragen", f"{agent} {thread.principal}")
            said = max(one.decided_at or 0 for one in thread.answerable if one.transferred_to == agent)
            yield Item(min(now, said), TellAgent(told[-1], agent, thread.principal), mark)


# -- the pause ---------------------------------------------------------------------------------------------------------


def _pause_ends(case: Case, thread: Thread) -> Iterator[Item]:
    decided = thread.decided
    refuses = decided is not None and decided.state is State.REFUSED
    moved_on = decided is not None and decided.decision == AnswerKind.TRANSFERRED
    if refuses or moved_on or thread.is_withdrawn or not _must_answer(case, thread):
        return
    told = thread.told_notices
    for pause in thread.pauses():
        yield from _nearing_end(case, thread, told[-1], pause)
        if pause.paused_until is not None:
            mark = ("pauze-geeindigd", _subject(thread, pause, pause.paused_until))
            ended = Tell("pauze-geeindigd", told[-1], {"totEnMet": pause.paused_until.isoformat()})
            yield Item(morning(pause.paused_until, case.id), ended, mark)


def _nearing_end(case: Case, thread: Thread, notice: Delivery, pause: Pause) -> Iterator[Item]:
    """Not where the sender itself ends the pause, nor where the creditor was told later than that."""
    if thread.ends_on is not None:
        return
    until = pause.paused_until or pause.asked_until
    for days in NEAR:
        at = morning(until - timedelta(days=days + 1), case.id)
        if at >= (thread.told_at or 0):
            mark = ("pauze-loopt-af", f"{_subject(thread, pause, until)} {days}")
            facts = {"totEnMet": until.isoformat(), "dagen": days}
            yield Item(at, Tell("pauze-loopt-af", notice, facts), mark)


def _subject(thread: Thread, pause: Pause, until: date) -> str:
    return " ".join([*thread.key[:1], thread.key[1] or "", "+".join(pause.scope), until.isoformat()])


# -- the dossier -------------------------------------------------------------------------------------------------------


def _completeness(case: Case, now: int) -> Iterator[Item]:
    creditors = case.creditors
    if not creditors or case.withdrawn_at is not None:
        return
    latest = [one.latest_notice for one in creditors]
    counts = {
        "schuldeisers": len(creditors),
        "bezorgd": sum(one is not None and one.is_told for one in latest),
        "beantwoord": sum(case.decision_of(one.principal) is not None for one in creditors),
        "mislukt": sum(one is not None and one.state is State.FAILED for one in latest),
    }
    version = case.notice_version
    for stand in ("bezorgd", "beantwoord"):
        if counts["bezorgd"] == counts[stand] == len(creditors):
            facts = {"versie": version, "stand": stand, "aantallen": counts}
            yield Item(now, Tell("dossier-volledig", None, facts), ("dossier-volledig", f"{stand} {version}"))


def _progress(case: Case, now: int, terms: Terms) -> Iterator[Item]:
    """As long as somebody pauses, or is asked to: the first news that is due and not asked for yet, and the next."""
    running = [one for one in case.creditors if one.is_told and not is_over(one, day_of(now))]
    if not running or case.withdrawn_at is not None:
        return
    at = _moment(case.last_news_at)
    while True:
        at = after(at, terms.progress_every, terms.closed_days)
        day = at.astimezone(AMSTERDAM).date()
        mark = ("voortgang-verschuldigd", day.isoformat())
        if mark not in case.marks:
            due = morning(day - timedelta(days=1), case.id)
            yield Item(due, Tell("voortgang-verschuldigd", None, {"versie": case.notice_version}), mark)
            if due > now:
                return


_ARRIVED = frozenset({TaskKind.DELAYED, TaskKind.HELD_UP, TaskKind.OWN_FAULT, TaskKind.RESTORED_UNKNOWN})
_UNDELIVERED = frozenset({TaskKind.GIVEN_UP, TaskKind.REFUSED_BY_CHANNEL, TaskKind.BOUNCED, *_ARRIVED})


def _closures(case: Case, now: int) -> Iterator[Item]:
    """Tasks whose cause went away."""
    by_id = {one.id: one for one in case.deliveries}
    for delivery_id, kind in sorted(case.tasks):
        one = by_id.get(delivery_id)
        reason = one and _reason_to_close(case, one, kind, now)
        if reason:
            yield Item(now, CloseTask(delivery_id, kind, reason))


def _reason_to_close(case: Case, one: Delivery, kind: str, now: int) -> str | None:
    if kind == TaskKind.RESTORED_UNKNOWN and one.is_repeated:  # the repeat is in doubt, whatever the creditor had
        return None
    if kind in _ARRIVED and one.is_told:
        return "alsnog bezorgd"
    if kind in _UNDELIVERED and _is_received(one):
        return "alsnog door de schuldeiser bevestigd"
    if kind in _UNDELIVERED and one.state is State.WITHDRAWN:
        return "het bericht is ingetrokken"
    if kind == TaskKind.ANSWER_OVERDUE and case.decision_of(one.agent_for or one.creditor):
        return "alsnog beantwoord"
    if kind == TaskKind.ANSWER_OVERDUE and is_over(case.threads[one.key], day_of(now)):
        return "de pauze is voorbij"
    return None


def _is_received(one: Delivery) -> bool:
    closed_by_receipt = one.state is State.CLOSED and one.proof >= Proof.RECEIVED
    return closed_by_receipt or one.state in (State.CONFIRMED, State.REFUSED, State.RECEIVED)


# -- moments -----------------------------------------------------------------------------------------------------------


def morning(last_day: date, key: str) -> int:
    """The early morning after `last_day`, at the moment that is `key`'s own (epoch µs)."""
    return _six_o_clock_after(last_day) + _spread(key, _MORNING_SPREAD) * SECOND


@lru_cache(4096)
def _six_o_clock_after(day: date) -> int:
    return int(datetime.combine(day + timedelta(days=1), _MORNING, AMSTERDAM).timestamp()) * SECOND


def _spread(key: str, most: int) -> int:
    return crc32(key.encode()) % most


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / SECOND, AMSTERDAM)
