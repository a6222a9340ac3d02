"""Where every creditor of a dossier stands, and what comes next: one answer for people and for machines."""

from collections.abc import Iterable

from msgspec import Struct

from gateway.core import agenda
from gateway.core.agenda import Act, Item, Terms, planned
from gateway.core.case import Case, Delivery, Pause, Standing, Thread, standing_of


class Coming(Struct, frozen=True):
    """Something that the clock will cause if nothing changes, from `at` on (epoch µs)."""

    at: int
    what: str
    """An event, `herinnering`, or `einde_antwoordtermijn`."""


class CreditorStand(Struct, frozen=True):
    """One creditor, or an agent that acts for one. Instants: epoch µs.

    `decided`: the delivery that holds the decision that counts for it, which may be an agent's.
    """

    creditor: str
    agent_for: str | None
    standing: Standing
    told_at: int | None
    received_at: int | None
    decided: Delivery | None
    pauses: tuple[Pause, ...]
    coming: tuple[Coming, ...]
    tasks: tuple[str, ...]


def stand(case: Case, now: int, terms: Terms) -> tuple[CreditorStand, ...]:
    """Creditors by id, each followed by the agents that act for it."""
    future = planned(case, now, terms)
    threads = sorted(case.threads.values(), key=lambda one: (one.principal, one.key[1] is not None, one.key[0]))
    return tuple(_stand(case, thread, future) for thread in threads if thread.notices or thread.is_withdrawn)


def dossier_coming(case: Case, now: int, terms: Terms) -> tuple[Coming, ...]:
    """What comes for the dossier as a whole."""
    return tuple(_coming(item for item in planned(case, now, terms) if _about(item.act) is None))


def _stand(case: Case, thread: Thread, future: Iterable[Item]) -> CreditorStand:
    own = {one.id for one in thread.deliveries}
    decided = thread.decided if thread.key[1] is not None else case.decision_of(thread.principal)
    return CreditorStand(
        creditor=thread.key[0],
        agent_for=thread.key[1],
        standing=standing_of(thread, decided),
        told_at=thread.told_at,
        received_at=thread.received_at,
        decided=decided,
        pauses=thread.pauses(),
        coming=tuple(_coming(item for item in future if _about(item.act) in own)),
        tasks=tuple(kind for delivery_id, kind in sorted(case.tasks) if delivery_id in own),
    )


def _coming(items: Iterable[Item]) -> Iterable[Coming]:
    for item in items:
        match item.act:
            case agenda.Tell(event=event):
                yield Coming(item.at, event)
            case agenda.Remind():
                yield Coming(item.at, "herinnering")
            case agenda.Expire():
                yield Coming(item.at, "einde_antwoordtermijn")
            case _:
                continue


def _about(act: Act) -> str | None:
    """The delivery that an act is about; None: the dossier as a whole."""
    match act:
        case agenda.Tell(about=about):
            return about.id if about else None
        case agenda.Remind(notice) | agenda.TellAgent(notice=notice):
            return notice.id
        case agenda.Expire(deliveries):
            return deliveries[0].id
        case agenda.CloseTask(delivery_id):
            return delivery_id
        case agenda.Ask(one) | agenda.Concur(one) | agenda.Release(one) | agenda.Drop(one):
            return one.id
