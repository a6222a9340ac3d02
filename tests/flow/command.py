"""The command `kennisgeving` as a process of its own, forked from one that has imported everything: that saves the
second that each would take."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.__main__ import main
from tests.imports import EVERYTHING

PATIENCE = 60.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(EVERYTHING))


def environment() -> dict[str, str]:
    """Of this process, without settings of a gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KENNISGEVING_")}


def command(
    arguments: Sequence[str], directory: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run it in `directory` and wait for its end; `env` comes on top of `environment()`."""
    argv = ["kennisgeving", *arguments]
    with tempfile.TemporaryDirectory() as place:
        given, output, errors = streams = [Path(place) / name for name in ("in", "out", "err")]
        given.write_bytes(stdin)
        process = _FORKS.Process(target=_be, args=(argv, directory, environment() | dict(env or {}), streams))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(argv, PATIENCE)
        return subprocess.CompletedProcess(argv, process.exitcode or 0, output.read_bytes(), errors.read_bytes())


def _be(argv: list[str], directory: Path, env: dict[str, str], streams: Sequence[Path]) -> None:
    """In the new process."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    for number, path in enumerate(streams):
        os.dup2(os.open(path, (os.O_WRONLY | os.O_CREAT) if number else os.O_RDONLY, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - multiprocessing had replaced it
    main()
