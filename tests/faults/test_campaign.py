"""The campaign in small, and that it notices seeded bugs. The whole of it is `make faults`."""

import asyncio

import pytest

from tests.faults.breaches import unseen
from tests.faults.campaign import FAULTS, QUICK, carry_out, chosen
from tests.faults.grounds import Grounds
from tests.faults.report import write
from tests.faults.saved import has_ledger, judged, main
from tests.faults.saved import rounds as kept
from tests.faults.scene import Figures
from tests.faults.teeth import QUICK as QUICK_TEETH
from tests.faults.teeth import TEETH, bite_one

SEED = 2026


async def test_every_invariant_holds_under_the_quick_faults(grounds: Grounds) -> None:
    told: list[str] = []
    rounds = await carry_out(grounds, chosen([], QUICK), SEED, QUICK, told.append, lambda _: None)
    assert [(one.fault, one.broken, one.faults) for one in rounds if one.broken or one.faults] == []
    assert sum(one.kills.get("gateway", 0) for one in rounds) >= QUICK.kills
    assert all(one.deliveries > 0 for one in rounds), told
    write(grounds.directory / "report.md", SEED, rounds, [], 1.0)
    assert "Every invariant held in every round." in (grounds.directory / "report.md").read_text()
    await _judged_again(grounds, rounds)


async def _judged_again(grounds: Grounds, before: list[Figures]) -> None:
    """What the campaign leaves is as good as what it saw, and a spoiled copy of it is not."""
    directory = next(one for one in kept(grounds.directory) if has_ledger(one))
    found, first = await judged(directory), next(one for one in before if one.engine == "sqlite")
    assert found == first.findings[: len(found)]
    copies = grounds.directory / "copies"
    assert await unseen(directory, copies) == []
    assert await asyncio.to_thread(main, [str(directory)]) == 0
    assert (
        await asyncio.to_thread(main, [str(copies / "0"), "--ledger", f"sqlite:///{copies / '0' / 'ledger.db'}"]) == 1
    )
    assert await asyncio.to_thread(main, [str(grounds.directory / "certs")]) == 2


async def test_seeded_bugs_turn_the_campaign_red(grounds: Grounds) -> None:
    bites = {bug: await bite_one(grounds, SEED, bug) for bug in QUICK_TEETH}
    assert {bug: sorted(TEETH[bug].invariants) for bug, one in bites.items() if not one.caught} == {}


@pytest.mark.long
@pytest.mark.parametrize("bug", sorted(TEETH.keys() - set(QUICK_TEETH)))
async def test_a_seeded_bug_that_takes_long_to_come_out_does_so_too(grounds: Grounds, bug: str) -> None:
    bite = await bite_one(grounds, SEED, bug)
    if bite.skipped:
        pytest.skip(bite.skipped)
    assert bite.caught, bite.broken


def test_a_fault_is_chosen_by_name_and_nothing_means_all() -> None:
    everything = QUICK._replace(only=frozenset())
    assert list(chosen(["f3"], QUICK)) == ["F3"]
    assert list(chosen([], everything)) == list(FAULTS)
    assert set(chosen([], QUICK)) == QUICK.only
