"""What a gateway committed and acknowledged, in its own order and by delivery tag, for I4.

    commit <pid> <channel> <tag> …               a transaction of intake that held these messages is over
    ack <pid> <channel> <tag> one|multiple       is about to be sent

Lines of one process are in the order of what they tell: a commit is written after it, an acknowledgement before it. A
line is one write, so that a kill tears none. Channels are numbered as the process opens them: tags begin anew in each.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from gateway import amqp
from gateway.core.notice import Sender
from gateway.intake import Arrival, Intake
from gateway.ledger.engine import Ledger

Say = Callable[[str], None]


class Place(NamedTuple):
    """Of a message: the number of the channel on which it came, and its delivery tag there."""

    channel: int
    tag: int


_in_hand: ContextVar[tuple[Place, ...]] = ContextVar("_in_hand", default=())
"""What the transaction holds that is begun here."""


def keep(path: Path) -> None:
    """From now on this process writes them."""
    file, pid = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), os.getpid()

    def say(line: str) -> None:
        what, _, rest = line.partition(" ")
        os.write(file, f"{what} {pid} {rest}\n".encode())

    number = _numbers()
    _follow_messages(number)
    _watch_commits(say)
    _watch_acks(say, number)


def _numbers() -> Callable[[Any], int]:
    """A number for every channel, by the order in which they are asked for; they are kept, so that no two are one."""
    known, fresh = dict[int, tuple[Any, int]](), count(1)

    def number(channel: Any) -> int:
        if id(channel) not in known:
            known[id(channel)] = (channel, next(fresh))
        return known[id(channel)][1]

    return number


def _follow_messages(number: Callable[[Any], int]) -> None:
    """From the channel to the transaction: a message becomes an arrival, that is read, what was read is committed."""
    arrive, read, commit, alone = amqp._arrival, Intake._read, Intake._commit, Intake._commit_alone
    places = dict[int, tuple[Any, Place]]()

    def places_of(these: Iterable[Any]) -> tuple[Place, ...]:
        return tuple(places[id(one)][1] for one in these if id(one) in places)

    def arriving(message: DeliveredMessage, sender: Sender | None) -> Arrival:
        arrival = arrive(message, sender)
        places[id(arrival)] = (arrival, Place(number(message.channel), message.delivery_tag or 0))
        return arrival

    def reading(self: Intake, arrival: Any) -> Any:
        found = read(self, arrival)
        if id(arrival) in places:
            places[id(found)] = (found, places[id(arrival)][1])
        return found

    async def committing(self: Intake, read: Sequence[Any]) -> Any:
        token = _in_hand.set(places_of(read) or _in_hand.get())  # what is refused after all has the place that it had
        try:
            return await commit(self, read)
        finally:
            _in_hand.reset(token)

    async def committing_alone(self: Intake, one: Any) -> Any:
        token = _in_hand.set(places_of([one]))
        try:
            return await alone(self, one)
        finally:
            _in_hand.reset(token)

    amqp._arrival = arriving
    Intake._read = reading  # type: ignore[method-assign]
    Intake._commit = committing  # type: ignore[method-assign]
    Intake._commit_alone = committing_alone  # type: ignore[method-assign]


def _watch_commits(say: Say) -> None:
    run = Ledger.run

    async def traced_run(self: Ledger, transaction: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        result = await run(self, transaction, *args, **kwargs)
        if (transaction.__module__, transaction.__name__) == ("gateway.ledger.intake", "accept"):
            for channel in {place.channel for place in _in_hand.get()}:
                tags = " ".join(str(place.tag) for place in _in_hand.get() if place.channel == channel)
                say(f"commit {channel} {tags}")
        return result

    Ledger.run = traced_run  # type: ignore[method-assign]


def _watch_acks(say: Say, number: Callable[[Any], int]) -> None:
    ack = Channel.basic_ack

    async def traced_ack(self: Channel, delivery_tag: int, multiple: bool = False, *args: Any, **kwargs: Any) -> None:
        say(f"ack {number(self)} {delivery_tag} {'multiple' if multiple else 'one'}")
        await ack(self, delivery_tag, multiple, *args, **kwargs)

    Channel.basic_ack = traced_ack  # type: ignore[method-assign]


def acknowledged_too_soon(lines: Iterable[str]) -> tuple[int, list[str]]:
    """How many messages were acknowledged, and which of them no commit before it held.

    One acknowledgement of `multiple` covers all tags up to its own that were not acknowledged before (AMQP 0-9-1
    §1.8.3.13); the broker gives tags without gaps, from 1. Tag 0 stands for all there are, whatever they are.
    """
    committed, covered = defaultdict[tuple[str, str], set[int]](set), defaultdict[tuple[str, str], set[int]](set)
    acknowledged, broken = 0, list[str]()
    for line in lines:
        what, pid, number, *rest = line.split()
        channel = (pid, number)
        if what == "commit":
            committed[channel] |= set(map(int, rest))
            continue
        last = int(rest[0])
        tags = set(range(min(1, last), last + 1)) if rest[1] == "multiple" else {last}
        tags -= covered[channel]
        covered[channel] |= tags
        acknowledged += len(tags)
        broken += [f"process {pid}, channel {number}, tag {tag}" for tag in sorted(tags - committed[channel])]
    return acknowledged, broken
