"""Sending again on request: previewed, asked for, confirmed by a second person where that is wanted, and carried out.

asked ─► candidates ─► plan ─┬─► shown                                       nothing is changed
                             ├─► carried out                                 on record with who and why
                             └─► on record under a code ─► confirmed by another ─► carried out
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.creditor import Creditor
from gateway.core.lane import SECOND
from gateway.core.repeat import Candidate, Plan, Reach, Reaches, plan, reach_of
from gateway.core.retry import Policy, give_up_at
from gateway.core.task import TaskKind
from gateway.ids import uuid7
from gateway.ledger import acts
from gateway.ledger import register as register_rows
from gateway.ledger.acts import Act, Which, Writes
from gateway.ledger.queue import Lane
from gateway.register import creditor_from_json

KIND = "herhaling"
VALID_FOR = 24 * 3600 * SECOND
"""So long a request waits for its second person."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
_CODE_LENGTH = 6
_CLOSED = (TaskKind.GIVEN_UP, TaskKind.REFUSED_BY_CHANNEL, TaskKind.BOUNCED, TaskKind.REPEAT_FAILED,
           TaskKind.RESTORED_UNKNOWN)  # fmt: skip
_REASON_AT_MOST = 500


class Manner(Struct, frozen=True):
    """How it is to be done; kept with a request, so that what is confirmed is what was asked."""

    also_answered: bool = False
    per_second: float | None = None


class Refused(Exception):
    """A request cannot be confirmed; says why, in Dutch."""


class Repeats:
    """`reaches` makes, of a rate asked for or None, how each creditor can be reached."""

    def __init__(
        self,
        reaches: Callable[[float | None], Reaches],
        policy: Policy,
        closed_days: Collection[date],
        new_id: Callable[[int], str] = uuid7,
    ) -> None:
        self._reaches = reaches
        self._policy = policy
        self._closed_days = closed_days
        self._new_id = new_id

    def preview(self, connection: Connection, which: Which, manner: Manner, now: int) -> Plan:
        return self._plan(acts.candidates(connection, which), manner, now)

    def ask(
        self, connection: Connection, which: Which, manner: Manner, who: str, reason: str, now: int
    ) -> tuple[Act, Plan]:
        """Put it on record for a second person, with exactly these deliveries."""
        made = self._plan(acts.candidates(connection, which), manner, now)
        code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
        act = self._act(manner, who, reason, now, code)
        acts.request(connection, act, [step.candidate.id for step in made.steps])
        return act, made

    def confirm(self, connection: Connection, code: str, who: str, now: int) -> tuple[Act, Plan, list[Lane]]:
        """Carry out what another asked; what can no longer be repeated is left. Raises Refused."""
        found = acts.requested(connection, code.strip().upper())
        if found is None:
            raise Refused("deze code is er niet")
        act, ids = found
        if act.done_at is not None:
            raise Refused(f"deze herhaling is al bevestigd, door {act.done_by}")
        if act.expires_at is not None and now > act.expires_at:
            raise Refused("deze code is verlopen; vraag de herhaling opnieuw aan")
        if who.casefold() == act.asked_by.casefold():
            raise Refused("wie de herhaling vroeg, kan haar niet zelf bevestigen")
        if not acts.confirmed(connection, act.id, who, now):
            raise Refused("deze herhaling is al bevestigd")
        manner = msgspec.json.decode(act.settings, type=Manner)
        made, lanes = self._carry_out(connection, act, Which(ids), manner, now)
        return act, made, lanes

    def carry_out(
        self, connection: Connection, which: Which, manner: Manner, who: str, reason: str, now: int
    ) -> tuple[Plan, list[Lane]]:
        """Of one person's own authority. Where nothing can be repeated nothing is put on record."""
        act = msgspec.structs.replace(self._act(manner, who, reason, now, None), done_at=now, done_by=who)
        return self._carry_out(connection, act, which, manner, now)

    def _carry_out(
        self, connection: Connection, act: Act, which: Which, manner: Manner, now: int
    ) -> tuple[Plan, list[Lane]]:
        made = Plan((), ())

        def decide(candidates: Sequence[Candidate]) -> Writes:
            nonlocal made
            made = self._plan(candidates, manner, now)
            return Writes(steps=made.steps, closures=tuple(_closures(made, act)))

        lanes = acts.carry_out(connection, act, which, decide, now)
        return made, lanes

    def _plan(self, candidates: Sequence[Candidate], manner: Manner, now: int) -> Plan:
        horizon = give_up_at(now, self._policy, self._closed_days)
        return plan(candidates, now, horizon, self._reaches(manner.per_second), also_answered=manner.also_answered)

    def _act(self, manner: Manner, who: str, reason: str, now: int, code: str | None) -> Act:
        return Act(
            id=self._new_id(now),
            kind=KIND,
            asked_at=now,
            asked_by=who,
            reason=reason,
            settings=msgspec.json.encode(manner).decode(),
            code=code,
            expires_at=None if code is None else now + VALID_FOR,
        )


def _closures(made: Plan, act: Act) -> Iterable[tuple[str, str, str]]:
    words = f"herhaald door {act.asked_by}: {act.reason}"[:_REASON_AT_MOST]
    return ((step.candidate.id, kind, words) for step in made.steps for kind in _CLOSED)


def reaches_in_ledger(connection: Connection) -> Callable[[float | None], Reaches]:
    """How creditors can be reached by the register in force, for who has no gateway at hand."""
    documents = register_rows.entries(connection)
    creditors = {id_: creditor_from_json(document) for id_, document in documents.items()}
    closed = set(register_rows.closed_lanes(connection))
    return lambda per_second: lambda name: _reach(creditors.get(name), closed, per_second)


def _reach(creditor: Creditor | None, closed: Collection[Lane], per_second: float | None) -> Reach | None:
    names = creditor.channels if creditor else ()
    channels = [name for name in names if creditor and (creditor.id, name) not in closed]
    return reach_of(creditor, channels, per_second)
