"""I17: how soon attempts came and how many they were, and that a lane which is dead gets none.

An attempt is judged by the schedule that the settings have now, and only where it followed on one of a gateway that
began under these settings: its id, which the attempt has, says when it began.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from gateway.core.lane import SECOND
from gateway.core.retry import Policy
from gateway.core.window import dead_for
from gateway.invariants.finding import Circumstances, Finding

SPENDING = ("tijdelijk", "onzeker")
"""Outcomes after which the schedule says when to try again."""
SPARE = 50
"""Attempts beyond the schedule that killed gateways, lanes at rest and faults of ours may cost a delivery at once."""
LEAST = 1.0
"""Seconds. Half of the shortest rest for which a lane gives back what waits in it."""
MEETING = 2 * SECOND
"""µs. What was claimed when its lane died is put down as an attempt a moment after that."""

_RETRIED = """
SELECT attempt.delivery_id, attempt.channel, owner, started_at, finished_at, outcome, give_up_at, (
    SELECT max(done_at) FROM operator_act JOIN operator_act_item ON act_id = operator_act.id
    WHERE operator_act_item.delivery_id = attempt.delivery_id AND "before" IS NOT NULL AND done_at <= started_at
) AS acted_at FROM (
    SELECT attempt.*, give_up_at FROM attempt JOIN delivery ON delivery.id = attempt.delivery_id
) AS attempt
WHERE attempt.delivery_id IN (SELECT delivery_id FROM attempt GROUP BY delivery_id, channel HAVING count(*) > 1)
AND NOT stale
ORDER BY attempt.delivery_id, attempt.channel, attempt.nr"""
_DEAD = "SELECT creditor, channel, deaths, dead_until FROM lane WHERE deaths > 0"
_STARTED = """
SELECT attempt.delivery_id FROM attempt JOIN delivery ON delivery.id = attempt.delivery_id
WHERE delivery.creditor = :creditor AND attempt.channel = :channel AND started_at > :since AND started_at < :until"""


def paced(connection: Connection, circumstances: Circumstances) -> Finding:
    courses = list(_courses(connection))
    broken = {row[0] for course, is_latest in courses for row in _hasty(course, circumstances, is_latest=is_latest)}
    checked = sum(len(course) for course, _ in courses)
    return Finding("I17", "pogingen houden de tussenpozen van het schema aan", checked, tuple(sorted(broken)))


def bounded(connection: Connection, circumstances: Circumstances) -> Finding:
    courses = [course for course, _ in _courses(connection)]
    broken = {course[0].delivery_id for course in courses if _too_many(course, circumstances)}
    checked = sum(len(course) for course in courses)
    return Finding("I17", "er zijn niet meer pogingen dan het schema toelaat", checked, tuple(sorted(broken)))


def none_while_dead(connection: Connection, circumstances: Circumstances) -> Finding:
    """From the last death of a lane until its next probe is due."""
    lanes = connection.execute(text(_DEAD)).all()
    broken = {id_ for row in lanes for id_ in _started_while_dead(connection, row, circumstances.policy)}
    return Finding("I17", "op een dode baan begint niets dan een peiling", len(lanes), tuple(sorted(broken)))


def _started_while_dead(connection: Connection, row: Any, policy: Policy) -> Iterable[str]:
    died = row.dead_until - int(dead_for(row.deaths, policy) * SECOND)
    window = {"creditor": row.creditor, "channel": row.channel, "since": died + MEETING, "until": row.dead_until}
    return connection.execute(text(_STARTED), window).scalars()


def _courses(connection: Connection) -> Iterator[tuple[list[Any], bool]]:
    """The attempts on a delivery over one channel, in order, and whether they are the latest: what a person had sent
    again begins anew, with a horizon of its own."""
    rows = connection.execute(text(_RETRIED)).all()
    for _, attempts in groupby(rows, key=lambda row: (row.delivery_id, row.channel)):
        courses = [list(course) for _, course in groupby(attempts, key=lambda row: row.acted_at)]
        for course in courses:
            yield course, course is courses[-1]


def _hasty(course: list[Any], circumstances: Circumstances, *, is_latest: bool) -> Iterator[Any]:
    """Those that came too soon after the former. The last one of each course may come at its horizon, of which only the
    latest is on record."""
    failures = 0
    for former, row in pairwise(course):
        if former.outcome in SPENDING:
            failures += 1
        least = _least(former, failures, circumstances)
        may_be_at_its_end = row.started_at >= row.give_up_at if is_latest else row is course[-1]
        if least and row.started_at - former.finished_at < least * SECOND - 1 and not may_be_at_its_end:
            yield row


def _least(former: Any, failures: int, circumstances: Circumstances) -> float:
    """Seconds that must be between this attempt and the next; 0: there is no saying."""
    if former.finished_at is None or _born(former) < circumstances.settings_from:
        return 0.0
    if former.outcome in SPENDING:
        return _wait(failures, circumstances.policy)
    return circumstances.own_fault_pause if former.outcome == "eigen_fout" else 0.0


def _wait(failures: int, policy: Policy) -> float:
    """Seconds after so many failures, without jitter."""
    return float(min(policy.first * 2 ** min(failures - 1, 40), policy.highest))


def _born(row: Any) -> int:
    """When the gateway began that made this attempt (epoch µs): what its UUIDv7 says."""
    return (UUID(row.owner).int >> 80) * 1000


def _too_many(course: list[Any], circumstances: Circumstances) -> bool:
    """More failures than there are waits in the time they took; or more attempts of whatever kind than one each LEAST
    seconds, for what is deferred, and what is a fault of ours, spends nothing of the schedule."""
    if _born(course[0]) < circumstances.settings_from:
        return False
    seconds = (course[-1].started_at - course[0].started_at) / SECOND
    failures = sum(row.outcome in SPENDING for row in course)
    policy = circumstances.policy
    return failures > _fit(seconds, policy) + 2 or len(course) > SPARE + seconds / min(LEAST, policy.first)


def _fit(seconds: float, policy: Policy) -> int:
    """How many waits of the schedule end within so many seconds."""
    waits = 0
    while seconds > 0 and _wait(waits + 1, policy) < policy.highest:
        waits += 1
        seconds -= _wait(waits, policy)
    return waits + int(max(0.0, seconds) // policy.highest)
