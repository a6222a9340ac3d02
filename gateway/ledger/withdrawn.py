"""What withdrawals took back: a dossier as a whole, or what the creditors that one names had been sent until then
(`core/withdrawn.py`)."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Text, cast, func, null, select, union_all

from gateway.core.withdrawn import MARK, NOBODY, subject_of, up_to
from gateway.ledger.among import among_given
from gateway.ledger.bulk import insert_missing_rows
from gateway.ledger.schema import delivery, dossier, milestone

Named = tuple[str, str, int]
"""(dossier id, creditor, version)"""


class Withdrawn:
    """What was read of some dossiers: (dossier id, None) or (dossier id, "<version> <creditor>")."""

    def __init__(self, rows: Iterable[Any]) -> None:
        found = list(rows)
        self._whole = {row.dossier_id for row in found if row.subject is None}
        self._up_to = _by_dossier(row for row in found if row.subject is not None)

    def has(self, one: Any) -> bool:
        """Whether this delivery (a row) is not to be sent any more; a withdrawal itself always may be."""
        if one.soort == "intrekking":
            return False
        last = self._up_to.get(one.dossier_id, NOBODY).get(one.agent_for or one.creditor, 0)
        return one.dossier_id in self._whole or one.versie <= last


def _by_dossier(rows: Iterable[Any]) -> dict[str, dict[str, int]]:
    subjects: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        subjects[row.dossier_id].append(row.subject)
    return {dossier_id: up_to(of_one) for dossier_id, of_one in subjects.items()}


def withdrawn(connection: Connection, dossiers: Collection[str]) -> Withdrawn:
    """As of now: whoever decides by it has locked the deliveries in a statement before. One that waits for that lock
    sees the rows that it joins as they were before it waited (PostgreSQL)."""
    return Withdrawn(connection.execute(_WITHDRAWN, {"ids": list(dossiers)}))


def withdrawn_for_some(connection: Connection, dossiers: Collection[str]) -> dict[str, dict[str, int]]:
    """Dossier id → creditor → version: what withdrawals that named creditors say of these dossiers, which the caller
    has locked."""
    return _by_dossier(connection.execute(_MARKS, {"ids": list(dossiers)}))


def put_withdrawn(connection: Connection, named: Iterable[Named], at: int) -> None:
    rows = [
        {"dossier_id": dossier_id, "name": MARK, "subject": subject_of(creditor, version), "at": at}
        for dossier_id, creditor, version in named
    ]
    insert_missing_rows(connection, milestone, rows)


_MARKS = select(milestone.c.dossier_id, milestone.c.subject).where(
    among_given(milestone.c.dossier_id, "ids"), milestone.c.name == MARK
)
_WITHDRAWN = union_all(
    select(dossier.c.id.label("dossier_id"), cast(null(), Text).label("subject")).where(
        among_given(dossier.c.id, "ids"), dossier.c.withdrawn_at.is_not(None)
    ),
    select(
        delivery.c.dossier_id,
        cast(delivery.c.versie, Text) + " " + func.coalesce(delivery.c.agent_for, delivery.c.creditor),
    ).where(among_given(delivery.c.dossier_id, "ids"), delivery.c.soort == "intrekking"),
    _MARKS,
)
