"""I6 and I7: what creditors saw, the moment they see it."""

from collections.abc import Callable
from sqlite3 import Connection

from msgspec import Struct

from gateway.core.lane import BLOCKS_AT_MOST
from gateway.simulation.creditor import Sighting
from gateway.simulation.invariants.violation import Verdict

Key = tuple[str, str, str, str | None]


class _First(Struct, frozen=True):
    versie: int
    at: int


class Sightings:
    """`ledger` gives a connection to read from."""

    def __init__(self, verdict: Verdict, ledger: Callable[[], Connection]) -> None:
        self._verdict = verdict
        self._ledger = ledger
        self._digests: dict[str, bytes] = {}
        self._firsts: dict[Key, list[_First]] = {}

    def see(self, sighting: Sighting) -> None:
        seen = sighting.seen
        self._verdict.checks["I6"] += 1
        if self._digests.setdefault(seen.kenmerk, sighting.digest) != sighting.digest:
            self._verdict.broken("I6", f"bezorging {seen.kenmerk}: twee keer, met verschillende inhoud")
        if sighting.first and seen.soort != "herinnering":
            self._verify_order(sighting)

    def _verify_order(self, sighting: Sighting) -> None:
        seen = sighting.seen
        firsts = self._firsts.setdefault((seen.gemeente, seen.dossierkenmerk, sighting.creditor, seen.namens), [])
        self._verdict.checks["I7"] += 1
        for first in firsts:
            if first.versie > seen.versie and not self._is_excused(sighting, first):
                what = f"dossier {seen.dossierkenmerk} bij {sighting.creditor}: versie {seen.versie} na {first.versie}"
                self._verdict.broken("I7", what)
        firsts.append(_First(seen.versie, sighting.at))

    def _is_excused(self, late: Sighting, first: _First) -> bool:
        """One of the two was processed out of order and flagged, or the late one had been held up for 72 hours."""
        seen, ledger = late.seen, self._ledger()
        flagged = ledger.execute(_FLAGGED, (seen.gemeente, seen.dossierkenmerk, seen.versie, first.versie)).fetchone()
        if flagged:
            return True
        (created_at,) = ledger.execute("SELECT created_at FROM delivery WHERE id = ?", (seen.kenmerk,)).fetchone()
        return seen.soort != "kennisgeving" and first.at - created_at >= BLOCKS_AT_MOST


_FLAGGED = """
SELECT 1 FROM message JOIN dossier ON dossier.id = dossier_id
WHERE gemeente = ? AND kenmerk = ? AND message.versie IN (?, ?) AND out_of_order"""
