"""The creditors of the campaign, in a process of their own: four channels, answers in every way, and hostile ones.

    python -m tests.faults.creditors --map DIR --url GATEWAY     the register's tables on standard output, as JSON

Orders come on standard input, one per line: `<channel> <fault>` with a fault of the sandbox (`drops_reply`, `hangs`,
`is_down`, …), of the hostile ones (`hostile <mode> …`, a mode for each), or `calm` to end them all. `taken` asks how
much of a reply that never ends somebody took.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import aiohttp

from gateway.pki import DevPki, make_dev_pki
from gateway.sandbox.answer_page import AnswerPage
from gateway.sandbox.cjib_creditor import CjibCreditor, Zaken, pause_all
from gateway.sandbox.decisions import Decide, View, agree
from gateway.sandbox.journal import Journal as SandboxJournal
from gateway.sandbox.mail_creditor import MailCreditor
from gateway.sandbox.mail_reader import Mail
from gateway.sandbox.sftp_creditor import SftpCreditor
from gateway.sandbox.webhook_creditor import WebhookCreditor
from tests.faults.hostile import HostileCreditor
from tests.faults.sightings import SAID, TAKEN, Journal, Log

IN_REPLY = "w-antwoord"
WEBHOOKS = {IN_REPLY: "in_reply", "w-terug": "by_callback", "w-stil": "not", "w-net": "in_reply"}
"""`w-net` stands behind the fault proxy."""
SFTP = {"s-bevestigt": "confirms", "s-stil": "not"}
CJIB = ("c-een",)
EMAIL = {"m-pagina": "answers", "m-scanner": "not"}
"""`m-scanner` has a mail scanner that follows every link, and nobody who answers."""
HOSTILE = ("w-vijand", "w-vijand-2")
NAMES = (*WEBHOOKS, *SFTP, *CJIB, *EMAIL, *HOSTILE)
SEE_OTHER = 303
AGENT = "w-namens"
AGENTS = {"w-terug": (AGENT,)}
"""Who is told as well; it never answers, and no message names it."""
CHANNEL = {
    **dict.fromkeys([*WEBHOOKS, *HOSTILE, AGENT], "webhook"),
    **dict.fromkeys(SFTP, "sftp"),
    **dict.fromkeys(CJIB, "cjib"),
    **dict.fromkeys(EMAIL, "email"),
}


class CallingBack(WebhookCreditor):
    """Writes down which callbacks the gateway acknowledged."""

    log: Log

    async def _deliver_answer(self, account: Any, delivery: str, answer: bytes) -> None:
        await super()._deliver_answer(account, delivery, answer)
        if 200 <= self.callbacks.get(delivery, 0) < 300:
            self.log.reply(account.creditor, delivery, TAKEN)


class Answering(AnswerPage):
    """Writes down which decisions the page took."""

    def __init__(self, ca: Path, log: Log) -> None:
        super().__init__(ca)
        self._log = log

    async def _persevere(self, client: Any, mail: Mail, *rest: Any) -> None:
        await super()._persevere(client, mail, *rest)
        if self.statuses[mail.delivery] == SEE_OTHER:
            self._log.reply(next(name for name, way in EMAIL.items() if way == "answers"), mail.delivery, TAKEN)


class Scanned(MailCreditor):
    """Whoever does not answer has a scanner."""

    log: Log

    def _answer(self, account: Any, mail: Mail) -> None:
        if mail.link is not None:
            self.log.secret(mail.link.rpartition("/")[2])
        super()._answer(account, mail)
        if account.way == "not" and mail.link is not None and self.page._client is not None:
            visit = asyncio.create_task(_visit(self.page._client, mail.link))
            self.page._readers.add(visit)
            visit.add_done_callback(self.page._readers.discard)


async def _visit(client: aiohttp.ClientSession, link: str) -> None:
    with suppress(aiohttp.ClientError, TimeoutError):
        for method in ("HEAD", "GET"):
            async with client.request(method, link) as reply:
                await reply.read()


class Creditors:
    def __init__(self, directory: Path, pki: DevPki, gateway_url: str) -> None:
        ca = pki.authority.certificate
        self._pki = pki
        self._homes = {channel: directory / channel for channel in ("webhook", "sftp", "cjib", "email")}
        for home in self._homes.values():
            home.mkdir(parents=True, exist_ok=True)
        self.log = Log(directory / "sightings.jsonl")
        self.webhook = CallingBack(self._homes["webhook"], pki.server, gateway_url=gateway_url, ca=ca)
        self.webhook.log = self.log
        self.sftp = SftpCreditor(self._homes["sftp"])
        self.cjib = CjibCreditor(self._homes["cjib"], pki.server, ca, polls=1)
        self.email = Scanned(self._homes["email"], pki.server, ca=ca)
        self.email.log, self.email.page = self.log, Answering(ca, self.log)
        self.hostile = [HostileCreditor(pki.server, Journal(self.log, "webhook"), name) for name in HOSTILE]
        for channel, server in self._servers.items():
            server.journal = cast(SandboxJournal, Journal(self.log, channel))
        self._faults = AsyncExitStack()

    @property
    def _servers(self) -> dict[str, Any]:
        return {"webhook": self.webhook, "sftp": self.sftp, "cjib": self.cjib, "email": self.email}

    async def run(self) -> None:
        """Until standard input ends."""
        async with AsyncExitStack() as running:
            for server in (*self._servers.values(), *self.hostile):
                await running.enter_async_context(server)
            sys.stdout.write(json.dumps({"tables": self._tables(), "email": self.email.relay(self._ca)}) + "\n")
            sys.stdout.flush()
            await self._obey()

    @property
    def _ca(self) -> Path:
        return self._pki.authority.certificate

    async def _obey(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            said: object = "done"
            match line:
                case ["calm"]:
                    await self._faults.aclose()
                    self._faults = AsyncExitStack()
                    for one in self.hostile:
                        one.mode = "agrees"
                case ["hostile", *modes]:
                    for one, mode in zip(self.hostile, modes, strict=False):
                        one.mode = mode
                case ["taken"]:
                    said = max(one.taken for one in self.hostile)
                case [channel, fault, *words]:
                    values = [int(word) if word.isdigit() else float(word) for word in words]
                    await self._faults.enter_async_context(getattr(self._servers[channel], fault)(*values))
                case _:
                    raise ValueError(line)
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()

    def _tables(self) -> list[dict[str, Any]]:
        endpoints: dict[str, dict[str, Any]] = {
            **{name: self.webhook.add(name, cast(Any, way), self._said(name)) for name, way in WEBHOOKS.items()},
            **{name: self.sftp.add(name, cast(Any, way), self._said(name)) for name, way in SFTP.items()},
            **{name: self.cjib.add(name, self._pki.gateway, self._cases(name)) for name in CJIB},
            **{name: self.email.add(name, cast(Any, way), self._said(name)) for name, way in EMAIL.items()},
            **{one.name: one.add(self._homes["webhook"]) for one in self.hostile},
            AGENT: self.webhook.add(AGENT, "not"),
        }
        return [self._entry(name, CHANNEL[name], endpoint) for name, endpoint in endpoints.items()]

    def _entry(self, name: str, channel: str, endpoint: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": name,
            "naam": f"Schuldeiser {name} B.V.",
            "oin": f"00000099{900_000 + (*NAMES, AGENT).index(name):09}000",
            "kanalen": [channel],
            "vertegenwoordigers": list(AGENTS.get(name, ())),
            "netwerken": ["127.0.0.0/8"],
            "ca": f"file:{self._ca}",
            channel: endpoint,
        }

    def _said(self, creditor: str) -> Decide:
        def decide(view: View) -> dict[str, Any]:
            self.log.reply(creditor, view["kenmerk"], SAID)
            return agree(view)

        return decide

    def _cases(self, creditor: str) -> Callable[[View], Zaken]:
        def decide(view: View) -> Zaken:
            self.log.reply(creditor, view["kenmerk"], SAID)
            return pause_all(view)

        return decide


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.creditors")
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--url", required=True)
    given = parser.parse_args(arguments)
    asyncio.run(Creditors(given.map, make_dev_pki(given.map / "certs"), given.url).run())


if __name__ == "__main__":
    main()
