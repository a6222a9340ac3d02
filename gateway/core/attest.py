"""What was in doubt is there, on the word of a person who asked the creditor: what that makes of a delivery.

1. Only what is in doubt and nobody will look at any more: what the gateway still asks about, it settles itself.
2. The word of a person is proof of transport, no more: it takes the creditor's own word to be `ontvangen` or answered.
   From then on it runs like any hand-over: terms, what waited for it, the end of what expects no answer.
3. A repeat of what the creditor had already has ended: the delivery is again what it was.
"""

from collections.abc import Sequence

from gateway.core.lane import expects_answer
from gateway.core.lifecycle import STAYS, Happening, State, move
from gateway.core.outcome import Proof
from gateway.core.repeat import Candidate, Obstacle, Plan, Step, is_left_in_doubt


def attest(asked: Sequence[Candidate], now: int) -> Plan:
    """At `now` (epoch µs)."""
    judged = [(one, _obstacle(one)) for one in asked]
    steps = tuple(_step(one, now) for one, obstacle in judged if obstacle is None)
    return Plan(steps, tuple((one, obstacle) for one, obstacle in judged if obstacle is not None))


def is_hand_over(step: Step) -> bool:
    """The sender is told of it: the creditor did not have it before, as far as was known."""
    return step.happening in (Happening.ATTESTED, Happening.ATTESTED_FINAL)


def _obstacle(one: Candidate) -> Obstacle | None:
    if is_left_in_doubt(one):
        return None
    if one.state is State.WITHDRAWN:
        return Obstacle.WITHDRAWN
    return Obstacle.UNDER_WAY if one.state is State.IN_DOUBT else Obstacle.NOT_IN_DOUBT


def _step(one: Candidate, now: int) -> Step:
    ended: dict[str, object] = {"next_action_at": None, "waits_for": None, "owner": None, "stands": None}
    if one.stands is not None:
        happening = STAYS[one.stands]
        return Step(one, happening, move(one.state, happening), ended)
    happening = Happening.ATTESTED if expects_answer(one.soort) else Happening.ATTESTED_FINAL
    arrived = {"proof": int(Proof.TRANSPORT), "handed_over_at": now}
    return Step(one, happening, move(one.state, happening), ended | arrived)
