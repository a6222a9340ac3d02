"""Looking things up, for the API, the command line and the answer page. Nothing here changes anything."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from gateway.core.task import TaskKind
from gateway.ledger.among import among
from gateway.ledger.schema import (
    attempt,
    delivery,
    dossier,
    evidence,
    message,
    operator_act,
    operator_act_item,
    outbox,
    payload,
    task,
    transition,
)

Rows = Sequence[Any]


def dossiers(
    connection: Connection,
    *,
    gemeenten: Collection[str] | None = None,
    kenmerk: str | None = None,
    dossier_id: str | None = None,
    after: str = "",
    limit: int = 100,
) -> Rows:
    """Dossiers with at least one processed message, by id; `gemeenten` None: of all. `after`: an id to go on from."""
    query = select(dossier).where(dossier.c.versie > 0, dossier.c.id > after).order_by(dossier.c.id).limit(limit)
    if gemeenten is not None:
        query = query.where(among(dossier.c.gemeente, gemeenten))
    if kenmerk is not None:
        query = query.where(dossier.c.kenmerk == kenmerk)
    if dossier_id is not None:
        query = query.where(dossier.c.id == dossier_id)
    return connection.execute(query).all()


_STANDING = func.coalesce(delivery.c.stands, delivery.c.state)
"""What is sent again stays what it was: that is what anybody sees."""

_DELIVERY = select(
    *[column for column in delivery.c if column.name not in ("view_digest", "state")],
    _STANDING.label("state"),
    dossier.c.gemeente,
    dossier.c.kenmerk,
    dossier.c.key,
).join(dossier, dossier.c.id == delivery.c.dossier_id)


def deliveries_of(connection: Connection, dossier_ids: Collection[str]) -> Rows:
    return connection.execute(_DELIVERY.where(among(delivery.c.dossier_id, dossier_ids)).order_by(delivery.c.id)).all()


def delivery_with(connection: Connection, delivery_id: str) -> tuple[Any, Rows, Rows, Rows] | None:
    """A delivery with its attempts, its evidence and its transitions, each oldest first."""
    row = connection.execute(_DELIVERY.where(delivery.c.id == delivery_id)).one_or_none()
    if row is None:
        return None
    return (
        row,
        connection.execute(select(attempt).where(attempt.c.delivery_id == delivery_id).order_by(attempt.c.nr)).all(),
        connection.execute(select(evidence).where(evidence.c.delivery_id == delivery_id).order_by(evidence.c.id)).all(),
        connection.execute(
            select(transition).where(transition.c.delivery_id == delivery_id).order_by(transition.c.nr)
        ).all(),
    )


def attempts_of(connection: Connection, dossier_ids: Collection[str]) -> Rows:
    """All attempts on the deliveries of these dossiers, oldest first."""
    of_dossiers = select(delivery.c.id).where(among(delivery.c.dossier_id, dossier_ids))
    query = select(attempt).where(attempt.c.delivery_id.in_(of_dossiers))
    return connection.execute(query.order_by(attempt.c.delivery_id, attempt.c.nr)).all()


def evidence_of(connection: Connection, dossier_ids: Collection[str]) -> Rows:
    """All that creditors told about the deliveries of these dossiers, oldest first."""
    of_dossiers = select(delivery.c.id).where(among(delivery.c.dossier_id, dossier_ids))
    query = select(evidence).where(evidence.c.delivery_id.in_(of_dossiers))
    return connection.execute(query.order_by(evidence.c.id)).all()


def acts_on(connection: Connection, delivery_ids: Collection[str]) -> Rows:
    """What people had done to these deliveries, oldest first; `before` is null where it was asked for and not done."""
    query = select(operator_act, operator_act_item.c.delivery_id, operator_act_item.c.before).join(
        operator_act_item, operator_act_item.c.act_id == operator_act.c.id
    )
    chosen = query.where(among(operator_act_item.c.delivery_id, delivery_ids))
    return connection.execute(chosen.order_by(operator_act.c.id)).all()


def dossier_keys(connection: Connection, ids: Collection[str]) -> dict[str, tuple[str, bytes]]:
    """dossier id → (kenmerk, wrapped data key)"""
    rows = connection.execute(select(dossier.c.id, dossier.c.kenmerk, dossier.c.key).where(among(dossier.c.id, ids)))
    return {row.id: (row.kenmerk, row.key) for row in rows}


def unknown_creditors(connection: Connection, dossier_ids: Collection[str]) -> Rows:
    """Tasks on creditors of these dossiers that the register did not know, oldest first."""
    unknown = (task.c.soort == TaskKind.CREDITOR_UNKNOWN) & among(task.c.dossier_id, dossier_ids)
    return connection.execute(select(task).where(unknown).order_by(task.c.id)).all()


def view_of(connection: Connection, delivery_id: str) -> tuple[bytes, bytes] | None:
    """The sealed view of a delivery and the wrapped key that opens it; None: erased, or no such delivery."""
    row = connection.execute(
        select(payload.c.sealed, dossier.c.key)
        .join(dossier, dossier.c.id == payload.c.dossier_id)
        .where(payload.c.owner == delivery_id, payload.c.kind == "aanzicht")
    ).one_or_none()
    return None if row is None else (row.sealed, row.key)


def deliveries(
    connection: Connection,
    *,
    creditor: str | None = None,
    state: str | None = None,
    gemeente: str | None = None,
    after: str = "",
    limit: int = 100,
) -> Rows:
    query = _DELIVERY.where(delivery.c.id > after).order_by(delivery.c.id).limit(limit)
    if creditor is not None:
        query = query.where(delivery.c.creditor == creditor)
    if state is not None:
        query = query.where(_STANDING.in_([state]))
    if gemeente is not None:
        query = query.where(dossier.c.gemeente == gemeente)
    return connection.execute(query).all()


def messages_of(connection: Connection, dossier_id: str) -> Rows:
    return connection.execute(
        select(message).where(message.c.dossier_id == dossier_id).order_by(message.c.versie)
    ).all()


def feed(connection: Connection, gemeenten: Collection[str] | None, after: int, limit: int) -> Rows:
    """Numbered events after `after`, in order; `gemeenten` None: of all. `key` opens `sealed`."""
    query = (
        select(outbox.c.id, outbox.c.nr, outbox.c.name, outbox.c.gemeente, outbox.c.sealed, dossier.c.key)
        .outerjoin(dossier, dossier.c.id == outbox.c.dossier_id)
        .where(outbox.c.nr > after)
        .order_by(outbox.c.nr)
        .limit(limit)
    )
    if gemeenten is not None:
        query = query.where(among(outbox.c.gemeente, gemeenten))
    return connection.execute(query).all()
