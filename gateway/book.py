"""The rows of a batch: what planning decides is written here, sealed, and added to what is known of the dossiers of the
batch, so that the next message sees it."""

from collections.abc import Callable, Collection
from datetime import date

from msgspec import Struct

from gateway.core.agenda import first_look
from gateway.core.case import Delivery
from gateway.core.creditor import Creditor
from gateway.core.errors import Violation
from gateway.core.notice import CaseMessage, Notice, Sender
from gateway.core.recovery import put_in_doubt
from gateway.core.retry import Policy, give_up_at
from gateway.core.task import GUIDES, TaskKind
from gateway.core.validate import Valid
from gateway.events import Events
from gateway.ids import uuid7
from gateway.keys import Keys
from gateway.ledger.deliveries import new_row
from gateway.ledger.intake import DossierRow, Kept, Known, Writes
from gateway.ledger.tasks import Task
from gateway.links import Lane, Links
from gateway.refusals import Refusal
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
    queued_at: int | None = None
    """Since when it waited in the ledger's own queue (epoch µs)."""

    @classmethod
    def of(cls, valid: Valid, sender: Sender, body: bytes, queued_at: int | None = None) -> "Checked":
        """Raises TypeError for a message that is about no dossier."""
        if not isinstance(valid.message, CaseMessage):
            raise TypeError(valid.soort)
        envelope = valid.envelope
        return cls(
            envelope.source, envelope.id, valid.content_hash, sender, valid.soort, valid.message, body, queued_at
        )

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


class Book:
    """One batch at the instant `now` (epoch µs). `writes` holds its rows, `lanes` those that get work."""

    def __init__(self, desk: Desk, known: Known, now: int) -> None:
        self._desk = desk
        self._known = known
        self._now = now
        self._give_up_at = give_up_at(now, desk.policy, desk.closed_days)
        self.writes = Writes(at=now)
        self.lanes: set[Lane] = set()

    def dossier(self, gemeente: str, kenmerk: str) -> DossierRow:
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

    def keep(
        self, checked: Checked, identifier: str, dossier: DossierRow, *, hold_until: int | None, out_of_order: bool
    ) -> Kept:
        """Write the message itself."""
        message = checked.message
        received_at = checked.queued_at or self._now
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
                "received_at": received_at,
                "hold_until": hold_until,
                "out_of_order": out_of_order,
                "request": message.request if isinstance(message, Notice) else None,
            }
        )
        self.payload(identifier, "bericht", dossier, checked.body)
        self._known.identities[checked.source, checked.event_id] = checked.hash
        self._known.versions.setdefault(dossier.id, {})[message.version] = checked.hash
        return as_kept(checked, identifier, dossier.id, received_at, hold_until)

    def open(self, kept: Kept, dossier: DossierRow) -> Checked:
        """A message of the ledger or of this batch, as it was checked."""
        if isinstance(kept.checked, Checked):
            return kept.checked
        body = self._desk.sealer.open(dossier.key, kept.sealed, aad("payload", kept.id, "bericht", ""))
        return self._desk.reread(body, kept.sender_oin)

    def notices(self, dossier: DossierRow | None) -> list[Notice]:
        """The kennisgevingen of a dossier, oldest first."""
        if dossier is None:
            return []
        opened = (self.open(kept, dossier).message for kept in self._known.notices.get(dossier.id, ()))
        notices = [message for message in opened if isinstance(message, Notice)]
        return sorted(notices, key=lambda notice: notice.version)

    def deliver(self, one: Delivery, creditor: Creditor, message_id: str, dossier: DossierRow, view: bytes) -> None:
        open_channels = self._desk.links.open_channels(one.creditor) or creditor.channels
        lane = (one.creditor, open_channels[0])
        self.writes.deliveries.append(new_row(one, message_id, dossier.id, lane[1], self._give_up_at))
        self.payload(one.id, "aanzicht", dossier, view, one.creditor)
        if one.waits_for is None:
            self.lanes.add(lane)

    def doubt(self, one: Delivery, dossier: DossierRow, gemeente: str, act: str) -> Delivery:
        """A delivery of this batch may have gone out before, in the time that the restore `act` lost: a person finds
        out."""
        self.writes.restored.append((one, act))
        self.task(TaskKind.RESTORED_UNKNOWN, dossier, gemeente, one.creditor, one.id)
        return put_in_doubt(one)

    def payload(self, owner: str, kind: str, dossier: DossierRow, body: bytes, creditor: str = "") -> None:
        self.writes.payloads.append(
            {
                "owner": owner,
                "kind": kind,
                "dossier_id": dossier.id,
                "sealed": self._desk.sealer.seal(dossier.key, body, aad("payload", owner, kind, creditor)),
            }
        )

    def tell(self, name: str, message: CaseMessage, dossier: DossierRow, **data: object) -> None:
        """An event to the sender of `message`; `data`: its members beside gemeente, tijdstip and dossierkenmerk."""
        about = {"dossierkenmerk": message.dossier, **data}
        self.writes.events.append(
            self._desk.events.make(name, self._now, message.gemeente, (dossier.id, dossier.key), **about)
        )

    def task(
        self, kind: TaskKind, dossier: DossierRow, gemeente: str, creditor: str, delivery: str | None = None
    ) -> None:
        self.writes.tasks.append(
            Task(
                id=uuid7(self._now),
                soort=kind,
                created_at=self._now,
                detail=GUIDES[kind].detail,
                gemeente=gemeente,
                dossier_id=dossier.id,
                creditor=creditor,
                delivery_id=delivery,
            )
        )


def as_kept(
    checked: Checked, identifier: str, dossier_id: str, received_at: int, hold_until: int | None = None
) -> Kept:
    version, sender = checked.message.version, checked.sender.oin
    return Kept(identifier, dossier_id, version, sender, b"", received_at, hold_until, checked)
