"""F10 in figures: what sick creditors cost the others, as the time from the sender to a healthy creditor.

For each way to be sick, a block of hand-overs in sick weather has as many in well weather before it and after it, under
the same load: the same messages go to the sick creditors in all three. It is held against the slower of those two: how
much they differ says nothing of the sick. A block before the first of all is not counted, as a gateway is slow that has
just begun to live. What sickness costs the others is in every such pair of a sick block and a well one. Whoever else
uses the machine makes one block slower or the other, as it happens; on two cores that others share this is often more
than a fifth. So a pair that differs too much is measured again, and it is red when `TRIES` pairs in a row differ too
much: nothing is averaged away, and what comes in some pairs only is not seen. Mail comes after the others: each takes
the time to set a letter, and what the others wait would not be seen in that.

In a pair four are sick: two hostile webhooks, one behind a bad line, and a channel that ails in one of AILMENTS, whose
creditors are not among the healthy ones then.

Retries come a hundred times as soon in the campaign as in life, each with a TLS handshake on both sides, all on the
cores that everybody here shares. In this fault they are `UNHURRIED`, else these cores would be what is measured.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import quantiles
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.ledger import schema
from tests.faults.creditors import CHANNEL, HOSTILE
from tests.faults.scene import Scene

SICK = ("w-net", *HOSTILE)
HEALTHY = ("w-antwoord", "s-bevestigt", "c-een", "m-pagina")
"""One of each channel."""
AT_MOST = 1.2
"""p95 beside sick creditors, in that of well weather (guarantee: within 20 %)."""
SAME_WITHIN = 0.025
"""Seconds within which two p95s are the same: a gateway that meets the lock of another transaction looks again after
20 ms, and a process that is woken on a busy machine is some milliseconds late."""
TRIES = 8
HAND_OVERS, MAILS = 40, 10
UNHURRIED = {"eerste_herhaling": "1 s", "hoogste_herhaling": "2 s"}
MESSAGES_TO_SICK = 4
EVERY = 0.05
LONG_GONE = 20.0
"""Seconds."""
WEATHERS: Sequence[Mapping[str, Any]] = (
    {"latency": 1.0},
    {"rate": 20},
    {"mute": True},
    {"deaf": True},
    {"refuses": True},
    {"cut_after": 3000},
)
"""Of the line to `w-net`."""
AILMENTS: Sequence[tuple[object, ...]] = (
    (),
    ("email", "keeps_reply"),
    ("sftp", "hangs"),
    ("cjib", "hangs"),
    ("sftp", "takes", 1.5),
    ("cjib", "takes", 1.5),
)
"""Silent after the final dot; after a login; after a request; slow."""


class Cost(Struct, frozen=True):
    """p95 in seconds of one block in each weather, and of how many pairs it is the last."""

    well: float
    sick: float
    tries: int = 1

    @property
    def is_too_high(self) -> bool:
        return self.sick > max(self.well * AT_MOST, self.well + SAME_WITHIN)

    def __str__(self) -> str:
        return (
            f"{self.well * 1000:.0f} ms in well weather, {self.sick * 1000:.0f} ms beside sick creditors, "
            f"in pair {self.tries} of at most {TRIES}"
        )


class Pair(Struct, frozen=True):
    """Who is sick, and how: `modes` of the hostile creditors, `weather` of the line to another, `ailment` of a
    channel."""

    modes: tuple[str, ...]
    weather: Mapping[str, Any]
    ailment: tuple[object, ...]

    @property
    def sick(self) -> tuple[str, ...]:
        return (*SICK, *(name for name in HEALTHY if CHANNEL[name] in self.ailment[:1]))

    @property
    def healthy(self) -> tuple[str, ...]:
        return tuple(name for name in HEALTHY if name not in self.sick)

    def __str__(self) -> str:
        return ", ".join([*self.modes, *self.weather, *([" ".join(map(str, self.ailment))] if self.ailment else [])])


def pairs(modes: Sequence[str], first: int = 0) -> Iterator[Pair]:
    """As many as it takes for each of `modes` to be there; `first`: where to begin with the rest."""
    for nr, start in enumerate(range(0, len(modes), len(HOSTILE)), start=first):
        yield Pair(
            tuple(modes[start : start + len(HOSTILE)]), WEATHERS[nr % len(WEATHERS)], AILMENTS[nr % len(AILMENTS)]
        )


async def warm_up(scene: Scene, pair: Pair) -> None:
    await _hand_overs(scene, pair)


async def costs_of(scene: Scene, pair: Pair) -> Mapping[str, Cost]:
    """By what was measured: mail, and everything else."""
    return await first_bearable(lambda: _measure(scene, pair))


async def first_bearable(measure: Callable[[], Awaitable[Mapping[str, Cost]]]) -> Mapping[str, Cost]:
    """Of TRIES, or else the last one, of each that is measured."""
    found: dict[str, Cost] = {}
    for nr in range(1, TRIES + 1):
        for what, cost in (await measure()).items():
            if what not in found or found[what].is_too_high:
                found[what] = replace(cost, tries=nr)
        if not any(cost.is_too_high for cost in found.values()):
            break
    return found


async def _measure(scene: Scene, pair: Pair) -> Mapping[str, Cost]:
    line, neighbours = scene.grounds.to_creditor, scene.grounds.neighbours
    before = await _hand_overs(scene, pair)
    async with neighbours.misbehaving("hostile", *pair.modes, and_also=pair.ailment), line.spoiled(**pair.weather):
        line.cut()
        sick = await _hand_overs(scene, pair)
    line.cut()
    await scene.handed_over(*pair.sick)
    after = await _hand_overs(scene, pair)
    return {what: Cost(max(p95(before[what]), p95(after[what])), p95(sick[what])) for what in sick}


def p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[-1]


async def _hand_overs(scene: Scene, pair: Pair) -> Mapping[str, Sequence[float]]:
    """Seconds that each took, of mail and of everything else."""
    others = [name for name in pair.healthy if CHANNEL[name] != "email"]
    found = {"the others": await _one_after_another(scene, pair, others, HAND_OVERS)}
    if mailed := [name for name in pair.healthy if name not in others]:
        found["mail"] = await _one_after_another(scene, pair, mailed, MAILS)
    return found


async def _one_after_another(scene: Scene, pair: Pair, creditors: Sequence[str], number: int) -> Sequence[float]:
    """Seconds until each was handed over, with some messages to the sick before them; what waits still when the others
    would have been long gone, took as long as that."""
    sent: dict[str, int] = {}
    for nr in range(number):
        if nr < MESSAGES_TO_SICK:
            scene.send(scene.load.dossier(pair.sick, ()))
        notices = scene.load.dossier((creditors[nr % len(creditors)],), ())
        sent[notices[0].id] = Clock().micros()
        scene.send(notices)
        await asyncio.sleep(EVERY)
    await scene.sent()
    await scene.accepted(30)
    with suppress(TimeoutError):
        await scene.until(lambda connection: sent.keys() <= _handed_over_at(connection).keys(), LONG_GONE)
    at, now = await scene.read(_handed_over_at), Clock().micros()
    return [(at.get(message, now) - since) / 1_000_000 for message, since in sent.items()]


def _handed_over_at(connection: Connection) -> Mapping[str, int]:
    """By the sender's id of the message: epoch µs. An answer may be on record before the hand-over is."""
    message, delivery = schema.message.c, schema.delivery.c
    query = select(message.event_id, delivery.handed_over_at).where(
        delivery.message_id == message.id, delivery.creditor.in_(HEALTHY), delivery.handed_over_at.is_not(None)
    )
    return {row.event_id: row.handed_over_at for row in connection.execute(query)}
