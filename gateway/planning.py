"""Planning a batch: what each message means for the ledger, given what the ledger knows; rows are built and sealed.

Called inside the batch's transaction, with the dossiers under lock. It works on `Known` as on a book: what one message
of the batch adds, the next one sees.
"""

from collections.abc import Iterable
from datetime import timedelta

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from gateway.book import Book, Checked, Desk, as_kept
from gateway.core.case import Delivery, Key, Thread, threads_of
from gateway.core.creditor import Term
from gateway.core.deadlines import day_of
from gateway.core.errors import Code, Violation
from gateway.core.lifecycle import State
from gateway.core.notice import CaseMessage, CreditorRef, Ending, Extension, Notice, Withdrawal
from gateway.core.pause import PauseTerm, terms_of
from gateway.core.route import (
    Addressee,
    Routing,
    overtaken,
    predecessor,
    route_follow_up,
    route_notice,
    unchanged,
)
from gateway.core.task import TaskKind
from gateway.core.view import make_view, view_digest
from gateway.core.withdrawn import NOBODY, UpTo
from gateway.ids import uuid7
from gateway.ledger.intake import DossierRow, Kept, Known
from gateway.ledger.pause_requests import Handled
from gateway.refusals import refuse


class Planned(Struct):
    """What became of one message."""

    message_id: str = ""
    held: bool = False
    duplicate: bool = False
    violations: tuple[Violation, ...] = ()


