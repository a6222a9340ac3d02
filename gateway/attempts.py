"""Every attempt leaves one wide line in the log and its numbers in the meters."""

from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.core.outcome import Outcome, evidence_of, name_of
from gateway.ledger.queue import Claimed, Lane
from gateway.log import logger
from gateway.meters import Meters

log = logger(__name__)

_MILLISECOND = 1000


class Attempts:
    """`ended` is to be called once for every attempt, whatever it ended in."""

    def __init__(self, meters: Meters, clock: Clock) -> None:
        self._meters = meters
        self._clock = clock
        self._last: dict[Lane, float] = {}

    def last(self, lane: Lane) -> float:
        """When an attempt on it last ended (seconds, monotonic); 0: never, since this gateway began."""
        return self._last.get(lane, 0.0)

    def ended(self, claimed: Claimed, outcome: Outcome, began: int, ended: int) -> None:
        """Instants in epoch µs."""
        took, waited = max(0, ended - began), max(0, began - claimed.due_at)
        name = name_of(outcome)
        self._last[claimed.lane] = self._clock.monotonic()
        self._meters.attempt(claimed.channel, name, took / SECOND, waited / SECOND)
        log.info(
            "attempt",
            bezorging=claimed.id,
            schuldeiser=claimed.creditor,
            kanaal=claimed.channel,
            soort=claimed.soort,
            versie=claimed.versie,
            gemeente=claimed.gemeente,
            poging=claimed.fence,
            uitkomst=name,
            code=evidence_of(outcome).code,
            duur_ms=took // _MILLISECOND,
            wacht_ms=waited // _MILLISECOND,
        )
