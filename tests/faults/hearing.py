"""The gemeente of the campaign, which also writes down when it first heard of each event."""

from pathlib import Path
from typing import Any

from gateway.clock import Clock
from tests.flow.outside.sender import Sender


class Listener(Sender):
    """`heard`: event id → epoch µs. What an event tells of was committed by then."""

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(url, log)
        self.heard: dict[str, int] = {}

    def _hear(self, event: dict[str, Any]) -> None:
        self.heard.setdefault(event["id"], Clock().micros())
        super()._hear(event)
