"""Every crash point is a place that exists, and every bug can be planted, each in a process of its own."""

import inspect
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.bugs import BUGS
from tests.faults.kills import AT_BIRTH, FIRST, HITS, turns
from tests.faults.points import KILLED, POINTS, place_of, points_on
from tests.faults.teeth import TEETH


@pytest.mark.parametrize("name", POINTS)
def test_a_point_is_a_function_of_the_gateway(name: str) -> None:
    owner, function = place_of(POINTS[name].module, POINTS[name].function)
    found = getattr(owner, function)
    assert callable(found)
    assert POINTS[name].is_transaction or inspect.iscoroutinefunction(found)


def test_a_process_dies_at_the_hit_that_was_asked_for_and_says_where(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from gateway.ledger.engine import Ledger
from gateway.ledger.upgrade import upgrade
from tests.faults.points import arm

async def main():
    arm("upgrade:inside", 2, Path({str(tmp_path / "note")!r}))
    ledger = Ledger("sqlite:///{tmp_path / "ledger.db"}")
    for turn in range(3):
        await ledger.run(upgrade)
        print(turn, flush=True)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert (done.returncode, done.stdout.split()) == (KILLED, ["0"])
    assert (tmp_path / "note").read_text() == "upgrade:inside"


def test_the_gateway_is_killed_at_every_point_there_is() -> None:
    lives = list(islice(turns(tuple(POINTS)), len(POINTS)))
    assert [point for point, _ in lives] == list(POINTS)
    assert set(POINTS) - set(points_on("sqlite")) == {"share:before", "share:inside", "share:after"}
    assert points_on("postgresql") == tuple(POINTS)
    assert set(AT_BIRTH) == {name for name, point in POINTS.items() if point.function in {"upgrade", "apply"}}
    assert all(hit == 1 for point, hit in lives if point.partition(":")[0] in FIRST)


def test_every_point_comes_in_turn_at_its_first_hit_and_later_at_the_next() -> None:
    plan = turns(["freeze:after", "upgrade:after"])
    first, second = [next(plan) for _ in range(2)], [next(plan) for _ in range(2)]
    assert first == [("freeze:after", 1), ("upgrade:after", 1)]
    assert second == [("freeze:after", 2), ("upgrade:after", 1)]
    assert max(hit for _, hit in (next(plan) for _ in range(40))) == HITS


def test_every_seeded_bug_can_be_planted_in_a_gateway() -> None:
    """What it puts its own thing in the place of is there; a fork for each, as gateways of the campaign are."""
    program = """
import os
from tests.faults.bugs import BUGS
from tests.imports import import_everything

import_everything()
for bug, plant in BUGS.items():
    if os.fork() == 0:
        plant()
        os._exit(0)
    print(bug, os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"{bug} 0" for bug in BUGS], done.stderr


def test_every_seeded_bug_has_a_fault_that_brings_it_out() -> None:
    assert set(TEETH) == set(BUGS)
    assert all(tooth.invariants for tooth in TEETH.values())