class Planner:
    """One batch at the instant `now` (epoch µs). `writes` holds its rows, `lanes` those that get work."""

    def __init__(self, desk: Desk, known: Known, now: int) -> None:
        self._desk = desk
        self._known = known
        self._now = now
        self._book = Book(desk, known, now)
        self.writes = self._book.writes
        self.lanes = self._book.lanes
        self.holds = False

    def plan(self, checked: Checked) -> Planned:
        """Process, hold, or refuse one message, after what the ledger and the batch know."""
        before = self._known.identities.get((checked.source, checked.event_id))
        if before is not None:
            return self._seen(before == checked.hash, Code.OTHER_MESSAGE_SAME_ID, "/id")
        message = checked.message
        dossier = self._known.dossiers.get((message.gemeente, message.dossier))
        if dossier is not None:
            same = self._known.versions.get(dossier.id, {}).get(message.version)
            if same is not None:
                return self._seen(same == checked.hash, Code.VERSION_EXISTS, "/data/versie")
            if dossier.withdrawn_at is not None:
                return _after_withdrawal()
        if message.version == 1 and not isinstance(message, Notice):
            return _refused(Code.FIRST_VERSION_NO_NOTICE, "/data/versie", "versie 1 moet een kennisgeving zijn")
        expected = (dossier.versie if dossier else 0) + 1
        if message.version > expected:
            return self._hold(checked)
        planned = self._process(checked, uuid7(self._now), out_of_order=message.version < expected)
        if not planned.violations:
            self._process_held(message.gemeente, message.dossier)
        return planned

    def end_wait(self, gemeente: str, kenmerk: str, now: int) -> None:
        """Held messages of a dossier whose time is over are processed though a version is missing, in order; where
        there is no dossier still, they are refused."""
        dossier = self._known.dossiers.get((gemeente, kenmerk))
        if dossier is None:
            return
        for kept in list(self._known.held.get(dossier.id, ())):
            follows = dossier.versie > 0 and kept.versie == dossier.versie + 1
            if follows or (kept.hold_until or 0) <= now:
                self._known.held[dossier.id].remove(kept)
                self._end_hold(kept, dossier, in_order=follows)

    # -- hold -------------------------------------------------------------------------------------------------------

    def _hold(self, checked: Checked) -> Planned:
        """A version before this one is missing: wait for it."""
        identifier = uuid7(self._now)
        message = checked.message
        dossier = self._book.dossier(message.gemeente, message.dossier)
        hold_until = self._now + self._desk.gap_wait
        kept = self._book.keep(checked, identifier, dossier, hold_until=hold_until, out_of_order=False)
        self._known.held.setdefault(dossier.id, []).append(kept)
        self._known.held[dossier.id].sort(key=lambda held: held.versie)
        self.holds = True
        return Planned(identifier, held=True)

    def _process_held(self, gemeente: str, kenmerk: str) -> None:
        """What was waiting for the version that has now been processed."""
        self.end_wait(gemeente, kenmerk, now=0)

    def _end_hold(self, kept: Kept, dossier: DossierRow, *, in_order: bool) -> None:
        checked = self._book.open(kept, dossier)
        violations: tuple[Violation, ...]
        if dossier.versie == 0:
            violations = (Violation("/data/dossierkenmerk", Code.CASE_UNKNOWN, "dit dossier is niet bekend"),)
        else:
            violations = self._process(checked, kept.id, out_of_order=not in_order, kept=kept).violations
        if not violations:
            self.writes.released[kept.id] = not in_order
            return
        self.writes.dropped.append(kept.id)
        refuse(self._desk.sealer, self._desk.events, self.writes, self._now, checked.refused(violations, door="wacht"))

    # -- process ----------------------------------------------------------------------------------------------------

    def _process(self, checked: Checked, identifier: str, *, out_of_order: bool, kept: Kept | None = None) -> Planned:
        """Make the deliveries. `kept`: the message itself, where it is in the ledger already."""
        message = checked.message
        known = self._known.dossiers.get((message.gemeente, message.dossier))
        if known is not None and known.withdrawn_at is not None:
            return _after_withdrawal()
        earlier = tuple(self._known.earlier.get(known.id, ())) if known else ()
        up_to = self._up_to(message, known)
        routing = self._route(message, known, earlier, up_to)
        if routing.violations:
            return Planned(violations=routing.violations)
        dossier = self._book.dossier(message.gemeente, message.dossier)
        if kept is None:
            self._book.keep(checked, identifier, dossier, hold_until=None, out_of_order=out_of_order)
        if isinstance(message, Notice):
            self._known.notices.setdefault(dossier.id, []).append(as_kept(checked, identifier, dossier.id, self._now))
            self._answer_request(message, identifier)
        dossier.versie = max(dossier.versie, message.version)
        self.writes.versions[dossier.id] = dossier.versie
        notice = message if isinstance(message, Notice) else self._book.notices(dossier)[-1]
        lost_by = self._lost_by(kept.received_at if kept else checked.queued_at)
        work = Work(checked, identifier, dossier, notice, earlier, threads_of(earlier, up_to), lost_by)
        self._deliver(work, routing.addressees)
        if isinstance(message, Withdrawal):
            self._withdraw(work, message, routing)
        if known is not None:  # a new one has its first look at its agenda when something may be delayed
            self.writes.nudges.append(dossier.id)
        self._tell(work, routing)
        self._add_tasks(dossier, message, routing)
        return Planned(identifier)

    def _lost_by(self, waited_since: int | None) -> str | None:
        """The restore since which nobody knows whether a message was processed before; `waited_since`: since when it is
        in the ledger (epoch µs), None: it comes from outside now."""
        gap = self._known.gap
        return gap.act if gap is not None and waited_since is not None and gap.may_hide(waited_since) else None

    def _answer_request(self, notice: Notice, identifier: str) -> None:
        """The pause request that this kennisgeving answers waits no longer."""
        if notice.request is not None:
            reason = "De gemeente heeft een kennisgeving gestuurd."
            handled = Handled(identifier, self._now, "gateway", reason)
            self.writes.handled.setdefault((notice.gemeente, notice.request), handled)

    def _up_to(self, message: CaseMessage, known: DossierRow | None) -> UpTo:
        """What was withdrawn for some. It may be withdrawn once more: who turned out to have it hears of it then."""
        if known is None or isinstance(message, Withdrawal):
            return NOBODY
        return self._known.withdrawn.get(known.id, NOBODY)

    def _route(
        self, message: CaseMessage, known: DossierRow | None, earlier: tuple[Delivery, ...], up_to: UpTo
    ) -> Routing:
        register = self._desk.links.register
        notices = self._book.notices(known)
        refs: dict[str, CreditorRef] = {
            creditor.id: ref
            for notice in notices
            for ref in notice.creditors
            if (creditor := register.find(ref.creditor)) is not None
        }
        if isinstance(message, Notice):
            return route_notice(message, register, earlier, refs, up_to)
        return route_follow_up(message, earlier, refs, register, up_to)

    def _deliver(self, work: "Work", addressees: Iterable[Addressee]) -> None:
        """A delivery for each addressee to whom the message says something new and allowed."""
        for addressee in addressees:
            thread = work.thread(addressee.key)
            terms = self._terms(work, addressee, thread)
            if terms is None:
                work.refused.setdefault(thread.principal, Code.PAUSE_TOO_LONG)
            elif work.says_nothing_new(addressee, terms):
                work.unchanged.setdefault(thread.principal)
            elif not isinstance(work.checked.message, Withdrawal) or thread.is_told or _was_tried(thread):
                self._deliver_one(work, addressee, thread, terms)
        self._known.earlier.setdefault(work.dossier.id, []).extend(work.deliveries)

    def _deliver_one(self, work: "Work", addressee: Addressee, thread: Thread, terms: tuple[PauseTerm, ...]) -> None:
        message = work.checked.message
        delivery_id = uuid7(self._now)
        view = make_view(
            message,
            addressee.ref,
            addressee.creditor,
            delivery=delivery_id,
            sender=work.checked.sender,
            notice=work.notice,
            told=_first_told(thread, self._now),
            agent_for=self._desk.links.register.by_id.get(addressee.agent_for or ""),
            until=terms[0].until if isinstance(message, Extension) else thread.extended_until,
        )
        digest = view_digest(view)
        if isinstance(message, Notice) and unchanged(addressee.key, digest, thread.notices):
            work.unchanged.setdefault(thread.principal)
            return
        withdraws = isinstance(message, Withdrawal)
        one = Delivery(
            id=delivery_id,
            creditor=addressee.creditor.id,
            agent_for=addressee.agent_for,
            soort=work.checked.soort,
            versie=message.version,
            state=State.QUEUED,
            created_at=self._now,
            view_digest=digest,
            waits_for=_under_way(thread) if withdraws else predecessor(addressee.key, work.earlier, self._now),
            terms=terms,
        )
        self._book.deliver(one, addressee.creditor, work.message_id, work.dossier, msgspec.json.encode(view))
        if work.lost_by is not None:
            one = self._book.doubt(one, work.dossier, message.gemeente, work.lost_by)
        work.deliveries.append(one)

    def _terms(self, work: "Work", addressee: Addressee, thread: Thread) -> tuple[PauseTerm, ...] | None:
        """What the message asks about the pause; () where nothing, None: more than may be asked."""
        match work.checked.message:
            case Notice() as notice:
                owner = self._desk.links.register.by_id.get(addressee.agent_for or "") or addressee.creditor
                kinds = [claim.kind for claim in addressee.ref.claims]
                asked = Term(notice.pause.count, notice.pause.unit)
                return terms_of(owner, kinds, notice.pause.starts, asked, day_of(_first_told(thread, self._now)))
            case Extension() as extension:
                return work.thread((thread.principal, None)).longer(extension.until)
            case Ending() as ending:
                last = ending.ends - timedelta(days=1)
                return (PauseTerm(ending.ends, last, last),)
            case _:
                return ()

    def _withdraw(self, work: "Work", message: Withdrawal, routing: Routing) -> None:
        """What was not handed over is never sent."""
        dossier = work.dossier
        concerned = {one.agent_for or one.creditor.id for one in routing.addressees} | set(routing.not_told)
        ended = [one for one in work.earlier if one.is_open and (one.agent_for or one.creditor) in concerned]
        gone = {one.id for one in ended}
        self._known.earlier[dossier.id] = [
            replace(one, state=State.WITHDRAWN) if one.id in gone else one for one in self._known.earlier[dossier.id]
        ]
        self.writes.withdrawn += ended
        self.writes.unrepeated += [
            one.id for one in work.earlier if one.is_repeated and (one.agent_for or one.creditor) in concerned
        ]
        for one in ended:
            about = {"versie": one.versie, "schuldeiser": one.creditor, "bezorging": one.id}
            self._book.tell("bezorging-ingetrokken", message, dossier, **about)
        if message.creditors:
            self._known.withdrawn.setdefault(dossier.id, {}).update(dict.fromkeys(concerned, dossier.versie))
            self.writes.withdrawn_for += [(dossier.id, name, dossier.versie) for name in sorted(concerned)]
        else:
            dossier.withdrawn_at = self._now
            self.writes.withdrawn_dossiers.append(dossier.id)

    def _tell(self, work: "Work", routing: Routing) -> None:
        checked = work.checked
        refused = {**dict(routing.refused), **work.refused}
        self._book.tell(
            "bericht-geaccepteerd",
            checked.message,
            work.dossier,
            versie=checked.message.version,
            bericht={"source": checked.source, "id": checked.event_id},
            schuldeisers=[{"schuldeiser": one.creditor, "bezorging": one.id} for one in work.deliveries],
            onbekend=routing.unknown,
            ongewijzigd=work.left_alone(),
            geweigerdVoor=[{"schuldeiser": name, "code": code} for name, code in refused.items()],
        )

    def _add_tasks(self, dossier: DossierRow, message: CaseMessage, routing: Routing) -> None:
        for name in routing.unknown:
            self._book.task(TaskKind.CREDITOR_UNKNOWN, dossier, message.gemeente, name)
        if isinstance(message, Withdrawal):  # who never heard of the notice need not hear that it is withdrawn
            return
        for creditor in routing.not_told:
            self._book.task(TaskKind.NOTICE_NOT_DELIVERED, dossier, message.gemeente, creditor)

    @staticmethod
    def _seen(same: bool, code: Code, path: str) -> Planned:
        if same:
            return Planned(duplicate=True)
        return _refused(code, path, "hier is al een bericht met andere inhoud voor ontvangen")


