"""`kennisgeving serve`: the gateway itself, until it is told to stop."""

import asyncio
import signal

import uvloop

from gateway.app import Gateway
from gateway.cli.options import DEFAULT_CONFIG, ConfigFile
from gateway.config import read_config
from gateway.contract import SecretMissing, SettingsRefused
from gateway.keys import KeyRefused
from gateway.log import configure, logger
from gateway.tables import TablesRefused

log = logger(__name__)

_REFUSALS = (SettingsRefused, SecretMissing, KeyRefused)


def serve(*, config: ConfigFile = DEFAULT_CONFIG) -> int:
    """Start de gateway.

    Brengt het grootboek eerst op het huidige schema. Schrijft één JSON-object per regel op stderr, en nergens anders.
    Na SIGTERM of SIGINT wordt afgemaakt wat loopt, in ten hoogste 30 seconden.
    """
    configure()
    try:
        uvloop.run(_serve(config))
    except _REFUSALS as why:
        for line in why.errors if isinstance(why, TablesRefused) else [str(why)]:
            log.error("settings_refused", melding=line)
        return 2
    return 0


async def _serve(config: ConfigFile) -> None:
    """Whatever else goes wrong ends the process with exit code 1 and the error as the last log line."""
    gateway = Gateway(read_config(config))
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, gateway.stop)
    await gateway.run()
