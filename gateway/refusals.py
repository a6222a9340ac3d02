"""Refusals: on record with what was sent, told to the sender by event; without a sender, quarantined with a task."""

import hashlib

import msgspec
from msgspec import Struct

from gateway.core.errors import Violation
from gateway.core.notice import Sender
from gateway.core.task import GUIDES, TaskKind
from gateway.events import UNKNOWN_GEMEENTE, Events
from gateway.ids import uuid7
from gateway.ledger.intake import Writes
from gateway.ledger.tasks import Task
from gateway.seal import Sealer, aad

KEPT_OF_A_REFUSAL = 65_536
"""Bytes of a refused message that are kept; the rest is told by the digest of what was read of it."""


class Refusal(Struct, frozen=True):
    """What is refused, and how much of its identity could be read. Without a sender it is quarantined."""

    door: str
    sender: Sender | None
    user: str | None
    body: bytes
    violations: tuple[Violation, ...]
    source: str | None
    event_id: str | None
    gemeente: str | None
    dossier: str | None = None
    version: int | None = None


def refuse(sealer: Sealer, events: Events, writes: Writes, at: int, refusal: Refusal) -> None:
    """Record a refusal (or, without a sender, a quarantine with a task) and the event that tells of it."""
    identifier = uuid7(at)
    sender, gemeente, body = refusal.sender, refusal.gemeente, refusal.body
    own = gemeente if sender and gemeente in sender.gemeenten else None
    told = UNKNOWN_GEMEENTE if sender is None else own or next(iter(sender.gemeenten), UNKNOWN_GEMEENTE)
    kept = body if len(body) <= KEPT_OF_A_REFUSAL else body[:KEPT_OF_A_REFUSAL] + hashlib.sha256(body).digest()
    writes.refusals.append(
        {
            "id": identifier,
            "received_at": at,
            "kind": "geparkeerd" if sender is None else "geweigerd",
            "door": refusal.door,
            "sender": sender.oin if sender else refusal.user,
            "gemeente": told,
            "source": refusal.source,
            "event_id": refusal.event_id,
            "violations": msgspec.json.encode(refusal.violations).decode(),
            "body": sealer.seal(None, kept, aad("refusal", identifier)),
        }
    )
    writes.events.append(
        events.make(
            "bericht-geweigerd",
            at,
            told,
            dossierkenmerk=refusal.dossier,
            versie=refusal.version,
            bericht={"source": refusal.source, "id": refusal.event_id},
            fouten=refusal.violations,
        )
    )
    if sender is None:
        kind = TaskKind.SENDER_UNKNOWN
        writes.tasks.append(Task(id=uuid7(at), soort=kind, created_at=at, detail=GUIDES[kind].detail))
