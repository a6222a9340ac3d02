"""What is on record at the end of a round, and what others know of it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select

from gateway.invariants import Circumstances, Finding, verify
from gateway.ledger import schema
from tests.faults.once import counted_once
from tests.faults.sightings import Reply, Sighting
from tests.faults.tidings import Owed, Tiding, complete, owed
from tests.flow.outside.verdict import Event


class Books(Struct, frozen=True):
    """The ledger at rest, as far as others know something of it too."""

    findings: list[Finding]
    messages: list[Any]
    deliveries: Mapping[str, Any]
    attempts: list[Any]
    evidence: list[Any]
    refusals: frozenset[str]
    outbox: Mapping[str, str]
    dossiers: Mapping[str, str]
    """dossier id → dossierkenmerk"""
    owed: Owed
    complete: Mapping[Tiding, int]
    counted: tuple[int, list[str]]
    """What was looked at and what counts more often than it happened (I19)."""


def read_books(connection: Connection, circumstances: Circumstances) -> Books:
    findings = verify(connection, circumstances)
    attempt, evidence, delivery = schema.attempt.c, schema.evidence.c, schema.delivery.c
    message, dossier, outbox = schema.message.c, schema.dossier.c, schema.outbox.c
    read = connection.execute
    deliveries = (delivery.id, delivery.message_id, delivery.dossier_id, delivery.creditor, delivery.agent_for,
                  delivery.soort, delivery.versie, delivery.state, delivery.handed_over_at)  # fmt: skip
    messages = (message.id, message.event_id, message.dossier_id, message.soort, message.out_of_order)
    return Books(
        findings,
        list(read(select(*messages))),
        {row.id: row for row in read(select(*deliveries))},
        list(read(select(attempt.delivery_id, attempt.channel, attempt.digest, attempt.started_at, attempt.outcome))),
        list(read(select(evidence.delivery_id, evidence.creditor, evidence.kind, evidence.soort))),
        frozenset(read(select(schema.refusal.c.event_id)).scalars()),
        {row.id: row.name for row in read(select(outbox.id, outbox.name))},
        {row.id: row.kenmerk for row in read(select(dossier.id, dossier.kenmerk))},
        owed(connection),
        complete(connection),
        counted_once(connection),
    )


class Witness(Struct, frozen=True):
    """What is known outside the ledger. `addressed`: message id → the creditors of its dossier; `events`: those that
    the sender got, by id; `heard`: when it first did (epoch µs); `altered`: those that came again with other content;
    `secrets`: what may stand in no log, and `names`: of files at the creditors, where it may not stand either;
    `parked`: messages left in queues; `commits_lost`: how many of which the answer never came."""

    confirmed: AbstractSet[str]
    addressed: Mapping[str, AbstractSet[str]]
    events: Mapping[str, Event]
    heard: Mapping[str, int]
    seen: list[Sighting]
    replies: list[Reply]
    trace: list[str]
    logs: bytes
    secrets: frozenset[bytes]
    names: Sequence[str] = ()
    altered: AbstractSet[str] = frozenset()
    parked: int = 0
    commits_lost: int = 0
    still: float = 0.0
    """Seconds for which a gateway was stopped at most."""
