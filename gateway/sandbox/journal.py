"""What a sandbox creditor took, in memory and as lines of JSON: the sinks' side of every check on the gateway."""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from gateway.clock import Clock


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it arrived; `digest` is sha256 of the bytes, in hex."""

    creditor: str
    delivery: str
    digest: str
    at: datetime
    soort: str


class Journal:
    """`path`: a line of JSON per receipt is appended to it."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.receipts: list[Received] = []
        self._clock = clock
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def record(self, creditor: str, delivery: str, body: bytes, soort: str) -> None:
        receipt = Received(creditor, delivery, sha256(body).hexdigest(), self._clock.now(), soort)
        self.receipts.append(receipt)
        if self._file is not None:
            line = {
                "schuldeiser": receipt.creditor,
                "bezorging": receipt.delivery,
                "sha256": receipt.digest,
                "tijdstip": receipt.at.isoformat(),
                "soort": receipt.soort,
            }
            self._file.write(json.dumps(line) + "\n")

    def of(self, delivery: str) -> list[Received]:
        return [receipt for receipt in self.receipts if receipt.delivery == delivery]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
