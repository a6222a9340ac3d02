"""New and old in turns, after Postfix: a backlog never starves new work, and new work never a backlog."""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

T = TypeVar("T")


def in_turns(oldest: Sequence[T], news: Iterable[T], most: int) -> list[T]:
    """At most `most` of both, one new and one old as long as there are both, each in its own order and none twice."""
    known = set(news := list(news))
    old = [one for one in oldest if one not in known]
    pairs = chain.from_iterable(zip_longest(news, old))
    return [one for one in pairs if one is not None][:most]


def news_wanted(room: int, found: int, *, all_new: bool) -> int:
    """How much of what is new is to be looked for apart: none where all that is due fits, or is new anyway."""
    return 0 if found < room or all_new else (room + 1) // 2
