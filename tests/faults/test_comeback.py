"""What a creditor that is away, and one that is back, may be asked to bear."""

import pytest

from tests.faults.comeback import most_within_a_second, probes


@pytest.mark.parametrize(("seconds", "number"), [(0.1, 0), (0.2, 1), (0.7, 2), (1.5, 3), (2.5, 4), (12.5, 14)])
def test_probes_come_at_waits_that_double_up_to_a_second(seconds: float, number: int) -> None:
    assert probes(seconds) == number


@pytest.mark.parametrize(
    ("instants", "most"), [([], 0), ([0, 999_999], 2), ([0, 1_000_000], 1), ([5, 0, 600_000, 1_100_000, 1_200_000], 3)]
)
def test_a_second_may_begin_at_any_moment(instants: list[int], most: int) -> None:
    assert most_within_a_second(instants) == most
