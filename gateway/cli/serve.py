"""`kennisgeving serve`: the gateway itself, until it is told to stop."""

import asyncio
import gc
import signal

import uvloop

from gateway.app import Gateway
from gateway.checking import reasons_not_to_start
from gateway.cli.options import DEFAULT_CONFIG, ConfigFile
from gateway.clock import Clock
from gateway.config import read_config
from gateway.contract import SecretMissing, SettingsRefused
from gateway.keys import KeyRefused
from gateway.log import configure, logger
from gateway.tables import TablesRefused

log = logger(__name__)

_REFUSALS = (SettingsRefused, SecretMissing, KeyRefused)


def serve(*, config: ConfigFile = DEFAULT_CONFIG) -> int:
    """2: the settings are refused; each reason is a log line. Whatever else goes wrong is the last log line, and 1."""
    configure()
    try:
        uvloop.run(_serve(config))
    except _REFUSALS as why:
        for line in why.errors if isinstance(why, TablesRefused) else [str(why)]:
            log.error("settings_refused", melding=line)
        return 2
    except OSError as why:
        log.error("not_started", reden=why.strerror or type(why).__name__)
        return 1
    return 0


async def _serve(config: ConfigFile) -> None:
    settings = read_config(config)
    if reasons := await reasons_not_to_start(settings, Clock()):
        raise TablesRefused(reasons)
    gateway = Gateway(settings)
    _collect_seldom()
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, gateway.stop)
    await gateway.run()


def _collect_seldom() -> None:
    """What start-up made stays for good and need not be looked through again; what a delivery leaves behind is freed by
    reference counting, so the collector of cycles may come less often. A tenth less CPU per delivery."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
