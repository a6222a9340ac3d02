"""The gemeenten: they post their messages, read the events that come back, and know what should be in them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from gateway.core.creditor import Register
from gateway.intake import Accepted, Arrival, Duplicate, Intake, Quarantined, Refused, Verdict
from gateway.outbox import Publication
from gateway.simulation import invariants
from gateway.simulation.story import Posting, Telling

Version = tuple[str, str, int]
"""(gemeente, dossierkenmerk, versie)"""
ONCE = frozenset(
    {
        "antwoord-verlopen",
        "bezorging-vertraagd",
        "dossier-volledig",
        "pauze-loopt-af",
        "pauze-geeindigd",
        "pauzeverzoek-wacht",
    }
)
"""Events that the clock causes: each is told once of the same thing."""


class Gemeenten:
    """`ledger` gives a connection to read from."""

    def __init__(
        self,
        verdict: invariants.Verdict,
        watch: invariants.Watch,
        register: Register,
        ledger: Callable[[], Connection],
    ) -> None:
        self._verdict = verdict
        self._watch = watch
        self._register = register
        self._ledger = ledger
        self._tellings: dict[Version, Telling] = {}
        self._read: set[str] = set()
        self._told: set[bytes] = set()
        self.posted: Counter[tuple[str, str]] = Counter()
        """(soort, what became of it)"""
        self.events: Counter[tuple[str, str]] = Counter()
        """(name, creditor or "")"""

    def expect(self, tellings: Iterable[Telling]) -> None:
        """What will be posted, as it is meant."""
        for telling in tellings:
            version = telling.gemeente, telling.dossier, telling.versie
            self._tellings[version] = telling
            if telling.soort == "intrekking":
                self._watch.listed[version] = frozenset(telling.creditors)

    async def post(self, intake: Intake, postings: Sequence[Posting]) -> None:
        arrivals = [Arrival("simulatie", posting.sender, posting.body) for posting in postings]
        for posting, verdict in zip(postings, await intake.accept(arrivals), strict=True):
            self.posted[posting.soort, _said(verdict)] += 1

    async def publish(self, publications: Sequence[Publication]) -> Sequence[str]:
        """What the outbox calls: the gemeenten have it as soon as it is published."""
        for publication in publications:
            if publication.id not in self._read:
                self._read.add(publication.id)
                self._take(publication.routing_key.partition(".")[2], msgspec.json.decode(publication.body)["data"])
        return [publication.id for publication in publications]

    def _take(self, name: str, data: dict[str, Any]) -> None:
        self.events[name, data.get("schuldeiser", "")] += 1
        if name == "bezorging-vertraagd":
            self._watch.reported.add(data["bezorging"])
        if name == "bericht-geaccepteerd":
            self._verify_addressees(data)
        if name in ONCE:
            self._verify_once(name, data)

    def _verify_addressees(self, data: Mapping[str, Any]) -> None:
        """I2, for a kennisgeving."""
        telling = self._tellings[data["gemeente"], data["dossierkenmerk"], data["versie"]]
        if telling.soort != "kennisgeving":
            return
        self._verdict.checks["I2"] += 1
        where = f"dossier {telling.dossier} versie {telling.versie}"
        if not self._is_complete(telling, data):
            self._verdict.broken("I2", f"{where}: niet precies de genoemde schuldeisers hebben een bezorging")
        for one in data["schuldeisers"]:
            life = self._watch.lives.get(one["bezorging"])
            if life is None or (life.creditor, life.soort) != (one["schuldeiser"], "kennisgeving"):
                self._verdict.broken("I2", f"{where}: bezorging {one['bezorging']} staat niet in het grootboek")

    def _is_complete(self, telling: Telling, data: Mapping[str, Any]) -> bool:
        """Each creditor named has a delivery or is listed; its agents too, but in a correction for whom nothing is new;
        nobody else is told, and who is not known is listed."""
        found = [(name, self._register.find(name)) for name in telling.creditors]
        known = [creditor for _, creditor in found if creditor is not None]
        told = Counter(one["schuldeiser"] for one in data["schuldeisers"])
        listed = {*data["ongewijzigd"], *(one["schuldeiser"] for one in data["geweigerdVoor"])}
        agents = Counter(agent for creditor in known for agent in creditor.agents)
        others = set(told - agents) - {creditor.id for creditor in known} - self._agents_by_transfer(data)
        return (
            all((creditor.id in told) != (creditor.id in listed) for creditor in known)
            and (telling.versie > 1 or not agents - told)
            and not others
            and data["onbekend"] == [name for name, creditor in found if creditor is None]
        )

    def _agents_by_transfer(self, data: Mapping[str, Any]) -> set[str]:
        """Who has a claim that went to it in this dossier is told what its former holder is told."""
        query = "SELECT id FROM dossier WHERE gemeente = ? AND kenmerk = ?"
        (dossier_id,) = self._ledger().execute(query, (data["gemeente"], data["dossierkenmerk"])).fetchone()
        return {
            name for (dossier, _), names in self._watch.transfers.items() if dossier == dossier_id for name in names
        }

    def _verify_once(self, name: str, data: Mapping[str, Any]) -> None:
        """I15: the same thing, but for its time."""
        self._verdict.checks["I15"] += 1
        told = msgspec.json.encode([name, {key: value for key, value in data.items() if key != "tijdstip"}])
        if told in self._told:
            which = data.get("bezorging") or data.get("dossierkenmerk") or data["verzoekkenmerk"]
            self._verdict.broken("I15", f"{name} over {which} is twee keer verteld")
        self._told.add(told)


def _said(verdict: Verdict) -> str:
    match verdict:
        case Accepted(held=held):
            return "vastgehouden" if held else "aanvaard"
        case Duplicate():
            return "dubbel"
        case Refused():
            return "geweigerd"
        case Quarantined():
            return "geparkeerd"
