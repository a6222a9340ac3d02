"""When a gateway is not ready, and what an operator is woken for, given the signs it gives. Durations in seconds.

Not ready means: send it nothing now, another gateway or a later moment serves better. That is about faults of ours
only. What creditors or senders cause (a backlog, a held lane, an unanswered notice) never takes a gateway out of
service: it would take the others out too, and mend nothing.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct, field

Lane = tuple[str, str]
"""(creditor, channel)"""

LAG_NOT_READY = 5.0
LAG_ALARM = 1.0
STALLED_AFTER = 120.0
"""The timers turn every half minute when there is nothing to do, and after every batch when there is."""
AWAY_AFTER = 60.0
STUCK_AFTER = 900.0
SAY_AGAIN_AFTER = 3600.0
"""An alarm that lasts is repeated after so long."""
CERTIFICATE_DAYS = (0, 3, 14, 30)
"""Days before its end at which a certificate is pointed out; from 3 on, every day."""


class Schema(StrEnum):
    """What the ledger said when it was asked for its schema."""

    CURRENT = "huidig"
    OTHER = "ander"
    AWAY = "weg"
    SILENT = "zwijgt"


class Signs(Struct, frozen=True):
    """What can be told at one moment. `consuming` None: there is no RabbitMQ to consume from."""

    register_loaded: bool
    consuming: bool | None
    loop_lag: float
    timers_idle: float
    """Since the timers last went round; 0 where they do not run yet."""
    refused: str = ""
    """Why what stands on the broker is not consumed (Dutch); empty where that is not why."""
    ledger_away: float = 0.0
    """Since when every look found trouble with the ledger."""
    consumer_away: float = 0.0
    oldest_event: float = 0.0
    """Age of the oldest event that was not published."""
    oldest_due: Mapping[Lane, float] = field(default_factory=dict)
    """Of each lane that is behind: how long its oldest delivery has been due."""
    idle: frozenset[Lane] = frozenset()
    """Lanes that are for this gateway to work on, are not held, and on which nothing was attempted for as long as
    STUCK_AFTER."""


class Alarm(StrEnum):
    """What an operator is woken for; each is an event in the log."""

    LOOP_LAG = "loop_lag"
    LEDGER_GONE = "ledger_gone"
    CONSUMER_ABSENT = "consumer_absent"
    TIMERS_STALLED = "timers_stalled"
    EVENTS_STUCK = "events_stuck"
    DELIVERIES_STUCK = "deliveries_stuck"


class Trouble(Struct, frozen=True):
    """One alarm that is on. `lane` where it is about one."""

    alarm: Alarm
    seconds: float
    lane: Lane | None = None

    @property
    def subject(self) -> tuple[Alarm, Lane | None]:
        return self.alarm, self.lane


_LEDGER_REASONS: Mapping[Schema, str] = {
    Schema.OTHER: "het grootboek heeft niet het juiste schema",
    Schema.AWAY: "het grootboek is niet bereikbaar",
    Schema.SILENT: "het grootboek antwoordt niet",
}


def reasons_not_ready(signs: Signs, ledger: Schema) -> list[str]:
    """In Dutch; empty when ready."""
    reasons = [] if signs.register_loaded else ["het register is niet geladen"]
    if signs.consuming is False:
        reasons.append("de wachtrij van RabbitMQ wordt niet gelezen")
        reasons += [signs.refused] if signs.refused else []
    if ledger in _LEDGER_REASONS:
        reasons.append(_LEDGER_REASONS[ledger])
    if signs.loop_lag > LAG_NOT_READY:
        reasons.append("de gateway komt niet aan zijn werk toe")
    if signs.timers_idle > STALLED_AFTER and not signs.ledger_away:
        reasons.append("de termijnen worden niet bewaakt")
    return reasons


def troubles(signs: Signs) -> list[Trouble]:
    """Every alarm that is on now."""
    measured = (
        (Alarm.LOOP_LAG, signs.loop_lag, LAG_ALARM),
        (Alarm.LEDGER_GONE, signs.ledger_away, AWAY_AFTER),
        (Alarm.CONSUMER_ABSENT, signs.consumer_away, AWAY_AFTER),
        (Alarm.TIMERS_STALLED, 0.0 if signs.ledger_away else signs.timers_idle, STALLED_AFTER),
        (Alarm.EVENTS_STUCK, signs.oldest_event, STUCK_AFTER),
    )
    found = [Trouble(alarm, seconds) for alarm, seconds, most in measured if seconds > most]
    stuck = {lane: age for lane, age in signs.oldest_due.items() if age > STUCK_AFTER and lane in signs.idle}
    return found + [Trouble(Alarm.DELIVERIES_STUCK, age, lane) for lane, age in stuck.items()]


def to_say(
    now: Iterable[Trouble], said: Mapping[tuple[Alarm, Lane | None], float], at: float
) -> tuple[list[Trouble], dict[tuple[Alarm, Lane | None], float]]:
    """Which of the alarms that are on are to be said at `at`, and when each was said last; what is off is forgotten."""
    on = list(now)
    new = [one for one in on if at - said.get(one.subject, -SAY_AGAIN_AFTER) >= SAY_AGAIN_AFTER]
    kept = {one.subject: said[one.subject] for one in on if one.subject in said}
    return new, kept | {one.subject: at for one in new}


def certificate_step(days: float) -> int | None:
    """The smallest of CERTIFICATE_DAYS that `days` are within; None: it is not time yet."""
    return next((step for step in CERTIFICATE_DAYS if days <= step), None)


def say_certificate(days: float, said: int | None) -> bool:
    """At every step once, and every day from the last but one on; `said`: the step at which it was said last."""
    step = certificate_step(days)
    return step is not None and (step != said or step <= CERTIFICATE_DAYS[1])
