"""What sick creditors may cost the others: a fifth of the p95, or what nobody can tell apart."""

from collections.abc import Mapping
from itertools import count

import pytest
from msgspec.structs import replace

from tests.faults.apart import AILMENTS, SAME_WITHIN, TRIES, WEATHERS, Cost, first_bearable, p95, pairs
from tests.faults.hostile import MODES

DEAR, BEARABLE = Cost(0.5, 2.0), Cost(0.5, 0.5)


@pytest.mark.parametrize(
    ("cost", "is_too_high"),
    [
        (Cost(0.5, 0.59), False),
        (Cost(0.5, 0.61), True),
        (Cost(0.03, 0.03 + SAME_WITHIN - 0.001), False),
        (Cost(0.03, 0.03 + SAME_WITHIN + 0.001), True),
        (Cost(0.5, 0.03), False),
    ],
)
def test_a_fifth_or_what_is_not_told_apart_is_what_others_may_notice(cost: Cost, is_too_high: bool) -> None:
    assert cost.is_too_high is is_too_high


@pytest.mark.parametrize(
    ("dear", "found"),
    [
        (0, replace(BEARABLE, tries=1)),
        (TRIES - 1, replace(BEARABLE, tries=TRIES)),
        (TRIES, replace(DEAR, tries=TRIES)),
        (TRIES + 1, replace(DEAR, tries=TRIES)),
    ],
)
async def test_it_is_too_high_when_it_is_so_every_time(dear: int, found: Cost) -> None:
    turns = count()

    async def measure() -> Mapping[str, Cost]:
        return {"mail": DEAR if next(turns) < dear else BEARABLE}

    assert await first_bearable(measure) == {"mail": found}


async def test_each_is_judged_by_itself() -> None:
    turns = count()

    async def measure() -> Mapping[str, Cost]:
        turn = next(turns)
        return {"mail": DEAR if turn == 0 else BEARABLE, "the others": DEAR if turn == 1 else BEARABLE}

    assert await first_bearable(measure) == {"mail": replace(BEARABLE, tries=2), "the others": BEARABLE}


def test_every_way_to_be_sick_has_its_turn_on_one_engine_and_on_two() -> None:
    for dealt in ([(MODES, 0)], [(MODES[0::2], 0), (MODES[1::2], len(AILMENTS) // 2)]):
        found = [pair for modes, first in dealt for pair in pairs(modes, first)]
        assert sorted(mode for pair in found for mode in pair.modes) == sorted(MODES)
        assert {pair.ailment for pair in found} == set(AILMENTS)
        assert all(any(pair.weather == weather for pair in found) for weather in WEATHERS)


def test_who_ails_is_not_among_the_healthy() -> None:
    ailing = next(pair for pair in pairs(MODES) if pair.ailment[:1] == ("sftp",))
    assert "s-bevestigt" in ailing.sick
    assert "s-bevestigt" not in ailing.healthy
    assert "m-pagina" in ailing.healthy


def test_the_slowest_twentieth_decides() -> None:
    assert p95([0.02] * 30 + [0.9] * 10) == pytest.approx(0.9)
    assert p95([0.02] * 40) == pytest.approx(0.02)
