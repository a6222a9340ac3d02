"""A creditor at the other end: takes messages or fails to, writes down what it saw, and answers by its temper."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random

import msgspec
from msgspec import Struct

from gateway.clock import Clock
from gateway.contract import (
    DeliveryId,
    Evidence,
    HandedOver,
    Inbound,
    Outcome,
    Parcel,
    Proof,
    RefusedForGood,
    Transient,
    Uncertain,
)
from gateway.core.deadlines import AMSTERDAM, is_working_day
from gateway.core.lane import SECOND, expects_answer
from gateway.simulation.temper import DAY, HOUR, Attitude, Reaction, Temper, attitude

_encode = msgspec.json.Encoder().encode


class Seen(Struct, frozen=True, rename="camel"):
    """What a creditor reads in a message."""

    kenmerk: str
    soort: str
    gemeente: str
    dossierkenmerk: str
    versie: int
    namens: str | None = None


class Sighting(Struct, frozen=True):
    """A message that arrived. `at` in epoch µs; `first`: it had not arrived before."""

    creditor: str
    seen: Seen
    digest: bytes
    at: int
    first: bool


Send = Callable[[int, Inbound], None]
"""Sends something to the gateway at an instant (epoch µs)."""


class Chances(Struct, frozen=True):
    """Of one attempt, and how long it takes in seconds."""

    busy: float = 0.01
    hint: float = 0.003
    lost_reply: float = 0.003
    refused: float = 0.0
    takes: float = 0.2


_CHANCES = {
    Temper.SLOW: Chances(takes=12.0, busy=0.03),
    Temper.REFUSING: Chances(refused=0.004),
    Temper.FAILING: Chances(busy=0.05),
}
_decode = msgspec.json.Decoder(Seen).decode


class SimulatedCreditor:
    """`outages`: (from, until) in epoch µs, in which nothing gets through on its first channel."""

    def __init__(
        self,
        name: str,
        temper: Temper,
        chance: Random,
        clock: Clock,
        *,
        outages: Sequence[tuple[int, int]],
        agents: Sequence[str],
        send: Send,
        on_sighting: Callable[[Sighting], None],
    ) -> None:
        self.name = name
        self.temper = temper
        self._chance = chance
        self._clock = clock
        self._outages = outages
        self._agents = agents
        self._send = send
        self._on_sighting = on_sighting
        self._chances = _CHANCES.get(temper, Chances())
        self._had: dict[str, Outcome] = {}

    async def take(self, parcel: Parcel, is_first_channel: bool) -> Outcome:
        if is_first_channel and (failure := self._outage(self._clock.micros())) is not None:
            return failure
        await asyncio.sleep(self._chances.takes)
        dice, chances = self._chance.random(), self._chances
        if dice < chances.busy:
            return Transient(Evidence("503"))
        if dice < chances.busy + chances.hint:
            return Transient(Evidence("429"), retry_after=self._chance.choice((120.0, 3600.0)))
        if dice < chances.busy + chances.hint + chances.refused:
            return RefusedForGood(Evidence("403"))
        outcome = self._receive(parcel)
        return Uncertain(Evidence("verbroken")) if self._chance.random() < chances.lost_reply else outcome

    def resolve(self, parcel: Parcel) -> Outcome | None:
        """A creditor that can be asked says what it has; every other one cannot be asked."""
        return self._had.get(parcel.delivery) if len(self.name) % 2 else None

    def _outage(self, now: int) -> Transient | None:
        """Connections fail; or, in every other outage, the creditor says when to come back."""
        for nr, (begins, ends) in enumerate(self._outages):
            if begins <= now < ends:
                return Transient(Evidence("verbinding")) if nr % 2 else Transient(Evidence("503"), retry_after=HOUR)
        return None

    def _receive(self, parcel: Parcel) -> Outcome:
        before = self._had.get(parcel.delivery)
        digest = hashlib.sha256(parcel.body).digest()
        seen = _decode(parcel.body)
        self._on_sighting(Sighting(self.name, seen, digest, self._clock.micros(), before is None))
        if before is None:
            before = self._had[parcel.delivery] = self._react(parcel, seen)
        return before

    def _react(self, parcel: Parcel, seen: Seen) -> Outcome:
        wanted = self._attitude(seen) if expects_answer(seen.soort) else Attitude()
        for nr, reaction in enumerate(wanted.later):
            self._plan(parcel.delivery, nr, reaction)
        return HandedOver(
            Evidence("202"),
            proof=Proof.RECEIVED if self._chance.random() < 0.2 else Proof.TRANSPORT,
            answer=None if wanted.reply is None else _encode(wanted.reply),
            reference=f"{self.name}/{seen.dossierkenmerk}",
        )

    def _attitude(self, seen: Seen) -> Attitude:
        return attitude(self.temper, self._chance, self._clock.today(), seen.soort == "herinnering", self._agents)

    def _plan(self, delivery: DeliveryId, nr: int, reaction: Reaction) -> None:
        answer = None if reaction.answer is None else _encode(reaction.answer)
        inbound = Inbound(
            reaction.kind, self.name, delivery, f"{self.name}:{delivery}:{nr}", answer or b"ontvangen", answer
        )
        now = self._clock.micros()
        for seconds in (reaction.after, *(reaction.after + later for later in reaction.again)):
            at = now + int(seconds * SECOND)
            self._send(office_hour(at) if reaction.kind == "answer" else at, inbound)


def office_hour(at: int) -> int:
    """Decisions leave on the hour, on working days between nine and five: the first such instant from `at` on."""
    hour = int(HOUR) * SECOND
    at = -(-at // hour) * hour
    while not _is_open(datetime.fromtimestamp(at // SECOND, AMSTERDAM)):
        at += hour
    return at


def _is_open(moment: datetime) -> bool:
    return 9 <= moment.hour <= 17 and is_working_day(moment.date())


def outages(chance: Random, start: int, days: int) -> list[tuple[int, int]]:
    """Down for three days, once in five to seven weeks; `start` in epoch µs."""
    found, day = [], chance.uniform(4, 20)
    while day < days:
        begins = start + int(day * DAY) * SECOND
        found.append((begins, begins + int(3 * DAY) * SECOND))
        day += chance.uniform(35, 50)
    return found
