"""F7, F8: the disk is full; the power goes. Both need root, for a mount; without it they are skipped, loudly."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.creditors import NAMES
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.kills import ENGINES
from tests.faults.opening import open_scene
from tests.faults.scene import Scene
from tests.servers import PostgreSQL

FULL_FOR = 3.0
GOES_ON_WITHIN = 30.0
GIVES_UP_WITHIN = 20.0
BLOCK = 4096
IMAGE_MB = 256
POWER_CUTS = 5


class MountRefused(Exception):
    """This machine lets us mount nothing."""


class DiskFailed(Exception):
    """A disk that was mounted could not be handled as it should."""


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    """Raises MountRefused."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MountRefused(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def full(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F8. The ledger's disk fills up while notices come in: nothing is acknowledged that is not kept, and when there is
    room again everything goes on."""
    for fill_up in (_sqlite_full, _postgresql_full, _log_full):
        yield await fill_up(grounds, seed)


async def _sqlite_full(grounds: Grounds, seed: int) -> Figures:
    with _small("size=12m") as disk:
        async with open_scene(grounds, "F8", "sqlite", seed, home=disk) as scene:
            for _ in range(3):
                await _fills_up(scene, disk)
            count_refused(scene)
            return await scene.end()


async def _postgresql_full(grounds: Grounds, seed: int) -> Figures:
    """Then its write-ahead log finds no room, and no inode: PostgreSQL gives up, and must be started again."""
    with (
        _small("size=200m,nr_inodes=4k") as disk,
        PostgreSQL(disk) as postgres,
        instead(grounds, postgres=postgres) as there,
    ):
        async with open_scene(there, "F8", "postgresql", seed) as scene:
            await _fills_up(scene, disk)
            count_refused(scene)
            for fill in (_fill, _litter):
                fill(disk / "ballon")
                for _ in range(4):
                    scene.send(scene.load.dossier())
                await asyncio.to_thread(_gives_up, postgres)
                _empty(disk / "ballon")
                await asyncio.to_thread(postgres.crash)
                scene.figures.count_kill("postgresql")
                await asyncio.to_thread(postgres.start)
                await goes_on(scene)
            scene.figures.notes.append("PostgreSQL gave up twice, without room and without inodes for its log")
            return await scene.end()


def _gives_up(postgres: PostgreSQL) -> None:
    """Have it write until it needs another file for its log; raises TimeoutError."""
    write = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 4000000))"
    deadline, before = time.monotonic() + GIVES_UP_WITHIN, postgres.log.read_bytes().count(b"PANIC")
    while postgres.log.read_bytes().count(b"PANIC") == before:
        if time.monotonic() > deadline:
            raise TimeoutError
        subprocess.run(["psql", "-qXAt", "-c", write, postgres.url("postgres")], capture_output=True, check=False)


async def _log_full(grounds: Grounds, seed: int) -> Figures:
    """The gateway's own log finds no room: it goes on without."""
    with _small("size=1m") as disk:
        async with open_scene(grounds, "F8", "sqlite", seed) as scene:
            await scene.gateway.kill()
            scene.gateway.log = log = disk / "a.log"
            log.touch()
            await scene.start()
            await goes_on(scene)
            await scene.settle_in()
            _fill(disk / "ballon")
            size = log.stat().st_size
            for _ in range(12):
                scene.send(scene.load.dossier())
            await goes_on(scene)
            await scene.handed_over(*NAMES)
            scene.figures.notes.append("the gateway went on without a log")
            if log.stat().st_size > size + BLOCK:
                scene.figures.faults.append("the disk of the log was not full")
            return await scene.end()


async def _fills_up(scene: Scene, disk: Path) -> None:
    for _ in range(2):
        scene.send(scene.load.dossier())
    await asyncio.sleep(0.5)
    _fill(disk / "ballon")
    for _ in range(6):
        scene.send(scene.load.dossier())
    await asyncio.sleep(FULL_FOR)
    _empty(disk / "ballon")
    await goes_on(scene)


async def goes_on(scene: Scene) -> None:
    """What was sent meanwhile, and what is sent now, is accepted; raises TimeoutError."""
    scene.send(scene.load.dossier((), ()))
    await scene.sent()
    await scene.accepted(GOES_ON_WITHIN)


def count_refused(scene: Scene) -> None:
    refused = scene.gateway.log.read_bytes().count(b'"ledger_away"')
    scene.figures.notes.append(f"the disk refused {refused} transactions")
    if not refused:
        scene.figures.faults.append("the disk refused nothing")


