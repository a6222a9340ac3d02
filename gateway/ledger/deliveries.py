"""Deliveries between the table and the core: a row as the core knows it, and the row of a new one."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Column

from gateway.core.case import Delivery
from gateway.core.lifecycle import State
from gateway.core.pause import decode_terms, encode_terms
from gateway.ledger.schema import delivery

FIELDS: tuple[Column[Any], ...] = tuple(delivery.c[name] for name in Delivery.__struct_fields__)
"""To be selected first, for `delivery_of`."""

_STATES = {str(state): state for state in State}
_STATE, _TERMS, _STANDS = (Delivery.__struct_fields__.index(name) for name in ("state", "terms", "stands"))
_DATES = tuple(Delivery.__struct_fields__.index(name) for name in ("paused_until", "balance_on"))


def delivery_of(row: Sequence[Any]) -> Delivery:
    """A row that begins with FIELDS, as the core knows it."""
    values = list(row[: len(FIELDS)])
    values[_STATE] = _STATES[values[_STANDS] or values[_STATE]]
    values[_STANDS] = values[_STATE] if values[_STANDS] else None
    values[_TERMS] = decode_terms(values[_TERMS]) if values[_TERMS] else ()
    for place in _DATES:
        if values[place] is not None:
            values[place] = date.fromisoformat(values[place])
    return Delivery(*values)


def new_row(one: Delivery, message_id: str, dossier_id: str, channel: str, give_up_at: int) -> dict[str, object]:
    """A delivery that is due from the moment it is made, or as soon as it waits for nothing."""
    return {
        "id": one.id,
        "message_id": message_id,
        "dossier_id": dossier_id,
        "creditor": one.creditor,
        "agent_for": one.agent_for,
        "soort": one.soort,
        "versie": one.versie,
        "channel": channel,
        "channel_since": one.created_at,
        "state": one.state,
        "proof": 0,
        "fence": 0,
        "tries": 0,
        "next_action_at": one.created_at,
        "waits_for": one.waits_for,
        "created_at": one.created_at,
        "give_up_at": give_up_at,
        "view_digest": one.view_digest,
        "reminds": one.reminds,
        "terms": encode_terms(one.terms) if one.terms else None,
    }
