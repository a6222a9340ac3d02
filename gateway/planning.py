"""Planning a batch: what each message means for the ledger, given what the ledger knows; rows are built and sealed.

Called inside the batch's transaction, with the dossiers under lock. It works on `Known` as on a book: what one message
of the batch adds, the next one sees.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import date, timedelta

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from gateway.core.agenda import first_look
from gateway.core.case import Delivery, Key, Thread, threads_of
from gateway.core.creditor import Creditor, Term
from gateway.core.deadlines import day_of
from gateway.core.errors import Code, Violation
from gateway.core.lifecycle import State
from gateway.core.notice import CaseMessage, CreditorRef, Ending, Extension, Notice, Sender, Withdrawal
from gateway.core.pause import PauseTerm, terms_of
from gateway.core.retry import Policy, give_up_at
from gateway.core.route import (
    Addressee,
    Routing,
    overtaken,
    predecessor,
    route_follow_up,
    route_notice,
    unchanged,
)
from gateway.core.task import GUIDES, TaskKind
from gateway.core.validate import Valid
from gateway.core.view import make_view, view_digest
from gateway.events import Events
from gateway.ids import uuid7
from gateway.keys import Keys
from gateway.ledger.deliveries import new_row
from gateway.ledger.intake import DossierRow, Kept, Known, Writes
from gateway.ledger.pause_requests import Handled
from gateway.ledger.tasks import Task
from gateway.links import Lane, Links
from gateway.refusals import Refusal, refuse
from gateway.seal import Sealer, aad


class Checked(Struct, frozen=True):
    """A message that is right in itself. `body`: its structured CloudEvent, as it is kept."""

    source: str
    event_id: str
    hash: bytes
    sender: Sender
    soort: str
    message: CaseMessage
    body: bytes

    @classmethod
    def of(cls, valid: Valid, sender: Sender, body: bytes) -> "Checked":
        """Raises TypeError for a message that is about no dossier."""
        if not isinstance(valid.message, CaseMessage):
            raise TypeError(valid.soort)
        envelope = valid.envelope
        return cls(envelope.source, envelope.id, valid.content_hash, sender, valid.soort, valid.message, body)

    def refused(self, violations: tuple[Violation, ...], door: str = "intake") -> Refusal:
        """It is right in itself and does not fit what is known."""
        return Refusal(
            door=door,
            sender=self.sender,
            user=None,
            body=self.body,
            violations=violations,
            source=self.source,
            event_id=self.event_id,
            gemeente=self.message.gemeente,
            dossier=self.message.dossier,
            version=self.message.version,
        )


class Planned(Struct):
    """What became of one message."""

    message_id: str = ""
    held: bool = False
    duplicate: bool = False
    violations: tuple[Violation, ...] = ()


class Desk(Struct, frozen=True):
    """What planning needs beside the batch."""

    links: Links
    sealer: Sealer
    keys: Keys
    events: Events
    policy: Policy
    closed_days: Collection[date]
    gap_wait: int
    """µs"""
    reread: Callable[[bytes, str], Checked]
    """The checked message behind bytes that were kept, and the OIN of its sender."""


class Planner:
    """One batch at the instant `now` (epoch µs). `writes` holds its rows, `lanes` those that get work."""

    def __init__(self, desk: Desk, known: Known, now: int) -> None:
        self._desk = desk
        self._known = known
        self._now = now
        self._give_up_at = give_up_at(now, desk.policy, desk.closed_days)
        self.writes = Writes(at=now)
        self.lanes: set[Lane] = set()
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
        dossier = self._dossier(message.gemeente, message.dossier)
        hold_until = self._now + self._desk.gap_wait
        kept = self._keep(checked, identifier, dossier, hold_until=hold_until, out_of_order=False)
        self._known.held.setdefault(dossier.id, []).append(kept)
        self._known.held[dossier.id].sort(key=lambda held: held.versie)
        self.holds = True
        return Planned(identifier, held=True)

    def _process_held(self, gemeente: str, kenmerk: str) -> None:
        """What was waiting for the version that has now been processed."""
        self.end_wait(gemeente, kenmerk, now=0)

    def _end_hold(self, kept: Kept, dossier: DossierRow, *, in_order: bool) -> None:
        checked = self._open(kept, dossier)
        violations: tuple[Violation, ...]
        if dossier.versie == 0:
            violations = (Violation("/data/dossierkenmerk", Code.CASE_UNKNOWN, "dit dossier is niet bekend"),)
        else:
            violations = self._process(checked, kept.id, out_of_order=not in_order, kept=True).violations
        if not violations:
            self.writes.released[kept.id] = not in_order
            return
        self.writes.dropped.append(kept.id)
        refuse(self._desk.sealer, self._desk.events, self.writes, self._now, checked.refused(violations, door="wacht"))

    # -- process ----------------------------------------------------------------------------------------------------

    def _process(self, checked: Checked, identifier: str, *, out_of_order: bool, kept: bool = False) -> Planned:
        """Make the deliveries. `kept`: the message itself is in the ledger already."""
        message = checked.message
        known = self._known.dossiers.get((message.gemeente, message.dossier))
        if known is not None and known.withdrawn_at is not None:
            return _after_withdrawal()
        earlier = tuple(self._known.earlier.get(known.id, ())) if known else ()
        routing = self._route(message, known, earlier)
        if routing.violations:
            return Planned(violations=routing.violations)
        dossier = self._dossier(message.gemeente, message.dossier)
        if not kept:
            self._keep(checked, identifier, dossier, hold_until=None, out_of_order=out_of_order)
        if isinstance(message, Notice):
            self._known.notices.setdefault(dossier.id, []).append(_as_kept(checked, identifier, dossier.id))
            self._answer_request(message, identifier)
        dossier.versie = max(dossier.versie, message.version)
        self.writes.versions[dossier.id] = dossier.versie
        notice = message if isinstance(message, Notice) else self._notices(dossier)[-1]
        work = Work(checked, identifier, dossier, notice, earlier, threads_of(earlier))
        self._deliver(work, routing.addressees)
        if isinstance(message, Withdrawal):
            self._withdraw(work, message, routing)
        if known is not None:  # a new one has its first look at its agenda when something may be delayed
            self.writes.nudges.append(dossier.id)
        self._tell(work, routing)
        self._add_tasks(dossier, message, routing)
        return Planned(identifier)

    def _answer_request(self, notice: Notice, identifier: str) -> None:
        """The pause request that this kennisgeving answers waits no longer."""
        if notice.request is not None:
            reason = "De gemeente heeft een kennisgeving gestuurd."
            handled = Handled(identifier, self._now, "gateway", reason)
            self.writes.handled.setdefault((notice.gemeente, notice.request), handled)

    def _route(self, message: CaseMessage, known: DossierRow | None, earlier: tuple[Delivery, ...]) -> Routing:
        register = self._desk.links.register
        notices = self._notices(known)
        refs: dict[str, CreditorRef] = {
            creditor.id: ref
            for notice in notices
            for ref in notice.creditors
            if (creditor := register.find(ref.creditor)) is not None
        }
        if isinstance(message, Notice):
            return route_notice(message, register, earlier, refs)
        return route_follow_up(message, earlier, refs, register)

    def _notices(self, dossier: DossierRow | None) -> list[Notice]:
        """The kennisgevingen of a dossier, oldest first."""
        if dossier is None:
            return []
        opened = (self._open(kept, dossier).message for kept in self._known.notices.get(dossier.id, ()))
        notices = [message for message in opened if isinstance(message, Notice)]
        return sorted(notices, key=lambda notice: notice.version)

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
        if isinstance(message, Notice) and unchanged(addressee.key, digest, work.earlier):
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
        self._write_delivery(one, addressee.creditor, work, msgspec.json.encode(view))
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
            self._tell_withdrawn(one, work)
        if not message.creditors:
            dossier.withdrawn_at = self._now
            self.writes.withdrawn_dossiers.append(dossier.id)

    def _tell_withdrawn(self, one: Delivery, work: "Work") -> None:
        message, dossier = work.checked.message, work.dossier
        self.writes.events.append(
            self._desk.events.make(
                "bezorging-ingetrokken",
                self._now,
                message.gemeente,
                (dossier.id, dossier.key),
                dossierkenmerk=message.dossier,
                versie=one.versie,
                schuldeiser=one.creditor,
                bezorging=one.id,
            )
        )

    def _write_delivery(self, one: Delivery, creditor: Creditor, work: "Work", view: bytes) -> None:
        open_channels = self._desk.links.open_channels(one.creditor) or creditor.channels
        lane = (one.creditor, open_channels[0])
        self.writes.deliveries.append(new_row(one, work.message_id, work.dossier.id, lane[1], self._give_up_at))
        self._write_payload(one.id, "aanzicht", work.dossier, view, one.creditor)
        if one.waits_for is None:
            self.lanes.add(lane)

    # -- rows -------------------------------------------------------------------------------------------------------

    def _dossier(self, gemeente: str, kenmerk: str) -> DossierRow:
        """The dossier's row, made when this is its first message."""
        row = self._known.dossiers.get((gemeente, kenmerk))
        if row is None:
            row = DossierRow(uuid7(self._now), self._desk.keys.new_dossier_key(), 0)
            self._known.dossiers[gemeente, kenmerk] = row
            self.writes.dossiers.append(
                {
                    "id": row.id,
                    "gemeente": gemeente,
                    "kenmerk": kenmerk,
                    "key": row.key,
                    "versie": 0,
                    "created_at": self._now,
                    "review_at": first_look(self._now, row.id),
                }
            )
        return row

    def _keep(
        self, checked: Checked, identifier: str, dossier: DossierRow, *, hold_until: int | None, out_of_order: bool
    ) -> Kept:
        """Write the message itself."""
        message = checked.message
        self.writes.messages.append(
            {
                "id": identifier,
                "source": checked.source,
                "event_id": checked.event_id,
                "dossier_id": dossier.id,
                "versie": message.version,
                "soort": checked.soort,
                "hash": checked.hash,
                "sender_oin": checked.sender.oin,
                "received_at": self._now,
                "hold_until": hold_until,
                "out_of_order": out_of_order,
                "request": message.request if isinstance(message, Notice) else None,
            }
        )
        self._write_payload(identifier, "bericht", dossier, checked.body)
        self._known.identities[checked.source, checked.event_id] = checked.hash
        self._known.versions.setdefault(dossier.id, {})[message.version] = checked.hash
        return _as_kept(checked, identifier, dossier.id, hold_until)

    def _write_payload(self, owner: str, kind: str, dossier: DossierRow, body: bytes, creditor: str = "") -> None:
        self.writes.payloads.append(
            {
                "owner": owner,
                "kind": kind,
                "dossier_id": dossier.id,
                "sealed": self._desk.sealer.seal(dossier.key, body, aad("payload", owner, kind, creditor)),
            }
        )

    def _open(self, kept: Kept, dossier: DossierRow) -> Checked:
        """A message of the ledger or of this batch, as it was checked."""
        if isinstance(kept.checked, Checked):
            return kept.checked
        body = self._desk.sealer.open(dossier.key, kept.sealed, aad("payload", kept.id, "bericht", ""))
        return self._desk.reread(body, kept.sender_oin)

    def _tell(self, work: "Work", routing: Routing) -> None:
        checked, dossier = work.checked, work.dossier
        message = checked.message
        refused = {**dict(routing.refused), **work.refused}
        self.writes.events.append(
            self._desk.events.make(
                "bericht-geaccepteerd",
                self._now,
                message.gemeente,
                (dossier.id, dossier.key),
                dossierkenmerk=message.dossier,
                versie=message.version,
                bericht={"source": checked.source, "id": checked.event_id},
                schuldeisers=[{"schuldeiser": one.creditor, "bezorging": one.id} for one in work.deliveries],
                onbekend=routing.unknown,
                ongewijzigd=work.left_alone(),
                geweigerdVoor=[{"schuldeiser": name, "code": code} for name, code in refused.items()],
            )
        )

    def _add_tasks(self, dossier: DossierRow, message: CaseMessage, routing: Routing) -> None:
        for name in routing.unknown:
            self._task(TaskKind.CREDITOR_UNKNOWN, dossier, message.gemeente, name)
        if isinstance(message, Withdrawal):  # who never heard of the notice need not hear that it is withdrawn
            return
        for creditor in routing.not_told:
            self._task(TaskKind.NOTICE_NOT_DELIVERED, dossier, message.gemeente, creditor)

    def _task(self, kind: TaskKind, dossier: DossierRow, gemeente: str, creditor: str) -> None:
        self.writes.tasks.append(
            Task(
                id=uuid7(self._now),
                soort=kind,
                created_at=self._now,
                detail=GUIDES[kind].detail,
                gemeente=gemeente,
                dossier_id=dossier.id,
                creditor=creditor,
            )
        )

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


def _as_kept(checked: Checked, identifier: str, dossier_id: str, hold_until: int | None = None) -> Kept:
    message = checked.message
    return Kept(identifier, dossier_id, message.version, checked.sender.oin, b"", hold_until, checked)


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
