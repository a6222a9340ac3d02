"""A moment as people type it."""

from datetime import UTC, datetime, timedelta

from gateway.cli.errors import WrongUse
from gateway.core.deadlines import AMSTERDAM

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(name: str, typed: str) -> int:
    """Epoch µs of an ISO 8601 date or moment, in Amsterdam where it names no offset. Raises WrongUse naming `name`."""
    try:
        read = datetime.fromisoformat(typed.strip())
    except ValueError as why:
        raise WrongUse(f"{name}: schrijf een tijdstip als 2026-11-23T09:15 of 2026-11-23") from why
    aware = read if read.tzinfo is not None else read.replace(tzinfo=AMSTERDAM)
    return (aware - _EPOCH) // timedelta(microseconds=1)
