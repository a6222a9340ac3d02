"""How long a creditor is asked to pause, and on what ground.

A term is data, per creditor (domain: pause terms). Rules, in this order:

1. A covenant speaks for this notice when it has no claim scope, or when every claim of this creditor in the notice is
   within it. A claim without a kind (soort), or a notice without claims, is not known to be within a scope: then
   nothing may be assumed, and it is a request.
2. Where a covenant speaks, its term bounds what is asked. It runs from the day on which this creditor is first told
   (`verzending`) or has received (`ontvangst`; until that is known: is told), but not before the pause begins.
   A binding covenant is the ground `convenant`; else it is a request (`verzoek`).
3. Where none speaks, it is a request for at most 4 months from the day on which the pause begins.
4. `totEnMet` is the earlier of what is asked and what rule 2 or 3 allows, and never before the first day.
5. An extension (verlenging) may reach as far as the covenant's term; where none speaks, as far as the longest pause
   that anybody may ask, 8 months. After a saldo-opgave a covenant with a second term allows that one too, from the day
   of the saldo.

A view names one pause (rules 1 to 4 on all claims together). The clock that runs afterwards (`core/case.py`) keeps the
claims within a scope and the others apart: of each part it knows what was asked, as a `PauseTerm`.
"""

import re
from collections.abc import Collection
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

import msgspec
from dateutil.relativedelta import relativedelta
from msgspec import Struct

from gateway.core.creditor import Covenant, Creditor, Term

REQUESTED_AT_MOST = Term(4, "maanden")
LONGEST = Term(8, "maanden")
_TERM = re.compile(r"([1-9]\d{0,3}) (maanden|dagen)", re.ASCII)

Ground = Literal["convenant", "verzoek"]


class PauseTerm(Struct, frozen=True, omit_defaults=True):
    """What was asked of one creditor for one part of its claims; dates are inclusive.

    `until` is the day that was asked for, `asked` the day that the sender asked of all; `covenant` is the one that
    speaks for this part, None where it is a request; `scope` names the part, empty: all claims, or the others.
    """

    starts: date
    until: date
    asked: date
    covenant: Covenant | None = None
    scope: tuple[str, ...] = ()

    @property
    def is_binding(self) -> bool:
        return self.covenant is not None and self.covenant.binding

    def until_when(self, received: date | None) -> date:
        """`until`, now that the day of receipt is known: a term from receipt runs from there (rule 2)."""
        if self.covenant is None or self.covenant.anchor == "verzending" or received is None:
            return self.until
        return min(self.asked, end_date(max(self.starts, received), self.covenant.pause))

    def second_until(self, balance_on: date | None) -> date | None:
        """The last day of the second term that a saldo-opgave starts, where the covenant has one (rule 5)."""
        second = self.covenant.second_term if self.covenant else None
        return end_date(balance_on, second) if second and balance_on else None

    def reach(self, told: date, received: date | None, balance_on: date | None) -> date:
        """As far as an extension may go (rule 5)."""
        if self.covenant is None:
            return end_date(self.starts, LONGEST)
        anchor = (received or told) if self.covenant.anchor == "ontvangst" else told
        first = end_date(max(self.starts, anchor), self.covenant.pause)
        return max(first, self.second_until(balance_on) or first)


_decode = msgspec.json.Decoder(tuple[PauseTerm, ...]).decode


@lru_cache(4096)
def decode_terms(text: str) -> tuple[PauseTerm, ...]:
    """Of the ledger's text; many creditors are asked the same."""
    return _decode(text)


def encode_terms(terms: tuple[PauseTerm, ...]) -> str:
    return msgspec.json.encode(terms).decode()


def terms_of(
    creditor: Creditor, kinds: Collection[str | None], begins: date, asked: Term, told: date
) -> tuple[PauseTerm, ...]:
    """What a notice asks of `creditor`, apart for the claims within the scope of its covenant and for the others."""
    covenant = creditor.covenant
    within = [kind for kind in kinds if covenant and covenant.scope and _speaks(covenant, [kind])]
    is_split = covenant is not None and 0 < len(within) < len(kinds)
    parts: list[tuple[Collection[str | None], tuple[str, ...]]] = [(kinds, ())]
    if is_split and covenant is not None:
        parts = [(within, covenant.scope), ([kind for kind in kinds if kind not in within], ())]
    elif within and covenant is not None:
        parts = [(kinds, covenant.scope)]
    return tuple(_term(creditor, part, begins, asked, told, scope) for part, scope in parts)


def _term(
    creditor: Creditor,
    kinds: Collection[str | None],
    begins: date,
    asked: Term,
    told: date,
    scope: tuple[str, ...],
) -> PauseTerm:
    last, _ = last_day(creditor, kinds, begins, asked, told)
    covenant = creditor.covenant
    speaking = covenant if covenant is not None and _speaks(covenant, kinds) else None
    return PauseTerm(begins, last, end_date(begins, asked), speaking, scope)


def parse_term(text: str) -> Term:
    """`"<n> maanden"` or `"<n> dagen"`; raises ValueError."""
    match _TERM.fullmatch(text):
        case re.Match() as match:
            return Term(int(match[1]), "maanden" if match[2] == "maanden" else "dagen")
        case _:
            raise ValueError('een termijn is "<n> maanden" of "<n> dagen", met n > 0')


@lru_cache(1024)
def end_date(start: date, term: Term) -> date:
    """The last day of a term whose first day is `start`: the day before the same day of a later month.

    A day which that month does not have becomes its last: 31 October + 4 months runs up to 28 February, so its last
    day is the 27th.
    """
    length = relativedelta(months=term.amount) if term.unit == "maanden" else timedelta(days=term.amount)
    return start + length - timedelta(days=1)


def bound(
    creditor: Creditor, kinds: Collection[str | None], begins: date, told: date, received: date | None = None
) -> tuple[date, Ground]:
    """The last day that may be asked of `creditor` for claims of these `kinds`, and the ground to ask it on.

    `told`: the day on which this creditor is or was first told, so that a correction does not lengthen the term.
    """
    covenant = creditor.covenant
    if covenant is None or not _speaks(covenant, kinds):
        return end_date(begins, REQUESTED_AT_MOST), "verzoek"
    anchor = (received or told) if covenant.anchor == "ontvangst" else told
    last = end_date(max(begins, anchor), covenant.pause)
    return last, "convenant" if covenant.binding else "verzoek"


def last_day(
    creditor: Creditor,
    kinds: Collection[str | None],
    begins: date,
    asked: Term,
    told: date,
    received: date | None = None,
) -> tuple[date, Ground]:
    """`totEnMet` of the pause to ask of `creditor`, given what the sender asks of all, and the ground to ask it on."""
    last, ground = bound(creditor, kinds, begins, told, received)
    return min(end_date(begins, asked), last), ground


def _speaks(covenant: Covenant, kinds: Collection[str | None]) -> bool:
    if not covenant.scope:
        return True
    scope = {kind.strip().casefold() for kind in covenant.scope}
    return bool(kinds) and all(kind is not None and kind.strip().casefold() in scope for kind in kinds)
