"""What is due in a lane: found and locked, the first step of a claim (queue.py)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    or_,
    select,
    true,
)

from gateway.core.lane import BLOCKS_AT_MOST
from gateway.core.lifecycle import State
from gateway.core.spread import Lane
from gateway.core.turns import in_turns, news_wanted
from gateway.ledger.lanes import lives
from gateway.ledger.schema import delivery
from gateway.ledger.schema import lane as lanes_table


class Wanted(Struct, frozen=True):
    """What is claimed of a lane. `room`: of all that is due, the oldest first, but half of it new where there is a
    backlog; `news`: of what is new, beyond that. New is what was never tried and became due after `since`. `fence`: the
    lane's, of which the claimant must be the owner; None: nobody owns lanes here."""

    room: int
    news: int = 0
    since: int = 0
    fence: int | None = None


Query = Callable[[ColumnElement[int]], Select[Any]]
"""Made with the column or parameter that holds `Wanted.since`."""


def _due(_since: ColumnElement[int]) -> Select[Any]:
    """Oldest first; what another transaction holds is passed by."""
    return (
        select(delivery.c.id, delivery.c.creditor, delivery.c.channel, delivery.c.state, delivery.c.next_action_at)
        .where(delivery.c.next_action_at <= bindparam("now"), delivery.c.waits_for.is_(None))
        .order_by(delivery.c.next_action_at)
        .with_for_update(skip_locked=True)
    )


def _news(since: ColumnElement[int]) -> Select[Any]:
    """Never tried, and due since the lane came to life."""
    return _due(since).where(delivery.c.state == State.QUEUED, delivery.c.next_action_at >= since)


def _overdue(since: ColumnElement[int]) -> Select[Any]:
    """Given up, for the next channel, or holding up the next message."""
    blocks = and_(
        delivery.c.soort.not_in(("kennisgeving", "herinnering")),
        delivery.c.created_at <= bindparam("now") - BLOCKS_AT_MOST,
    )
    return _due(since).where(or_(delivery.c.give_up_at <= bindparam("now"), delivery.c.channel_since <= since, blocks))


def due_ids(connection: Connection, lanes: Mapping[Lane, Wanted], owner: str, now: int) -> list[str]:
    """For each lane what it has room for, in the order in which to send it."""
    oldest = _by_lane(_found(connection, _due, _with_room(lanes), owner, now))
    wanted = {lane: _news_of(one, oldest.get(lane, ())) for lane, one in lanes.items()}
    news = _by_lane(_found(connection, _news, {lane: one for lane, one in wanted.items() if one.room}, owner, now))
    ids: list[str] = []
    for lane, one in sorted(lanes.items()):
        fresh, old = ([row.id for row in rows.get(lane, ())] for rows in (news, oldest))
        ids += in_turns(old, fresh, one.room + one.news)
    return ids


def find_overdue(connection: Connection, lanes: Mapping[Lane, Wanted], owner: str, now: int) -> Sequence[Any]:
    return _found(connection, _overdue, lanes, owner, now)


def _with_room(lanes: Mapping[Lane, Wanted]) -> dict[Lane, Wanted]:
    return {lane: one for lane, one in lanes.items() if one.room}


def _news_of(one: Wanted, oldest: Sequence[Any]) -> Wanted:
    all_new = all(row.state == State.QUEUED and row.next_action_at >= one.since for row in oldest)
    return replace(one, room=one.news + news_wanted(one.room, len(oldest), all_new=all_new) if one.room else one.news)


def _by_lane(rows: Iterable[Any]) -> dict[Lane, list[Any]]:
    found: defaultdict[Lane, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.creditor, row.channel].append(row)
    return found


def _found(connection: Connection, query: Query, lanes: Mapping[Lane, Wanted], owner: str, now: int) -> Sequence[Any]:
    if not lanes:
        return ()
    if connection.dialect.name == "sqlite":
        one_lane = _of_one_lane(query)
        return [
            row
            for (creditor, channel), one in lanes.items()
            for row in connection.execute(
                one_lane,
                {"creditor": creditor, "channel": channel, "room": one.room, "since": one.since, "now": now},
            )
        ]
    owned = any(one.fence is not None for one in lanes.values())
    given = {"lanes": as_json(lanes), "now": now, **({"owner": owner} if owned else {})}
    return connection.execute(_of_lanes(query, owned), given).all()


@cache
def _of_one_lane(query: Query) -> Select[Any]:
    return (
        query(bindparam("since", type_=BigInteger))
        .where(delivery.c.creditor == bindparam("creditor"), delivery.c.channel == bindparam("channel"))
        .limit(bindparam("room"))
    )


@cache
def _of_lanes(query: Query, owned: bool) -> Select[Any]:
    """For PostgreSQL: all lanes of the parameter `lanes` at once; `owned`: those that `owner` owns as it says."""
    wanted = wanted_lanes()
    of_lane = query(wanted.c.since).where(
        delivery.c.creditor == wanted.c.creditor, delivery.c.channel == wanted.c.channel
    )
    lateral = of_lane.limit(wanted.c.room).lateral()
    if not owned:
        return select(lateral).select_from(wanted.join(lateral, true()))
    mine = and_(
        lanes_table.c.creditor == wanted.c.creditor,
        lanes_table.c.channel == wanted.c.channel,
        lanes_table.c.fence == wanted.c.fence,
        lanes_table.c.owner == bindparam("owner"),
    )
    source = wanted.join(lanes_table, mine).join(lateral, true())
    return select(lateral).select_from(source).where(lives(bindparam("owner", type_=Text)))


def still_due(connection: Connection, lanes: Iterable[Lane], now: int) -> list[Lane]:
    """Those of these lanes in which something is due (PostgreSQL)."""
    wanted = wanted_lanes()
    due = select(delivery.c.id).where(
        delivery.c.creditor == wanted.c.creditor,
        delivery.c.channel == wanted.c.channel,
        delivery.c.next_action_at <= now,
        delivery.c.waits_for.is_(None),
    )
    statement = select(wanted.c.creditor, wanted.c.channel).where(due.exists())
    found = connection.execute(statement, {"lanes": as_json(dict.fromkeys(lanes, Wanted(1)))})
    return [(row.creditor, row.channel) for row in found]


def wanted_lanes() -> TableValuedAlias:
    """The lanes of the parameter `lanes` as a table, for PostgreSQL."""
    return (
        func.json_to_recordset(cast(bindparam("lanes", type_=Text), JSON))
        .table_valued(
            column("creditor", Text),
            column("channel", Text),
            column("room", Integer),
            column("since", BigInteger),
            column("fence", BigInteger),
        )
        .render_derived(with_types=True)
    )


def as_json(lanes: Mapping[Lane, Wanted]) -> str:
    return msgspec.json.encode(
        [
            {"creditor": creditor, "channel": channel, "room": one.room, "since": one.since, "fence": one.fence}
            for (creditor, channel), one in lanes.items()
        ]
    ).decode()