@contextmanager
def _small(options: str) -> Iterator[Path]:
    """A disk in memory."""
    with _own_place() as place, mounted(place / "klein", "-t", "tmpfs", "-o", options, "kennisgeving") as disk:
        yield disk


@contextmanager
def _own_place() -> Iterator[Path]:
    """A directory that others may enter too, as PostgreSQL must."""
    with tempfile.TemporaryDirectory(prefix="kennisgeving-disk-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@contextmanager
def instead(grounds: Grounds, **others: Any) -> Iterator[Grounds]:
    """The same grounds with another PostgreSQL, or another nursery."""
    there = replace(grounds, **others)
    try:
        yield there
    finally:
        grounds.rounds = there.rounds


def _fill(balloon: Path) -> None:
    """Until nothing fits any more."""
    with balloon.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * BLOCK)
        except OSError:
            return


def _litter(place: Path) -> None:
    """Until there is not one file more."""
    place.mkdir()
    for nr in count():
        try:
            (place / str(nr)).touch()
        except OSError:
            return


def _empty(balloon: Path) -> None:
    if balloon.is_dir():
        shutil.rmtree(balloon)
    else:
        balloon.unlink()


class Disk:
    """An ext4 image, mounted; `lose_power` puts a copy of it, as it is at that moment, in its place."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self._image = directory / "0.img"
        self._cuts = 0

    def __enter__(self) -> Self:
        """Raises MountRefused; from then on it is DiskFailed."""
        self.place.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(IMAGE_MB * 2**20)
        _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(self._image))
        try:
            self._mount()
        except DiskFailed as why:
            raise MountRefused(str(why)) from why
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "-l", str(self.place))

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.place))

    def copy(self) -> Path:
        """What would be left of it now: nothing that was only written, and not synced."""
        self._cuts += 1
        return Path(shutil.copyfile(self._image, self._image.with_name(f"{self._cuts}.img")))

    def replace(self, copy: Path) -> None:
        _run("umount", "-l", str(self.place))
        _run("fsck.ext4", "-fy", str(copy), is_sure=False)
        self._image.unlink()
        self._image = copy
        self._mount()


def _run(*command: str, is_sure: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if is_sure and done.returncode != 0:
        raise DiskFailed(f"{command[0]}: {done.stderr.strip()}")


async def power_cut(
    grounds: Grounds, seed: int, cuts: int, engines: Sequence[str] = ENGINES, bugs: Sequence[str] = ()
) -> AsyncIterator[Figures]:
    """F7. Gateway and ledger are frozen at work, and the disk copied as a power cut would leave it; the next ones start
    from the copy."""
    cut = {"sqlite": _sqlite_cut, "postgresql": _postgresql_cut}
    for engine in engines:
        yield await cut[engine](grounds, seed, cuts, bugs)


async def _sqlite_cut(grounds: Grounds, seed: int, cuts: int, bugs: Sequence[str]) -> Figures:
    with _own_place() as place, Disk(place) as disk:
        async with open_scene(grounds, "F7", "sqlite", seed, home=disk.place, bugs=bugs) as scene:
            for _ in range(cuts):
                await _at_work(scene)
                copy = disk.copy()
                await scene.gateway.kill()
                await _restart_from(scene, disk, copy)
            return await scene.end()


async def _postgresql_cut(grounds: Grounds, seed: int, cuts: int, bugs: Sequence[str]) -> Figures:
    with _own_place() as place, Disk(place) as disk, PostgreSQL(disk.place) as postgres:
        _run("sync", "-f", str(disk.place))  # initdb leaves that to us
        with instead(grounds, postgres=postgres) as there:
            async with open_scene(there, "F7", "postgresql", seed, bugs=bugs) as scene:
                for _ in range(cuts):
                    await _at_work(scene)
                    postgres.freeze()
                    copy = disk.copy()
                    await scene.gateway.kill()
                    await asyncio.to_thread(postgres.crash)
                    await _restart_from(scene, disk, copy, postgres)
                return await scene.end()


async def _at_work(scene: Scene) -> None:
    """The gateway is frozen in the middle of it."""
    for _ in range(8):
        scene.send(scene.load.dossier())
    await asyncio.sleep(1.0)
    scene.gateway.signal(signal.SIGSTOP)
    await asyncio.sleep(0.05)


async def _restart_from(scene: Scene, disk: Disk, copy: Path, postgres: PostgreSQL | None = None) -> None:
    await scene.forget_ledger()
    disk.replace(copy)
    scene.figures.count_kill("power")
    if postgres is not None:
        await asyncio.to_thread(postgres.start)
    await scene.start()
