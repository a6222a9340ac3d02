"""Planning a batch: what each message means for the ledger, given what the ledger knows; rows are built and sealed.

Called inside the batch's transaction, with the dossiers under lock. It works on `Known` as on a book: what one message
of the batch adds, the next one sees.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import date

import msgspec
from msgspec import Struct

from gateway.core.errors import Code, Violation
from gateway.core.lifecycle import State
from gateway.core.notice import CreditorRef, Notice, Progress, Sender
from gateway.core.retry import Policy, give_up_at
from gateway.core.route import Addressee, Earlier, Routing, predecessor, route_notice, route_progress, unchanged
from gateway.core.task import GUIDES, TaskKind
from gateway.core.validate import Valid
from gateway.core.view import make_view, view_digest
from gateway.events import Events
from gateway.ids import uuid7
from gateway.keys import Keys
from gateway.ledger.intake import DossierRow, Kept, Known, Writes
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
    message: Notice | Progress
    body: bytes

    @classmethod
    def of(cls, valid: Valid, sender: Sender, body: bytes) -> "Checked":
        """Raises TypeError for a kind of message that is not carried out yet; `check` has refused those."""
        if not isinstance(valid.message, Notice | Progress):
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
        self.writes = Writes()
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
        earlier = tuple(self._known.earlier.get(known.id, ())) if known else ()
        routing, not_told = self._route(message, known, earlier)
        if routing.violations:
            return Planned(violations=routing.violations)
        dossier = self._dossier(message.gemeente, message.dossier)
        if not kept:
            self._keep(checked, identifier, dossier, hold_until=None, out_of_order=out_of_order)
        if isinstance(message, Notice):
            self._known.notices.setdefault(dossier.id, []).append(_as_kept(checked, identifier, dossier.id))
        dossier.versie = max(dossier.versie, message.version)
        self.writes.versions[dossier.id] = dossier.versie
        delivered, unchanged_ids = self._deliver(checked, identifier, dossier, routing.addressees, earlier)
        self._tell(checked, dossier, delivered, routing.unknown, unchanged_ids)
        self._add_tasks(dossier, message.gemeente, routing.unknown, not_told)
        return Planned(identifier)

    def _route(
        self, message: Notice | Progress, known: DossierRow | None, earlier: tuple[Earlier, ...]
    ) -> tuple[Routing, tuple[str, ...]]:
        register = self._desk.links.register
        if isinstance(message, Notice):
            return route_notice(message, register), ()
        notices = self._notices(known)
        refs: dict[str, CreditorRef] = {
            creditor.id: ref
            for notice in notices
            for ref in notice.creditors
            if (creditor := register.find(ref.creditor)) is not None
        }
        return route_progress(message, earlier, refs, register)

    def _notices(self, dossier: DossierRow | None) -> list[Notice]:
        """The kennisgevingen of a dossier, oldest first."""
        if dossier is None:
            return []
        opened = (self._open(kept, dossier).message for kept in self._known.notices.get(dossier.id, ()))
        return [message for message in opened if isinstance(message, Notice)]

    def _deliver(
        self,
        checked: Checked,
        identifier: str,
        dossier: DossierRow,
        addressees: Iterable[Addressee],
        earlier: tuple[Earlier, ...],
    ) -> tuple[list[Earlier], list[str]]:
        """A delivery for each addressee whose view is new; also the ids of those who know it already."""
        message = checked.message
        notice = message if isinstance(message, Notice) else self._notices(dossier)[-1]
        delivered: list[Earlier] = []
        unchanged_ids: list[str] = []
        for addressee in addressees:
            delivery_id = uuid7(self._now)
            told = _first_told(addressee, earlier, self._now)
            view = make_view(
                message,
                addressee.ref,
                addressee.creditor,
                delivery=delivery_id,
                sender=checked.sender,
                notice=notice,
                told=told,
                agent_for=self._desk.links.register.by_id.get(addressee.agent_for or ""),
            )
            digest = view_digest(view)
            if isinstance(message, Notice) and unchanged(addressee.key, digest, earlier):
                unchanged_ids.append(addressee.creditor.id)
                continue
            one = Earlier(
                delivery_id,
                addressee.creditor.id,
                addressee.agent_for,
                checked.soort,
                message.version,
                State.QUEUED,
                self._now,
                digest,
            )
            self._write_delivery(one, addressee, identifier, dossier, msgspec.json.encode(view), earlier)
            delivered.append(one)
        self._known.earlier.setdefault(dossier.id, []).extend(delivered)
        return delivered, unchanged_ids

    def _write_delivery(
        self,
        one: Earlier,
        addressee: Addressee,
        message_id: str,
        dossier: DossierRow,
        view: bytes,
        earlier: tuple[Earlier, ...],
    ) -> None:
        open_channels = self._desk.links.open_channels(one.creditor) or addressee.creditor.channels
        lane = (one.creditor, open_channels[0])
        waits_for = predecessor(addressee.key, earlier, self._now)
        self.writes.deliveries.append(
            {
                "id": one.id,
                "message_id": message_id,
                "dossier_id": dossier.id,
                "creditor": one.creditor,
                "agent_for": one.agent_for,
                "soort": one.soort,
                "versie": one.versie,
                "channel": lane[1],
                "channel_since": self._now,
                "state": one.state,
                "proof": 0,
                "fence": 0,
                "tries": 0,
                "next_action_at": self._now,
                "waits_for": waits_for,
                "created_at": self._now,
                "give_up_at": self._give_up_at,
                "view_digest": one.view_digest,
            }
        )
        self._write_payload(one.id, "aanzicht", dossier, view, one.creditor)
        if waits_for is None:
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

    def _tell(
        self,
        checked: Checked,
        dossier: DossierRow,
        delivered: list[Earlier],
        unknown: tuple[str, ...],
        unchanged_ids: list[str],
    ) -> None:
        message = checked.message
        self.writes.events.append(
            self._desk.events.make(
                "bericht-geaccepteerd",
                self._now,
                message.gemeente,
                (dossier.id, dossier.key),
                dossierkenmerk=message.dossier,
                versie=message.version,
                bericht={"source": checked.source, "id": checked.event_id},
                schuldeisers=[{"schuldeiser": one.creditor, "bezorging": one.id} for one in delivered],
                onbekend=unknown,
                ongewijzigd=unchanged_ids,
                geweigerdVoor=(),
            )
        )

    def _add_tasks(
        self, dossier: DossierRow, gemeente: str, unknown: tuple[str, ...], not_told: tuple[str, ...]
    ) -> None:
        for name in unknown:
            self._task(TaskKind.CREDITOR_UNKNOWN, dossier, gemeente, name)
        for creditor in not_told:
            self._task(TaskKind.NOTICE_NOT_DELIVERED, dossier, gemeente, creditor)

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


def _as_kept(checked: Checked, identifier: str, dossier_id: str, hold_until: int | None = None) -> Kept:
    message = checked.message
    return Kept(identifier, dossier_id, message.version, checked.sender.oin, b"", hold_until, checked)


def _first_told(addressee: Addressee, earlier: Iterable[Earlier], now: int) -> int:
    """When this addressee was first told (epoch µs): a correction does not lengthen its term."""
    notices = [one for one in earlier if (one.creditor, one.agent_for) == addressee.key and one.soort == "kennisgeving"]
    return min((one.created_at for one in notices if one.state is not State.FAILED), default=now)
