"""What `/metrics` shows, as Prometheus reads it: the meters, and gauges of what was seen last. Asks nobody."""

import platform
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import TypeVar

from msgspec import Struct
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.certificates import Certificate
from gateway.core.health import Alarm, Signs
from gateway.core.lane import SECOND
from gateway.ledger.gauges import Gauges
from gateway.log import alarms
from gateway.meters import Meters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DAY = 86_400.0

ALARMS = (
    *Alarm,
    *(
        "uncaught",
        "consumer_lost",
        "own_fault",
        "certificate_expires",
        "channel_closed",
        "delivery_failed",
        "other_content",
    ),
    *("message_quarantined", "same_id_other_content", "seal_broken", "key_exposed"),
)
"""Alarms that are shown before the first: a counter that begins at 1 has not increased."""


class Seen(Struct, frozen=True):
    """What is known at the instant `at` (epoch µs); `gauges` may be older, None: the ledger was never seen."""

    at: int
    signs: Signs
    gauges: Gauges | None
    ledger_up: bool
    look_seconds: float
    ledger_failures: int
    running: Mapping[str, int]
    """channel → attempts under way"""
    held: Mapping[str, int]
    """channel → lanes that are held"""
    certificates: tuple[Certificate, ...]


Key = TypeVar("Key", bound=tuple[str, ...])
SeenNow = Callable[[], Seen]


class Metrics(Collector):
    """`seen` is called once per scrape."""

    def __init__(self, meters: Meters, ledger: str, seen: SeenNow) -> None:
        self._registry = meters.registry
        self._ledger = ledger
        self._seen = seen
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing: else the registry would look when there is nothing to see yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        seen = self._seen()
        yield self._build()
        yield from _gateway(seen)
        if seen.gauges is not None:
            yield from _ledger(seen, seen.gauges)

    def _build(self) -> Metric:
        about = {
            "versie": version("kennisgeving-gateway"),
            "python": platform.python_version(),
            "grootboek": self._ledger,
        }
        return InfoMetricFamily("kennisgeving_build", "What runs", about)


def _gateway(seen: Seen) -> Iterator[Metric]:
    signs = seen.signs
    yield _one("kennisgeving_loop_lag_seconds", "The worst delay of the event loop lately", signs.loop_lag)
    yield _one("kennisgeving_timers_idle_seconds", "Since the timers went round", signs.timers_idle)
    if signs.consuming is not None:
        yield _one("kennisgeving_consumer_up", "The intake queue is consumed", signs.consuming)
    yield _one("kennisgeving_ledger_up", "The last look at the ledger succeeded", seen.ledger_up)
    yield _one("kennisgeving_ledger_look_seconds", "How long that look took", seen.look_seconds)
    failures = CounterMetricFamily("kennisgeving_ledger_failures", "Transactions that found the ledger away")
    failures.add_metric((), seen.ledger_failures)
    yield failures
    yield _many("kennisgeving_attempts_running", "Attempts under way", ("kanaal",), _keyed(seen.running))
    yield _many("kennisgeving_lanes_held", "Lanes that are held", ("kanaal",), _keyed(seen.held))
    said = CounterMetricFamily("kennisgeving_alarms", "Log lines at error or critical", labels=("gebeurtenis",))
    for event, number in (dict.fromkeys(map(str, ALARMS), 0) | alarms()).items():
        said.add_metric((event,), number)
    yield said
    yield _many(
        "kennisgeving_certificate_days",
        "Days until a certificate ends",
        ("instelling", "schuldeiser", "kanaal"),
        {(one.setting, one.creditor, one.channel): (one.ends - seen.at / SECOND) / _DAY for one in seen.certificates},
    )


def _ledger(seen: Seen, gauges: Gauges) -> Iterator[Metric]:
    """Ages go on growing while the ledger is away: what is due waits all the same."""
    channels = dict.fromkeys(channel for channel, _ in gauges.deliveries)
    oldest = dict.fromkeys(((channel,) for channel in channels), 0.0)
    for (_, channel), since in gauges.due.items():
        oldest[channel,] = max(oldest.get((channel,), 0.0), _age(seen, since))
    yield _one(
        "kennisgeving_ledger_look_age_seconds", "Since the gauges of the ledger were read", _age(seen, gauges.at)
    )
    yield _many("kennisgeving_deliveries", "Deliveries that have not ended", ("kanaal", "toestand"), gauges.deliveries)
    yield _many("kennisgeving_oldest_due_seconds", "How long the oldest delivery is due", ("kanaal",), oldest)
    behind = [channel for _, channel in gauges.due]
    counted = {(channel,): behind.count(channel) for channel in {*channels, *behind}}
    yield _many("kennisgeving_lanes_behind", "Lanes with a delivery that is due", ("kanaal",), counted)
    yield _many("kennisgeving_lanes_closed", "Lanes whose peer is gone", ("kanaal",), _keyed(gauges.closed))
    yield _one("kennisgeving_outbox_events", "Events that were not published", gauges.events)
    yield _one("kennisgeving_outbox_age_seconds", "How long the oldest of them waits", _age(seen, gauges.oldest_event))
    yield _one("kennisgeving_agenda_overdue_seconds", "How late the agenda is", _age(seen, gauges.review_at))
    yield _one("kennisgeving_nudge_age_seconds", "The oldest change not looked at", _age(seen, gauges.nudged_at))
    yield _many("kennisgeving_tasks_open", "Tasks for people", ("soort",), _keyed(gauges.tasks))
    yield _one("kennisgeving_messages_held", "Messages that wait for a version before theirs", gauges.held)
    yield _one("kennisgeving_spool_messages", "Messages in the embedded queue", gauges.spooled)


def _age(seen: Seen, since: int | None) -> float:
    return 0.0 if since is None else max(0.0, (seen.at - since) / SECOND)


def _keyed(numbers: Mapping[str, int]) -> dict[tuple[str], int]:
    return {(name,): number for name, number in numbers.items()}


def _one(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _many(name: str, about: str, labels: tuple[str, ...], values: Mapping[Key, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
