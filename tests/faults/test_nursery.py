"""A gateway of the campaign has one process at a time, and what hit no process is not counted."""

import asyncio
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.faults import mix
from tests.faults.figures import Figures
from tests.faults.gateway import Order
from tests.faults.nursery import Gateway, Nursery
from tests.faults.scene import Scene


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


class Cradle(Nursery):
    """What it bears does nothing but live."""

    def __init__(self) -> None:
        super().__init__()
        self.born: list[subprocess.Popen[bytes]] = []

    async def bear(self, order: Order) -> int:
        self.born.append(await asyncio.to_thread(_sleeper))
        return self.born[-1].pid

    def living(self) -> int:
        return sum(one.poll() is None for one in self.born)


@pytest.fixture
def cradle() -> Iterator[Cradle]:
    made = Cradle()
    yield made
    for one in made.born:
        one.kill()
        one.wait()


@pytest.fixture
def gateway(cradle: Cradle, tmp_path: Path) -> Gateway:
    return Gateway(cradle, tmp_path, "a")


async def test_whoever_signals_is_told_whether_there_was_a_process(cradle: Cradle, gateway: Gateway) -> None:
    assert not gateway.signal(signal.SIGSTOP)
    assert not await gateway.kill()
    await gateway.start()
    assert gateway.signal(signal.SIGSTOP)
    assert await gateway.kill()
    assert not await gateway.kill()
    assert cradle.living() == 0


async def test_a_process_whose_end_nobody_has_noticed_yet_gets_no_signal(cradle: Cradle, gateway: Gateway) -> None:
    await gateway.start()
    cradle.born[0].kill()
    cradle.born[0].wait()
    assert gateway.runs
    assert not gateway.signal(signal.SIGTERM)
    assert await gateway.died(1)


async def test_two_who_start_it_at_once_leave_one_process(cradle: Cradle, gateway: Gateway) -> None:
    ended = await asyncio.gather(gateway.start(), gateway.start(), return_exceptions=True)
    assert [type(why) for why in ended] == [type(None), AssertionError]
    assert cradle.living() == 1
    assert await gateway.kill()


async def test_a_kill_waits_for_a_birth(cradle: Cradle, gateway: Gateway) -> None:
    _, ran = await asyncio.gather(gateway.start(), gateway.kill())
    assert ran
    assert cradle.living() == 0


async def test_who_does_not_come_to_its_point_is_killed_before_all_is_quiet(
    cradle: Cradle, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mix, "COMES_WITHIN", 0.05)
    scene = cast(Scene, SimpleNamespace(gateways=[gateway], figures=Figures(), bugs=()))
    await mix._gateway_comes_to_a_point(scene, random.Random(1))
    assert (cradle.living(), gateway.taken) == (0, False)
    assert (scene.figures.kills, scene.figures.points) == ({"gateway": 1}, {"elsewhere": 1})
    await mix._gateway_dies(scene, random.Random(1))
    await mix._gateway_stands_still(scene, random.Random(1))
    assert scene.figures.kills == {"gateway": 1}
