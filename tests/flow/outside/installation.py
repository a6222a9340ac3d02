"""One gateway as an operator installs it: settings, register and keys in a directory, and the process that runs."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.flow.outside.messages import GEMEENTE, SENDER, SENDER_OIN
from tests.servers import free_port

KENNISGEVING = Path(sys.executable).with_name("kennisgeving")
READY_WITHIN = 60.0
STOP_WITHIN = 40.0


class GatewayFailed(Exception):
    """The gateway ended, or was not ready in time; the text ends with the last lines of its log."""


@dataclass(frozen=True)
class Settings:
    """`register` holds entries as TOML text; `tempo` durations such as "2 s"; `oauth2` uitgever, jwks and publiek."""

    amqp: str
    ledger: str
    register: Sequence[str]
    tempo: Mapping[str, str] = field(default_factory=dict)
    oauth2: Mapping[str, str] = field(default_factory=dict)

    def document(self, port: int) -> str:
        address = f"127.0.0.1:{port}"
        oauth2 = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.oauth2.items())
        sections: dict[str, dict[str, object]] = {
            "ledger": {"url": self.ledger, "sleutel": "file:certs/ledger.key"},
            "amqp": {"url": self.amqp},
            "http": {"luister": address, "publiek_adres": f"http://{address}"},
            "tempo": dict(self.tempo),
            "gateway": {"oin": "00000099000000001000", "naam": "Kennisgeving-gateway"},
            "register": {"bestand": "schuldeisers.toml"},
            "[afzender]": {
                "naam": "Gemeente Voorbeeld",
                "oin": SENDER_OIN,
                "amqp_gebruiker": SENDER,
                "client_id": SENDER,
                "gemeenten": [GEMEENTE],
            },
        }
        lines = []
        for name, section in sections.items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
            if name == "http" and oauth2:
                lines.append(f"oauth2 = {{ {oauth2} }}")
        return "\n".join(lines).lstrip() + "\n"


def webhook_entry(creditor: str, nr: int, url: str, key_file: str) -> str:
    """A register entry with one webhook on this machine; `nr` makes its OIN."""
    return f"""{_entry(creditor, nr, "webhook")}
[schuldeiser.webhook]
url = "{url}"
sleutels = ["file:{key_file}"]
"""


def sftp_entry(creditor: str, nr: int, port: int, key_file: str, host_key: str) -> str:
    return f"""{_entry(creditor, nr, "sftp")}
[schuldeiser.sftp]
host = "127.0.0.1"
poort = {port}
gebruiker = "{creditor}"
sleutel = "file:{key_file}"
hostsleutels = ["{host_key}"]
map = "/"
"""


def _entry(creditor: str, nr: int, channel: str) -> str:
    return f"""[[schuldeiser]]
id = "{creditor}"
naam = "Schuldeiser {nr} B.V."
oin = "00000099{900_000 + nr:09}000"
sector = "energie"
convenant = {{ naam = "Modelconvenant 2024", bindend = true, pauze = "8 maanden", anker = "verzending" }}
kanalen = ["{channel}"]
limiet = {{ gelijktijdig = 8 }}
netwerken = ["127.0.0.0/8"]
"""


class Gateway:
    """`kennisgeving serve` on the settings in `directory`; started, killed and stopped as often as wanted."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._log = directory / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def install(self) -> None:
        """Write settings and register and make keys. The gateway applies the register when it first starts."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (self._directory / "schuldeisers.toml").write_text("\n".join(self._settings.register))
        (self._directory / "gateway.toml").write_text(self._settings.document(port))
        command = [str(KENNISGEVING), "certs", "dev", "--map", str(self._directory / "certs")]
        subprocess.run(command, check=True, capture_output=True)

    def colleague(self, directory: Path) -> "Gateway":
        """Another one with the same settings, register and keys in a directory of its own, at an address of its own."""
        shutil.copytree(self._directory, directory, ignore=shutil.ignore_patterns(directory.name, "*.log", "*.jsonl"))
        other = Gateway(directory, self._settings)
        port = free_port()
        other.url = f"http://127.0.0.1:{port}"
        (directory / "gateway.toml").write_text(self._settings.document(port))
        return other

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(KENNISGEVING), "serve", "--config", str(self._directory / "gateway.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until /readyz says 200."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            try:
                async with asyncio.timeout(READY_WITHIN):
                    while True:
                        if await self._is_ready(session):
                            return
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise GatewayFailed(f"not ready within {READY_WITHIN:.0f} s\n{self.last_lines()}") from None

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise GatewayFailed(f"ended with {self._process.returncode}\n{self.last_lines()}")
        try:
            async with session.get(f"{self.url}/readyz") as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """SIGSTOP: it stands still in the middle of whatever it is doing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code, 0 when it finished what was in flight."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise GatewayFailed(f"did not stop within {STOP_WITHIN:.0f} s\n{self.last_lines()}") from None

    def last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
