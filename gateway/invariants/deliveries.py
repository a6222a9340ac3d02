"""I2, I3, I16, I24: every addressee has its delivery, and no delivery is out of everybody's sight."""

from sqlalchemy import Connection

from gateway.core.lifecycle import AWAITING_ANSWER, SETTLED, TERMINAL
from gateway.invariants.finding import Circumstances, Finding, look, quoted

REPORTED_WITHIN = 4 * 3600 + 5 * 60.0
GRACE = 3600.0
"""Seconds after the horizon in which the last attempt ends."""

LOST = f"""
delivery.state NOT IN ({quoted(TERMINAL)}) AND delivery.next_action_at IS NULL
AND (delivery.waits_for IS NULL OR NOT EXISTS (SELECT 1 FROM delivery AS one WHERE one.id = delivery.waits_for))
AND NOT (delivery.state IN ({quoted(AWAITING_ANSWER)}) AND (
    EXISTS (SELECT 1 FROM dossier WHERE dossier.id = delivery.dossier_id AND review_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM nudge WHERE nudge.dossier_id = delivery.dossier_id)))
AND NOT EXISTS (SELECT 1 FROM task WHERE task.delivery_id = delivery.id AND task.closed_at IS NULL)
"""  # noqa: S608
"""Of a row of `delivery`: nobody will ever look at it again."""

_MISSHAPEN = """
SELECT message_id FROM delivery WHERE soort <> 'herinnering'
GROUP BY message_id, creditor, agent_for HAVING count(*) > 1
UNION ALL SELECT message.id FROM message
WHERE soort = 'kennisgeving' AND versie = 1 AND hold_until IS NULL
AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.message_id = message.id)
AND NOT EXISTS (SELECT 1 FROM task WHERE task.dossier_id = message.dossier_id)"""
_UNREPORTED = f"""
SELECT id FROM delivery WHERE coalesce(stands, state) NOT IN ({quoted(SETTLED)}) AND created_at < :late
AND NOT EXISTS (SELECT 1 FROM milestone WHERE milestone.dossier_id = delivery.dossier_id
    AND name = 'bezorging-vertraagd' AND subject = delivery.id)"""  # noqa: S608
_OPEN = f"""
SELECT id FROM delivery
WHERE coalesce(stands, state) NOT IN ({quoted(SETTLED)}) AND (give_up_at < :ended OR :at_rest = 1)
AND NOT EXISTS (SELECT 1 FROM task WHERE task.delivery_id = delivery.id AND task.closed_at IS NULL)"""  # noqa: S608


def one_each(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I2", "elke geadresseerde één bezorging", "message", _MISSHAPEN)


def none_lost(connection: Connection, _: Circumstances) -> Finding:
    lost = f"SELECT id FROM delivery WHERE {LOST}"  # noqa: S608
    return look(connection, "I3", "naar elke bezorging wordt nog omgekeken", "delivery", lost)


def reported_late(connection: Connection, circumstances: Circumstances) -> Finding:
    late = circumstances.ago(REPORTED_WITHIN)
    what = "wat na 4 uur niet bezorgd is, is gemeld"
    return look(connection, "I16", what, "delivery WHERE created_at < :late", _UNREPORTED, late=late)


def ended(connection: Connection, circumstances: Circumstances) -> Finding:
    at_rest, past = int(circumstances.at_rest), circumstances.ago(GRACE)
    what = "wat had moeten eindigen, is bezorgd, beëindigd of een taak"
    count = "delivery WHERE give_up_at < :ended OR :at_rest = 1"
    return look(connection, "I24", what, count, _OPEN, ended=past, at_rest=at_rest)
