"""Dossiers with their messages and deliveries as rows, put into a ledger as they would be after a while.

Each id is made on its own, for ids of one maker rise, whatever moment they are asked for.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert

from gateway.core.lifecycle import State
from gateway.ids import Uuid7
from gateway.ledger.schema import delivery, dossier, message


def micros(*moment: int) -> int:
    """Of a moment in UTC."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


def put_dossier(connection: Connection, /, id_: str, gemeente: str, at: int, versie: int = 1) -> str:
    row = {"id": id_, "gemeente": gemeente, "kenmerk": id_, "key": b"k", "versie": versie, "created_at": at}
    connection.execute(insert(dossier), [row])
    return id_


def put_message(
    connection: Connection, dossier_id: str, at: int, soort: str = "kennisgeving", versie: int = 1, **more: Any
) -> str:
    id_ = Uuid7()(at)
    row = {
        "id": id_,
        "source": "s",
        "event_id": id_,
        "dossier_id": dossier_id,
        "versie": versie,
        "soort": soort,
        "hash": b"h",
        "sender_oin": "00000099000000363000",
        "received_at": at,
        "hold_until": None,
        "out_of_order": False,
        **more,
    }
    connection.execute(insert(message), [row])
    return id_


def put_delivery(
    connection: Connection, dossier_id: str, message_id: str, at: int, creditor: str = "energie", **more: Any
) -> str:
    """Handed over when it was made, and silent since, where `more` does not say otherwise."""
    id_ = Uuid7()(at)
    row = {
        "id": id_,
        "message_id": message_id,
        "dossier_id": dossier_id,
        "creditor": creditor,
        "agent_for": None,
        "soort": "kennisgeving",
        "versie": 1,
        "channel": "webhook",
        "channel_since": at,
        "state": State.DELIVERED,
        "proof": 1,
        "fence": 1,
        "tries": 0,
        "created_at": at,
        "give_up_at": at,
        "handed_over_at": at,
        "view_digest": b"v",
        "answered_at": None,
        "decided_at": None,
        "decision": None,
        "paused_until": None,
        "terms": None,
        **more,
    }
    connection.execute(insert(delivery), [row])
    return id_


def put_notice(connection: Connection, /, gemeente: str, at: int, *creditors: str, **more: Any) -> str:
    """A dossier with a kennisgeving to these creditors; gives its id."""
    id_ = put_dossier(connection, Uuid7()(at), gemeente, at)
    notice = put_message(connection, id_, at)
    for creditor in creditors:
        put_delivery(connection, id_, notice, at, creditor, **more)
    return id_
