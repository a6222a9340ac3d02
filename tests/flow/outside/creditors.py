"""Test creditors in a process of their own, which write down every message before they answer it.

    python -m tests.flow.outside.creditors --map DIR

DIR/creditors.json says who they are (`Plan`); DIR/sightings.jsonl is their log, one `Sighting` per line. A webhook
creditor checks the Standard Webhooks signature by itself; some of its answers get lost or are a 503, as in life.
SFTP creditors share one server, each with a directory of its own.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import asyncssh
from aiohttp import web

TOLERANCE = 300
XML_DOSSIER = re.compile(rb"<(?:\w+:)?Dossierkenmerk>([^<]+)<")
XML_VERSIE = re.compile(rb"<(?:\w+:)?Versie>(\d+)<")
INBOX_NAME = re.compile(r"/inbox/[a-z]+_([0-9a-f-]{36})\.xml")


@dataclass(frozen=True)
class Plan:
    """Who the creditors are. `webhooks`: creditor → secret `whsec_…`. `sftp`: creditors, `sftp_key` their public key.

    `trouble` is the part of the webhook answers that goes wrong after the message was taken.
    """

    http_port: int
    sftp_port: int
    webhooks: Mapping[str, str]
    sftp: Sequence[str]
    sftp_key: str
    trouble: float
    seed: int


@dataclass(frozen=True)
class Sighting:
    """What one creditor received once. `digest`: SHA-256 of the bytes. `fault`: why it would have been refused.

    `at`: seconds on the monotonic clock.
    """

    creditor: str
    delivery: str
    dossier: str
    versie: int
    digest: str
    fault: str = ""
    at: float = field(default_factory=time.monotonic)


Log = Callable[[Sighting], None]


def signature_fault(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Why the signature of standardwebhooks.com does not hold; empty when it does."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE:
        return "webhook-timestamp"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split()
    return "" if any(hmac.compare_digest(expected, one) for one in given) else "webhook-signature"


class WebhookCreditors:
    def __init__(self, plan: Plan, log: Log) -> None:
        self._plan = plan
        self._log = log
        self._chance = random.Random(plan.seed)

    async def take(self, request: web.Request) -> web.StreamResponse:
        creditor, body = request.match_info["creditor"], await request.read()
        secret = self._plan.webhooks.get(creditor)
        if secret is None:
            raise web.HTTPNotFound
        fault = signature_fault(secret, request.headers, body, time.clock_gettime(time.CLOCK_REALTIME))
        event = json.loads(body)
        if event["id"] != request.headers.get("webhook-id"):
            fault = fault or "webhook-id"
        data, digest = event["data"], hashlib.sha256(body).hexdigest()
        self._log(Sighting(creditor, event["id"], data["dossierkenmerk"], data["versie"], digest, fault))
        if self._chance.random() < self._plan.trouble:
            return self._spoil(request)
        return web.Response(status=401 if fault else 204)

    def _spoil(self, request: web.Request) -> web.StreamResponse:
        if self._chance.random() < 0.5 and request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


class SftpCreditor(asyncssh.SFTPServer):
    """The files of one creditor; what is renamed into `inbox/` counts as received."""

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]", directory: Path, log: Log) -> None:
        self._creditor = str(channel.get_extra_info("username"))
        self._home = directory / self._creditor
        self._log = log
        super().__init__(channel, chroot=str(self._home).encode())

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().rename(oldpath, newpath)  # refuses a name that exists
        self._see("/" + newpath.decode().lstrip("/"))

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Overwrites what is there, which the contract forbids: seen, with that fault."""
        super().posix_rename(oldpath, newpath)
        self._see("/" + newpath.decode().lstrip("/"), fault="posix-rename")

    def _see(self, path: str, fault: str = "") -> None:
        named = INBOX_NAME.fullmatch(path)
        if named is None:
            return
        body = (self._home / path[1:]).read_bytes()
        dossier, versie = XML_DOSSIER.search(body), XML_VERSIE.search(body)
        digest = hashlib.sha256(body).hexdigest()
        self._log(
            Sighting(
                self._creditor,
                named[1],
                dossier[1].decode() if dossier else "",
                int(versie[1]) if versie else 0,
                digest,
                fault,
            )
        )


async def serve_sftp(plan: Plan, directory: Path, log: Log) -> asyncssh.SSHAcceptor:
    for creditor in plan.sftp:
        for folder in ("inbox", "outbox"):
            (directory / creditor / folder).mkdir(parents=True)
    authorized = asyncssh.import_authorized_keys(plan.sftp_key)
    return await asyncssh.listen(
        "127.0.0.1",
        plan.sftp_port,
        server_host_keys=[str(directory.parent / "ssh_host_key")],
        authorized_client_keys=authorized,
        sftp_factory=lambda channel: SftpCreditor(channel, directory, log),
    )


async def serve(directory: Path) -> None:
    """Be the creditors of DIR/creditors.json until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    plan = Plan(**json.loads((directory / "creditors.json").read_text()))
    with (directory / "sightings.jsonl").open("a", buffering=1) as file:

        def log(sighting: Sighting) -> None:
            file.write(json.dumps(asdict(sighting)) + "\n")

        app = web.Application()
        app.router.add_post("/{creditor}", WebhookCreditors(plan, log).take)
        runner = web.AppRunner(app)
        await runner.setup()
        if plan.sftp:
            await serve_sftp(plan, directory / "sftp", log)
        await web.TCPSite(runner, "127.0.0.1", plan.http_port).start()
        await ended.wait()
        await runner.cleanup()


def sightings(directory: Path) -> list[Sighting]:
    return [Sighting(**json.loads(line)) for line in (directory / "sightings.jsonl").read_text().splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.flow.outside.creditors")
    parser.add_argument("--map", type=Path, required=True)
    asyncio.run(serve(parser.parse_args(arguments).map))


if __name__ == "__main__":
    main()
