"""The campaign in small, and that it notices seeded bugs. The whole of it is `make faults`."""

from typing import cast

import pytest

from tests.faults.campaign import FAULTS, QUICK, Fault, carry_out, chosen
from tests.faults.grounds import Grounds
from tests.faults.report import write
from tests.faults.scene import Figures
from tests.faults.teeth import QUICK as QUICK_TEETH
from tests.faults.teeth import TEETH, bite_one
from tests.servers import ServerFailed

SEED = 2026


async def test_every_invariant_holds_under_the_quick_faults(grounds: Grounds) -> None:
    told: list[str] = []
    rounds = await carry_out(grounds, chosen([], QUICK), SEED, QUICK, told.append, lambda _: None)
    assert [(one.fault, one.broken, one.faults) for one in rounds if one.broken or one.faults] == []
    assert sum(one.kills.get("gateway", 0) for one in rounds) >= QUICK.kills
    assert all(one.deliveries > 0 for one in rounds), told
    write(grounds.directory / "report.md", SEED, rounds, [], 1.0)
    assert "Every invariant held in every round." in (grounds.directory / "report.md").read_text()


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


async def test_what_broke_a_fault_off_is_told_before_what_that_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> list[Figures]:
        try:
            raise ServerFailed("postgres did not start")
        finally:
            raise ExceptionGroup("clearing away", [ConnectionRefusedError("psql")])

    monkeypatch.setitem(cast("dict[str, Fault]", FAULTS), "F24", Fault("two at a time", run))
    (figures,) = await carry_out(cast("Grounds", None), ["F24"], SEED, QUICK, lambda _: None, lambda _: None)
    assert figures.faults == ["ServerFailed: postgres did not start", "ConnectionRefusedError: psql"]


def test_a_fault_is_chosen_by_name_and_nothing_means_all() -> None:
    everything = QUICK._replace(only=frozenset())
    assert list(chosen(["f3"], QUICK)) == ["F3"]
    assert list(chosen([], everything)) == list(FAULTS)
    assert set(chosen([], QUICK)) == QUICK.only
