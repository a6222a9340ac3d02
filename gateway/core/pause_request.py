"""How long a pause request may wait for its gemeente (contract §1.2)."""

from collections.abc import Collection
from datetime import date
from hashlib import sha256
from typing import Final

from gateway.core.deadlines import add_working_days, day_of, end_of_day
from gateway.core.lane import SECOND

WORKING_DAYS: Final = 5
SPREAD: Final = 2 * 3600 * SECOND
"""µs over which the warnings of one day are spread: without it, all would come at midnight."""


def due_at(received: int, identifier: str, closed: Collection[date] = ()) -> int:
    """From when a request that nobody handled has waited too long; both epoch µs. The same for an id every time."""
    end = end_of_day(add_working_days(day_of(received), WORKING_DAYS, closed))
    chance = int.from_bytes(sha256(identifier.encode()).digest()[:8])
    return int(end.timestamp()) * SECOND + chance % SPREAD
