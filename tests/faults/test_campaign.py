"""The campaign in small, and that it notices seeded bugs. The whole of it is `make faults`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from gateway.invariants import Finding
from tests.faults import campaign, mix, teeth
from tests.faults.breaches import unseen
from tests.faults.campaign import FAULTS, QUICK, Fault, Run, carry_out, chosen
from tests.faults.disks import DiskFailed, MountRefused
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.report import is_skipped, write
from tests.faults.saved import has_ledger, judged, main
from tests.faults.saved import rounds as kept
from tests.faults.teeth import QUICK as QUICK_TEETH
from tests.faults.teeth import TEETH, Bite, Tooth, bite, bite_one
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


async def test_a_mixed_round_that_breaks_off_is_red_and_costs_no_other_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, last = Figures("F24", notices=1), Figures("F24", notices=2)
    coming = iter([first, None, last])

    async def one(*_: object) -> Figures:
        if (figures := next(coming)) is None:
            raise ServerFailed("it does not come up again") from OSError("port taken")
        return figures

    async def start_anew(*_: object) -> None:
        started.append(True)

    started: list[bool] = []
    monkeypatch.setattr(mix, "_round", one)
    monkeypatch.setattr(mix, "_start_anew", start_anew)
    monkeypatch.setattr(mix, "LASTS", 0.0)
    rounds = mix.mixed(cast(Grounds, None), SEED, 20.0)
    before, broken, after = [await anext(rounds) for _ in range(3)]
    assert (before, after, started) == (first, last, [True])
    assert broken.faults == ["OSError: port taken", "ServerFailed: it does not come up again"]


async def _carried_out(monkeypatch: pytest.MonkeyPatch, run: Run) -> list[Figures]:
    monkeypatch.setitem(cast("dict[str, Fault]", FAULTS), "F24", Fault("two at a time", run))
    return await carry_out(cast("Grounds", None), ["F24"], SEED, QUICK, lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("why", "faults"), [(DiskFailed("umount: busy"), ["DiskFailed: umount: busy"]), (MountRefused("no"), [])]
)
async def test_a_fault_that_breaks_off_keeps_the_rounds_that_were_over(
    monkeypatch: pytest.MonkeyPatch, why: Exception, faults: list[str]
) -> None:
    red = Figures("F24", faults=["something was lost"])

    async def run(*_: object) -> AsyncIterator[Figures]:
        yield red
        raise why

    before, last = await _carried_out(monkeypatch, run)
    assert (before, last.faults, is_skipped(last)) == (red, faults, not faults)


async def test_a_fault_that_takes_too_long_keeps_the_rounds_that_were_over(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Figures("F24", notices=1)

    async def run(*_: object) -> AsyncIterator[Figures]:
        yield whole
        await asyncio.sleep(60)

    monkeypatch.setattr(campaign, "ENDS_WITHIN", 0.05)
    before, last = await _carried_out(monkeypatch, run)
    assert before == whole
    assert [fault.partition(":")[0] for fault in last.faults][-1] == "TimeoutError"


async def test_a_fault_without_a_round_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> AsyncIterator[Figures]:
        for figures in list[Figures]():
            yield figures

    (figures,) = await _carried_out(monkeypatch, run)
    assert figures.faults == ["not one round was run"]


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


def test_the_report_names_what_there_was_nothing_to_look_at_for(tmp_path: Path) -> None:
    seen, unseen = Finding("I1", "gezien", 3, ()), Finding("I10", "nooit gezien", 0, ())
    report = _report(tmp_path, [Figures(name, findings=[seen, unseen]) for name in FAULTS])
    assert "anything to look at for: I10 (nooit gezien).\n" in report
    assert "Not part of the campaign: I18," in report
    assert "anything to look at for" not in _report(tmp_path, [Figures(name, findings=[seen]) for name in FAULTS])


def test_a_seeded_bug_that_was_not_tried_does_not_read_as_caught(tmp_path: Path) -> None:
    bites = [Bite("synchronous_off", "x", (), False, "mounts nothing"), Bite("no_fencing", "x", ("I11",), True)]
    lines = {line.split("`")[1]: line for line in _report(tmp_path, [], bites).splitlines() if line.startswith("| `")}
    assert {bug for bug, line in lines.items() if "| yes |" in line} == {"no_fencing"}
    assert {bug for bug, line in lines.items() if "**not tried**" in line} == TEETH.keys() - {"no_fencing"}


async def test_a_seeded_bug_that_breaks_off_is_not_caught_and_keeps_no_other_from_being_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def never(*_: object) -> AsyncIterator[Figures]:
        await asyncio.wait_for(asyncio.sleep(60), 0)
        yield Figures("F10")

    async def red(*_: object) -> AsyncIterator[Figures]:
        yield Figures("F10", faults=["not quiet"], findings=[Finding("I11", "x", 1, ("1",))])

    tried = {
        "no_fencing": Tooth("no_fencing", "x", frozenset({"I11"}), red),
        "get_confirms": Tooth("get_confirms", "x", frozenset({"I14"}), never),
        "one_lane_for_all": Tooth("one_lane_for_all", "x", frozenset({"F10"}), red),
    }
    monkeypatch.setattr(teeth, "TEETH", tried)
    told: list[str] = []
    found = await bite(cast(Grounds, None), SEED, told.append)
    assert [one.bug for one in found if one.caught] == ["no_fencing"]
    assert [line for line in told if "BROKE OFF: " in line and "TimeoutError" in line and "NOT CAUGHT" in line]
    line = next(line for line in _report(tmp_path, [], found).splitlines() if line.startswith("| `get_confirms`"))
    assert "TimeoutError" in line
    assert line.endswith("**NO** |")


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
    async def run(*_: object) -> AsyncIterator[Figures]:
        try:
            yield await _fails()
        finally:
            raise ExceptionGroup("clearing away", [ConnectionRefusedError("psql")])

    async def _fails() -> Figures:
        raise ServerFailed("postgres did not start")

    (figures,) = await _carried_out(monkeypatch, run)
    assert figures.faults == ["ServerFailed: postgres did not start", "ConnectionRefusedError: psql"]


def test_a_fault_is_chosen_by_name_and_nothing_means_all() -> None:
    everything = QUICK._replace(only=frozenset())
    assert list(chosen(["f3"], QUICK)) == ["F3"]
    assert list(chosen([], everything)) == list(FAULTS)
    assert set(chosen([], QUICK)) == QUICK.only
