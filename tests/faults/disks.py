"""F7, F8: the disk is full; the power goes. Both need root, for a mount; without it they are skipped, loudly."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.grounds import Grounds
from tests.faults.scene import Figures, open_scene

FULL_AT = "12m"
IMAGE_MB = 96
POWER_CUTS = 5


class MountRefused(Exception):
    """This machine lets us mount nothing."""


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


async def full(grounds: Grounds, seed: int) -> list[Figures]:
    """F8. The ledger's disk fills up while notices come in: nothing is acknowledged that is not kept, and when there is
    room again everything goes on."""
    with mounted(grounds.directory / "klein", "-t", "tmpfs", "-o", f"size={FULL_AT}", "kennisgeving") as home:
        async with open_scene(grounds, "F8", "sqlite", seed, home=home) as scene:
            for _ in range(3):
                scene.send(scene.load.dossier())
                scene.send(scene.load.dossier())
                await asyncio.sleep(0.5)
                _fill(home / "ballon")
                for _ in range(6):
                    scene.send(scene.load.dossier())
                await asyncio.sleep(3)
                (home / "ballon").unlink()
                await asyncio.sleep(1)
            refused = scene.gateway.log.read_bytes().count(b"ledger_away")
            scene.figures.notes.append(f"the full disk refused {refused} transactions")
            return [await scene.end()]


def _fill(balloon: Path) -> None:
    """Until nothing fits any more."""
    with balloon.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


class Disk:
    """An ext4 image, mounted; `lose_power` puts a copy of it, as it is at that moment, in its place."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "disk"
        self._image = directory / "0.img"
        self._cuts = 0

    def __enter__(self) -> Self:
        """Raises MountRefused."""
        self.place.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(IMAGE_MB * 2**20)
        _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(self._image))
        self._mount()
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
        raise MountRefused(f"{command[0]}: {done.stderr.strip()}")


async def power_cut(grounds: Grounds, seed: int, cuts: int = POWER_CUTS, bugs: Sequence[str] = ()) -> list[Figures]:
    """F7. The gateway is frozen at work, and the disk copied as a power cut would leave it; the next one starts from
    the copy."""
    with Disk(grounds.directory / f"images-{grounds.rounds}") as disk:
        async with open_scene(grounds, "F7", "sqlite", seed, home=disk.place, bugs=bugs) as scene:
            for _ in range(cuts):
                for _ in range(8):
                    scene.send(scene.load.dossier())
                await asyncio.sleep(1.0)
                scene.gateway.signal(signal.SIGSTOP)
                await asyncio.sleep(0.05)
                copy = disk.copy()
                await scene.gateway.kill()
                await scene.forget_ledger()
                disk.replace(copy)
                scene.figures.count_kill("power")
                await scene.start()
            return [await scene.end()]
