"""Configuration and ledger as commands use them: whatever is wrong ends the command with its reasons."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import uvloop

from gateway.cli.errors import Failed, WrongUse
from gateway.config import Config, read_config
from gateway.contract import SecretMissing, SettingsRefused
from gateway.keys import KeyRefused, read_keys
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.opening import open_ledger
from gateway.ledger.upgrade import is_current, upgrade
from gateway.seal import Sealer
from gateway.tables import TablesRefused

T = TypeVar("T")


def settings(path: Path) -> Config:
    try:
        return read_config(path)
    except TablesRefused as why:
        raise WrongUse(*why.errors) from why


def run(work: Coroutine[None, None, T]) -> T:
    """Carry out `work`; what the surroundings refuse becomes an orderly end."""
    try:
        return uvloop.run(work)
    except TablesRefused as why:
        raise WrongUse(*why.errors) from why
    except (SettingsRefused, SecretMissing, KeyRefused) as why:
        raise WrongUse(str(why)) from why
    except (LedgerAway, Contention) as why:
        raise Failed(f"het grootboek is niet bereikbaar: {why}") from why


@asynccontextmanager
async def ledger_to_read(config: Config) -> AsyncIterator[Ledger]:
    """The ledger, as long as it has the current schema; makes no ledger and no tables."""
    file = Path(config.ledger.url.removeprefix("sqlite:///"))
    if config.ledger.url.startswith("sqlite:///") and not file.exists():
        raise Failed(f"er is nog geen grootboek ({file}); `kennisgeving serve` maakt het")
    async with _opened(config) as ledger:
        if not await ledger.run(is_current):
            raise Failed("het grootboek heeft niet het juiste schema; `kennisgeving serve` werkt het bij")
        yield ledger


@asynccontextmanager
async def ledger_to_write(config: Config) -> AsyncIterator[Ledger]:
    """The ledger, brought to the current schema first."""
    async with _opened(config) as ledger:
        await ledger.run(upgrade)
        yield ledger


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Ledger]:
    ledger = open_ledger(config.ledger)
    try:
        yield ledger
    finally:
        await ledger.aclose()


def sealer(config: Config) -> Sealer:
    """Raises KeyRefused, SecretMissing, SettingsRefused."""
    return Sealer(read_keys(config.ledger.key))
