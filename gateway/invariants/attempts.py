"""I6, I11: what attempts sent, and whose result counted."""

from sqlalchemy import Connection

from gateway.core.lifecycle import OWN_RESULTS, Happening
from gateway.invariants.finding import Circumstances, Finding, look, quoted

_ALTERED = """
SELECT delivery_id FROM attempt GROUP BY delivery_id, channel HAVING count(DISTINCT digest) > 1"""
_RESULT_STEPS = quoted(OWN_RESULTS | {Happening.BOUNCED, Happening.DIVERTED})
_TWO_RESULTS = f"""
SELECT delivery_id FROM transition WHERE happening IN ({_RESULT_STEPS}) AND cause IS NOT NULL
GROUP BY delivery_id, cause HAVING count(*) > 1
UNION ALL SELECT attempt.delivery_id FROM attempt JOIN transition ON transition.delivery_id = attempt.delivery_id
AND cause = CAST(attempt.nr AS TEXT) WHERE stale
UNION ALL SELECT attempt.delivery_id FROM attempt
JOIN transition AS result ON result.delivery_id = attempt.delivery_id AND result.cause = CAST(attempt.nr AS TEXT)
JOIN transition AS lost ON lost.delivery_id = attempt.delivery_id AND lost.happening = 'lease_verlopen'
WHERE lost.nr < result.nr AND lost.at > attempt.started_at"""  # noqa: S608


def same_bytes(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I6", "elke poging op een kanaal stuurt dezelfde inhoud", "attempt", _ALTERED)


def one_result(connection: Connection, _: Circumstances) -> Finding:
    return look(
        connection, "I11", "van elke claim telt één uitkomst", "attempt WHERE outcome IS NOT NULL", _TWO_RESULTS
    )
