"""When a gateway is ready, what is an alarm, and how often each is said."""

from typing import Any

import pytest

from gateway.core.health import (
    SAY_AGAIN_AFTER,
    Alarm,
    Schema,
    Signs,
    Trouble,
    reasons_not_ready,
    say_certificate,
    to_say,
    troubles,
)

LANE = ("energie", "webhook")


def signs(**changed: Any) -> Signs:
    """Of a gateway that is well."""
    well: dict[str, Any] = {"register_loaded": True, "consuming": True, "loop_lag": 0.01, "timers_idle": 30.0}
    return Signs(**{**well, **changed})


FAULTS_OF_OURS = {
    "the register is not loaded": (signs(register_loaded=False), Schema.CURRENT),
    "nobody consumes": (signs(consuming=False), Schema.CURRENT),
    "the ledger is away": (signs(), Schema.AWAY),
    "the ledger keeps silent": (signs(), Schema.SILENT),
    "the ledger has another schema": (signs(), Schema.OTHER),
    "the loop is late": (signs(loop_lag=5.1), Schema.CURRENT),
    "the timers stand still": (signs(timers_idle=121.0), Schema.CURRENT),
}


@pytest.mark.parametrize("name", FAULTS_OF_OURS)
def test_each_fault_of_ours_is_a_reason_by_itself(name: str) -> None:
    assert len(reasons_not_ready(*FAULTS_OF_OURS[name])) == 1


def test_what_is_refused_on_the_broker_is_told_while_it_is_not_consumed() -> None:
    told = reasons_not_ready(signs(consuming=False, refused="x-queue-type is anders"), Schema.CURRENT)
    assert told == ["de wachtrij van RabbitMQ wordt niet gelezen", "x-queue-type is anders"]
    assert reasons_not_ready(signs(refused="x-queue-type is anders"), Schema.CURRENT) == []


def test_what_others_cause_is_no_reason() -> None:
    behind = signs(oldest_due={LANE: 1e6}, idle=frozenset({LANE}), oldest_event=1e6, consumer_away=0.0)
    assert reasons_not_ready(behind, Schema.CURRENT) == []


def test_without_rabbitmq_nothing_is_missed() -> None:
    assert reasons_not_ready(signs(consuming=None), Schema.CURRENT) == []


def test_timers_that_cannot_turn_for_want_of_a_ledger_are_not_told_beside_it() -> None:
    away = signs(timers_idle=500.0, ledger_away=500.0)
    assert reasons_not_ready(away, Schema.AWAY) == ["het grootboek is niet bereikbaar"]
    assert [one.alarm for one in troubles(away)] == [Alarm.LEDGER_GONE]


LIMITS: dict[Alarm, tuple[dict[str, float], dict[str, float]]] = {
    Alarm.LOOP_LAG: ({"loop_lag": 1.0}, {"loop_lag": 1.1}),
    Alarm.LEDGER_GONE: ({"ledger_away": 60.0}, {"ledger_away": 61.0}),
    Alarm.CONSUMER_ABSENT: ({"consumer_away": 60.0}, {"consumer_away": 61.0}),
    Alarm.TIMERS_STALLED: ({"timers_idle": 120.0}, {"timers_idle": 121.0}),
    Alarm.EVENTS_STUCK: ({"oldest_event": 900.0}, {"oldest_event": 901.0}),
}


@pytest.mark.parametrize("alarm", LIMITS)
def test_an_alarm_is_on_past_its_limit_and_not_at_it(alarm: Alarm) -> None:
    at, past = LIMITS[alarm]
    assert troubles(signs(**at)) == []
    assert [one.alarm for one in troubles(signs(**past))] == [alarm]


def test_every_alarm_has_a_limit_that_is_tested() -> None:
    assert {*LIMITS, Alarm.DELIVERIES_STUCK} == set(Alarm)


def test_a_delivery_is_stuck_when_it_is_late_and_its_lane_is_idle() -> None:
    late = {LANE: 901.0}
    assert troubles(signs(oldest_due=late)) == []
    assert troubles(signs(oldest_due={LANE: 899.0}, idle=frozenset({LANE}))) == []
    stuck = troubles(signs(oldest_due=late, idle=frozenset({LANE})))
    assert stuck == [Trouble(Alarm.DELIVERIES_STUCK, 901.0, LANE)]


def test_an_alarm_is_said_when_it_begins_then_hourly_and_again_when_it_comes_back() -> None:
    on = [Trouble(Alarm.LOOP_LAG, 2.0)]
    said: dict[Any, float] = {}
    times = []
    for at in range(0, 8000, 100):
        now = [] if 4000 <= at < 5000 else on
        new, said = to_say(now, said, float(at))
        times += [at] * len(new)
    assert times == [0, int(SAY_AGAIN_AFTER), 5000]


def test_a_certificate_is_said_once_at_each_step_and_daily_from_three_days_on() -> None:
    said, days_said = None, []
    for days in range(40, -4, -1):
        if say_certificate(days, said):
            days_said.append(days)
        said = next((step for step in (0, 3, 14, 30) if days <= step), None)
    assert days_said == [30, 14, 3, 2, 1, 0, -1, -2, -3]


def test_a_certificate_that_was_renewed_and_runs_out_again_is_said_again() -> None:
    assert say_certificate(29, None)
    assert not say_certificate(29, 30)
    assert not say_certificate(400, 30)
    assert say_certificate(29, None)
