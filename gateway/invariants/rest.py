"""I23: what is held is held by somebody, and what changed is looked at."""

from sqlalchemy import Connection

from gateway.invariants.finding import Circumstances, Finding, look

OVERDUE = 300.0
"""Seconds after the end of a lease within which another gateway, or the same one, takes over."""

_FORGOTTEN = "SELECT id FROM delivery WHERE state = 'bezig' AND (next_action_at < :overdue OR :at_rest = 1)"
_UNSEEN = "SELECT dossier_id FROM nudge WHERE at < :overdue"


def no_claim_forgotten(connection: Connection, circumstances: Circumstances) -> Finding:
    at_rest, overdue = int(circumstances.at_rest), circumstances.ago(OVERDUE)
    what, count = "geen claim overleeft haar lease", "delivery WHERE state = 'bezig'"
    return look(connection, "I23", what, count, _FORGOTTEN, at_rest=at_rest, overdue=overdue)


def no_nudge_forgotten(connection: Connection, circumstances: Circumstances) -> Finding:
    overdue = circumstances.ago(OVERDUE)
    return look(connection, "I23", "wat veranderde, is bekeken", "nudge", _UNSEEN, overdue=overdue)
