"""New and old in turns."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.turns import in_turns, news_wanted

ids = st.lists(st.integers(1, 40), unique=True)


def test_one_new_one_old_as_long_as_there_are_both() -> None:
    assert in_turns([1, 2, 3, 4], [8, 9], 6) == [8, 1, 9, 2, 3, 4]
    assert in_turns([1, 2, 3, 4], [8, 9], 3) == [8, 1, 9]
    assert in_turns([1], [7, 8, 9], 6) == [7, 1, 8, 9]


def test_what_is_due_is_not_doubled_when_it_is_new_as_well() -> None:
    assert in_turns([1, 8, 2], [8], 6) == [8, 1, 2]


@given(oldest=ids, news=ids, most=st.integers(0, 60))
def test_nothing_goes_twice_nothing_is_left_that_there_is_room_for_and_each_keeps_its_order(
    oldest: list[int], news: list[int], most: int
) -> None:
    taken = in_turns(oldest, news, most)
    assert len(taken) == len(set(taken)) == min(most, len({*oldest, *news}))
    assert [one for one in taken if one in news] == [one for one in news if one in taken]
    old = [one for one in oldest if one not in news]
    assert [one for one in taken if one in old] == [one for one in old if one in taken]


@given(oldest=ids, news=ids, most=st.integers(2, 60))
def test_neither_starves_the_other(oldest: list[int], news: list[int], most: int) -> None:
    taken = in_turns(oldest, news, most)
    old = [one for one in oldest if one not in news]
    assert sum(one in old for one in taken) >= min(len(old), most // 2)
    assert sum(one in news for one in taken) >= min(len(news), most // 2)


def test_new_is_looked_for_apart_only_where_a_backlog_fills_the_room() -> None:
    assert news_wanted(10, 9, all_new=False) == 0
    assert news_wanted(10, 10, all_new=True) == 0
    assert news_wanted(10, 10, all_new=False) == 5
    assert news_wanted(1, 1, all_new=False) == 1
