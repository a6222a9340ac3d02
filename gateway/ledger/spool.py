"""The embedded queue: messages wait here, sealed, until intake has committed them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from gateway.ledger.schema import spool


def put(connection: Connection, rows: Sequence[tuple[str, bytes, int]]) -> None:
    """(sender, sealed body, epoch µs)"""
    connection.execute(
        insert(spool), [{"sender": sender, "sealed": sealed, "enqueued_at": at} for sender, sealed, at in rows]
    )


def first(connection: Connection, limit: int) -> Sequence[Any]:
    return connection.execute(select(spool).order_by(spool.c.nr).limit(limit)).all()


def take_off(connection: Connection, numbers: Sequence[int]) -> None:
    connection.execute(delete(spool).where(spool.c.nr.in_(numbers)))
