"""Somebody at a terminal: a directory with settings for a ledger, and the commands of `kennisgeving` in it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Connection

from gateway.__main__ import run
from gateway.ledger.engine import Ledger

P = ParamSpec("P")
T = TypeVar("T")

SETTINGS = """
[ledger]
url = "{url}"
sleutel = "file:ledger.key"
[http]
luister = "127.0.0.1:8080"
[register]
bestand = "schuldeisers.toml"
"""


class Terminal:
    """The key is empty: what runs here does without."""

    def __init__(
        self, directory: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._url = url
        self._capsys = capsys
        (directory / "ledger.key").write_bytes(b"")
        (directory / "schuldeisers.toml").write_text("")
        (directory / "gateway.toml").write_text(SETTINGS.format(url=url))
        monkeypatch.chdir(directory)

    def given(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._capsys.readouterr()
        code = run([*words])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def ledger(self, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `transaction` gives, run in the ledger."""

        async def opened() -> T:
            ledger = Ledger(self._url)
            try:
                return await ledger.run(transaction, *args, **kwargs)
            finally:
                await ledger.aclose()

        return asyncio.run(opened())
