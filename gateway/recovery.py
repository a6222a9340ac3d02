"""After a backup was put back: everything that was open in it is in doubt, and it is on record who said so.

open in the backup ─► in doubt ─┬─► asked of the creditor, where its channel can be ─► there, or sent
                                ├─► a task for a person
                                └─► the same bytes again, where somebody said so
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateway.contract import Channel
from gateway.core.recovery import KIND, Askable, Manner, Recovery, recover, recovery_of
from gateway.core.repeat import Candidate
from gateway.core.retry import Policy, give_up_at
from gateway.core.task import GUIDES, TaskKind
from gateway.ids import uuid7
from gateway.ledger import acts
from gateway.ledger.acts import Act, Writes
from gateway.ledger.tasks import Task

SKIPPED = 1_000_000
"""Numbers of the feed that may have been given after the backup."""
_REASON_AT_MOST = 500

Counts = Mapping[tuple[str, str, Recovery], int]
"""By creditor, channel, and what becomes of it."""


class Found(Struct, frozen=True):
    """`later`: how many of them were made after the moment of the backup, as it was given."""

    counts: Counts
    later: int


def askable(channels: Mapping[str, type[Channel]]) -> Askable:
    """As the channels themselves say (contract: `resolves`, `resolves_only`)."""

    def is_askable(channel: str, soort: str) -> bool:
        kind = channels.get(channel)
        only = getattr(kind, "resolves_only", None)
        return getattr(kind, "resolves", False) and (only is None or soort in only)

    return is_askable


def preview(connection: Connection, manner: Manner, asked: Askable) -> Found:
    found = acts.still_open(connection)
    return Found(_counted(found, manner, asked), acts.open_after(connection, manner.since))


def put_back(
    connection: Connection,
    manner: Manner,
    asked: Askable,
    who: str,
    reason: str,
    now: int,
    policy: Policy,
    closed_days: Collection[date],
) -> Found:
    """Before a gateway is started on what was put back."""
    horizon = give_up_at(now, policy, closed_days)
    later = acts.open_after(connection, manner.since)
    counts: Counts = {}

    def decide(found: Sequence[Candidate]) -> Writes:
        nonlocal counts
        counts = _counted(found, manner, asked)
        steps = recover(found, now, horizon, asked, send_again=manner.send_again)
        held = [one for one in found if _becomes(one, manner, asked) is Recovery.FOR_A_PERSON]
        words = f"opnieuw gestuurd door {who}: {reason}"[:_REASON_AT_MOST]
        goes = [step.candidate.id for step in steps if step.changes["next_action_at"] is not None]
        return Writes(
            steps,
            tuple(_task(one, now) for one in held),
            tuple((id_, TaskKind.RESTORED_UNKNOWN, words) for id_ in goes),
        )

    act = Act(
        id=uuid7(now),
        kind=KIND,
        asked_at=now,
        asked_by=who,
        reason=reason,
        settings=msgspec.json.encode(manner).decode(),
        done_at=now,
        done_by=who,
    )
    acts.put_back(connection, act, decide, SKIPPED)
    return Found(counts, later)


def _becomes(one: Candidate, manner: Manner, asked: Askable) -> Recovery:
    return recovery_of(one, asked, send_again=manner.send_again)


def _counted(found: Sequence[Candidate], manner: Manner, asked: Askable) -> Counts:
    counts = Counter((one.creditor, one.channel, _becomes(one, manner, asked)) for one in found)
    return dict(sorted(counts.items()))


def _task(one: Candidate, now: int) -> Task:
    return Task(
        id=uuid7(now),
        soort=TaskKind.RESTORED_UNKNOWN,
        created_at=now,
        detail=GUIDES[TaskKind.RESTORED_UNKNOWN].detail,
        gemeente=one.gemeente,
        dossier_id=one.dossier_id,
        delivery_id=one.id,
        creditor=one.creditor,
    )
