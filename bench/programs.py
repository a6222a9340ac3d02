"""The programs that are measured: how each starts, what it tells the sender, how its ledger says a delivery is done."""

import asyncio
import base64
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import aio_pika

from bench.bare import INTAKE
from tests.flow.outside.installation import Gateway, Settings, webhook_entry

CREDITORS = [f"schuldeiser-{nr}" for nr in range(1, 9)]
START_WITHIN = 30.0


class Program(Protocol):
    name: str
    events_per_notice: int
    outcomes: str
    """SQL that counts the deliveries whose outcome is in the ledger."""

    async def start(self) -> int:
        """Start; the process id, once it consumes."""
        ...

    def stop(self) -> None:
        """End it in order."""
        ...

    def kill(self) -> None:
        """Leave nothing running, however it went."""
        ...


class Bare:
    """`python -m bench.bare`."""

    name = "bare limit"
    events_per_notice = 8
    outcomes = "SELECT count(*) FROM delivery WHERE settled IS NOT NULL"

    def __init__(self, directory: Path, amqp: str, ledger: str, receiver: str) -> None:
        self._amqp = amqp
        self._log = directory / "bare.log"
        arguments = ["--amqp", amqp, "--ledger", ledger, "--receiver", receiver]
        self._command = [sys.executable, "-m", "bench.bare", *arguments]

    async def start(self) -> int:
        self._process = self._launch()
        async with asyncio.timeout(START_WITHIN):
            while True:
                if await self._consumes():
                    return self._process.pid
                await asyncio.sleep(0.05)

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    async def _consumes(self) -> bool:
        try:
            async with await aio_pika.connect(self._amqp) as broker, broker.channel() as channel:
                declared = await channel.declare_queue(INTAKE, passive=True)
                return bool(declared.declaration_result.consumer_count)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Full:
    """`kennisgeving serve`: eight lanes with a window of 8 are the 64 attempts at a time of the bare program."""

    name = "gateway"
    events_per_notice = 9  # one bericht-geaccepteerd and eight bezorging-afgeleverd
    outcomes = "SELECT count(*) FROM delivery WHERE handed_over_at IS NOT NULL"

    def __init__(self, directory: Path, amqp: str, ledger: str, receiver: str) -> None:
        key = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        (directory / "webhook.key").write_text(key + "\n")
        register = [
            webhook_entry(creditor, nr, f"{receiver}/{creditor}", "webhook.key")
            for nr, creditor in enumerate(CREDITORS, start=1)
        ]
        self._gateway = Gateway(directory, Settings(amqp, ledger, register))

    async def start(self) -> int:
        self._gateway.install()
        self._gateway.start()
        await self._gateway.ready()
        return self._gateway.pid

    def stop(self) -> None:
        self._gateway.stop()

    def kill(self) -> None:
        self._gateway.kill()


PROGRAMS: dict[str, type[Bare] | type[Full]] = {"bare": Bare, "gateway": Full}
