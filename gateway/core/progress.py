"""What happened, told to the sender: the CloudEvents of the gateway, and what evidence does to a delivery."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.core.lane import expects_answer
from gateway.core.lifecycle import Happening, State, move
from gateway.core.outcome import Proof

TYPE = "nl.schuldhulpverlening.{}.v1"

_encode = msgspec.json.Encoder().encode


def cloud_event(identifier: str, source: str, name: str, time: str, data: Mapping[str, object]) -> bytes:
    """A structured CloudEvent as UTF-8 JSON; None values in `data` are left out."""
    return _encode(
        {
            "specversion": "1.0",
            "type": TYPE.format(name),
            "source": source,
            "id": identifier,
            "time": time,
            "datacontenttype": "application/json",
            "data": {key: value for key, value in data.items() if value is not None},
        }
    )


class Effect(Struct, frozen=True):
    """What a piece of authenticated evidence does."""

    happening: Happening
    state: State
    proof: int
    events: tuple[str, ...]


def receipt_effect(state: State, proof: int, soort: str) -> Effect:
    """Proof that the creditor has it (level 2), in whatever state; the end of what expects no answer."""
    happening = Happening.RECEIPT if expects_answer(soort) else Happening.RECEIPT_FINAL
    events = ("ontvangst-bevestigd",) if proof < Proof.RECEIVED else ()
    return Effect(happening, move(state, happening), max(proof, Proof.RECEIVED), events)


def answer_effect(state: State, meaning: Literal["confirms", "refuses"]) -> Effect:
    """A decision of the creditor (level 3); the latest one is the current one."""
    happening = Happening.CONFIRMING_ANSWER if meaning == "confirms" else Happening.REFUSING_ANSWER
    return Effect(happening, move(state, happening), Proof.ANSWERED, ("antwoord-ontvangen",))