def _refused(code: Code, path: str, why: str) -> Planned:
    return Planned(violations=(Violation(path, code, why),))


def _after_withdrawal() -> Planned:
    why = "de kennisgeving van dit dossier is ingetrokken"
    return _refused(Code.AFTER_WITHDRAWAL, "/data/dossierkenmerk", why)


class Work(Struct):
    """One message being planned: what is known of its dossier, and what the message comes to so far: deliveries, and
    creditors for whom it says nothing new, or is refused, in order."""

    checked: Checked
    message_id: str
    dossier: DossierRow
    notice: Notice
    """The latest kennisgeving: the message itself where it is one."""
    earlier: tuple[Delivery, ...]
    threads: dict[Key, Thread]
    lost_by: str | None = None
    """The restore since which nobody knows whether this message went out before."""
    deliveries: list[Delivery] = field(default_factory=list)
    unchanged: dict[str, None] = field(default_factory=dict)
    refused: dict[str, Code] = field(default_factory=dict)

    def thread(self, key: Key) -> Thread:
        return self.threads.get(key) or Thread(key, ())

    def says_nothing_new(self, addressee: Addressee, terms: tuple[PauseTerm, ...]) -> bool:
        """The pause lasts that long already, or something newer was told."""
        message = self.checked.message
        is_no_longer = isinstance(message, Extension) and not terms
        return is_no_longer or overtaken(addressee.key, self.checked.soort, message.version, self.earlier)

    def left_alone(self) -> list[str]:
        """Creditors that get nothing because it says nothing new, neither to them nor to an agent of theirs."""
        told = {one.agent_for or one.creditor for one in self.deliveries}
        return [name for name in self.unchanged if name not in told and name not in self.refused]


def _first_told(thread: Thread, now: int) -> int:
    """When this addressee was first told (epoch µs): a correction does not lengthen its term."""
    return min((one.created_at for one in thread.notices if one.state is not State.FAILED), default=now)


def _was_tried(thread: Thread) -> bool:
    """A notice that is not handed over may have arrived all the same."""
    return any(one.is_open and one.fence for one in thread.notices)


def _under_way(thread: Thread) -> str | None:
    """A delivery of which it may be open whether it has arrived: the agenda says what comes of it."""
    busy = [one for one in thread.deliveries if one.state is State.BUSY]
    tried = [] if thread.is_told else [one for one in thread.notices if one.is_open and one.fence]
    return (busy or tried)[-1].id if busy or tried else None
