"""What sick creditors may cost the others: a fifth of the p95, or what nobody can tell apart."""

from itertools import count

import pytest

from tests.faults.apart import GRAIN, TRIES, Cost, first_bearable, p95

DEAR, BEARABLE = Cost(0.5, 2.0), Cost(0.5, 0.5)


@pytest.mark.parametrize(
    ("cost", "is_too_high"),
    [
        (Cost(0.5, 0.59), False),
        (Cost(0.5, 0.61), True),
        (Cost(0.03, 0.03 + GRAIN - 0.001), False),
        (Cost(0.03, 0.03 + GRAIN + 0.001), True),
        (Cost(0.5, 0.03), False),
    ],
)
def test_a_fifth_or_a_grain_is_what_others_may_notice(cost: Cost, is_too_high: bool) -> None:
    assert cost.is_too_high is is_too_high


@pytest.mark.parametrize(("dear", "found"), [(0, BEARABLE), (TRIES - 1, BEARABLE), (TRIES, DEAR), (TRIES + 1, DEAR)])
async def test_it_is_too_high_when_it_is_so_every_time(dear: int, found: Cost) -> None:
    turns = count()

    async def measure() -> Cost:
        return DEAR if next(turns) < dear else BEARABLE

    assert await first_bearable(measure) == found


def test_the_slowest_twentieth_decides() -> None:
    assert p95([0.02] * 30 + [0.9] * 10) == pytest.approx(0.9)
    assert p95([0.02] * 40) == pytest.approx(0.02)
