"""Creditors as the register describes them, and how they are found."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, NewType

from msgspec import Struct, field

CreditorId = NewType("CreditorId", str)


class Term(Struct, frozen=True):
    """How long a pause lasts: an amount of days or of calendar months (month end clamped)."""

    amount: int
    unit: Literal["maanden", "dagen"]


class Covenant(Struct, frozen=True):
    """What a creditor agreed to. `scope` limits it to kinds of claim (soorten); empty: all claims."""

    name: str
    binding: bool
    pause: Term
    anchor: Literal["verzending", "ontvangst"] = "verzending"
    second_term: Term | None = None
    scope: tuple[str, ...] = ()


class Limit(Struct, frozen=True):
    """A lane's bounds: attempts at the same time, and started per second (0: no bound)."""

    concurrent: int = 8
    per_second: float = 0.0


class Creditor(Struct, frozen=True):
    """One entry of the register. `endpoints` holds the raw table of each channel, checked by its adapter."""

    id: CreditorId
    name: str
    kvk: str | None = None
    oin: str | None = None
    sector: str | None = None
    covenant: Covenant | None = None
    bsn_basis: str | None = None
    answer_days: int = 10
    agents: tuple[CreditorId, ...] = ()
    channels: tuple[str, ...] = ()
    fallback_after: timedelta = timedelta(hours=24)
    limit: Limit = Limit()
    networks: tuple[str, ...] = ()
    ca: str | None = None
    endpoints: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


class Register:
    """All creditors, found by id, `kvk:<8 digits>` or `oin:<20 digits>`."""

    def __init__(self, creditors: Iterable[Creditor]) -> None:
        self.by_id: dict[str, Creditor] = {}
        self._by_name: dict[str, Creditor] = {}
        for creditor in creditors:
            self.by_id[creditor.id] = creditor
            self._by_name[creditor.id] = creditor
            if creditor.kvk:
                self._by_name[f"kvk:{creditor.kvk}"] = creditor
            if creditor.oin:
                self._by_name[f"oin:{creditor.oin}"] = creditor

    def find(self, name: str) -> Creditor | None:
        return self._by_name.get(name)
