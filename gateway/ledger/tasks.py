"""Tasks: what only a person can settle. Written here, in the transaction of what caused them."""

from collections.abc import Sequence

from msgspec import Struct, structs
from sqlalchemy import Connection, select, update

from gateway.ledger.among import among
from gateway.ledger.bulk import insert_rows
from gateway.ledger.schema import task


class Task(Struct, frozen=True):
    """One thing to look at. `detail` is Dutch and holds no personal data; `created_at` in epoch µs."""

    id: str
    soort: str
    created_at: int
    detail: str
    gemeente: str | None = None
    dossier_id: str | None = None
    delivery_id: str | None = None
    creditor: str | None = None


def add_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Write them; one delivery gets one task of a kind."""
    if not tasks:
        return
    deliveries = [wanted.delivery_id for wanted in tasks if wanted.delivery_id]
    rows = connection.execute(select(task.c.delivery_id, task.c.soort).where(among(task.c.delivery_id, deliveries)))
    known = {(row.delivery_id, row.soort) for row in rows}
    new = [structs.asdict(wanted) for wanted in tasks if (wanted.delivery_id, wanted.soort) not in known]
    if new:
        insert_rows(connection, task, new)


def close_tasks(connection: Connection, closures: Sequence[tuple[str, str, str]], at: int) -> None:
    for delivery_id, soort, _reason in closures:
        open_one = (task.c.delivery_id == delivery_id) & (task.c.soort == soort) & task.c.closed_at.is_(None)
        connection.execute(update(task).where(open_one).values(closed_at=at))
