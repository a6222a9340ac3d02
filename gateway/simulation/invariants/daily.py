"""The same with SQL, per virtual day: what looks at every delivery, and what looks at those in which something changed
since the last time. The first day of a month, and the last day of the run, everything counts as changed.

Each query finds what breaks an invariant.
"""

from collections.abc import Iterator
from sqlite3 import Connection

from gateway.core.lane import SECOND
from gateway.core.lifecycle import CLAIMABLE, SETTLED
from gateway.core.retry import Policy
from gateway.invariants.deliveries import LOST
from gateway.invariants.finding import quoted
from gateway.simulation.invariants.violation import Verdict

_CLAIMABLE = quoted(CLAIMABLE)


class Daily:
    def __init__(self, verdict: Verdict, policy: Policy) -> None:
        self._verdict = verdict
        self._queries = list(queries(policy))
        self._since = (0, 0, 0)

    def verify(self, ledger: Connection, *, everything: bool) -> None:
        since = (0, 0, 0) if everything else self._since
        self._since = ledger.execute(_MARKS).fetchone()
        ledger.execute("CREATE TEMP TABLE IF NOT EXISTS changed (delivery_id TEXT PRIMARY KEY) WITHOUT ROWID")
        ledger.execute(_CHANGED, since)
        for invariant, what, query in [*self._queries, *(_OF_ALL if everything else ())]:
            self._verdict.checks[f"{invariant} volledig"] += 1
            found = ledger.execute(query).fetchone()
            if found is not None:
                self._verdict.broken(invariant, f"{found[0]}: {what}")
        ledger.execute("DELETE FROM changed")


_OF_ALL = (
    (
        "I13",
        "niet even veel besluiten als gebeurtenissen",
        """SELECT 'het grootboek' WHERE
        (SELECT count(*) FROM evidence WHERE kind = 'answer' AND soort <> 'ontvangen')
        <> (SELECT count(*) FROM outbox WHERE name = 'antwoord-ontvangen')""",
    ),
)
"""Looked at only when everything is."""


def queries(policy: Policy) -> Iterator[tuple[str, str, str]]:
    """(invariant, what is wrong, query for the ids of what is)."""
    yield "I2", "twee bezorgingen voor één geadresseerde", _TWICE
    yield "I3", "niemand kijkt er nog naar om", f"SELECT id FROM delivery WHERE {LOST}"  # noqa: S608
    yield "I3", "wacht op een bezorging die er al is", _WAITS_FOR_NOTHING
    yield "I9", "een poging na de intrekking", _AFTER_WITHDRAWAL
    yield "I10", "de overgangen sluiten niet aan", _CHAIN
    yield "I10", "de toestand is niet die van de laatste overgang", _STATE
    yield "I17", "pogingen te kort na elkaar", _spacing(policy)


_MARKS = """
SELECT coalesce((SELECT max(rowid) FROM delivery), 0), coalesce((SELECT max(nr) FROM transition), 0),
    coalesce((SELECT max(rowid) FROM attempt), 0)"""
_CHANGED = """
INSERT INTO changed SELECT id FROM delivery WHERE rowid > ? UNION SELECT delivery_id FROM transition WHERE nr > ?
UNION SELECT delivery_id FROM attempt WHERE rowid > ?"""
_TWICE = """
SELECT one.id FROM changed JOIN delivery AS one ON one.id = changed.delivery_id
JOIN delivery AS other ON other.message_id = one.message_id AND other.id <> one.id
WHERE other.creditor = one.creditor AND other.agent_for IS one.agent_for AND other.soort = one.soort
AND other.reminds IS one.reminds"""
_WAITS_FOR_NOTHING = f"""
SELECT late.id FROM delivery AS late LEFT JOIN delivery AS early ON early.id = late.waits_for
WHERE late.waits_for IS NOT NULL AND late.soort <> 'intrekking'
AND (early.id IS NULL OR early.state IN ({quoted(SETTLED)}))"""  # noqa: S608
_AFTER_WITHDRAWAL = """
SELECT delivery_id FROM changed JOIN transition USING (delivery_id) JOIN attempt USING (delivery_id)
WHERE "after" = 'ingetrokken' AND "before" <> 'ingetrokken' AND started_at > at"""
_CHAIN = f"""
SELECT delivery_id FROM (
    SELECT delivery_id, "before", lag("after") OVER (PARTITION BY delivery_id ORDER BY nr) AS former
    FROM changed CROSS JOIN transition USING (delivery_id)
) WHERE "before" <> former AND NOT ("before" = 'bezig' AND former IN ({_CLAIMABLE}))"""  # noqa: S608
_STATE = f"""
SELECT id FROM (
    SELECT delivery_id, "after", max(nr) FROM changed CROSS JOIN transition USING (delivery_id) GROUP BY delivery_id
) AS last JOIN delivery ON last.delivery_id = id
WHERE state <> last."after" AND NOT (state = 'bezig' AND last."after" IN ({_CLAIMABLE}))"""  # noqa: S608


def _spacing(policy: Policy) -> str:
    """After the n-th failure on a channel, at least n doublings."""
    return f"""
SELECT delivery_id FROM (
    SELECT delivery_id, started_at, lag(outcome) OVER one AS former, lag(finished_at) OVER one AS ended,
        sum(outcome IN ('tijdelijk', 'onzeker')) OVER (one ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS failures
    FROM changed CROSS JOIN attempt USING (delivery_id)
    WINDOW one AS (PARTITION BY delivery_id, channel ORDER BY nr)
) JOIN delivery ON delivery.id = delivery_id WHERE started_at < give_up_at AND former IN ('tijdelijk', 'onzeker')
AND started_at - ended < min({policy.first} * (1 << min(failures - 1, 40)), {policy.highest}) * {SECOND} - 1"""  # noqa: S608
