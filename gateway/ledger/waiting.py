"""What was let go, and must wait again: its kennisgeving came back and is on its way by the next channel."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, select

from gateway.core.case import Delivery
from gateway.core.lifecycle import IN_PROGRESS, State
from gateway.core.route import predecessor
from gateway.ledger.among import among
from gateway.ledger.bulk import update_rows
from gateway.ledger.deliveries import FIELDS, delivery_of
from gateway.ledger.schema import delivery

_OPEN = sorted(str(state) for state in IN_PROGRESS)


def wait_again(connection: Connection, early: Collection[Any], now: int) -> set[str]:
    """Have these (rows of a claim that is not made) wait for what goes before them, as if they came in now; returns the
    ids of those that do. What another transaction has in hand is not waited for: it may be settling.

    Who vanished during an attempt on one of them has lost it.
    """
    ahead = _still_on_their_way(connection, {row.dossier_id for row in early})
    links = {one.id: one.waits_for for of_one in ahead.values() for one in of_one}
    changes = []
    for row in early:
        before = [
            one
            for one in ahead[row.dossier_id]
            if (one.versie, one.id) < (row.versie, row.id) and not _leads_to(links, one.id, row.id)
        ]
        waits_for = predecessor((row.creditor, row.agent_for), before, now)
        if waits_for is not None:
            links[row.id] = waits_for
            is_lost = row.before == State.BUSY
            changes.append(
                {
                    "id": row.id,
                    "waits_for": waits_for,
                    "state": State.IN_DOUBT if is_lost else row.before,
                    "owner": None,
                    "fence": row.fence if is_lost else row.fence - 1,
                }
            )
    update_rows(connection, delivery, ("id",), changes)
    return {str(change["id"]) for change in changes}


def _leads_to(links: Mapping[str, str | None], start: str, goal: str) -> bool:
    """A version that came late waits for newer ones, which must not wait for it then. Where the way goes past what
    another transaction has in hand, nobody can say: it may."""
    at: str | None = start
    while at is not None and at != goal:
        if at not in links:
            return True
        at = links[at]
    return at == goal


def _still_on_their_way(connection: Connection, dossiers: set[str]) -> dict[str, list[Delivery]]:
    """Locked, so that none settles before it is known that something waits for it."""
    rows = connection.execute(
        select(*FIELDS, delivery.c.dossier_id)
        .where(among(delivery.c.dossier_id, dossiers), delivery.c.state.in_(_OPEN), delivery.c.stands.is_(None))
        .order_by(delivery.c.id)
        .with_for_update(skip_locked=True)
    )
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in rows:
        found[row.dossier_id].append(delivery_of(row))
    return found
