"""Who owns which lane."""

import random
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.spread import Lane, fair_share, spread

Owners = dict[Lane, str | None]

gateways = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True)


@st.composite
def towns(draw: st.DrawFn) -> tuple[list[str], Owners]:
    """Gateways that live, and lanes with owners of which some do not."""
    living = draw(gateways)
    owners = draw(st.lists(st.sampled_from([*living, "gone", None]), max_size=40))
    return living, {(f"creditor-{nr}", "webhook"): owner for nr, owner in enumerate(owners)}


def look(me: str, living: Collection[str], owners: Owners, ending: str = "") -> None:
    """As the ledger does it: let go of what is too much, take what is free."""
    move = spread(me, {one: one != ending for one in living}, owners)
    for lane in move.surplus:
        owners[lane] = None
    for lane in move.take:
        owners[lane] = me


@given(town=towns(), seed=st.integers(0, 1000))
def test_after_a_few_looks_each_lane_has_an_owner_and_nobody_more_than_a_fair_share(
    town: tuple[list[str], Owners], seed: int
) -> None:
    living, owners = town
    order = random.Random(seed)
    for _ in range(3):
        for me in order.sample(living, len(living)):
            look(me, living, owners)
    share = fair_share(len(owners), len(living))
    assert set(owners.values()) <= set(living)
    assert all(list(owners.values()).count(one) <= share for one in living)


@given(town=towns())
def test_who_looks_takes_nothing_from_who_lives(town: tuple[list[str], Owners]) -> None:
    living, owners = town
    before = dict(owners)
    move = spread(living[0], dict.fromkeys(living, True), owners)
    assert all(before[lane] is None or before[lane] not in living for lane in move.take)
    assert all(before[lane] == living[0] for lane in move.surplus)


@given(town=towns())
def test_once_spread_nothing_moves_any_more(town: tuple[list[str], Owners]) -> None:
    living, owners = town
    for _ in range(3):
        for me in living:
            look(me, living, owners)
    for me in living:
        move = spread(me, dict.fromkeys(living, True), owners)
        assert (move.take, move.surplus) == ((), ())


@given(town=towns())
def test_the_lanes_of_one_that_is_ending_go_to_those_that_stay(town: tuple[list[str], Owners]) -> None:
    living, owners = town
    ending, staying = living[0], living[1:]
    for _ in range(3):
        for me in living:
            look(me, living, owners, ending)
    wanted: set[str | None] = set(staying)
    assert set(owners.values()) <= (wanted or {None, "gone"})
