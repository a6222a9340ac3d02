"""What the creditors of the campaign saw and said, each line written before the gateway gets its reply."""

import json
import re
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.sandbox.journal import Received
from gateway.sandbox.letter import lines
from gateway.sandbox.mail_reader import MailRefused, open_mail

CANARY = re.compile(rb"KAN[0-9]+Z[a-z0-9-]+?Z")
"""One per dossier and creditor: `KAN<dossier>Z<creditor>Z`."""


SAID, TAKEN = "said", "taken"


def canary(dossier: int, creditor: str) -> str:
    return f"KAN{dossier}Z{creditor}Z"


class Sighting(Struct, frozen=True):
    """A delivery as it arrived. `at`: epoch µs; `digest`: SHA-256 in hex; `canaries`: those in its content."""

    creditor: str
    channel: str
    delivery: str
    soort: str
    digest: str
    at: int
    canaries: tuple[str, ...]


class Reply(Struct, frozen=True):
    """SAID: the creditor decided about a delivery; or TAKEN: the gateway acknowledged that answer."""

    creditor: str
    delivery: str
    kind: str


class Log:
    """In the place of a sandbox creditor's journal, and beside it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def close(self) -> None:
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")

    def secret(self, word: str) -> None:
        """Something that nobody but this creditor may see."""
        self.write({"secret": word})

    def reply(self, creditor: str, delivery: str, kind: str) -> None:
        self.write({"reply": {"creditor": creditor, "delivery": delivery, "kind": kind}})


class Journal:
    """Of one channel; has the methods of `gateway.sandbox.journal.Journal` that its creditors use."""

    def __init__(self, log: Log, channel: str) -> None:
        self._log = log
        self._channel = channel

    def record(self, creditor: str, delivery: str, body: bytes, soort: str) -> None:
        line = {
            "creditor": creditor,
            "channel": self._channel,
            "delivery": delivery,
            "soort": soort,
            "digest": sha256(body).hexdigest(),
            "at": time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000,
            "canaries": sorted({found.decode() for found in CANARY.findall(_content(self._channel, body))}),
        }
        self._log.write({"sighting": line})

    def of(self, delivery: str) -> list[Received]:
        return []

    def close(self) -> None:
        """The log is everybody's."""


def _content(channel: str, body: bytes) -> bytes:
    """A mail in the clear: the text of all its parts, of the letter too."""
    if channel != "email":
        return body
    try:
        parts = [part for parts in open_mail(body).parts.values() for part in parts]
    except MailRefused:
        return body
    return b"\n".join("\n".join(lines(part)).encode() if part.startswith(b"%PDF-") else part for part in parts)


def read(path: Path, offset: int = 0) -> tuple[list[Sighting], list[Reply]]:
    """From `offset` bytes on; a line that is still being written is left for the next time."""
    entries = _entries(path, offset)
    seen = [Sighting(**{**one["sighting"], "canaries": tuple(one["sighting"]["canaries"])}) for one in entries
            if "sighting" in one]  # fmt: skip
    return seen, [Reply(**one["reply"]) for one in entries if "reply" in one]


def secrets(path: Path, offset: int = 0) -> frozenset[bytes]:
    """What nobody but a creditor may see."""
    return frozenset(one["secret"].encode() for one in _entries(path, offset) if "secret" in one)


def _entries(path: Path, offset: int) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        file.seek(offset)
        return [json.loads(line) for line in file.read().rpartition(b"\n")[0].splitlines()]
