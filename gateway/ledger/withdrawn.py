"""What withdrawals took back: a dossier as a whole, or what the creditors that one names had been sent until then.

Not every creditor that is named gets a delivery of the withdrawal: who never had the notice need not hear of it. So it
is on record by itself.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Text, cast, func, null, select, union_all

from gateway.ledger.among import among_given
from gateway.ledger.bulk import insert_missing_rows
from gateway.ledger.schema import delivery, dossier, milestone

MARK = "ingetrokken"

Named = tuple[str, str, int]
"""(dossier id, creditor, version): of all up to this version nothing is sent any more, to it or to who acts for it."""


class Withdrawn:
    """What was read of some dossiers: (dossier id, None) or (dossier id, "<version> <creditor>")."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._whole: set[str] = set()
        self._up_to: dict[tuple[str, str], int] = {}
        for row in rows:
            if row.subject is None:
                self._whole.add(row.dossier_id)
                continue
            version, creditor = row.subject.split(" ", 1)
            place = row.dossier_id, creditor
            self._up_to[place] = max(self._up_to.get(place, 0), int(version))

    def has(self, one: Any) -> bool:
        """Whether this delivery (a row) is not to be sent any more; a withdrawal itself always may be."""
        if one.soort == "intrekking":
            return False
        up_to = self._up_to.get((one.dossier_id, one.agent_for or one.creditor), 0)
        return one.dossier_id in self._whole or one.versie <= up_to


def withdrawn(connection: Connection, dossiers: Collection[str]) -> Withdrawn:
    """As of now: whoever decides by it has locked the deliveries in a statement before. One that waits for that lock
    sees the rows that it joins as they were before it waited (PostgreSQL)."""
    return Withdrawn(connection.execute(_WITHDRAWN, {"ids": list(dossiers)}))


def put_withdrawn(connection: Connection, named: Iterable[Named], at: int) -> None:
    rows = [
        {"dossier_id": dossier_id, "name": MARK, "subject": f"{version} {creditor}", "at": at}
        for dossier_id, creditor, version in named
    ]
    insert_missing_rows(connection, milestone, rows)


_WITHDRAWN = union_all(
    select(dossier.c.id.label("dossier_id"), cast(null(), Text).label("subject")).where(
        among_given(dossier.c.id, "ids"), dossier.c.withdrawn_at.is_not(None)
    ),
    select(
        delivery.c.dossier_id,
        cast(delivery.c.versie, Text) + " " + func.coalesce(delivery.c.agent_for, delivery.c.creditor),
    ).where(among_given(delivery.c.dossier_id, "ids"), delivery.c.soort == "intrekking"),
    select(milestone.c.dossier_id, milestone.c.subject).where(
        among_given(milestone.c.dossier_id, "ids"), milestone.c.name == MARK
    ),
)
