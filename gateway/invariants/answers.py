"""I12, I13, I14: who answered, that it was told once, and that every decision is somebody's."""

from sqlalchemy import Connection, text

from gateway.invariants.finding import Circumstances, Finding, look

_DECISION = "evidence.kind = 'answer' AND evidence.soort <> 'ontvangen'"
_STRANGER = """
SELECT evidence.id FROM evidence LEFT JOIN delivery ON delivery.id = evidence.delivery_id
WHERE length(digest) <> 32 OR length(raw) = 0 OR delivery.id IS NULL
OR (evidence.creditor <> delivery.creditor AND NOT EXISTS (
    SELECT 1 FROM delivery AS told WHERE told.dossier_id = delivery.dossier_id
    AND told.creditor = evidence.creditor AND told.agent_for = delivery.creditor))"""
_BY_DIGEST = "SELECT id, source, digest FROM evidence WHERE source LIKE 'sha256:%'"
_OF_NOTHING = """
SELECT id FROM evidence WHERE kind = 'bounce' AND NOT EXISTS (SELECT 1 FROM operator_act WHERE kind = 'herstel')
AND NOT EXISTS (SELECT 1 FROM attempt
    WHERE attempt.delivery_id = evidence.delivery_id AND started_at <= received_at)"""
_UNEVEN = f"""
SELECT dossier.id FROM dossier
WHERE (SELECT count(*) FROM evidence JOIN delivery ON delivery.id = evidence.delivery_id
    WHERE delivery.dossier_id = dossier.id AND {_DECISION})
<> (SELECT count(*) FROM outbox WHERE outbox.dossier_id = dossier.id AND name = 'antwoord-ontvangen')"""  # noqa: S608
_UNFOUNDED = f"""
SELECT delivery.id FROM delivery WHERE state IN ('bevestigd', 'geweigerd')
AND (proof < 3 OR NOT EXISTS (SELECT 1 FROM evidence JOIN delivery AS asked ON asked.id = evidence.delivery_id
    WHERE asked.dossier_id = delivery.dossier_id AND {_DECISION}
    AND (asked.id = delivery.id OR asked.creditor = delivery.creditor
        OR asked.agent_for = delivery.creditor OR asked.creditor = delivery.agent_for
        OR asked.agent_for = delivery.agent_for)))"""  # noqa: S608


def by_its_creditor(connection: Connection, _: Circumstances) -> Finding:
    return look(connection, "I12", "elk antwoord is van de schuldeiser of zijn gemachtigde", "evidence", _STRANGER)


def came_back_from_us(connection: Connection, _: Circumstances) -> Finding:
    """What a mailbox got is matched by a return path that only we can make (adapters/email/inbound.py): it can be about
    nothing that was never sent, and is named by the digest of its bytes. After a restore the ledger may have forgotten
    what was sent."""
    rows = connection.execute(text(_BY_DIGEST)).all()
    renamed = {row.id for row in rows if row.source != f"sha256:{bytes(row.digest).hex()}"}
    of_nothing = connection.execute(text(_OF_NOTHING)).scalars()
    what = "wat per mail terugkwam, is van iets dat verzonden was en zoals het kwam"
    return Finding("I12", what, len(rows), tuple(sorted(renamed.union(of_nothing))))


def told_once(connection: Connection, _: Circumstances) -> Finding:
    count = f"evidence WHERE {_DECISION}"
    return look(connection, "I13", "elk besluit is één keer gemeld", count, _UNEVEN)


def behind_every_decision(connection: Connection, _: Circumstances) -> Finding:
    count = "delivery WHERE state IN ('bevestigd', 'geweigerd')"
    return look(connection, "I14", "achter elke uitkomst staat een besluit van de schuldeiser", count, _UNFOUNDED)
