"""The queue of work: claim what is due, record the intent, give back, find what is due. One function, one transaction.

A claim raises the delivery's fencing token; only the holder of the current token may settle it (settle.py). Whoever
locks several deliveries does so in the order of their ids, or passes by what is locked, so that no two wait for each
other.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, case, func, select, update

from gateway.core.lifecycle import IN_PROGRESS, TOLD, Happening, State
from gateway.ledger.among import among, among_given
from gateway.ledger.bulk import insert_missing_rows, insert_rows
from gateway.ledger.due import Wanted, due_ids, find_overdue, still_due
from gateway.ledger.schema import (
    answer_page,
    attempt,
    delivery,
    dossier,
    payload,
    transition,
)
from gateway.ledger.waiting import wait_again

Lane = tuple[str, str]
"""(creditor, channel)"""
Token = tuple[str, int]
"""(delivery id, fence): one claim"""


class Claimed(Struct, frozen=True):
    """A delivery that this gateway may attempt now. Instants: epoch µs."""

    id: str
    dossier_id: str
    creditor: str
    agent_for: str | None
    soort: str
    versie: int
    channel: str
    channel_since: int
    before: str
    """Its state when claimed; BUSY means that a former holder vanished during an attempt."""
    fence: int
    tries: int
    proof: int
    created_at: int
    give_up_at: int
    due_at: int
    """From when it was to be attempted."""
    gemeente: str
    kenmerk: str
    key: bytes
    """The dossier's wrapped data key."""
    view: bytes
    """Sealed."""
    frozen: bytes | None
    """Sealed rendition for this channel, where one was made before."""
    notice_reference: str | None
    notices: tuple[str, ...]
    """Of what follows a kennisgeving: those on the same channel, the newest first."""
    notice_failed: bool
    """The kennisgeving that comes before this message did not reach the creditor, and this one need not wait for it
    any more."""

    @property
    def lane(self) -> Lane:
        return self.creditor, self.channel

    @property
    def token(self) -> Token:
        return self.id, self.fence


class Intent(Struct, frozen=True):
    """What is written down before the bytes leave. `sealed` is None where the rendition was frozen before."""

    id: str
    dossier_id: str
    fence: int
    channel: str
    digest: bytes
    sealed: bytes | None
    token_hash: bytes | None = None
    reference_hashes: str = ""
    page_expires_at: int = 0


_FIELDS = (
    delivery.c.id,
    delivery.c.dossier_id,
    delivery.c.creditor,
    delivery.c.agent_for,
    delivery.c.soort,
    delivery.c.versie,
    delivery.c.channel,
    delivery.c.channel_since,
    delivery.c.state.label("before"),
    (delivery.c.fence + 1).label("fence"),
    delivery.c.tries,
    delivery.c.proof,
    delivery.c.created_at,
    delivery.c.give_up_at,
    delivery.c.next_action_at.label("due_at"),
)


def claim(
    connection: Connection, lanes: Mapping[Lane, int | Wanted], owner: str, now: int, lease_until: int
) -> list[Claimed]:
    """Claim for each lane at most so many due deliveries. Skips what another gateway is claiming."""
    asked = {lane: one if isinstance(one, Wanted) else Wanted(one) for lane, one in lanes.items()}
    return _claim(connection, lambda: due_ids(connection, asked, owner, now), owner, now, lease_until)


def claim_overdue(
    connection: Connection, lanes: Mapping[Lane, Wanted], owner: str, now: int, lease_until: int
) -> list[Claimed]:
    """Claim in lanes that rest what cannot wait for them: `since` bounds the time on this channel (earlier: overdue),
    the other bounds stand in core/lane.py."""

    def find() -> list[str]:
        return [row.id for row in find_overdue(connection, lanes, owner, now)]

    return _claim(connection, find, owner, now, lease_until)


def _claim(
    connection: Connection, find: Callable[[], Sequence[str]], owner: str, now: int, lease_until: int
) -> list[Claimed]:
    """What `find` finds due, in its order. What is due before its kennisgeving is there is made to wait, and leaves its
    room to something else."""
    while ids := find():
        rows = _rows(connection, ids)
        notices = _notices(connection, {row.dossier_id for row in rows if row.soort != "kennisgeving"})
        early = {row.id: row for row in rows if notices.is_early(row)}
        waiting = wait_again(connection, early.values(), now) if early else set()
        if not waiting:
            mine = [row for row in rows if row.id not in early]
            _take(connection, mine, owner, now, lease_until)
            place = {id_: at for at, id_ in enumerate(ids)}
            return [_claimed(row, notices) for row in sorted(mine, key=lambda row: place[row.id])]
        _note_lost_leases(connection, [id_ for id_ in waiting if early[id_].before == State.BUSY], now)
    return []


