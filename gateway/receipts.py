"""The receipts stage: what creditors tell us, by callback, answer page, pick-up or polling, in any state.

Everything ends in `receive`: checked against the contract, recorded once with its raw bytes, then the delivery moves
and an event tells the gemeente. Only after that may the original be moved or acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs

from gateway.cancellation import or_cut_off
from gateway.clock import Clock
from gateway.contract import DeliveryId, Inbound, OpenDelivery, Receive, Verdict
from gateway.core.answer import Answer, parse_answer
from gateway.core.errors import Violation
from gateway.evidence import Testimony, reasons
from gateway.ledger import evidence
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.evidence import Callback, Record, Subject
from gateway.ledger.queue import Lane
from gateway.links import Links
from gateway.log import logger

log = logger(__name__)

OPEN_AT_ONCE = 2000
"""Deliveries of one lane whose answer is asked after in one round; where there are more they come in turns."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Receipts:
    """`poll_every`: seconds between two looks at what a creditor left, per kind of channel."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        testimony: Testimony,
        clock: Clock,
        *,
        poll_every: Callable[[str], float],
        on_events: Callable[[], None],
        on_agenda: Callable[[], None] = lambda: None,
        wake: Callable[[Iterable[Lane]], None],
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._testimony = testimony
        self._clock = clock
        self._poll_every = poll_every
        self._on_events = on_events
        self._on_agenda = on_agenda
        self._wake = wake
        self._asked_last: dict[tuple[Callable[..., Sequence[Any]], Lane], str] = {}
        """The id at which the next round goes on, by what was looked for."""

    async def receive(self, inbound: Inbound, signed: Callback | None = None) -> Verdict:
        """Record one thing a creditor told us; raises LedgerAway, and then the original must stay where it is.

        `invalid` answers of the right author are kept too, and a person looks at them.
        """
        answer = parse_answer(inbound.answer) if inbound.answer is not None else None
        at = self._clock.micros()

        def judge(subject: Subject) -> Record | None:
            return self._judge(subject, inbound, answer, at)

        while True:
            try:
                recorded, lanes = await self._ledger.run(
                    evidence.record, inbound.delivery, inbound.source, at, judge, signed
                )
                break
            except Contention:
                await asyncio.sleep(0)
        self._wake(lanes)
        self._on_events()
        self._on_agenda()
        log.info(
            "received", bezorging=inbound.delivery, schuldeiser=inbound.creditor, soort=inbound.kind, uitkomst=recorded
        )
        if recorded == "not_yours":
            return Verdict("not_yours", ("Bezorging: geen bezorging van deze schuldeiser (bezorging_onbekend)",))
        if isinstance(answer, list):
            return Verdict("invalid", reasons(answer))
        return Verdict(recorded)

    def _judge(
        self, subject: Subject, inbound: Inbound, answer: Answer | list[Violation] | None, at: int
    ) -> Record | None:
        entry = self._links.register.by_id.get(subject.creditor)
        authors = {subject.creditor, *(entry.agents if entry else ())}
        if isinstance(answer, list):
            known_author = inbound.creditor is None or inbound.creditor in authors
            return self._testimony.invalid_record(subject, inbound, at) if known_author else None
        channels = self._links.open_channels(subject.creditor)
        return self._testimony.record_of(subject, inbound, answer, authors, channels, at)

    async def run(self) -> None:
        """Collect for ever: one task per lane whose creditor leaves answers, one per channel with a mailbox."""
        async with asyncio.TaskGroup() as tasks:
            for name, channel in self._links.channels.items():
                tasks.create_task(self._forever(name, lambda c=channel: c.collect(self._over(c.name))))  # type: ignore[misc]
            running: dict[Lane, asyncio.Task[None]] = {}
            while True:
                lanes = set(self._links.collecting())
                for lane in lanes.difference(running):
                    running[lane] = tasks.create_task(self._forever(lane[1], lambda at=lane: self._collect(at)))  # type: ignore[misc]
                for lane in set(running).difference(lanes):
                    running.pop(lane).cancel()
                await asyncio.sleep(max(1.0, min(map(self._poll_every, self._links.channels), default=1.0)))

    def _over(self, channel: str) -> Receive:
        """`receive` for what comes over this channel, which a delivery may have left by then."""

        async def receive(inbound: Inbound) -> Verdict:
            return await self.receive(structs.replace(inbound, channel=channel))

        return receive

    async def _forever(self, channel: str, collect: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await or_cut_off(collect())
            except LedgerAway as why:
                log.warning("ledger_away", stap="ophalen", reden=str(why))
            except (OSError, TimeoutError) as why:
                log.warning("collect_failed", kanaal=channel, fout=type(why).__name__)
            except Exception as why:
                log.exception("adapter_raised", kanaal=channel, fout=type(why).__name__)
            await asyncio.sleep(self._poll_every(channel))

    async def _collect(self, lane: Lane) -> None:
        link = self._links.link(lane)
        if link is None:
            return
        here = await self._in_turn(evidence.open_deliveries, lane)
        left = await self._in_turn(evidence.left_deliveries, lane)
        waiting = [_open(row, row.reference, row.handed_over_at or 0) for row in here]
        waiting += [_open(row, None, row.since) for row in left]  # its reference may be that of another channel
        await link.collect(waiting, self._over(lane[1]))

    async def _in_turn(self, look: Callable[..., Sequence[Any]], lane: Lane) -> Sequence[Any]:
        """The next of those that wait for an answer; after the last the first again."""
        rows = await self._ledger.run(look, *lane, self._asked_last.get((look, lane), ""), OPEN_AT_ONCE)
        self._asked_last[look, lane] = rows[-1].id if len(rows) == OPEN_AT_ONCE else ""
        return rows


def _open(row: Any, reference: str | None, since: int) -> OpenDelivery:
    """`since` in epoch µs."""
    return OpenDelivery(DeliveryId(row.id), row.soort, reference, _EPOCH + timedelta(microseconds=since))
