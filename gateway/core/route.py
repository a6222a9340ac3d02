"""To whom a message goes: the creditors it is for, found in the register, and the agents who are told with them.

| message                            | goes to                                                                     |
|------------------------------------|-----------------------------------------------------------------------------|
| the first kennisgeving             | those it names, and their agents                                            |
| a later kennisgeving               | those it names, and those told before; who sees nothing new is left alone   |
| voortgang, verlenging, beeindiging | those told so far, or to be told, or those of them that it lists            |
| intrekking                         | the same; who never heard of the notice is not told that it is withdrawn    |

Who was withdrawn gets nothing more; a message that names it is refused for it alone. Who never had the notice may be
asked anew, by a kennisgeving that is later than the withdrawal. A late message (an earlier version that comes after a
later one was processed) never undoes a newer one: it does not go to who has a later one of its kind, or a later ending.
"""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from gateway.core.case import Delivery, Key, Thread, threads_of
from gateway.core.creditor import Creditor, Register
from gateway.core.errors import Code, Violation
from gateway.core.lane import BLOCKS_AT_MOST
from gateway.core.lifecycle import State
from gateway.core.notice import CreditorRef, Ending, Extension, Notice, Progress, Withdrawal
from gateway.core.withdrawn import NOBODY, UpTo

FollowUp = Progress | Extension | Ending | Withdrawal
Refs = Mapping[str, CreditorRef]
"""What the latest kennisgeving that names a creditor says about it, by creditor id."""


class Addressee(Struct, frozen=True):
    """One who gets a delivery. `ref` is what the sender says about the creditor and its claims."""

    creditor: Creditor
    ref: CreditorRef
    agent_for: str | None = None

    @property
    def key(self) -> Key:
        return self.creditor.id, self.agent_for


class Routing(Struct, frozen=True):
    """`unknown`: names as sent that the register does not have; `refused`: creditors for whom the message is refused;
    `not_told`: creditors that it is for and that never got the kennisgeving."""

    addressees: tuple[Addressee, ...]
    unknown: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    refused: tuple[tuple[str, Code], ...] = ()
    not_told: tuple[str, ...] = ()


def route_notice(
    notice: Notice,
    register: Register,
    earlier: Iterable[Delivery] = (),
    refs: Refs | None = None,
    up_to: UpTo = NOBODY,
) -> Routing:
    """Every creditor of a kennisgeving once, with its agents, and who was told before; naming one twice (by id and by
    kvk) is refused."""
    addressees: list[Addressee] = []
    unknown: list[str] = []
    violations: list[Violation] = []
    refused: list[tuple[str, Code]] = []
    seen: set[str] = set()
    withdrawn = _withdrawn(notice.version, threads_of(earlier), up_to)
    for at, ref in enumerate(notice.creditors):
        creditor = register.find(ref.creditor)
        if creditor is None:
            unknown.append(ref.creditor)
        elif creditor.id in seen:
            violations.append(_double(f"/data/schuldeisers/{at}/schuldeiser"))
        elif creditor.id in withdrawn:
            refused.append((creditor.id, Code.AFTER_WITHDRAWAL))
        else:
            addressees += _with_agents(creditor, ref, register)
        seen.update({creditor.id} if creditor else ())
    named = {one.key for one in addressees}
    reached = _told_before(threads_of(earlier, up_to), refs or {}, register, withdrawn)
    addressees += [one for one in reached if one.key not in named]
    return Routing(tuple(addressees), tuple(unknown), tuple(violations), tuple(refused))


def _told_before(
    threads: Mapping[Key, Thread], refs: Refs, register: Register, withdrawn: Collection[str]
) -> Iterable[Addressee]:
    """Who has a notice already, or is to get one, and is not withdrawn."""
    for key in sorted(threads, key=_in_order):
        thread = threads[key]
        creditor, ref = register.by_id.get(key[0]), refs.get(thread.principal)
        if creditor and ref and _is_reachable(thread) and thread.principal not in withdrawn:
            yield Addressee(creditor, ref, key[1])


def _in_order(key: Key) -> tuple[str, str]:
    return key[0], key[1] or ""


def _withdrawn(version: int, threads: Mapping[Key, Thread], up_to: UpTo) -> set[str]:
    """Creditors whose notice was withdrawn, or for whom all up to this version was."""
    late = {name for name, last in up_to.items() if version <= last}
    return late | {thread.principal for key, thread in threads.items() if key[1] is None and thread.is_withdrawn}


