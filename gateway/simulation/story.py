"""The life of one dossier as its gemeente lives it: which messages, when, and how they go astray.

At times a pause request before it; a kennisgeving to 5 to 25 creditors; corrections; progress about every 60 days,
which some gemeenten forget; at times an extension; an end after 4 to 8 months; at times a withdrawal, some at once. On
the way messages are sent twice, out of order (within and beyond the wait for a gap), with an error in them, or with
other content under the same version.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import date, timedelta
from random import Random
from typing import Any

from msgspec import Struct, structs

from gateway.core.deadlines import day_of
from gateway.core.lane import SECOND
from gateway.core.notice import Sender
from gateway.simulation import messages
from gateway.simulation.messages import Data
from gateway.simulation.population import FORGETFUL, PAUSE_BUTTON, SENDERS
from gateway.simulation.temper import DAY, HOUR, MINUTE

PROGRESS_EVERY = 60
STRANGERS = ("kvk:12345678",)
"""Not in the register."""


class Posting(Struct, frozen=True):
    """One message on its way in. `at` in epoch µs."""

    at: int
    sender: Sender
    soort: str
    body: bytes


class Telling(Struct, frozen=True):
    """What is said with one version, whatever befalls it on the way. `creditors`: those named; empty: all."""

    gemeente: str
    dossier: str
    versie: int
    soort: str
    at: int
    data: Data
    creditors: tuple[str, ...] = ()


class Story(Struct, frozen=True):
    tellings: tuple[Telling, ...]
    postings: tuple[Posting, ...]


def tell(seed: int, nr: int, starts: int, creditors: Sequence[str]) -> Story:
    """Dossier `nr`, admitted at `starts` (epoch µs)."""
    chance = Random(f"{seed}:dossier:{nr}")
    sender = SENDERS[chance.randrange(len(SENDERS))]
    life = _Life(chance, chance.choice(sender.gemeenten), f"SIM-{seed}-{nr:05d}", starts, creditors)
    tellings = tuple(life.tellings())
    return Story(tellings, (*life.requests(), *_post(chance, sender, tellings)))


class _Life:
    """What is told, in order."""

    def __init__(
        self,
        chance: Random,
        gemeente: str,
        dossier: str,
        starts: int,
        creditors: Sequence[str],
    ) -> None:
        self._chance = chance
        self._gemeente = gemeente
        self._dossier = dossier
        self._starts = starts
        everybody = chance.sample(creditors, round(chance.triangular(5, 25, 12)))
        self._late = everybody[:1] if chance.random() < 0.5 else []
        self._told = everybody[len(self._late) :]
        self._versie = 0
        self._asked = chance.uniform(2, 20) if chance.random() < 0.2 else None
        """Days before the admission on which the debtor pressed the button; None: there was no such thing."""

    def requests(self) -> Iterator[Posting]:
        """What the pauzeknop sends; now and then twice."""
        if self._asked is None:
            return
        at = self._starts - int(self._asked * DAY) * SECOND
        data = messages.pause_request(self._gemeente, self._request)
        body = messages.event("pauzeverzoek", self._request, PAUSE_BUTTON, at, data)
        for _ in range(1 + (self._chance.random() < 0.1)):
            yield Posting(at, PAUSE_BUTTON, "pauzeverzoek", body)

    @property
    def _request(self) -> str:
        return f"PK-{self._dossier}"

    def tellings(self) -> Iterator[Telling]:
        chance = self._chance
        first = self._notice(0.0)
        yield first
        if chance.random() < 0.06:
            yield self._withdrawal(chance.choice((1.0, 1.0, 5 * MINUTE, HOUR, 20 * DAY)), everybody=True)
            return
        if chance.random() < 0.25:
            yield self._correction(first, chance.choice((2.0, 2.0, HOUR, 2 * DAY, 40 * DAY)))
        yield from self._course()

    def _course(self) -> Iterator[Telling]:
        """From the first progress to the end."""
        chance = self._chance
        ends = chance.uniform(120, 240)
        yield from self._sorted(self._on_the_way(ends))
        per = str(self._day(ends) + timedelta(days=chance.choice((0, 7, 14))))
        yield self._telling("beeindiging", ends * DAY, per=per, categorie=chance.choice(messages.CATEGORIES))

    def _on_the_way(self, ends: float) -> Iterator[tuple[float, str]]:
        """(day, soort) of what is told before the end."""
        chance = self._chance
        day = chance.uniform(52, 64)
        while day < ends:
            forgotten = self._gemeente in FORGETFUL and chance.random() < 0.5
            if not forgotten:
                yield day, "voortgang"
            day += chance.uniform(52, 64)
        if chance.random() < 0.15:
            yield chance.uniform(70, 115), "verlenging"
        if chance.random() < 0.03:
            yield chance.uniform(10, 100), "intrekking"

    def _sorted(self, on_the_way: Iterator[tuple[float, str]]) -> Iterator[Telling]:
        for day, soort in sorted(on_the_way):
            if soort == "voortgang":
                phase = messages.PHASES[min(int(day // PROGRESS_EVERY), len(messages.PHASES) - 1)]
                yield self._telling("voortgang", day * DAY, fase=phase, toelichting="U hoeft nu niets te doen.")
            elif soort == "verlenging":
                yield self._telling("verlenging", day * DAY, totEnMet=str(self._day(240)))
            else:
                yield self._withdrawal(day * DAY, everybody=False)

    def _notice(self, after: float) -> Telling:
        everybody = [*self._told, *(STRANGERS if self._chance.random() < 0.05 else ())]
        named = [messages.named(self._chance, creditor) for creditor in everybody]
        data = messages.notice(self._chance, self._day(0), named)
        if self._asked is not None:
            data["verzoekkenmerk"] = self._request
        return self._telling("kennisgeving", after, tuple(everybody), **data)

    def _correction(self, first: Telling, after: float) -> Telling:
        """Another address, and a creditor who was forgotten."""
        data: Any = deepcopy(first.data)
        data["hulpvrager"]["adres"]["huisnummer"] += 1
        data["schuldeisers"] += [messages.named(self._chance, creditor) for creditor in self._late]
        self._told += self._late
        everybody = (*first.creditors, *self._late)
        for name in ("gemeente", "dossierkenmerk", "versie"):
            del data[name]
        return self._telling("kennisgeving", after, everybody, **data)

    def _withdrawal(self, after: float, *, everybody: bool) -> Telling:
        listed = () if everybody else tuple(self._chance.sample(self._told, min(2, len(self._told))))
        reason = {"reden": self._chance.choice(messages.REASONS)}
        return self._telling("intrekking", after, listed, **reason, **({"schuldeisers": listed} if listed else {}))

    def _telling(self, soort: str, after: float, listed: tuple[str, ...] = (), /, **data: object) -> Telling:
        self._versie += 1
        head = {"gemeente": self._gemeente, "dossierkenmerk": self._dossier, "versie": self._versie}
        at = self._starts + int(after * SECOND)
        return Telling(self._gemeente, self._dossier, self._versie, soort, at, {**head, **data}, listed)

    def _day(self, days: float) -> date:
        return day_of(self._starts + int(days * DAY) * SECOND)


# -- on the way in ---------------------------------------------------------------------------------------------------


def _post(chance: Random, sender: Sender, tellings: Sequence[Telling]) -> Iterator[Posting]:
    """The postings of all that is told, and what goes wrong with them."""
    tellings = _astray(chance, tellings)
    for telling in tellings:
        identifier = f"{telling.dossier}-{telling.versie}"
        if telling.soort == "kennisgeving" and chance.random() < 0.03:
            yield _posting(sender, _mistaken(telling), f"{identifier}-fout", telling.at - int(HOUR) * SECOND)
        posting = _posting(sender, telling, identifier, telling.at)
        yield posting
        if chance.random() < 0.05:
            again = chance.choice((1.0, 30 * MINUTE, 3 * DAY))
            yield structs.replace(posting, at=telling.at + int(again * SECOND))
        if chance.random() < 0.01:
            yield _posting(sender, telling, f"{identifier}-nog-eens", telling.at + int(5 * MINUTE) * SECOND)
        if chance.random() < 0.005:
            other = structs.replace(telling, data={**telling.data, **_OTHER.get(telling.soort, {})})
            yield _posting(sender, other, f"{identifier}-anders", telling.at + int(DAY) * SECOND)


_OTHER: dict[str, Data] = {"voortgang": {"fase": "dwangakkoord_verzocht"}, "beeindiging": {"per": "2030-01-01"}}


def _astray(chance: Random, tellings: Sequence[Telling]) -> list[Telling]:
    """Here and there one comes minutes after the next one, or later than the gateway waits for it."""
    order = list(tellings)
    for nr in range(len(order) - 1):
        dice = chance.random()
        if dice < 0.04:
            after = chance.uniform(2, 12) if dice < 0.02 else chance.uniform(20, 300)
            order[nr] = structs.replace(order[nr], at=order[nr + 1].at + int(after * MINUTE * SECOND))
    return order


def _mistaken(telling: Telling) -> Telling:
    """With a BSN that cannot be one."""
    data: Any = deepcopy(telling.data)
    data["hulpvrager"]["bsn"] = messages.WRONG_NUMBER
    return structs.replace(telling, data=data)


def _posting(sender: Sender, telling: Telling, identifier: str, at: int) -> Posting:
    return Posting(at, sender, telling.soort, messages.event(telling.soort, identifier, sender, at, telling.data))
