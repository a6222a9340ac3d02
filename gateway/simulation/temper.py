"""How creditors behave: what each temper answers, and when. Chances are made up; none of them is a measurement."""

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from random import Random
from typing import Literal

from msgspec import Struct

from gateway.core.answer import AnswerKind

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
REFUSALS = (
    AnswerKind.CLIENT_UNKNOWN,
    AnswerKind.RECENTLY_SETTLED,
    AnswerKind.RECENTLY_STABILISED,
    AnswerKind.NO_COOPERATION,
    AnswerKind.NOT_ELIGIBLE,
)
PAUSE_AT_MOST = 240
"""Days that a pause lasts after the answer."""


class Temper(StrEnum):
    """As in the report."""

    PROMPT = "vlot"
    SLOW = "traag"
    SILENT = "zwijgend"
    REFUSING = "weigerend"
    FAILING = "uitvallend"
    TWICE = "dubbel"
    TRANSFERRING = "overdragend"


class Reaction(Struct, frozen=True):
    """Something a creditor sends of its own accord, `after` seconds; the same again after each of `again` (seconds)."""

    after: float
    kind: Literal["answer", "receipt"]
    answer: dict[str, object] | None = None
    again: tuple[float, ...] = ()


class Attitude(Struct, frozen=True):
    """What a creditor does with a message that asks for an answer. `reply`: an answer in the reply itself."""

    reply: dict[str, object] | None = None
    later: tuple[Reaction, ...] = ()


def attitude(temper: Temper, chance: Random, today: date, is_reminder: bool, agents: Sequence[str]) -> Attitude:
    """`agents`: register ids to which a claim may be transferred."""
    match temper:
        case Temper.PROMPT | Temper.FAILING:
            return _prompt(chance, today)
        case Temper.SLOW:
            return Attitude(later=(Reaction(chance.uniform(11, 40) * DAY, "answer", _pause(chance, today)),))
        case Temper.SILENT:
            answers = is_reminder and chance.random() < 0.1
            return Attitude(later=(Reaction(3 * DAY, "answer", _pause(chance, today)),) if answers else ())
        case Temper.REFUSING:
            later = Reaction(chance.uniform(1, 9) * DAY, "answer", _refusal(chance))
            return Attitude(later=(_receipt(chance), later))
        case Temper.TWICE:
            return Attitude(later=_twice(chance, today))
        case Temper.TRANSFERRING:
            return Attitude(later=(Reaction(chance.uniform(1, 6) * DAY, "answer", _transfer(chance, agents)),))


def _prompt(chance: Random, today: date) -> Attitude:
    if chance.random() < 0.3:
        return Attitude(reply=_decision(chance, today))
    decides = Reaction(chance.uniform(0.2, 4) * DAY, "answer", _decision(chance, today))
    return Attitude(later=(_receipt(chance), decides) if chance.random() < 0.6 else (decides,))


def _twice(chance: Random, today: date) -> tuple[Reaction, ...]:
    """The same answer more than once, and half of the time another one after it."""
    again = tuple(chance.choice((5 * MINUTE, 2 * HOUR, 3 * DAY)) for _ in range(chance.randint(1, 3)))
    first = Reaction(chance.uniform(0.5, 3) * DAY, "answer", _pause(chance, today), again)
    if chance.random() < 0.5:
        return (first,)
    return first, Reaction(chance.uniform(5, 20) * DAY, "answer", _refusal(chance))


def _receipt(chance: Random) -> Reaction:
    again = (HOUR,) if chance.random() < 0.1 else ()
    return Reaction(chance.choice((MINUTE, HOUR)), "receipt", None, again)


def _decision(chance: Random, today: date) -> dict[str, object]:
    dice = chance.random()
    if dice < 0.07:
        return _refusal(chance)
    if dice < 0.15:
        claims = [{"kenmerk": "1", "soort": "pauze_ingesteld"}, {"kenmerk": "2", "soort": "niet_in_aanmerking"}]
        return {"soort": str(AnswerKind.PAUSED_IN_PART), "vorderingen": claims}
    return _pause(chance, today)


def _pause(chance: Random, today: date) -> dict[str, object]:
    answer: dict[str, object] = {"soort": str(AnswerKind.PAUSED)}
    if chance.random() < 0.7:
        until = today + timedelta(days=chance.randint(90, PAUSE_AT_MOST))
        answer |= {"van": today.isoformat(), "totEnMet": until.isoformat()}
    if chance.random() < 0.2:
        answer["saldo"] = {"bedrag": chance.randint(1_000, 900_000) / 100, "datum": today.isoformat()}
    return answer


def _refusal(chance: Random) -> dict[str, object]:
    return {"soort": str(chance.choice(REFUSALS))}


def _transfer(chance: Random, agents: Sequence[str]) -> dict[str, object]:
    known = chance.random() < 0.8
    return {"soort": str(AnswerKind.TRANSFERRED), "naar": chance.choice(agents) if known else "Incasso Onbekend B.V."}
