"""Sending again what had ended: what can be, in which order and how fast.

1. What was withdrawn is never sent again, nor anything of a dossier that was, but for the withdrawal itself.
2. What is still on its way needs no repeat. What was answered is repeated only when that is asked for in as many words.
3. A kennisgeving of which the creditor has a newer version is not repeated without that one.
4. Of one dossier and creditor messages go in their order: each waits for the one before it.
5. What had failed starts anew, on the first channel, with a new horizon. What the creditor has keeps its state and its
   decision, and goes over the channel that it went over.
6. A repeat is spread in time, so that an evening's work is not poured over a creditor at once.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from gateway.core.creditor import Creditor
from gateway.core.lane import SECOND
from gateway.core.lifecycle import IN_PROGRESS, TOLD, Happening, State, move

PER_SECOND = 5.0
"""Repeats per second to a creditor that names no rate of its own."""


class Obstacle(StrEnum):
    """Why something is not repeated, as it is shown."""

    WITHDRAWN = "ingetrokken"
    DOSSIER_WITHDRAWN = "dossier ingetrokken"
    UNDER_WAY = "loopt nog"
    NOT_IN_DOUBT = "niet onzeker"
    ANSWERED = "al beantwoord"
    OVERTAKEN = "door een nieuwere versie ingehaald"
    UNKNOWN_CREDITOR = "schuldeiser niet in het register"
    UNREACHABLE = "geen kanaal open"


class Candidate(Struct, frozen=True, kw_only=True):
    """A delivery that somebody wants sent again."""

    id: str
    dossier_id: str
    gemeente: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    channel: str
    state: State
    stands: State | None
    """It is being sent again already, and stays this."""
    is_planned: bool
    """Something will happen to it by itself."""
    decision: str | None
    is_withdrawn: bool
    """Its dossier, or what its creditor was told in it."""
    newest_notice: int
    """The highest version of a kennisgeving that its creditor has."""
    fence: int = 0

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.dossier_id, self.creditor, self.agent_for

    @property
    def standing(self) -> State:
        return self.stands or self.state


class Reach(Struct, frozen=True):
    """How a creditor can be reached now: its open channels in order, and repeats per second."""

    channels: tuple[str, ...]
    per_second: float


Reaches = Callable[[str], Reach | None]
"""By creditor; None: it is not in the register."""


class Step(Struct, frozen=True):
    """What is done to one delivery; `changes`: other columns."""

    candidate: Candidate
    happening: Happening
    after: State
    changes: Mapping[str, object]

    @property
    def lane(self) -> tuple[str, str]:
        """(creditor, channel)"""
        return self.candidate.creditor, str(self.changes.get("channel", self.candidate.channel))


class Plan(Struct, frozen=True):
    steps: tuple[Step, ...]
    left: tuple[tuple[Candidate, Obstacle], ...]
    """What is not repeated, and why."""


def reach_of(creditor: Creditor | None, open_channels: Sequence[str], per_second: float | None = None) -> Reach | None:
    """`per_second`: as asked for; else the creditor's own rate, else PER_SECOND."""
    if creditor is None:
        return None
    return Reach(tuple(open_channels), per_second or creditor.limit.per_second or PER_SECOND)


def plan(
    asked: Sequence[Candidate], now: int, give_up_at: int, reaches: Reaches, *, also_answered: bool = False
) -> Plan:
    """What sending these again comes to, at `now` (epoch µs), if it is given up at `give_up_at`."""
    together: dict[object, int] = defaultdict(int)
    for one in asked:
        together[one.key] = max(together[one.key], one.versie)
    judged = [(one, _obstacle(one, reaches(one.creditor), together[one.key], also=also_answered)) for one in asked]
    going = [one for one, obstacle in judged if obstacle is None]
    left = tuple((one, obstacle) for one, obstacle in judged if obstacle is not None)
    return Plan(tuple(_steps(going, now, give_up_at, reaches)), left)


def _obstacle(one: Candidate, reach: Reach | None, newest_asked: int, *, also: bool) -> Obstacle | None:
    if one.state is State.WITHDRAWN:
        return Obstacle.WITHDRAWN
    if one.is_withdrawn and one.soort != "intrekking":
        return Obstacle.DOSSIER_WITHDRAWN
    if one.stands is not None or (one.state in IN_PROGRESS and not is_left_in_doubt(one)):
        return Obstacle.UNDER_WAY
    if one.decision is not None and not also:
        return Obstacle.ANSWERED
    if one.soort == "kennisgeving" and one.versie < one.newest_notice and newest_asked < one.newest_notice:
        return Obstacle.OVERTAKEN
    if reach is None:
        return Obstacle.UNKNOWN_CREDITOR
    wanted = {one.channel} if one.state in TOLD else set(reach.channels)
    return None if wanted & set(reach.channels) else Obstacle.UNREACHABLE


def is_left_in_doubt(one: Candidate) -> bool:
    """After a restore: a person is to say what becomes of it."""
    return one.state is State.IN_DOUBT and not one.is_planned


def _steps(going: Iterable[Candidate], now: int, give_up_at: int, reaches: Reaches) -> Iterable[Step]:
    """An attempt may be under way on what was answered meanwhile: its result comes too late for the repeat."""
    places: Counter[tuple[str, str]] = Counter()
    before: dict[object, str] = {}
    for one in sorted(going, key=lambda one: (one.versie, one.id)):
        reach = reaches(one.creditor)
        if reach is None:
            continue
        channel = one.channel if one.standing in TOLD or one.state is State.IN_DOUBT else reach.channels[0]
        wait = places[one.creditor, channel] / reach.per_second
        places[one.creditor, channel] += 1
        changes: dict[str, object] = {
            "stands": one.state if one.state in TOLD else None,
            "next_action_at": now + int(wait * SECOND),
            "waits_for": before.get(one.key),
            "channel": channel,
            "channel_since": now,
            "tries": 0,
            "give_up_at": give_up_at,
            "owner": None,
            "fence": one.fence + 1,
        }
        before[one.key] = one.id
        yield Step(one, Happening.REPEATED, move(one.state, Happening.REPEATED), changes)


def counted(plan_: Plan) -> dict[tuple[str, str, str], int]:
    """(creditor, soort, state) → how many are repeated."""
    counts = Counter((step.candidate.creditor, step.candidate.soort, str(step.candidate.state)) for step in plan_.steps)
    return dict(sorted(counts.items()))


def counted_left(plan_: Plan, asked: Iterable[str] = ()) -> dict[str, list[str]]:
    """Why → ids of what is not repeated, also of `asked` that is not there."""
    found: dict[str, list[str]] = defaultdict(list)
    known = {one.id for one, _ in plan_.left} | {step.candidate.id for step in plan_.steps}
    for id_ in asked:
        if id_ not in known:
            found["bestaat niet"].append(id_)
    for one, obstacle in plan_.left:
        found[str(obstacle)].append(one.id)
    return dict(sorted(found.items()))
