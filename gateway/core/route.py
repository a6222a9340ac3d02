"""To whom a message goes: the creditors it names, found in the register, and the agents who are told with them."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.core.creditor import Creditor, Register
from gateway.core.errors import Code, Violation
from gateway.core.lane import BLOCKS_AT_MOST
from gateway.core.lifecycle import SETTLED, TOLD, State
from gateway.core.notice import CreditorRef, Notice, Progress

Key = tuple[str, str | None]
"""(creditor id, id of the creditor it acts for): a creditor in its own right, or as an agent."""


class Addressee(Struct, frozen=True):
    """One who gets a delivery. `ref` is what the sender says about the creditor and its claims."""

    creditor: Creditor
    ref: CreditorRef
    agent_for: str | None = None

    @property
    def key(self) -> Key:
        return self.creditor.id, self.agent_for


class Routing(Struct, frozen=True):
    """`unknown`: names as sent that the register does not have."""

    addressees: tuple[Addressee, ...]
    unknown: tuple[str, ...]
    violations: tuple[Violation, ...] = ()


class Earlier(Struct, frozen=True):
    """An earlier delivery in the same dossier. `created_at` in epoch µs."""

    id: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    state: State
    created_at: int
    view_digest: bytes


def route_notice(notice: Notice, register: Register) -> Routing:
    """Every creditor of a kennisgeving once, with its agents; naming one twice (by id and by kvk) is refused."""
    addressees: list[Addressee] = []
    unknown: list[str] = []
    violations: list[Violation] = []
    seen: set[str] = set()
    for at, ref in enumerate(notice.creditors):
        creditor = register.find(ref.creditor)
        if creditor is None:
            unknown.append(ref.creditor)
            continue
        if creditor.id in seen:
            violations.append(_double(at))
        seen.add(creditor.id)
        addressees += _with_agents(creditor, ref, register)
    return Routing(tuple(addressees), tuple(unknown), tuple(violations))


def named_twice(named: Iterable[tuple[str, str]], register: Register) -> list[Violation]:
    """The creditors among (pointer, name as sent) that were named before, under whatever name of theirs."""
    seen: set[str] = set()
    violations: list[Violation] = []
    for pad, name in named:
        creditor = register.find(name)
        if creditor is not None and creditor.id in seen:
            violations.append(Violation(pad, Code.CREDITOR_TWICE, "deze schuldeiser is al eerder genoemd"))
        elif creditor is not None:
            seen.add(creditor.id)
    return violations


def _double(at: int) -> Violation:
    return Violation(
        f"/data/schuldeisers/{at}/schuldeiser", Code.CREDITOR_TWICE, "deze schuldeiser staat al in de lijst"
    )


def _with_agents(creditor: Creditor, ref: CreditorRef, register: Register) -> Iterable[Addressee]:
    yield Addressee(creditor, ref)
    for name in creditor.agents:
        agent = register.by_id.get(name)
        if agent is not None:
            yield Addressee(agent, ref, agent_for=creditor.id)


def route_progress(
    progress: Progress, earlier: Iterable[Earlier], refs: Mapping[str, CreditorRef], register: Register
) -> tuple[Routing, tuple[str, ...]]:
    """Everyone told so far, or those of them that are listed; and the ids of creditors whom nothing was told.

    `refs`: what the latest kennisgeving that names a creditor says about it, by creditor id.
    """
    told = [one for one in earlier if one.soort == "kennisgeving"]
    reached = {(one.creditor, one.agent_for) for one in told if one.state in TOLD or one.state not in SETTLED}
    missed = {one.agent_for or one.creditor for one in told} - {agent_for or id_ for id_, agent_for in reached}
    listed, unknown, violations = _listed(progress, register)
    addressees = []
    for id_, agent_for in sorted(reached, key=lambda key: (key[0], key[1] or "")):
        creditor, ref = register.by_id.get(id_), refs.get(agent_for or id_)
        if creditor and ref and (listed is None or (agent_for or id_) in listed):
            addressees.append(Addressee(creditor, ref, agent_for))
    never = (listed or set()) - {agent_for or id_ for id_, agent_for in reached}
    not_told = missed & listed | never if listed is not None else missed
    return Routing(tuple(addressees), unknown, violations), tuple(sorted(not_told))


def _listed(progress: Progress, register: Register) -> tuple[set[str] | None, tuple[str, ...], tuple[Violation, ...]]:
    """Ids of the creditors a message is limited to (None: not limited), names unknown, names given twice."""
    if not progress.creditors:
        return None, (), ()
    ids: set[str] = set()
    unknown: list[str] = []
    violations: list[Violation] = []
    for at, name in enumerate(progress.creditors):
        creditor = register.find(name)
        if creditor is None:
            unknown.append(name)
        elif creditor.id in ids:
            violations.append(Violation(f"/data/schuldeisers/{at}", Code.CREDITOR_TWICE, "staat al in de lijst"))
        else:
            ids.add(creditor.id)
    return ids, tuple(unknown), tuple(violations)


def predecessor(key: Key, earlier: Iterable[Earlier], now: int) -> str | None:
    """The delivery that must be handed over before the next one for this creditor; None: nothing is in the way."""
    open_ones = [
        one
        for one in earlier
        if (one.creditor, one.agent_for) == key
        and one.state not in SETTLED
        and (one.soort == "kennisgeving" or now - one.created_at < BLOCKS_AT_MOST)
    ]
    return max(open_ones, key=lambda one: (one.versie, one.id)).id if open_ones else None


def unchanged(key: Key, digest: bytes, earlier: Iterable[Earlier]) -> bool:
    """The creditor was already told exactly this."""
    same = [one for one in earlier if (one.creditor, one.agent_for) == key and one.soort == "kennisgeving"]
    live = [one for one in same if one.state not in (State.WITHDRAWN, State.FAILED)]
    return bool(live) and max(live, key=lambda one: one.versie).view_digest == digest
