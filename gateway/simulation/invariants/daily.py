"""The same in full, with SQL over the whole ledger: each query finds what breaks an invariant."""

from collections.abc import Iterator
from sqlite3 import Connection

from gateway.core.lane import SECOND
from gateway.core.lifecycle import CLAIMABLE, SETTLED
from gateway.core.retry import Policy
from gateway.simulation.invariants.states import LOST, quoted
from gateway.simulation.invariants.violation import Verdict

_CLAIMABLE = quoted(CLAIMABLE)


def queries(policy: Policy) -> Iterator[tuple[str, str, str]]:
    """(invariant, what is wrong, query for the ids of what is)."""
    yield "I2", "twee bezorgingen voor één geadresseerde", _TWICE
    yield "I3", "niemand kijkt er nog naar om", f"SELECT id FROM delivery WHERE {LOST}"  # noqa: S608
    yield "I3", "wacht op een bezorging die er al is", _WAITS_FOR_NOTHING
    yield "I9", "een poging na de intrekking", _AFTER_WITHDRAWAL
    yield "I10", "de overgangen sluiten niet aan", _CHAIN
    yield "I10", "de toestand is niet die van de laatste overgang", _STATE
    yield "I13", "niet even veel besluiten als gebeurtenissen", _ANSWERS
    yield "I17", "pogingen te kort na elkaar", _spacing(policy)


def verify(ledger: Connection, verdict: Verdict, policy: Policy) -> None:
    for invariant, what, query in queries(policy):
        verdict.checks[f"{invariant} volledig"] += 1
        found = ledger.execute(query).fetchone()
        if found is not None:
            verdict.broken(invariant, f"{found[0]}: {what}")


_TWICE = """
SELECT min(id) FROM delivery WHERE soort <> 'herinnering'
GROUP BY message_id, creditor, agent_for HAVING count(*) > 1"""
_WAITS_FOR_NOTHING = f"""
SELECT late.id FROM delivery AS late LEFT JOIN delivery AS early ON early.id = late.waits_for
WHERE late.waits_for IS NOT NULL AND late.soort <> 'intrekking'
AND (early.id IS NULL OR early.state IN ({quoted(SETTLED)}))"""  # noqa: S608
_AFTER_WITHDRAWAL = """
SELECT attempt.delivery_id FROM transition JOIN attempt USING (delivery_id)
WHERE "after" = 'ingetrokken' AND "before" <> 'ingetrokken' AND started_at > at"""
_CHAIN = f"""
SELECT delivery_id FROM (
    SELECT delivery_id, "before", lag("after") OVER (PARTITION BY delivery_id ORDER BY nr) AS former FROM transition
) WHERE "before" <> former AND NOT ("before" = 'bezig' AND former IN ({_CLAIMABLE}))"""  # noqa: S608
_STATE = f"""
SELECT id FROM delivery JOIN (SELECT delivery_id, "after", max(nr) FROM transition GROUP BY delivery_id) AS last
ON last.delivery_id = id
WHERE state <> last."after" AND NOT (state = 'bezig' AND last."after" IN ({_CLAIMABLE}))"""  # noqa: S608
_ANSWERS = """
SELECT 'het grootboek' WHERE (SELECT count(*) FROM evidence WHERE kind = 'answer' AND soort <> 'ontvangen')
<> (SELECT count(*) FROM outbox WHERE name = 'antwoord-ontvangen')"""


def _spacing(policy: Policy) -> str:
    """After the n-th failure on a channel, at least n doublings."""
    return f"""
SELECT delivery_id FROM (
    SELECT delivery_id, started_at, lag(outcome) OVER one AS former, lag(finished_at) OVER one AS ended,
        sum(outcome IN ('tijdelijk', 'onzeker')) OVER (one ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS failures
    FROM attempt WINDOW one AS (PARTITION BY delivery_id, channel ORDER BY nr)
) JOIN delivery ON delivery.id = delivery_id WHERE started_at < give_up_at AND former IN ('tijdelijk', 'onzeker')
AND started_at - ended < min({policy.first} * (1 << min(failures - 1, 40)), {policy.highest}) * {SECOND} - 1"""  # noqa: S608
