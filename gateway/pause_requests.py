"""Pause requests (fase 1) from the pauzeknop: taken in, and pointed out when the gemeente lets them wait.

    take              a request of a batch, on the same book as `Planner`: on record, told to its gemeente by reference
    WaitingRequests   what the clock does: whom nobody handled within five working days

No creditor is told anything and no dossier is made. What a request says is sealed with a key of its own.
"""

from collections.abc import Callable

from msgspec import Struct

from gateway.book import Checked, Desk
from gateway.clock import Clock
from gateway.core.errors import Code, Violation
from gateway.core.notice import PauseRequest, Sender
from gateway.core.pause_request import due_at
from gateway.core.task import GUIDES, TaskKind
from gateway.core.validate import Valid
from gateway.events import Events
from gateway.ids import uuid7
from gateway.ledger import pause_requests as rows
from gateway.ledger.engine import Ledger
from gateway.ledger.intake import Known, Writes
from gateway.ledger.outbox import Event
from gateway.ledger.pause_requests import Handled, Key, Reference
from gateway.ledger.tasks import Task
from gateway.planning import Planned
from gateway.refusals import Refusal
from gateway.seal import aad

BATCH = 100


class CheckedRequest(Struct, frozen=True):
    """A pause request that is right in itself. `body`: its structured CloudEvent, as it is kept."""

    source: str
    event_id: str
    hash: bytes
    sender: Sender
    message: PauseRequest
    body: bytes

    @property
    def key(self) -> Key:
        return self.message.gemeente, self.message.request

    def refused(self, violations: tuple[Violation, ...]) -> Refusal:
        """It is right in itself and does not fit what is known."""
        return Refusal(
            door="intake",
            sender=self.sender,
            user=None,
            body=self.body,
            violations=violations,
            source=self.source,
            event_id=self.event_id,
            gemeente=self.message.gemeente,
        )


def checked(valid: Valid, sender: Sender, body: bytes, queued_at: int | None = None) -> Checked | CheckedRequest:
    """A message of either kind; raises TypeError for one that is not carried out yet."""
    if not isinstance(valid.message, PauseRequest):
        return Checked.of(valid, sender, body, queued_at)
    envelope = valid.envelope
    return CheckedRequest(envelope.source, envelope.id, valid.content_hash, sender, valid.message, body)


def place(identifier: str) -> bytes:
    """Where the sealed event of a request stands."""
    return aad("pause_request", identifier)


def take(desk: Desk, known: Known, writes: Writes, now: int, one: CheckedRequest) -> Planned:
    """Put a request on record, or refuse it, after what the ledger and the batch know; `now` in epoch µs."""
    for before, pad in (
        (known.identities.get((one.source, one.event_id)), "/id"),
        (known.requests.hashes.get(one.key), "/data/verzoekkenmerk"),
    ):
        if before is not None:
            return Planned(duplicate=True) if before == one.hash else _other_content(pad)
    identifier = uuid7(now)
    writes.requests.append(_row(desk, known, writes, now, one, identifier))
    writes.events.append(_event(desk.events, "pauzeverzoek-ontvangen", Reference(identifier, *one.key), now))
    known.identities[one.source, one.event_id] = known.requests.hashes[one.key] = one.hash
    return Planned(identifier)


def _row(desk: Desk, known: Known, writes: Writes, now: int, one: CheckedRequest, identifier: str) -> dict[str, object]:
    """Handled from the start where its kennisgeving came first."""
    before = writes.handled.get(one.key)
    notice = known.requests.answers.get(one.key) or (before.by if before else None)
    key = desk.keys.new_dossier_key()
    return {
        "id": identifier,
        "source": one.source,
        "event_id": one.event_id,
        "hash": one.hash,
        "gemeente": one.message.gemeente,
        "kenmerk": one.message.request,
        "sender_oin": one.sender.oin,
        "received_at": now,
        "key": key,
        "sealed": desk.sealer.seal(key, one.body, place(identifier)),
        "due_at": None if notice else due_at(now, identifier, desk.closed_days),
        "handled_at": now if notice else None,
        "handled_by": notice,
    }


def _other_content(pad: str) -> Planned:
    why = "hier is al een bericht met andere inhoud voor ontvangen"
    return Planned(violations=(Violation(pad, Code.OTHER_MESSAGE_SAME_ID, why),))


def by_sender(sender: Sender, at: int) -> Handled:
    """The gemeente said so."""
    return Handled(sender.oin, at, sender.oin, "De gemeente heeft het pauzeverzoek afgehandeld.")


class WaitingRequests:
    """Points out, once, who has waited too long. `on_events`: there is something to tell."""

    def __init__(self, ledger: Ledger, events: Events, clock: Clock, on_events: Callable[[], None]) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._on_events = on_events

    async def round(self) -> None:
        """Do what is due now; raises LedgerAway, Contention."""
        now = self._clock.micros()
        while told := await self._ledger.run(rows.warn, now, BATCH, lambda one: self._warning(one, now)):
            self._on_events()
            if told < BATCH:
                return

    async def next_due(self) -> int | None:
        """Epoch µs."""
        return await self._ledger.run(rows.next_due)

    def _warning(self, one: Reference, now: int) -> tuple[Event, Task]:
        """The task has the id of its request, and so there is one of it."""
        detail = f"{GUIDES[TaskKind.REQUEST_WAITS].detail} Pauzeverzoek: {one.id}."
        task = Task(one.id, TaskKind.REQUEST_WAITS, now, detail, one.gemeente)
        return _event(self._events, "pauzeverzoek-wacht", one, now), task


def _event(events: Events, name: str, one: Reference, at: int) -> Event:
    """By reference only; sealed with the gateway's key, as whatever belongs to no dossier."""
    return events.make(name, at, one.gemeente, None, verzoekkenmerk=one.kenmerk, pauzeverzoek=one.id)
