"""The form of a check's result, and the one way a check asks: a number, and the ids of what is broken."""

from collections.abc import Iterable

from msgspec import Struct, field
from sqlalchemy import Connection, text

from gateway.core import lane
from gateway.core.lane import SECOND
from gateway.core.retry import Policy


class Circumstances(Struct, frozen=True):
    """What a check must know besides the ledger. `now` in epoch µs; `at_rest`: nothing is under way any more.

    `policy` is in force since `settings_from` (epoch µs): what a gateway did that began before it is not held against
    it. `own_fault_pause`: seconds that a lane rests after a fault of ours; `reported_within`: seconds within which what
    is not handed over is reported as delayed.
    """

    now: int
    policy: Policy
    at_rest: bool = False
    settings_from: int = 0
    own_fault_pause: float = field(default_factory=lambda: lane.OWN_FAULT_PAUSE)
    reported_within: float = 4 * 3600 + 5 * 60.0

    def ago(self, seconds: float) -> int:
        return self.now - int(seconds * SECOND)


class Finding(Struct, frozen=True):
    """`what` is Dutch and says what must hold; `broken` are ids of deliveries, messages, evidence or dossiers."""

    invariant: str
    what: str
    checked: int
    broken: tuple[str, ...]


def look(connection: Connection, invariant: str, what: str, count: str, query: str, **values: int) -> Finding:
    """`count`: a table, with a condition where needed, of what is looked at; `query`: ids of what is broken."""
    checked = connection.execute(text(f"SELECT count(*) FROM {count}"), _used(count, values)).scalar_one()  # noqa: S608
    broken = connection.execute(text(query), _used(query, values)).scalars()
    return Finding(invariant, what, checked, tuple(sorted(set(broken))))


def _used(sql: str, values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in values.items() if f":{name}" in sql}


def quoted(values: Iterable[str]) -> str:
    """A list for SQL, of names of our own."""
    return ", ".join(f"'{value}'" for value in sorted(values))
