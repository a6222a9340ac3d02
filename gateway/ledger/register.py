"""The creditor register as applied, with its history: a revision per change, the latest one is in force."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, insert, select

from gateway.ledger.schema import closed_lane, creditor_entry

Lane = tuple[str, str]


def entries(connection: Connection) -> dict[str, str]:
    """Creditor id → JSON document, of those in force."""
    latest = (
        select(creditor_entry.c.id, func.max(creditor_entry.c.revision).label("revision"))
        .group_by(creditor_entry.c.id)
        .subquery()
    )
    rows = connection.execute(
        select(creditor_entry.c.id, creditor_entry.c.document)
        .join(latest, (latest.c.id == creditor_entry.c.id) & (latest.c.revision == creditor_entry.c.revision))
        .where(creditor_entry.c.document.is_not(None))
        .order_by(creditor_entry.c.id)
    )
    return {row.id: row.document for row in rows}


def revision(connection: Connection) -> int:
    """Grows with every change; 0: nothing was ever applied."""
    return connection.execute(select(func.max(creditor_entry.c.revision))).scalar_one() or 0


def apply(connection: Connection, changed: Mapping[str, str | None], at: int) -> int:
    """Record the changed entries (None: taken out) as a new revision; their closed lanes are open again."""
    if not changed:
        return revision(connection)
    new = revision(connection) + 1
    connection.execute(
        insert(creditor_entry),
        [{"id": id_, "revision": new, "document": text, "applied_at": at} for id_, text in changed.items()],
    )
    connection.execute(delete(closed_lane).where(closed_lane.c.creditor.in_(changed)))
    return new


def closed_lanes(connection: Connection) -> list[Lane]:
    return [(row.creditor, row.channel) for row in connection.execute(select(closed_lane))]
