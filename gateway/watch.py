"""The watch: looks every few seconds at ledger, event loop, stages and certificates, says what is wrong, and knows at
any moment what was seen last.

    ledger (connections of its own) ─┐
    event loop, stages ──────────────┼─► Signs ─► core/health.py ─► ready or not, alarms in the log
    certificates, once a day ────────┘      └───► gauges of /metrics

It never takes part in the work: a ledger that does not answer costs the watch a look, and nobody else anything.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.cancellation import or_cut_off
from gateway.certificates import Certificate
from gateway.clock import Clock
from gateway.core.health import (
    STUCK_AFTER,
    Alarm,
    Lane,
    Schema,
    Signs,
    Trouble,
    certificate_step,
    reasons_not_ready,
    say_certificate,
    to_say,
    troubles,
)
from gateway.core.lane import SECOND
from gateway.ledger import gauges
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.gauges import Gauges
from gateway.ledger.upgrade import is_current
from gateway.log import logger
from gateway.metrics import Seen
from gateway.pulse import Pulse

log = logger(__name__)

T = TypeVar("T")

LOOK_EVERY = 10.0
"""Seconds between two looks at the ledger."""
LOOK_SHARE = 20
"""And at least so many times what the last one took: looking is never more than a twentieth of the time."""
LOOK_WITHIN = 5.0
ANSWER_WITHIN = 2.0
"""Seconds that the ledger gets to say its schema when somebody asks whether we are ready."""
CERTIFICATES_EVERY = 86_400.0
_DAY = 86_400.0


class Sources(Struct, frozen=True):
    """Where the signs come from. `consuming` None: there is nothing to consume from."""

    register: Callable[[], object | None]
    """The register in force, another object when it changes; None: it is not loaded."""
    consuming: Callable[[], bool] | None
    refused: Callable[[], str]
    """Why what stands on the broker is not consumed; empty where that is not why."""
    timers_idle: Callable[[], float]
    """Seconds since the timers last went round."""
    held: Callable[[], Iterable[Lane]]
    running: Callable[[], Iterable[Lane]]
    """The lane of every attempt under way."""
    me: str
    """What this gateway is called in the ledger."""
    attempted_at: Callable[[Lane], float]
    """When an attempt on a lane last ended (seconds, monotonic); 0: never."""
    certificates: Callable[[], list[Certificate]]


class Watch:
    """`ledger` looks over connections of its own (Ledger, `reading`); `working` is the one that the stages use."""

    def __init__(self, ledger: Ledger, working: Ledger, clock: Clock, sources: Sources) -> None:
        self._ledger = ledger
        self._working = working
        self._clock = clock
        self._sources = sources
        self._pulse = Pulse()
        self._watching: asyncio.Task[None] | None = None
        self._behind: dict[Lane, float] = {}
        """Lanes that are behind and no other gateway's, and since when they were seen so (seconds, monotonic)."""
        self._questions: dict[str, asyncio.Task[Any]] = {}
        self._gauges: Gauges | None = None
        self._ledger_up = False
        self._look_seconds = 0.0
        self._failures = 0
        self._away_since: float | None = None
        self._unconsumed_since: float | None = None
        self._said: dict[tuple[Alarm, Lane | None], float] = {}
        self._certificates: tuple[Certificate, ...] = ()
        self._certificates_of: tuple[object | None, float] | None = None
        self._certificates_said: dict[tuple[str, str], int | None] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watches while the body runs; `failed` says when it does not any more."""
        self._watching = asyncio.create_task(self._run())
        try:
            yield
        finally:
            tasks = [self._watching, *self._questions.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LOOK_WITHIN)
            await self._ledger.aclose()

    async def failed(self) -> None:
        """For ever, or until a bug ends the watch, which is raised here. To be awaited in `watching`."""
        if self._watching is not None:
            await asyncio.shield(self._watching)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(or_cut_off(self._pulse.run()))
            tasks.create_task(or_cut_off(self._look_forever()))

    async def _look_forever(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(max(LOOK_EVERY, LOOK_SHARE * self._look_seconds))

    async def round(self) -> None:
        """One look at everything."""
        await self._look()
        self._note_consumer()
        new, self._said = to_say(troubles(self.signs()), self._said, self._now())
        for one in new:
            _say(one)
        await self._look_at_certificates()

    # -- what is asked of it ----------------------------------------------------------------------------------------

    async def reasons_not_ready(self) -> list[str]:
        """In Dutch; empty when ready. Asks the ledger now, and does not wait for one that keeps silent."""
        schema = await self._ask("schema", is_current, within=ANSWER_WITHIN)
        answers = {True: Schema.CURRENT, False: Schema.OTHER, None: Schema.AWAY}
        return reasons_not_ready(self.signs(), Schema.SILENT if isinstance(schema, _Silent) else answers[schema])

    def signs(self) -> Signs:
        """As things are now, as far as the ledger was seen."""
        now, seen, consuming = self._clock.micros(), self._gauges, self._sources.consuming
        due = seen.due if seen else {}
        return Signs(
            register_loaded=self._sources.register() is not None,
            consuming=consuming() if consuming else None,
            refused=self._sources.refused(),
            loop_lag=self._pulse.lag(self._now()),
            timers_idle=self._sources.timers_idle(),
            ledger_away=self._since(self._away_since),
            consumer_away=self._since(self._unconsumed_since),
            oldest_event=(now - seen.oldest_event) / SECOND if seen and seen.oldest_event is not None else 0.0,
            oldest_due={lane: (now - since) / SECOND for lane, since in due.items()},
            idle=self._idle(),
        )

    def seen(self) -> Seen:
        return Seen(
            at=self._clock.micros(),
            signs=self.signs(),
            gauges=self._gauges,
            ledger_up=self._ledger_up,
            look_seconds=self._look_seconds,
            ledger_failures=self._working.failures,
            running=Counter(channel for _, channel in self._sources.running()),
            held=Counter(channel for _, channel in self._sources.held()),
            certificates=self._certificates,
        )

    def told(self) -> dict[str, float | bool]:
        """What `/readyz` adds to its verdict, in the words of the wire: seconds, rounded."""
        signs, seen = self.signs(), self._gauges
        now = self._clock.micros()
        late = 0.0 if seen is None or seen.review_at is None else max(0.0, (now - seen.review_at) / SECOND)
        nudge = 0.0 if seen is None or seen.nudged_at is None else max(0.0, (now - seen.nudged_at) / SECOND)
        numbers = {
            "lusvertraging": signs.loop_lag,
            "oudste_bezorging": max(signs.oldest_due.values(), default=0.0),
            "oudste_gebeurtenis": max(0.0, signs.oldest_event),
            "agenda_achter": late,
            "oudste_wijziging": nudge,
            "termijnen_stil": signs.timers_idle,
            "grootboek_weg": signs.ledger_away,
        }
        rounded: dict[str, float | bool] = {name: round(number, 3) for name, number in numbers.items()}
        return rounded if signs.consuming is None else rounded | {"wachtrij_gelezen": signs.consuming}

    def _idle(self) -> frozenset[Lane]:
        """Lanes that could have worked and did not: another gateway's lanes are for that one to report, and one that
        was taken over from it gets the same time here."""
        held, long_ago = set(self._sources.held()), self._clock.monotonic() - STUCK_AFTER
        attempted = self._sources.attempted_at
        return frozenset(
            lane for lane, since in self._behind.items() if lane not in held and max(attempted(lane), since) <= long_ago
        )

    # -- looking ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        began, looked_at = self._now(), self._clock.monotonic()
        found = await self._ask("gauges", _look_if_current, self._clock.micros(), within=LOOK_WITHIN)
        self._look_seconds = self._now() - began
        self._ledger_up = isinstance(found, Gauges)
        if isinstance(found, Gauges):
            self._gauges = found
            ours = [lane for lane in found.due if found.owners.get(lane, self._sources.me) == self._sources.me]
            self._behind = {lane: self._behind.get(lane, looked_at) for lane in ours}
        failures, self._failures = self._working.failures - self._failures, self._working.failures
        well = self._ledger_up and not failures
        self._away_since = None if well else (began if self._away_since is None else self._away_since)

    def _note_consumer(self) -> None:
        consuming = self._sources.consuming
        away = consuming is not None and not consuming()
        if not away:
            self._unconsumed_since = None
        elif self._unconsumed_since is None:
            self._unconsumed_since = self._now()

    async def _ask(self, name: str, transaction: Callable[..., T], *args: Any, within: float) -> "T | _Silent | None":
        """None: away. One question of a name at a time: whoever asks meanwhile gets its answer too, and a question
        that the ledger keeps silent on is not asked twice."""
        question = self._questions.get(name)
        if question is None or question.done():
            question = self._questions[name] = asyncio.create_task(self._question(transaction, *args))
        await asyncio.wait({question}, timeout=within)
        return question.result() if question.done() else _SILENT

    async def _question(self, transaction: Callable[..., T], *args: Any) -> T | None:
        try:
            return await self._ledger.run(transaction, *args)
        except (LedgerAway, Contention):
            return None
        except DBAPIError as why:  # whatever is wrong with a look, deliveries go on
            log.error("look_failed", fout=type(why).__name__)
            return None

    async def _look_at_certificates(self) -> None:
        register, now = self._sources.register(), self._now()
        last = self._certificates_of
        if last is not None and last[0] is register and now - last[1] < CERTIFICATES_EVERY:
            return
        self._certificates_of = (register, now)
        self._certificates = tuple(await asyncio.to_thread(self._sources.certificates))
        self._say_certificates(self._certificates)

    def _say_certificates(self, found: Sequence[Certificate]) -> None:
        for one in found:
            subject = (one.setting, one.creditor)
            days = (one.ends - self._clock.micros() / SECOND) / _DAY
            if say_certificate(days, self._certificates_said.get(subject)):
                log.error(
                    "certificate_expires",
                    instelling=one.setting,
                    schuldeiser=one.creditor or None,
                    kanaal=one.channel or None,
                    dagen=round(days, 1),
                )
            self._certificates_said[subject] = certificate_step(days)

    # -- time -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _since(self, at: float | None) -> float:
        return 0.0 if at is None else self._now() - at


def _look_if_current(connection: Connection, now: int) -> Gauges | None:
    """None: the ledger has another schema than this program knows."""
    return gauges.look(connection, now) if is_current(connection) else None


class _Silent:
    """The ledger has not answered in time."""


_SILENT = _Silent()


def _say(trouble: Trouble) -> None:
    seconds = round(trouble.seconds, 1)
    match trouble.alarm:
        case Alarm.LOOP_LAG:
            log.error("loop_lag", seconden=seconds)
        case Alarm.LEDGER_GONE:
            log.error("ledger_gone", seconden=seconds)
        case Alarm.CONSUMER_ABSENT:
            log.error("consumer_absent", seconden=seconds)
        case Alarm.TIMERS_STALLED:
            log.error("timers_stalled", seconden=seconds)
        case Alarm.EVENTS_STUCK:
            log.error("events_stuck", seconden=seconds)
        case Alarm.DELIVERIES_STUCK:
            creditor, channel = trouble.lane or ("", "")
            log.error("deliveries_stuck", schuldeiser=creditor, kanaal=channel, seconden=seconds)
