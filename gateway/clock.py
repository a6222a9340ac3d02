"""The only reader of the wall clock. Everything that needs the time is given a `Clock`.

A simulated clock overrides `micros` and `monotonic`; the rest follows from them.
"""

import time
from datetime import UTC, date, datetime, timedelta

from gateway.core.deadlines import AMSTERDAM

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    def micros(self) -> int:
        """Epoch microseconds (UTC), as the ledger keeps them."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back, for measuring only."""
        return time.monotonic()

    def now(self) -> datetime:
        """Aware, UTC."""
        return _EPOCH + timedelta(microseconds=self.micros())

    def today(self) -> date:
        """The date in Europe/Amsterdam, which is the contract's calendar."""
        return self.now().astimezone(AMSTERDAM).date()
