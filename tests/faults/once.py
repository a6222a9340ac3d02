"""I19: what was done again because the answer to its COMMIT was lost, counts once.

A result that is settled twice costs a retry too many, an event that is numbered twice leaves a hole in the feed.
Whether there are as many changes, and events about them, as there should be is told by I10, I11, I13 and I15.
"""

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Connection, text

from gateway.invariants.pacing import SPENDING

_RETRIES = """
SELECT delivery.id, tries, attempt.outcome FROM delivery
LEFT JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.channel = delivery.channel AND NOT stale
AND NOT EXISTS (SELECT 1 FROM transition WHERE transition.delivery_id = delivery.id
    AND cause = CAST(attempt.nr AS TEXT) AND "before" = 'ingetrokken')"""
_NUMBERS = "SELECT count(nr) AS numbered, count(DISTINCT nr) AS different, max(nr) AS last FROM outbox"


def counted_once(connection: Connection) -> tuple[int, list[str]]:
    """How many deliveries and events there are, and what counts more often than it happened. Of deliveries that went
    over one channel and were not given up, as all of the campaign's do."""
    rows = connection.execute(text(_RETRIES)).all()
    spent = Counter(row.id for row in rows if row.outcome in SPENDING)
    kept = {row.id: row.tries for row in rows}
    numbers = connection.execute(text(_NUMBERS)).one()
    return len(kept) + numbers.numbered, [*_miscounted(spent, kept), *_holes(*numbers)]


def _miscounted(spent: Counter[str], kept: dict[str, int]) -> Iterator[str]:
    for id_, tries in kept.items():
        if tries != spent[id_]:
            yield f"{id_}: {tries} pogingen geteld, {spent[id_]} gedaan"


def _holes(numbered: int, different: int, last: int | None) -> Iterator[str]:
    if not numbered == different == (last or 0):
        yield f"{numbered} gebeurtenissen met {different} nummers tot en met {last}"