def named_twice(named: Iterable[tuple[str, str]], register: Register) -> list[Violation]:
    """The creditors among (pointer, name as sent) that were named before, under whatever name of theirs."""
    seen: set[str] = set()
    violations: list[Violation] = []
    for pad, name in named:
        creditor = register.find(name)
        if creditor is not None and creditor.id in seen:
            violations.append(_double(pad))
        elif creditor is not None:
            seen.add(creditor.id)
    return violations


def _double(pad: str) -> Violation:
    return Violation(pad, Code.CREDITOR_TWICE, "deze schuldeiser is al eerder genoemd")


def _with_agents(creditor: Creditor, ref: CreditorRef, register: Register) -> Iterable[Addressee]:
    yield Addressee(creditor, ref)
    for name in creditor.agents:
        agent = register.by_id.get(name)
        if agent is not None:
            yield Addressee(agent, ref, agent_for=creditor.id)


def route_follow_up(
    message: FollowUp, earlier: Iterable[Delivery], refs: Refs, register: Register, up_to: UpTo = NOBODY
) -> Routing:
    """Everyone told so far, or to be told, or those of them that are listed."""
    threads = threads_of(earlier, up_to)
    listed, unknown, violations = _listed(message, register)
    withdrawn = _withdrawn(message.version, threads, up_to)
    with_notices = [thread for thread in threads.values() if thread.notices]
    reachable = {thread.principal for thread in with_notices if _is_reachable(thread)}
    concerned = {thread.principal for thread in with_notices} if listed is None else listed
    reached = _told_before(threads, refs, register, withdrawn)
    return Routing(
        addressees=tuple(one for one in reached if (one.agent_for or one.creditor.id) in concerned),
        unknown=unknown,
        violations=violations,
        refused=tuple((name, Code.AFTER_WITHDRAWAL) for name in sorted(withdrawn & (listed or set()))),
        not_told=tuple(sorted(concerned - reachable - withdrawn)),
    )


def _is_reachable(thread: Thread) -> bool:
    """It has the notice, or is to get it."""
    return any(not one.is_lost for one in thread.notices)


def _listed(message: FollowUp, register: Register) -> tuple[set[str] | None, tuple[str, ...], tuple[Violation, ...]]:
    """Ids of the creditors a message is limited to (None: not limited), names unknown, names given twice."""
    if not message.creditors:
        return None, (), ()
    ids: set[str] = set()
    unknown: list[str] = []
    violations: list[Violation] = []
    for at, name in enumerate(message.creditors):
        creditor = register.find(name)
        if creditor is None:
            unknown.append(name)
        elif creditor.id in ids:
            violations.append(_double(f"/data/schuldeisers/{at}"))
        else:
            ids.add(creditor.id)
    return ids, tuple(unknown), tuple(violations)


def predecessor(key: Key, earlier: Iterable[Delivery], now: int) -> str | None:
    """The delivery that must be handed over before the next one for this creditor; None: nothing is in the way.

    A reminder is about an earlier version and stands in nobody's way.
    """
    open_ones = [
        one
        for one in earlier
        if one.key == key
        and one.is_open
        and one.soort != "herinnering"
        and (one.soort == "kennisgeving" or now - one.created_at < BLOCKS_AT_MOST)
    ]
    return max(open_ones, key=lambda one: (one.versie, one.id)).id if open_ones else None


def unchanged(key: Key, digest: bytes, earlier: Iterable[Delivery]) -> bool:
    """The creditor was already told exactly this."""
    live = [one for one in earlier if one.key == key and one.soort == "kennisgeving" and not one.is_lost]
    return bool(live) and max(live, key=lambda one: one.versie).view_digest == digest


_ENDS = frozenset({"beeindiging", "intrekking"})


def overtaken(key: Key, soort: str, version: int, earlier: Iterable[Delivery]) -> bool:
    """There is a later one of its kind for this addressee, or a later ending: this one must not undo it. A withdrawal
    is never too late."""
    if soort == "intrekking":
        return False
    later = [one for one in earlier if one.key == key and one.versie > version and one.state is not State.WITHDRAWN]
    return any(one.soort == soort or one.soort in _ENDS for one in later)
