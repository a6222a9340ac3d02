"""What the gateway counts as it goes. On the hot path: a look-up and an addition, nothing else.

Labels hold names of channels, doors, stages and outcomes: words of ours, never what others wrote.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

_ATTEMPT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_BATCH = (1, 2, 5, 10, 25, 50, 100, 200, 400)


disable_created_metrics()  # type: ignore[no-untyped-call]


class Meters:
    """Each gateway has its own, so that two in one process do not add up."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._attempts = Counter(
            "kennisgeving_attempts", "Attempts that have ended", ("kanaal", "uitkomst"), registry=registry
        )
        self._seconds = Histogram(
            "kennisgeving_attempt_seconds", "How long an attempt took", ("kanaal",), registry=registry, buckets=_ATTEMPT
        )
        self._wait = Histogram(
            "kennisgeving_attempt_wait_seconds",
            "From when a delivery was due until its attempt began",
            ("kanaal",),
            registry=registry,
            buckets=_WAIT,
        )
        self._intake = Counter("kennisgeving_intake", "Messages taken in", ("deur", "uitkomst"), registry=registry)
        for door in ("amqp", "http", "spool"):
            for outcome in ("aangenomen", "dubbel", "geweigerd", "geparkeerd"):
                self._intake.labels(door, outcome)  # a counter that begins at 1 has not increased
        self._batch = Histogram(
            "kennisgeving_batch_size", "Items of one commit", ("stap",), registry=registry, buckets=_BATCH
        )
        self._events = Counter(
            "kennisgeving_events", "Events numbered and published", ("gebeurtenis",), registry=registry
        )
        self._of_channel: dict[str, tuple[Histogram, Histogram]] = {}
        self._attempts_of: dict[tuple[str, str], Counter] = {}

    def attempt(self, channel: str, outcome: str, seconds: float, waited: float) -> None:
        """`waited`: seconds since it was due. What `labels` finds is kept: it costs more than the counting."""
        counter = self._attempts_of.get((channel, outcome))
        if counter is None:
            counter = self._attempts_of[channel, outcome] = self._attempts.labels(channel, outcome)
        counter.inc()
        both = self._of_channel.get(channel)
        if both is None:
            both = self._of_channel[channel] = (self._seconds.labels(channel), self._wait.labels(channel))
        both[0].observe(seconds)
        both[1].observe(waited)

    def batch(self, stage: str, size: int) -> None:
        self._batch.labels(stage).observe(size)

    def intake(self, outcomes: Mapping[tuple[str, str], int]) -> None:
        """(door, outcome) → how many of one batch."""
        self.batch("ontvangen", sum(outcomes.values()))
        for (door, outcome), number in outcomes.items():
            self._intake.labels(door, outcome).inc(number)

    def events(self, names: Mapping[str, int]) -> None:
        """Name → how many of one batch."""
        self.batch("gebeurtenissen", sum(names.values()))
        for name, number in names.items():
            self._events.labels(name).inc(number)
