"""Put on record that what was in doubt is there: a person asked the creditor, and says so.

asked ─► candidates ─► plan ─┬─► shown          nothing is changed
                             └─► carried out    on record with who and why; the sender is told, what waited goes
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from gateway.core.attest import attest, is_hand_over
from gateway.core.outcome import Proof
from gateway.core.repeat import Candidate, Plan, Step
from gateway.core.task import TaskKind
from gateway.events import Events
from gateway.ids import uuid7
from gateway.ledger import acts
from gateway.ledger.acts import Act, Which, Writes
from gateway.ledger.outbox import Event
from gateway.ledger.read import dossier_keys

KIND = "vaststelling"
_REASON_AT_MOST = 500


def preview(connection: Connection, ids: Sequence[str], now: int) -> Plan:
    return attest(acts.candidates(connection, Which(tuple(ids))), now)


def put_down(connection: Connection, ids: Sequence[str], events: Events, who: str, reason: str, now: int) -> Plan:
    """At `now` (epoch µs). Where nothing comes of it nothing is put on record."""
    made = Plan((), ())
    words = f"aangekomen volgens {who}: {reason}"[:_REASON_AT_MOST]

    def decide(found: Sequence[Candidate]) -> Writes:
        nonlocal made
        made = attest(found, now)
        return Writes(
            steps=made.steps,
            closures=tuple((step.candidate.id, TaskKind.RESTORED_UNKNOWN, words) for step in made.steps),
            events=_told(connection, [step for step in made.steps if is_hand_over(step)], events, now),
            releases=tuple(step.candidate.id for step in made.steps),
        )

    act = Act(
        id=uuid7(now), kind=KIND, asked_at=now, asked_by=who, reason=reason, settings="{}", done_at=now, done_by=who
    )
    acts.carry_out(connection, act, Which(tuple(ids)), decide, now)
    return made


def _told(connection: Connection, steps: Sequence[Step], events: Events, now: int) -> tuple[Event, ...]:
    dossiers = dossier_keys(connection, {step.candidate.dossier_id for step in steps})
    return tuple(_handed_over(step.candidate, *dossiers[step.candidate.dossier_id], events, now) for step in steps)


def _handed_over(one: Candidate, kenmerk: str, key: bytes, events: Events, now: int) -> Event:
    """`key`: the dossier's, wrapped."""
    return events.make(
        "bezorging-afgeleverd",
        now,
        one.gemeente,
        (one.dossier_id, key),
        dossierkenmerk=kenmerk,
        versie=one.versie,
        schuldeiser=one.creditor,
        bezorging=one.id,
        kanaal=one.channel,
        bewijskracht=int(Proof.TRANSPORT),
    )
