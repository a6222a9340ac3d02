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
"""

import re
from collections.abc import Collection
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

from dateutil.relativedelta import relativedelta

from gateway.core.creditor import Covenant, Creditor, Term

REQUESTED_AT_MOST = Term(4, "maanden")
_TERM = re.compile(r"([1-9]\d{0,3}) (maanden|dagen)", re.ASCII)

Ground = Literal["convenant", "verzoek"]


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