def _rows(connection: Connection, ids: Sequence[str]) -> Sequence[Any]:
    frozen = payload.alias("frozen")
    view = payload.alias("view")
    return connection.execute(
        select(
            *_FIELDS,
            dossier.c.gemeente,
            dossier.c.kenmerk,
            dossier.c.key,
            view.c.sealed.label("view"),
            frozen.c.sealed.label("frozen"),
        )
        .join(dossier, dossier.c.id == delivery.c.dossier_id)
        .join(view, and_(view.c.owner == delivery.c.id, view.c.kind == "aanzicht"))
        .outerjoin(frozen, and_(frozen.c.owner == delivery.c.id, frozen.c.kind == "verzonden:" + delivery.c.channel))
        .where(among(delivery.c.id, ids))
    ).all()


def _take(connection: Connection, rows: Sequence[Any], owner: str, now: int, lease_until: int) -> None:
    connection.execute(
        update(delivery)
        .where(among(delivery.c.id, [row.id for row in rows]))
        .values(state=State.BUSY, fence=delivery.c.fence + 1, owner=owner, next_action_at=lease_until)
    )
    _note_lost_leases(connection, [row.id for row in rows if row.before == State.BUSY], now)


def claim_and_look(
    connection: Connection, lanes: Mapping[Lane, int | Wanted], owner: str, now: int, lease_until: int
) -> tuple[list[Claimed], list[Lane]]:
    """As `claim`; and the lanes that have something due all the same, because another transaction (intake of the next
    version, an answer) had it under lock at that moment."""
    claims = claim(connection, lanes, owner, now, lease_until)
    if connection.dialect.name == "sqlite":
        return claims, []
    got = Counter(claimed.lane for claimed in claims)
    rooms = {lane: one.room if isinstance(one, Wanted) else one for lane, one in lanes.items()}
    short = [lane for lane, room in rooms.items() if got[lane] < room]
    return claims, still_due(connection, short, now) if short else []


def _claimed(row: Any, notices: "_Notices") -> Claimed:
    """`row` has the fields of Claimed in their order, but for the last three."""
    if row.soort == "kennisgeving":
        fields = (*row, None, (), False)
    else:
        fields = (*row, notices.reference(row), notices.ids(row), not notices.told(row))
    return Claimed(*fields)


def _note_lost_leases(connection: Connection, ids: Sequence[str], now: int) -> None:
    if not ids:
        return
    insert_rows(
        connection,
        transition,
        [
            {
                "delivery_id": id_,
                "at": now,
                "happening": Happening.LEASE_LOST,
                "before": State.BUSY,
                "after": State.IN_DOUBT,
                "cause": None,
            }
            for id_ in ids
        ],
    )


