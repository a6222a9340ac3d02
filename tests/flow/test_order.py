"""In whatever order and however often the messages of a dossier come within the gap wait, it ends up the same, and no
creditor sees versions out of order."""

import asyncio
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ledger.agenda import case_of
from tests.flow.calendar import Calendar, open_calendar
from tests.flow.desk import ending, extension, notice, progress, withdrawal
from tests.flow.test_dossier_life import CREDITORS

NAMES = ("energie", "winkel", "zorg", "bank", "incasso")
Story = tuple[object, ...]


def _corrected(version: int, *creditors: str) -> dict[str, Any]:
    event = notice("SHV-1", version, *creditors)
    event["data"]["hulpvrager"] |= {"achternaam": "Verbeterd"}
    return event


DOSSIERS = {
    "to the end": [
        notice("SHV-1", 1, "energie", "winkel", "bank"),
        progress("SHV-1", 2),
        _corrected(3, "energie", "zorg"),
        extension("2027-07-22", 4, "winkel", "zorg"),
        progress("SHV-1", 5, "winkel"),
        ending("2027-06-15", 6),
    ],
    "withdrawn": [
        notice("SHV-1", 1, "energie", "winkel"),
        _corrected(2, "bank"),
        progress("SHV-1", 3),
        withdrawal(4),
    ],
    "withdrawn for one": [
        notice("SHV-1", 1, "energie", "winkel"),
        withdrawal(2, "winkel"),
        notice("SHV-1", 3, "zorg"),
        progress("SHV-1", 4),
    ],
}


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[str, list[int], list[int]]:
    """A dossier, an order in which each message comes at least once, and after which of them the post is taken."""
    name = draw(st.sampled_from(sorted(DOSSIERS)))
    numbers = range(len(DOSSIERS[name]))
    again = draw(st.lists(st.sampled_from(numbers), max_size=4))
    order = draw(st.permutations([*numbers, *again]))
    return name, order, draw(st.lists(st.sampled_from(range(len(order))), max_size=3))


async def _play(name: str, order: Sequence[int], post_after: Sequence[int]) -> tuple[Story, list[tuple[str, int]]]:
    """How the dossier ends up once everything is handed over, and what each creditor saw, in order."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_calendar(f"sqlite:///{directory}/ledger.db", creditors=CREDITORS) as calendar:
            seen = []
            for at, number in enumerate(order):
                await calendar.send(deepcopy(DOSSIERS[name][number]))
                if at in post_after:
                    seen += await _take_post(calendar)
            seen += await _take_post(calendar)
            return await _story(calendar), seen


async def _take_post(calendar: Calendar) -> list[tuple[str, int]]:
    taken = []
    while claims := await calendar.claim(*NAMES):
        taken += [(f"{one.creditor}/{one.agent_for}", one.versie) for one in claims]
        await calendar.settle(claims)
    return taken


async def _story(calendar: Calendar) -> Story:
    """What was processed, who is withdrawn, what is asked of whom until when, and the latest that each was shown."""
    (dossier,) = {row.dossier_id for row in await calendar.desk.deliveries()}
    case = await calendar.desk.ledger.run(case_of, dossier)
    assert case is not None
    return tuple(
        (key, thread.is_withdrawn, *_of_told(thread.pauses(), thread.is_withdrawn))
        for key, thread in sorted(case.threads.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ) + tuple((row.versie, row.out_of_order, row.hold_until) for row in await calendar.desk.messages())


def _of_told(pauses: tuple[object, ...], is_withdrawn: bool) -> tuple[object, ...]:
    """Whether a withdrawn creditor had been told depends on when the post went; what it owes does not."""
    return () if is_withdrawn else pauses


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrivals())
def test_every_order_ends_the_same_and_shows_versions_in_order(given_: tuple[str, list[int], list[int]]) -> None:
    name, order, post_after = given_

    async def both() -> None:
        expected, _ = await _play(name, range(len(DOSSIERS[name])), [])
        found, seen = await _play(name, order, post_after)
        assert sorted(found, key=str) == sorted(expected, key=str)
        for creditor in {creditor for creditor, _ in seen}:
            versions = [version for one, version in seen if one == creditor]
            assert versions == sorted(versions), creditor

    asyncio.run(both())


@pytest.mark.parametrize("name", sorted(DOSSIERS))
async def test_each_message_counts_once(name: str) -> None:
    once, seen = await _play(name, range(len(DOSSIERS[name])), [])
    thrice, seen_again = await _play(name, [number for number in range(len(DOSSIERS[name])) for _ in range(3)], [])
    assert (once, seen) == (thrice, seen_again)
