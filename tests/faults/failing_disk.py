"""F8: a disk that fails now and then. libfiu (Debian: fiu-utils) puts errors in the place of a gateway's own writes."""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults import disks
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.nursery import Nursery
from tests.faults.opening import open_scene
from tests.faults.scene import Scene

FAILING = ("posix/io/rw/pwrite", "posix/io/sync/fsync", "posix/io/sync/fdatasync")
EIO = 5
PART = 0.2
FAILS_FOR = 2.0


async def failing(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """A part of the writes and syncs of the ledger fails: what was acknowledged is kept, and the file stays whole."""
    if shutil.which("fiu-run") is None:
        yield Figures("F8", "sqlite", notes=["SKIPPED: no fiu-run, of Debian's fiu-utils, for a disk that fails"])
        return
    control = grounds.directory / f"fiu-{grounds.rounds}"
    async with Nursery(["fiu-run", "-x", "-f", str(control)]) as nursery:
        with disks.instead(grounds, nursery=nursery) as there:
            async with open_scene(there, "F8", "sqlite", seed) as scene:
                for _ in range(2):
                    with _fails(control, scene.gateway.pid):
                        for _ in range(6):
                            scene.send(scene.load.dossier())
                            await asyncio.sleep(FAILS_FOR / 6)
                    await disks.goes_on(scene)
                disks.count_refused(scene)
                figures = await scene.end()
                _judge_file(scene)
                yield figures


@contextmanager
def _fails(control: Path, pid: int) -> Iterator[None]:
    enable = [f"enable_random name={name},failinfo={EIO},probability={PART}" for name in FAILING]
    _order(control, pid, enable)
    try:
        yield
    finally:
        _order(control, pid, [f"disable name={name}" for name in FAILING])


def _order(control: Path, pid: int, orders: list[str]) -> None:
    words = [word for order in orders for word in ("-c", order)]
    subprocess.run(["fiu-ctrl", "-f", str(control), *words, str(pid)], check=True, capture_output=True)


def _judge_file(scene: Scene) -> None:
    with closing(sqlite3.connect(urlsplit(scene.ledger_url).path)) as ledger:
        found = ledger.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        scene.figures.faults.append(f"the ledger's file is damaged: {found[:3]}")
