"""Makes the events of the outbox: named, numbered in time, sealed with their dossier's key."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gateway.core.progress import cloud_event
from gateway.ids import uuid7
from gateway.ledger.outbox import Event
from gateway.seal import Sealer, aad

UNKNOWN_GEMEENTE = "onbekend"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(micros: int) -> str:
    """Epoch microseconds as RFC 3339 with offset, to the millisecond."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="milliseconds")


class Events:
    """`oin`: the gateway's own, for the CloudEvents `source` (NL GOV profile)."""

    def __init__(self, oin: str, sealer: Sealer, new_id: Callable[[int], str] = uuid7) -> None:
        self._source = f"urn:nld:oin:{oin}:systeem:kennisgeving"
        self._sealer = sealer
        self._new_id = new_id

    def make(
        self, name: str, at: int, gemeente: str, dossier: tuple[str, bytes] | None = None, /, **data: object
    ) -> Event:
        """`dossier`: its id and wrapped key; `at`: epoch µs; `data`: the members beside gemeente and tijdstip."""
        identifier = self._new_id(at)
        time = rfc3339(at)
        body = cloud_event(identifier, self._source, name, time, {"gemeente": gemeente, "tijdstip": time, **data})
        dossier_id, key = dossier or (None, None)
        return Event(
            identifier, name, gemeente, dossier_id, self._sealer.seal(key, body, aad("outbox", identifier)), at
        )

    def open(self, identifier: str, sealed: bytes, key: bytes | None) -> bytes:
        """The CloudEvent behind a row of the outbox; raises SealBroken."""
        return self._sealer.open(key, sealed, aad("outbox", identifier))
