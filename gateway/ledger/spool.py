"""The embedded queue: messages wait here, sealed, until intake has committed them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from gateway.ledger.bulk import insert_rows
from gateway.ledger.schema import spool


def put(connection: Connection, rows: Sequence[tuple[str, bytes, int]]) -> None:
    """(sender, sealed body, epoch µs)"""
    insert_rows(connection, spool, [{"sender": sender, "sealed": body, "enqueued_at": at} for sender, body, at in rows])


def first(connection: Connection, limit: int) -> Sequence[Any]:
    return connection.execute(select(spool).order_by(spool.c.nr).limit(limit)).all()


def take_off(connection: Connection, numbers: Sequence[int]) -> None:
    connection.execute(delete(spool).where(spool.c.nr.in_(numbers)))
