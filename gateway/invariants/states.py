"""I9, I10: where a delivery may go, and that it went there step by step."""

from sqlalchemy import Connection, text

from gateway.core.lane import SECOND
from gateway.core.lifecycle import CLAIMABLE, TABLE, TERMINAL, Happening, State
from gateway.core.withdrawn import MARK
from gateway.invariants.finding import Circumstances, Finding, look, quoted

MEETING = 2 * SECOND
"""µs. An attempt and a withdrawal that meet both name an instant before their commit; the lock has put them in order,
and where the attempt came first the withdrawal found the delivery busy, or given back before the attempt had begun,
which has no outcome then."""
WAITING = 60 * SECOND
"""µs. A withdrawal waits at most so long for whoever holds what it withdraws, between the instant it names and its
commit."""

_CLAIMABLE = quoted(CLAIMABLE)
_AFTER_WITHDRAWAL = f"""
SELECT attempt.delivery_id FROM transition JOIN attempt ON attempt.delivery_id = transition.delivery_id
WHERE "after" = 'ingetrokken' AND "before" <> 'ingetrokken'
AND started_at > at + CASE WHEN "before" = 'bezig' OR outcome IS NULL THEN {MEETING} ELSE 0 END
UNION ALL SELECT delivery.id FROM attempt JOIN delivery ON delivery.id = attempt.delivery_id
JOIN dossier ON dossier.id = delivery.dossier_id
WHERE delivery.soort <> 'intrekking' AND started_at > withdrawn_at + {WAITING}
UNION ALL SELECT delivery.id FROM delivery AS withdrawal JOIN delivery ON delivery.dossier_id = withdrawal.dossier_id
AND delivery.creditor = withdrawal.creditor AND delivery.versie < withdrawal.versie
AND coalesce(delivery.agent_for, '') = coalesce(withdrawal.agent_for, '')
JOIN attempt ON attempt.delivery_id = delivery.id
WHERE withdrawal.soort = 'intrekking' AND started_at > withdrawal.created_at + {WAITING}
UNION ALL SELECT delivery.id FROM milestone
JOIN message ON message.dossier_id = milestone.dossier_id
JOIN delivery ON delivery.dossier_id = milestone.dossier_id AND delivery.versie <= message.versie
AND subject = message.versie || ' ' || coalesce(delivery.agent_for, delivery.creditor)
JOIN attempt ON attempt.delivery_id = delivery.id
WHERE name = '{MARK}' AND delivery.soort <> 'intrekking' AND started_at > milestone.at + {WAITING}"""  # noqa: S608
"""Of what the withdrawal overtook; of what the creditor had, which is sent again no more, for whatever reason; and of
what came, or turned out to have arrived, for a creditor that need not hear of the withdrawal."""
_GAPS = f"""
SELECT delivery_id FROM (
    SELECT delivery_id, "before", lag("after") OVER (PARTITION BY delivery_id ORDER BY nr) AS former FROM transition
) AS steps WHERE "before" <> coalesce(former, 'in_wachtrij')
AND NOT ("before" = 'bezig' AND coalesce(former, 'in_wachtrij') IN ({_CLAIMABLE}))
AND NOT ("before" = 'wacht_op_poging' AND coalesce(former, 'in_wachtrij') IN ({_CLAIMABLE}))"""  # noqa: S608
_ROWS = f"""
SELECT id FROM delivery LEFT JOIN (
    SELECT transition.delivery_id, "after" FROM transition
    JOIN (SELECT delivery_id, max(nr) AS nr FROM transition GROUP BY delivery_id) AS newest
    ON newest.nr = transition.nr
) AS last ON last.delivery_id = id WHERE state <> coalesce(last."after", 'in_wachtrij')
AND NOT (state IN ('bezig', 'wacht_op_poging') AND coalesce(last."after", 'in_wachtrij') IN ({_CLAIMABLE}))
"""  # noqa: S608
_LEFT_ITS_END = f"""
SELECT delivery_id FROM transition WHERE "before" IN ({quoted(TERMINAL)}) AND "after" <> "before"
AND ("before" = 'ingetrokken' OR NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.delivery_id = transition.delivery_id
    AND (evidence.id = cause OR source = 'antwoord:' || cause))
AND NOT EXISTS (SELECT 1 FROM delivery AS decided WHERE decided.id = cause AND decided.decision IS NOT NULL)
AND NOT EXISTS (SELECT 1 FROM operator_act_item AS item JOIN operator_act AS act ON act.id = item.act_id
    WHERE act.id = cause AND item.delivery_id = transition.delivery_id AND act.done_at IS NOT NULL
    AND item."before" = transition."before"))
"""  # noqa: S608
_ATTESTED = f"transition WHERE happening IN ({quoted((Happening.ATTESTED, Happening.ATTESTED_FINAL))})"
_BY_NOBODY = f"""
SELECT delivery_id FROM {_ATTESTED} AND NOT EXISTS (SELECT 1 FROM operator_act_item AS item
    JOIN operator_act AS act ON act.id = item.act_id
    WHERE act.id = cause AND item.delivery_id = transition.delivery_id AND act.done_at IS NOT NULL
    AND act.kind = 'vaststelling')"""  # noqa: S608


def none_after_withdrawal(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I9", "geen poging na een intrekking", "attempt", _AFTER_WITHDRAWAL)


def by_the_table(connection: Connection, _: Circumstances) -> Finding:
    """The kinds of steps are few: those that the table does not know are looked up."""
    kinds = connection.execute(text('SELECT "before", happening, "after", count(*) FROM transition GROUP BY 1, 2, 3'))
    seen = [(State(before), Happening(how), State(after), number) for before, how, after, number in kinds]
    strange = [(before, how, after) for before, how, after, _ in seen if TABLE[before].get(how) is not after]
    broken = [id_ for kind in strange for id_ in _ids_of(connection, *kind)]
    checked = sum(number for *_, number in seen)
    return Finding("I10", "elke overgang staat in de tabel", checked, tuple(sorted(set(broken))))


def _ids_of(connection: Connection, before: State, how: Happening, after: State) -> list[str]:
    found = connection.execute(
        text('SELECT delivery_id FROM transition WHERE "before" = :before AND happening = :how AND "after" = :after'),
        {"before": before, "how": how, "after": after},
    )
    return list(found.scalars())


def one_after_another(connection: Connection, _: Circumstances) -> Finding:
    """To be claimed, and to be given back untried, leaves no step behind."""
    return look(connection, "I10", "elke overgang volgt op de vorige", "transition", _GAPS)


def as_the_row_says(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I10", "de toestand is die van de laatste overgang", "delivery", _ROWS)


def terminal_but_for_evidence(connection: Connection, _: Circumstances) -> Finding:
    count = f'transition WHERE "before" IN ({quoted(TERMINAL)})'
    return look(
        connection,
        "I10",
        "alleen bewijs, of wie er op naam toe besloot, beweegt wat geëindigd is",
        count,
        _LEFT_ITS_END,
    )


def attested_by_somebody(connection: Connection, _: Circumstances) -> Finding:
    """What no attempt of ours handed over, somebody says is there."""
    return look(connection, "I10", "wat een mens vaststelde, staat op naam", _ATTESTED, _BY_NOBODY)
