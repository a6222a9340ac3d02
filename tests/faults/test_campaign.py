"""The campaign in small, and that it notices seeded bugs. The whole of it is `make faults`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from tests.faults import mix
from tests.faults.breaches import unseen
from tests.faults.campaign import FAULTS, QUICK, Fault, carry_out, chosen
from tests.faults.grounds import Grounds
from tests.faults.report import write
from tests.faults.saved import has_ledger, judged, main
from tests.faults.saved import rounds as kept
from tests.faults.scene import Figures
from tests.faults.teeth import QUICK as QUICK_TEETH
from tests.faults.teeth import TEETH, Bite, bite_one
from tests.servers import ServerFailed

SEED = 2026


async def test_every_invariant_holds_under_the_quick_faults(grounds: Grounds) -> None:
    told: list[str] = []
    rounds = await carry_out(grounds, chosen([], QUICK), SEED, QUICK, told.append, lambda _: None)
    assert [(one.fault, one.broken, one.faults) for one in rounds if one.broken or one.faults] == []
    assert sum(one.kills.get("gateway", 0) for one in rounds) >= QUICK.kills
    assert all(one.deliveries > 0 for one in rounds), told
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


async def test_a_mixed_round_that_breaks_off_keeps_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [Figures("F24", notices=1), Figures("F24", notices=2)]
    coming = iter(whole)

    async def one(*_: object) -> Figures:
        if (figures := next(coming, None)) is None:
            raise ServerFailed("it does not come up again") from OSError("port taken")
        return figures

    monkeypatch.setattr(mix, "_round", one)
    *before, last = await mix.mixed(cast(Grounds, None), SEED, 20.0)
    assert before == whole
    assert last.faults == ["OSError: port taken", "ServerFailed: it does not come up again"]


def _report(path: Path, rounds: Sequence[Figures], bites: Sequence[Bite] = ()) -> str:
    write(path / "report.md", SEED, rounds, bites, 1.0)
    return (path / "report.md").read_text()


def test_the_report_says_that_all_held_only_where_every_fault_was_tried(tmp_path: Path) -> None:
    every = [Figures(name) for name in FAULTS]
    assert "**Every invariant held in every round.**" in _report(tmp_path, every)
    less = _report(
        tmp_path, [one for one in every if one.fault not in ("F3", "F7")] + [Figures("F7", notes=["SKIPPED: x"])]
    )
    assert "Every invariant held in every round." not in less
    assert "Not run, or not all of it: F3, F7." in less
    assert [line for line in less.splitlines() if line.startswith("| F3 ") and "**not run**" in line]
    assert [line for line in less.splitlines() if line.startswith("| F7 ") and "**skipped**" in line]
    red = _report(tmp_path, [*every, Figures("F8", faults=["the full disk refused nothing"])])
    assert f"**1 of {len(FAULTS) + 1} rounds are red.**" in red


def test_a_seeded_bug_that_was_not_tried_does_not_read_as_caught(tmp_path: Path) -> None:
    bites = [Bite("synchronous_off", "x", (), False, "mounts nothing"), Bite("no_fencing", "x", ("I11",), True)]
    lines = {line.split("`")[1]: line for line in _report(tmp_path, [], bites).splitlines() if line.startswith("| `")}
    assert {bug for bug, line in lines.items() if "| yes |" in line} == {"no_fencing"}
    assert {bug for bug, line in lines.items() if "**not tried**" in line} == TEETH.keys() - {"no_fencing"}


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
