"""I6, I11, I17: what attempts sent, whose result counted, and how soon they came."""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import Connection, text

from gateway.core.lane import SECOND
from gateway.core.retry import Policy
from gateway.invariants.finding import Circumstances, Finding, look, quoted

SPENDING = ("tijdelijk", "onzeker")
"""Outcomes after which the schedule says when to try again."""

_ALTERED = """
SELECT delivery_id FROM attempt GROUP BY delivery_id, channel HAVING count(DISTINCT digest) > 1"""
_RESULT_STEPS = quoted(("overgedragen", "overgedragen_zonder_antwoord", "nieuwe_poging", "twijfel", "opgegeven"))
_TWO_RESULTS = f"""
SELECT delivery_id FROM transition WHERE happening IN ({_RESULT_STEPS}) AND cause IS NOT NULL
GROUP BY delivery_id, cause HAVING count(*) > 1
UNION ALL SELECT attempt.delivery_id FROM attempt JOIN transition ON transition.delivery_id = attempt.delivery_id
AND cause = CAST(attempt.nr AS TEXT) WHERE stale
UNION ALL SELECT attempt.delivery_id FROM attempt
JOIN transition AS result ON result.delivery_id = attempt.delivery_id AND result.cause = CAST(attempt.nr AS TEXT)
JOIN transition AS lost ON lost.delivery_id = attempt.delivery_id AND lost.happening = 'lease_verlopen'
WHERE lost.nr < result.nr AND lost.at > attempt.started_at"""  # noqa: S608
_RETRIED = """
SELECT attempt.delivery_id, attempt.channel, started_at, finished_at, outcome, give_up_at, (
    SELECT max(done_at) FROM operator_act JOIN operator_act_item ON act_id = operator_act.id
    WHERE operator_act_item.delivery_id = attempt.delivery_id AND "before" IS NOT NULL AND done_at <= started_at
) AS acted_at FROM attempt
JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.delivery_id IN (SELECT delivery_id FROM attempt GROUP BY delivery_id, channel HAVING count(*) > 1)
AND NOT stale
ORDER BY attempt.delivery_id, attempt.channel, attempt.nr"""


def same_bytes(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I6", "elke poging op een kanaal stuurt dezelfde inhoud", "attempt", _ALTERED)


def one_result(connection: Connection, _: Circumstances) -> Finding:
    return look(
        connection, "I11", "van elke claim telt één uitkomst", "attempt WHERE outcome IS NOT NULL", _TWO_RESULTS
    )


def paced(connection: Connection, circumstances: Circumstances) -> Finding:
    rows = connection.execute(text(_RETRIED)).all()
    broken = {
        row[0]
        for _, attempts in groupby(rows, key=lambda row: (row.delivery_id, row.channel))
        for row in _hasty(attempts, circumstances.policy)
    }
    return Finding("I17", "pogingen houden zich aan het schema", len(rows), tuple(sorted(broken)))


def _hasty(attempts: Iterable[Any], policy: Policy) -> Iterator[Any]:
    """Those that came too soon after the former. What a person had sent again begins anew, with a horizon of its own;
    the last one of each may come at its horizon, of which only the latest is on record."""
    courses = [list(course) for _, course in groupby(attempts, key=lambda row: row.acted_at)]
    for course in courses:
        is_latest = course is courses[-1]
        failures = 0
        for former, row in pairwise(course):
            if former.outcome not in SPENDING or former.finished_at is None:
                continue
            failures += 1
            least = min(policy.first * 2 ** min(failures - 1, 40), policy.highest) * SECOND - 1
            may_be_at_its_end = row.started_at >= row.give_up_at if is_latest else row is course[-1]
            if row.started_at - former.finished_at < least and not may_be_at_its_end:
                yield row
