"""I2, I3, I16, I24: every addressee has its delivery, and no delivery is out of everybody's sight."""

from sqlalchemy import Connection

from gateway.core.lane import SECOND
from gateway.core.lifecycle import AWAITING_ANSWER, SETTLED, TERMINAL
from gateway.core.task import TaskKind
from gateway.invariants.finding import Circumstances, Finding, look, quoted

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
_GIVEN_UP = (TaskKind.GIVEN_UP, TaskKind.REFUSED_BY_CHANNEL, TaskKind.BOUNCED, TaskKind.CHANNEL_CLOSED,
             TaskKind.OTHER_CONTENT)  # fmt: skip
_NOBODYS = f"""
SELECT id FROM delivery WHERE state = 'mislukt'
AND NOT EXISTS (SELECT 1 FROM task WHERE task.delivery_id = delivery.id AND soort IN ({quoted(_GIVEN_UP)})
    AND (closed_at IS NULL OR closed_at >= coalesce((SELECT max(at) FROM transition
        WHERE transition.delivery_id = delivery.id AND "after" = 'mislukt' AND "before" <> 'mislukt'), 0)))
"""  # noqa: S608
_REPORTED = """EXISTS (SELECT 1 FROM milestone WHERE milestone.dossier_id = delivery.dossier_id
    AND name = 'bezorging-vertraagd' AND subject = delivery.id)"""
_UNREPORTED = f"""
SELECT id FROM delivery WHERE coalesce(stands, state) NOT IN ({quoted(SETTLED)}) AND created_at < :late
AND NOT {_REPORTED}
UNION ALL SELECT id FROM delivery WHERE created_at < :late AND NOT {_REPORTED}
AND created_at + :within < (SELECT min(at) FROM transition
    WHERE transition.delivery_id = delivery.id AND "after" IN ({quoted(SETTLED)}))"""  # noqa: S608
"""What is still under way, and what was so for too long before it settled."""
_OPEN = f"""
SELECT id FROM delivery
WHERE coalesce(stands, state) NOT IN ({quoted(SETTLED)}) AND (give_up_at < :ended OR :at_rest = 1)
AND NOT EXISTS (SELECT 1 FROM task WHERE task.delivery_id = delivery.id AND task.closed_at IS NULL)"""  # noqa: S608


def one_each(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I2", "elke geadresseerde één bezorging", "message", _MISSHAPEN)


def none_lost(connection: Connection, _: Circumstances) -> Finding:
    lost = f"SELECT id FROM delivery WHERE {LOST}"  # noqa: S608
    return look(connection, "I3", "naar elke bezorging wordt nog omgekeken", "delivery", lost)


def failed_for_a_person(connection: Connection, _: Circumstances) -> Finding:
    """A task that a person closed since was one."""
    what = "wat mislukte, is een taak of was het"
    return look(connection, "I3", what, "delivery WHERE state = 'mislukt'", _NOBODYS)


def reported_late(connection: Connection, circumstances: Circumstances) -> Finding:
    within = int(circumstances.reported_within * SECOND)
    late = circumstances.now - within
    what = "wat na 4 uur niet bezorgd is of was, is gemeld"
    return look(connection, "I16", what, "delivery WHERE created_at < :late", _UNREPORTED, late=late, within=within)


def ended(connection: Connection, circumstances: Circumstances) -> Finding:
    at_rest, past = int(circumstances.at_rest), circumstances.ago(GRACE)
    what = "wat had moeten eindigen, is bezorgd, beëindigd of een taak"
    count = "delivery WHERE give_up_at < :ended OR :at_rest = 1"
    return look(connection, "I24", what, count, _OPEN, ended=past, at_rest=at_rest)
