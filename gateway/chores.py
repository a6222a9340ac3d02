"""What the agenda of a dossier decided, as rows: moves, reminders, deliveries to agents, events, tasks, marks."""

from collections.abc import Callable, Collection, Sequence
from datetime import date
from typing import Any, assert_never

import msgspec
from msgspec import Struct

from gateway.core import agenda
from gateway.core.agenda import Item, Terms, review
from gateway.core.case import Delivery
from gateway.core.lifecycle import Happening, State, move
from gateway.core.outcome import Proof
from gateway.core.recovery import Gap, put_in_doubt
from gateway.core.retry import Policy, give_up_at
from gateway.core.task import GUIDES, TaskKind
from gateway.core.view import View, for_agent, read_view, reminder, view_digest
from gateway.events import Events
from gateway.ids import uuid7
from gateway.ledger.agenda import Move, Open, ViewOf, Writes
from gateway.ledger.deliveries import new_row
from gateway.ledger.tasks import Task
from gateway.links import Links
from gateway.seal import Sealer, aad


class Desk(Struct, frozen=True):
    """What it takes to carry out an agenda."""

    links: Links
    sealer: Sealer
    events: Events
    policy: Policy
    closed_days: Collection[date]
    terms: Terms


def carry_out(desk: Desk, opened: Sequence[Open], view_of: ViewOf, now: int, gap: Gap | None = None) -> Writes:
    """Look at the agenda of each dossier at the instant `now` (epoch µs) and make the rows of what is due. What was due
    in the `gap` that a restore left may have been sent already."""
    writes = Writes(at=now)
    for one in opened:
        found = review(one.case, now, desk.terms)
        chores = Chores(desk, one, view_of, writes, gap)
        for item in found.due:
            chores.carry_out(item)
        writes.review_at[one.id] = chores.next_look(found.next_at)
    return writes


