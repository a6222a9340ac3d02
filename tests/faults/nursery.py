"""Gateways as the campaign has them: born from one process, killed at a point or at any moment, stopped, frozen."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.gateway import Order, written
from tests.faults.holdings import held_by

BORN_WITHIN = 30.0
STOPS_WITHIN = 40.0
GROWN_UP = 2.5


class Nursery:
    """`async with Nursery() as nursery`: the process that forks them, run `under` another program. Leaving ends it, not
    the gateways."""

    def __init__(self, under: Sequence[str] = ()) -> None:
        self._under = under
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        command = [*self._under, sys.executable, "-m", "tests.faults.gateway"]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def bear(self, order: Order) -> int:
        """The pid of a new gateway."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn, asyncio.timeout(BORN_WITHIN):
            self._process.stdin.write(written(order).encode())
            await self._process.stdin.drain()
            return int(await self._process.stdout.readline())


class GatewayEnded(Exception):
    """A gateway ended although nobody asked it to; the text has the last lines of its log."""


class Gateway:
    """One installation, with one process at a time."""

    def __init__(self, nursery: Nursery, directory: Path, name: str) -> None:
        self.name = name
        self.config = directory / f"{name}.toml"
        self.log = directory / f"{name}.log"
        self.log.touch()
        self.note = directory / f"{name}.point"
        self.trace = directory / f"{name}.trace"
        self.trace.touch()
        self._code = directory / f"{name}.code"
        self._nursery = nursery
        self.taken = False
        """Somebody else starts it and ends it."""
        self.names: Path | None = None
        """Directory of the hosts and resolv.conf that it is to read."""
        self.late_after = 0.0
        """Seconds in the place of four hours."""
        self._pid = 0
        self._log_from = 0
        self._born = 0.0
        self._pidfd: int | None = None
        self._dead = asyncio.Event()
        self._turn = asyncio.Lock()

    async def start(
        self, point: str = "", hit: int = 1, bugs: Sequence[str] = (), command: Sequence[str] = ("serve",)
    ) -> None:
        """A new process, where none runs; without waiting until it is ready."""
        async with self._turn:
            assert not self.runs, f"{self.name} runs already"
            await self._start(point, hit, bugs, command)

    async def _start(self, point: str, hit: int, bugs: Sequence[str], command: Sequence[str]) -> None:
        for path in (self.note, self._code):
            path.unlink(missing_ok=True)
        config, log, note, code, trace = map(str, (self.config, self.log, self.note, self._code, self.trace))
        order = Order(config, log, note, code, trace, point, hit, tuple(bugs), str(self.names or ""), tuple(command),
                      self.late_after)  # fmt: skip
        self._log_from = self.log.stat().st_size
        self._pid = pid = await self._nursery.bear(order)
        self._dead = asyncio.Event()
        self._born = time.monotonic()
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # quick work
            self._dead.set()
            return
        asyncio.get_running_loop().add_reader(self._pidfd, self._end)

    def _end(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._dead.set()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return self._pid

    @property
    def runs(self) -> bool:
        return self._pidfd is not None

    async def died(self, within: float) -> bool:
        """Whether it ended in so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._dead.wait()
        except TimeoutError:
            return False
        return True

    def died_at(self) -> str:
        """The crash point at which it died; "": elsewhere. Raises GatewayEnded where nobody killed it."""
        if self.note.exists():
            return self.note.read_text()
        if self._code.exists():
            raise GatewayEnded(f"{self.name} ended with {self._code.read_text()}\n{self.last_lines()}")
        return ""

    def signal(self, how: signal.Signals) -> bool:
        """Whether there was a process to get it."""
        if self._pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, how)
        except ProcessLookupError:  # its end is about to be noticed
            return False
        return True

    async def kill(self) -> bool:
        """Whether there was a process to be killed; there is none now."""
        async with self._turn:
            ran = self.signal(signal.SIGKILL)
            if self.runs:
                await self._dead.wait()
        return ran

    async def stop(self) -> int:
        """SIGTERM; the exit code. What has only just begun to live would die of it without a word."""
        await asyncio.sleep(max(0.0, self._born + GROWN_UP - time.monotonic()))
        self.signal(signal.SIGTERM)
        if not await self.died(STOPS_WITHIN):
            await self.kill()
            raise GatewayEnded(f"{self.name} did not stop\n{self.last_lines()}")
        return self.code

    @property
    def code(self) -> int:
        """With which the last process ended, where nobody killed it."""
        return int(self._code.read_text())

    def holds(self) -> Counter[str]:
        """Open descriptors of the process that runs, by what they are; its own files go by `log` and `trace`."""
        own = f"{self.config.with_suffix('')}."
        return Counter({what.removeprefix(own): number for what, number in held_by(self._pid).items()})

    def said(self, event: str) -> int:
        """How often, in the log of the process that runs."""
        with self.log.open("rb") as file:
            file.seek(self._log_from)
            return file.read().count(f'"{event}"'.encode())

    def peak_mb(self) -> int:
        """The most that was resident, in the life of the process that runs."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def last_lines(self, number: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-number:])
