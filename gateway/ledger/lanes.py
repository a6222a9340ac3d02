"""Lanes at rest in the ledger: who owns each, and what of it must outlive its owner.

A lane is owned by one gateway as long as that gateway lives, which it says on the database's own clock; the lane's
fence rises with each new owner, and a claim names it. So several gateways share a PostgreSQL; SQLite has one, which
owns all.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Connection, cast, delete, extract, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.core.spread import Lane, Move
from gateway.core.window import SECOND, Window
from gateway.ledger.schema import gateway, lane

_ONE_AT_A_TIME = 0x6B6E6C61
BELL = "kennisgeving_lanes"
"""Where gateways tell each other of lanes that have work or are free."""


class Rest(Struct, frozen=True):
    """What of a lane outlives its owner."""

    held_until: int = 0
    deaths: int = 0
    dead_until: int = 0
    fresh_since: int = 0

    @classmethod
    def of(cls, held_until: int, window: Window) -> "Rest":
        return cls(held_until, window.deaths, window.dead_until, window.fresh_since)

    @property
    def window(self) -> Window:
        return Window(deaths=self.deaths, dead_until=self.dead_until, fresh_since=self.fresh_since)


class Owned(Struct, frozen=True):
    """A lane that is this gateway's; `fence` is 0 where there is one gateway only."""

    fence: int
    rest: Rest


class Shared(Struct, frozen=True):
    """The lanes after a look at them: `mine`, those of them that are too many (`surplus`), and all (`known`)."""

    mine: Mapping[Lane, Owned]
    surplus: Collection[Lane]
    known: Collection[Lane]


def _database_now() -> ColumnElement[int]:
    """Epoch µs, of this moment and not of the start of the transaction."""
    return cast(extract("epoch", func.clock_timestamp()) * SECOND, BigInteger)


def lives(id_: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether this gateway's lease is not over (PostgreSQL)."""
    return select(gateway.c.id).where(gateway.c.id == id_, gateway.c.lease_until > _database_now()).exists()


def owners(connection: Connection) -> dict[Lane, str]:
    """Whose each lane is that a living gateway owns; empty where there is one gateway only."""
    if connection.dialect.name == "sqlite":
        return {}
    rows = connection.execute(select(lane.c.creditor, lane.c.channel, lane.c.owner).where(lives(lane.c.owner)))
    return {(row.creditor, row.channel): row.owner for row in rows}


def share(
    connection: Connection,
    me: str,
    lease: float,
    wanted: Collection[Lane],
    left: Collection[Lane],
    decide: Callable[[str, Mapping[str, bool], Mapping[Lane, str | None]], Move],
    *,
    stays: bool = True,
) -> Shared:
    """Say that this gateway lives (`lease` seconds from now), let go of the lanes in `left`, make those in `wanted`
    known, and take what `decide` says; one gateway at a time. `stays`: it is not ending. PostgreSQL."""
    _stop_for_nobody(connection)
    _live_on(connection, me, lease, stays)
    _let_go(connection, me, left)
    _make_known(connection, wanted)
    living = {row.id: row.stays for row in connection.execute(select(gateway.c.id, gateway.c.stays))}
    rows = {(row.creditor, row.channel): row for row in connection.execute(select(lane))}
    move = decide(me, living, {key: row.owner for key, row in rows.items()})
    _take(connection, me, move.take)
    mine = {key: Owned(row.fence, _rest(row)) for key, row in rows.items() if row.owner == me}
    mine |= {key: Owned(rows[key].fence + 1, _rest(rows[key])) for key in move.take}
    return Shared(mine, move.surplus, rows.keys())


def _stop_for_nobody(connection: Connection) -> None:
    """One gateway at a time; but one that is stopped just here holds up the others no longer than a second."""
    briefly = func.set_config("idle_in_transaction_session_timeout", "1s", True)
    connection.execute(select(briefly, func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))


def _live_on(connection: Connection, me: str, lease: float, stays: bool) -> None:
    until = _database_now() + int(lease * SECOND)
    connection.execute(delete(gateway).where(gateway.c.id != me, gateway.c.lease_until <= _database_now()))
    insert = postgresql.insert(gateway).values(id=me, lease_until=until, stays=stays)
    again = {"lease_until": until, "stays": stays}
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=again))


def _let_go(connection: Connection, me: str, lanes: Collection[Lane]) -> None:
    for creditor, channel in lanes:
        mine = (lane.c.creditor == creditor) & (lane.c.channel == channel) & (lane.c.owner == me)
        connection.execute(update(lane).where(mine).values(owner=None))


def _make_known(connection: Connection, lanes: Collection[Lane]) -> None:
    if lanes:
        insert = _insert(connection).values([_row(key, Rest()) for key in sorted(lanes)])
        connection.execute(insert.on_conflict_do_nothing())


def _take(connection: Connection, me: str, lanes: Collection[Lane]) -> None:
    for creditor, channel in lanes:
        place = (lane.c.creditor == creditor) & (lane.c.channel == channel)
        connection.execute(update(lane).where(place).values(owner=me, fence=lane.c.fence + 1))


def leave(connection: Connection, me: str) -> None:
    """This gateway ends: its lanes are free at once (PostgreSQL)."""
    connection.execute(update(lane).where(lane.c.owner == me).values(owner=None))
    connection.execute(delete(gateway).where(gateway.c.id == me))


def rests(connection: Connection) -> dict[Lane, Rest]:
    """What is known of every lane."""
    return {(row.creditor, row.channel): _rest(row) for row in connection.execute(select(lane))}


def _rest(row: Any) -> Rest:
    return Rest(row.held_until, row.deaths, row.dead_until, row.fresh_since)


def keep_rests(connection: Connection, lanes: Mapping[Lane, Owned]) -> None:
    """Write down how these lanes stand, where nobody has taken them over meanwhile; who owns them stays as it is."""
    if not lanes:
        return
    insert = _insert(connection).values([_row(key, lanes[key].rest, lanes[key].fence) for key in sorted(lanes)])
    kept = {name: insert.excluded[name] for name in Rest.__struct_fields__}
    mine = lane.c.fence == insert.excluded.fence
    connection.execute(insert.on_conflict_do_update(index_elements=["creditor", "channel"], set_=kept, where=mine))


def _row(key: Lane, rest: Rest, fence: int = 0) -> dict[str, object]:
    return {
        "creditor": key[0],
        "channel": key[1],
        "fence": fence,
        "held_until": rest.held_until,
        "deaths": rest.deaths,
        "dead_until": rest.dead_until,
        "fresh_since": rest.fresh_since,
    }


def _insert(connection: Connection) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(lane) if connection.dialect.name == "postgresql" else sqlite.insert(lane)


def ring(connection: Connection, words: Sequence[str]) -> None:
    """Say this to all gateways that listen, once the transaction is committed (PostgreSQL)."""
    for word in words:
        connection.execute(text("SELECT pg_notify(:channel, :word)"), {"channel": BELL, "word": word})
