"""Deliveries between the table and the core: a row as the core knows it, and the row of a new one."""

from datetime import date
from typing import Any

from gateway.core.case import Delivery
from gateway.core.lifecycle import State
from gateway.core.pause import decode_terms, encode_terms


def delivery_of(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        creditor=row.creditor,
        agent_for=row.agent_for,
        soort=row.soort,
        versie=row.versie,
        state=State(row.stands or row.state),
        is_repeated=row.stands is not None,
        created_at=row.created_at,
        fence=row.fence,
        proof=row.proof,
        view_digest=row.view_digest,
        waits_for=row.waits_for,
        handed_over_at=row.handed_over_at,
        received_at=row.received_at,
        decided_at=row.decided_at,
        decision=row.decision,
        paused_until=_date(row.paused_until),
        transferred_to=row.transferred_to,
        balance_on=_date(row.balance_on),
        reminds=row.reminds,
        terms=decode_terms(row.terms) if row.terms else (),
    )


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


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
