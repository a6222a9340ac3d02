"""What the ledger says after a story in which two gateways worked on it: no outsider sees this."""

import asyncpg

TWICE = """
SELECT delivery_id FROM attempt WHERE outcome = 'overgedragen' AND NOT stale GROUP BY delivery_id HAVING count(*) > 1
"""
DIFFERENT = """
SELECT delivery_id FROM attempt GROUP BY delivery_id, channel HAVING count(DISTINCT digest) > 1
"""
BY_STALE = """
SELECT transition.delivery_id FROM transition JOIN attempt
    ON attempt.delivery_id = transition.delivery_id AND attempt.nr::text = transition.cause WHERE attempt.stale
"""
NOT_TOLD = """
SELECT id FROM delivery WHERE state IN ('in_wachtrij', 'bezig', 'wacht_op_poging', 'onzeker')
"""
MEANING = {
    TWICE: "was settled twice as handed over",
    DIFFERENT: "was attempted with different bytes",
    BY_STALE: "was moved by a stale result",
    NOT_TOLD: "is still under way",
}


async def ledger_faults(url: str) -> list[str]:
    """Everything amiss in the ledger, one sentence each."""
    ledger = await asyncpg.connect(url)
    try:
        return [f"{row[0]} {meaning}" for query, meaning in MEANING.items() for row in await ledger.fetch(query)]
    finally:
        await ledger.close()


async def lanes_of_one(url: str) -> int:
    """How many lanes there are, where one gateway owns them all and others did before; else 0."""
    ledger = await asyncpg.connect(url)
    try:
        rows = await ledger.fetch("SELECT owner, fence FROM lane")
    finally:
        await ledger.close()
    is_one = len({row["owner"] for row in rows}) == 1
    return sum(row["fence"] > 1 for row in rows) if is_one else 0