class Chores:
    """Those of one dossier."""

    def __init__(self, desk: Desk, dossier: Open, view_of: ViewOf, writes: Writes, gap: Gap | None = None) -> None:
        self._desk = desk
        self._dossier = dossier
        self._view_of = view_of
        self._writes = writes
        self._gap = gap
        self._now = writes.at
        self._moved: set[str] = set()
        self._made: list[str] = []

    def next_look(self, planned: int | None) -> int | None:
        """When to look again (epoch µs), now that there may be new deliveries, which may be delayed."""
        looks = [agenda.first_look(self._now, new) for new in self._made]
        return min([*looks, *([] if planned is None else [planned])], default=None)

    def carry_out(self, item: Item) -> None:  # noqa: C901 - an arm for each act
        if item.mark is not None:
            name, subject = item.mark
            self._writes.marks.append(
                {"dossier_id": self._dossier.id, "name": name, "subject": subject, "at": self._now}
            )
        match item.act:
            case agenda.Tell(event, about, facts):
                self._tell(event, about, **facts)
            case agenda.Ask(one, kind):
                self._ask(kind, one)
            case agenda.Remind(notice):
                self._deliver(notice, reminder, item.at, soort="herinnering", reminds=notice.id)
            case agenda.Expire(deliveries, overdue):
                self._expire(deliveries, overdue)
            case agenda.Concur(one, decided):
                self._concur(one, decided)
            case agenda.TellAgent(notice, agent, principal):
                self._tell_agent(notice, agent, principal, item.at)
            case agenda.Release(one):
                self._writes.released.append(one.id)
            case agenda.Drop(one):
                self._move(one, Happening.WITHDRAWN)
                self._tell("bezorging-ingetrokken", one)
            case agenda.CloseTask(delivery_id, kind, reason):
                self._writes.closures.append((delivery_id, kind, reason))
            case _ as unreachable:
                assert_never(unreachable)

    # -- answers ----------------------------------------------------------------------------------------------------

    def _tell_agent(self, notice: Delivery, agent: str, principal: str, due: int) -> None:
        register = self._desk.links.register.by_id
        told, owner = register.get(agent), register.get(principal)
        if told is None or owner is None:  # taken out of the register since it was named
            self._ask(TaskKind.AGENT_UNKNOWN, notice)
            return
        view = lambda seen, new: for_agent(seen, new, told, owner)  # noqa: E731
        self._deliver(notice, view, due, creditor=agent, agent_for=principal)

    def _expire(self, deliveries: Sequence[Delivery], overdue: Delivery | None) -> None:
        for one in deliveries:
            self._move(one, Happening.EXPIRED)
        if overdue is not None:
            self._tell("antwoord-verlopen", overdue)
            self._ask(TaskKind.ANSWER_OVERDUE, overdue)

    def _concur(self, one: Delivery, decided: Delivery) -> None:
        confirms = decided.state is not State.REFUSED
        until = decided.paused_until
        self._move(
            one,
            Happening.CONFIRMING_ANSWER if confirms else Happening.REFUSING_ANSWER,
            cause=decided.id,
            proof=int(Proof.ANSWERED),
            decision=decided.decision,
            answered_at=decided.decided_at,
            decided_at=decided.decided_at,
            paused_until=None if until is None else until.isoformat(),
        )

    def _move(self, one: Delivery, happening: Happening, cause: str | None = None, **changes: object) -> None:
        """At most once a look: what two items ask of the same delivery is settled by the first."""
        if one.id not in self._moved:
            self._moved.add(one.id)
            self._writes.moves.append(Move(one, happening, move(one.state, happening), cause, changes))

    # -- deliveries -------------------------------------------------------------------------------------------------

    def _deliver(self, notice: Delivery, shown: Callable[[View, str], View], due: int, **changes: Any) -> None:
        """A delivery of the dossier's own making, of the same version as `notice` and made of what that showed; `due`:
        since when (epoch µs)."""
        new = uuid7(self._now)
        self._made.append(new)
        view = shown(read_view(self._opened_view(notice)), new)
        one = Delivery(
            id=new,
            creditor=changes.pop("creditor", notice.creditor),
            soort=changes.pop("soort", notice.soort),
            versie=notice.versie,
            state=State.QUEUED,
            created_at=self._now,
            view_digest=view_digest(view),
            terms=notice.terms,
            **{"agent_for": notice.agent_for, **changes},
        )
        row = self._dossier.rows[notice.id]
        horizon = give_up_at(self._now, self._desk.policy, self._desk.closed_days)
        channel = self._channel(one.creditor) or row.channel
        self._writes.deliveries.append(new_row(one, row.message_id, self._dossier.id, channel, horizon))
        place = aad("payload", new, "aanzicht", one.creditor)
        sealed = self._desk.sealer.seal(self._dossier.key, msgspec.json.encode(view), place)
        self._writes.payloads.append(
            {"owner": new, "kind": "aanzicht", "dossier_id": self._dossier.id, "sealed": sealed}
        )
        if self._gap is not None and self._gap.may_hide(due):
            self._move(one, Happening.RESTORED, cause=self._gap.act, fence=put_in_doubt(one).fence)
            self._ask(TaskKind.RESTORED_UNKNOWN, one)

    def _channel(self, creditor: str) -> str | None:
        """The first one that is open; the register's first where none is; None: it is not in the register."""
        entry = self._desk.links.register.by_id.get(creditor)
        names = self._desk.links.open_channels(creditor) or (entry.channels if entry else ())
        return names[0] if names else None

    def _opened_view(self, one: Delivery) -> bytes:
        place = aad("payload", one.id, "aanzicht", one.creditor)
        return self._desk.sealer.open(self._dossier.key, self._view_of(one), place)

    # -- events and tasks -------------------------------------------------------------------------------------------

    def _tell(self, name: str, one: Delivery | None, **more: object) -> None:
        """`one` None: it is about the dossier as a whole."""
        about = {} if one is None else {"versie": one.versie, "schuldeiser": one.creditor, "bezorging": one.id}
        dossier = self._dossier
        self._writes.events.append(
            self._desk.events.make(
                name,
                self._now,
                dossier.gemeente,
                (dossier.id, dossier.key),
                dossierkenmerk=dossier.kenmerk,
                **about,
                **more,
            )
        )

    def _ask(self, kind: TaskKind, one: Delivery) -> None:
        self._writes.tasks.append(
            Task(
                id=uuid7(self._now),
                soort=kind,
                created_at=self._now,
                detail=GUIDES[kind].detail,
                gemeente=self._dossier.gemeente,
                dossier_id=self._dossier.id,
                delivery_id=one.id,
                creditor=one.creditor,
            )
        )