class _Notices:
    """The kennisgevingen of some dossiers: who has one, and what the peer calls it."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = defaultdict[tuple[str, str, str | None], list[Any]](list)
        for row in rows:
            self._rows[row.dossier_id, row.creditor, row.agent_for].append(row)

    def reference(self, of: Any) -> str | None:
        return next((row.reference for row in self._on_channel(of) if row.reference), None)

    def ids(self, of: Any) -> tuple[str, ...]:
        return tuple(row.id for row in self._on_channel(of))

    def told(self, of: Any) -> bool:
        """A withdrawal that was let go is for whoever may have got what it withdraws (core/agenda.py saw to it)."""
        enough = TOLD | {State.WITHDRAWN} if of.soort == "intrekking" else TOLD
        return any((row.stands or row.state) in enough for row in self._of(of))

    def is_early(self, of: Any) -> bool:
        """Its creditor was told nothing yet, and a kennisgeving that waits for nothing is on its way to it."""
        if of.soort in ("kennisgeving", "intrekking") or self.told(of):
            return False
        under_way = (row for row in self._of(of) if row.state in IN_PROGRESS and row.waits_for is None)
        return any(row.versie <= of.versie for row in under_way)

    def _on_channel(self, of: Any) -> Iterable[Any]:
        return (row for row in self._of(of) if row.channel == of.channel)

    def _of(self, of: Any) -> Sequence[Any]:
        """Those to the same creditor in the same part, for itself or for another."""
        return self._rows.get((of.dossier_id, of.creditor, of.agent_for), ())


def _notices(connection: Connection, dossiers: Collection[str]) -> _Notices:
    if not dossiers:
        return _Notices(())
    return _Notices(
        connection.execute(
            select(
                delivery.c.id,
                delivery.c.dossier_id,
                delivery.c.creditor,
                delivery.c.agent_for,
                delivery.c.versie,
                delivery.c.channel,
                delivery.c.reference,
                delivery.c.state,
                delivery.c.stands,
                delivery.c.waits_for,
            )
            .where(among(delivery.c.dossier_id, dossiers), delivery.c.soort == "kennisgeving")
            .order_by(delivery.c.versie.desc())
        )
    )


def freeze(connection: Connection, intents: Sequence[Intent], owner: str, now: int) -> set[Token]:
    """Record the intents (attempt row, frozen bytes, answer page) of claims that are still held; returns these claims.

    Doing it again changes nothing. Of one delivery there may be two claims here, the first of which was lost."""
    held = {
        row.id: row.fence
        for row in connection.execute(
            select(delivery.c.id, delivery.c.fence)
            .where(among(delivery.c.id, [intent.id for intent in intents]), delivery.c.state == State.BUSY)
            .order_by(delivery.c.id)
            .with_for_update()
        )
    }
    mine = [intent for intent in intents if held.get(intent.id) == intent.fence]
    if not mine:
        return set()
    insert_missing_rows(
        connection,
        attempt,
        [
            {
                "delivery_id": intent.id,
                "nr": intent.fence,
                "channel": intent.channel,
                "owner": owner,
                "digest": intent.digest,
                "started_at": now,
                "stale": False,
            }
            for intent in mine
        ],
    )
    renditions = [
        {
            "owner": intent.id,
            "kind": f"verzonden:{intent.channel}",
            "dossier_id": intent.dossier_id,
            "sealed": intent.sealed,
        }
        for intent in mine
        if intent.sealed is not None
    ]
    if renditions:
        insert_missing_rows(connection, payload, renditions)
    pages = [
        {
            "token_hash": intent.token_hash,
            "delivery_id": intent.id,
            "reference_hashes": intent.reference_hashes,
            "wrong": 0,
            "decided": False,
            "expires_at": intent.page_expires_at,
        }
        for intent in mine
        if intent.token_hash is not None
    ]
    if pages:
        insert_missing_rows(connection, answer_page, pages)
    return {(intent.id, intent.fence) for intent in mine}


def still_held(connection: Connection, id_: str, fence: int) -> bool:
    """The claim with this token is the current one, and nothing ended the delivery meanwhile."""
    mine = (delivery.c.id == id_) & (delivery.c.fence == fence) & (delivery.c.state == State.BUSY)
    return connection.execute(select(delivery.c.id).where(mine)).first() is not None


def renew(connection: Connection, ids: Sequence[str], owner: str, lease_until: int) -> None:
    """Extend the lease of these claims, where they are still this gateway's. One that is locked is passed by: nobody
    can claim it now, and who has locked it (a gateway that stands still, perhaps) must not keep the others from it."""
    mine = (delivery.c.state == State.BUSY) & (delivery.c.owner == owner)
    query = select(delivery.c.id).where(among(delivery.c.id, ids), mine).with_for_update(skip_locked=True)
    held = list(connection.execute(query).scalars())
    connection.execute(update(delivery).where(among(delivery.c.id, held)).values(next_action_at=lease_until))


def release(
    connection: Connection, claims: Mapping[str, int], now: int, in_doubt: Collection[str] = frozenset()
) -> int:
    """Give back claims on which no attempt was started (shutdown, or a lane that goes to another gateway); how many
    there were.

    `in_doubt`: those of which an earlier attempt is in doubt, as it stays.
    """
    for id_, fence in sorted(claims.items()):
        state = State.IN_DOUBT if id_ in in_doubt else State.RETRYING
        connection.execute(
            update(delivery)
            .where(delivery.c.id == id_, delivery.c.fence == fence, delivery.c.state == State.BUSY)
            .values(state=state, owner=None, next_action_at=now)
        )
    return len(claims)


def release_all(connection: Connection, now: int) -> None:
    """At the start of the only gateway there is (embedded ledger): whatever is held was left behind by a crash."""
    connection.execute(update(delivery).where(delivery.c.state == State.BUSY).values(next_action_at=now))


def release_next(connection: Connection, ids: Sequence[str], now: int) -> list[Lane]:
    """Let go what waited for these deliveries, at its own time where that is still to come (repeats are spread);
    returns the lanes that have work because of it."""
    if not ids:
        return []
    rows = connection.execute(_RELEASE_NEXT, {"ids": list(ids), "now": now})
    return [(row.creditor, row.channel) for row in rows]


def coming(connection: Connection, now: int, until: int, limit: int) -> list[tuple[Lane, int]]:
    """What falls due from `now` to `until`, each with its instant: what is spread in time stays spread."""
    due = delivery.c.next_action_at
    rows = connection.execute(
        select(delivery.c.creditor, delivery.c.channel, due)
        .where(due > now, due <= until, delivery.c.waits_for.is_(None))
        .order_by(due)
        .limit(limit)
    )
    return [((row.creditor, row.channel), row.next_action_at) for row in rows]


_OWN_TIME = delivery.c.next_action_at
_RELEASE_NEXT = (
    update(delivery)
    .where(among_given(delivery.c.waits_for, "ids"))
    .values(waits_for=None, next_action_at=case((bindparam("now") < _OWN_TIME, _OWN_TIME), else_=bindparam("now")))
    .returning(delivery.c.creditor, delivery.c.channel)
)


def sweep(connection: Connection) -> dict[Lane, int]:
    """Every lane that has something to do, with the instant (epoch µs) its earliest delivery is due."""
    rows = connection.execute(
        select(delivery.c.creditor, delivery.c.channel, func.min(delivery.c.next_action_at).label("due"))
        .where(delivery.c.next_action_at.is_not(None), delivery.c.waits_for.is_(None))
        .group_by(delivery.c.creditor, delivery.c.channel)
    )
    return {(row.creditor, row.channel): row.due for row in rows}
