"""The intake stage: bytes from any door become committed messages with their deliveries, or a refusal on record.

    Arrival ─► parse, check (core) ─► one transaction per batch: known? plan, write ─► Verdict
                                                                                      the door acks after this

A batch that fails is tried again one by one, so that one bad message cannot hold the rest.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date

import msgspec
from msgspec import Struct

from gateway.book import Checked, Desk
from gateway.clock import Clock
from gateway.core.errors import Code, Violation
from gateway.core.lane import SECOND
from gateway.core.notice import Sender
from gateway.core.retry import Policy
from gateway.core.route import named_twice
from gateway.core.validate import Reading, Valid, check, parse, parse_binary
from gateway.events import Events
from gateway.keys import Keys
from gateway.ledger import intake
from gateway.ledger.engine import Contention, Ledger, LedgerAway, is_of_the_ledger
from gateway.ledger.intake import Known, Writes
from gateway.links import Lane, Links
from gateway.log import logger
from gateway.pause_requests import CheckedRequest, checked, take
from gateway.planning import Planner
from gateway.refusals import Refusal, refuse
from gateway.seal import SealBroken, Sealer

log = logger(__name__)

CONTENTION_TRIES = 20
_BROKEN = Violation("", Code.VALUE_INVALID, "het bericht kan niet worden verwerkt")

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Arrival(Struct, frozen=True):
    """One message as it came in. `attributes`: those of a binary-mode CloudEvent, None for structured mode."""

    door: str
    """amqp | http | spool"""
    sender: Sender | None
    """Who was authenticated; None: nobody we know."""
    body: bytes
    attributes: Mapping[str, object] | None = None
    content_type: str = "application/cloudevents+json"
    user: str | None = None
    """The name that the broker vouches for, also when it is no sender of ours."""
    queued_at: int | None = None
    """Since when it waited in the ledger's own queue (epoch µs)."""


class Accepted(Struct, frozen=True):
    """Committed. `held`: it waits for a version before it."""

    message: str
    held: bool = False


class Duplicate(Struct, frozen=True):
    """Had it already, with the same content."""


class Refused(Struct, frozen=True):
    """On record as refused; the sender is told by event. Every violation at once."""

    violations: tuple[Violation, ...]


class Quarantined(Struct, frozen=True):
    """On record, from nobody who can be told; a person looks at it."""

    reason: str


Verdict = Accepted | Duplicate | Refused | Quarantined
_NAMES: Mapping[type[Verdict], str] = {
    Accepted: "aangenomen",
    Duplicate: "dubbel",
    Refused: "geweigerd",
    Quarantined: "geparkeerd",
}
Read = Checked | CheckedRequest | Refusal
"""A message that was looked at by itself."""


class Intake:
    """`accept` is the one way in. The callbacks tell the next stages that there is work; `on_verdicts` is told how many
    of a batch ended how, by (door, verdict)."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        sealer: Sealer,
        keys: Keys,
        events: Events,
        clock: Clock,
        *,
        senders: Iterable[Sender],
        policy: Policy,
        closed_days: Collection[date],
        gap_wait: float,
        on_deliveries: Callable[[Iterable[Lane]], None],
        on_events: Callable[[], None],
        on_agenda: Callable[[], None],
        on_withdrawn: Callable[[Collection[str]], None] = lambda _ids: None,
        on_verdicts: Callable[[Mapping[tuple[str, str], int]], None] = lambda _counts: None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._senders = {sender.oin: sender for sender in senders}
        self._on_deliveries = on_deliveries
        self._on_events = on_events
        self._on_agenda = on_agenda
        self._on_withdrawn = on_withdrawn
        self._on_verdicts = on_verdicts
        gap = int(gap_wait * SECOND)
        self._desk = Desk(links, sealer, keys, events, policy, closed_days, gap, self._reread)

    async def accept(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Commit them, in order; the verdicts are in the same order. Raises LedgerAway, and then nothing is committed
        or an unknown part of it: offer them again."""
        read = [self._read(arrival) for arrival in arrivals]
        verdicts = await self._commit_together(read)
        pairs = zip(arrivals, verdicts, strict=True)
        self._on_verdicts(Counter((arrival.door, _NAMES[type(verdict)]) for arrival, verdict in pairs))
        return verdicts

    async def _commit_together(self, read: Sequence[Read]) -> list[Verdict]:
        try:
            return await self._commit(read)
        except LedgerAway:
            raise
        except Contention:
            log.debug("batch_contended", aantal=len(read))
        except Exception as why:
            log.exception("batch_not_processed", aantal=len(read), fout=type(why).__name__)
        return [await self._commit_alone(one) for one in read]

    async def end_wait(self, gemeente: str, kenmerk: str) -> None:
        """Process or refuse what waited too long for a missing version. Raises LedgerAway, Contention."""
        now = self._clock.micros()

        def plan(known: Known) -> tuple[Writes, Planner]:
            planner = Planner(self._desk, known, now)
            planner.end_wait(gemeente, kenmerk, now)
            return planner.writes, planner

        self._tell(await self._ledger.run(intake.accept, (), [(gemeente, kenmerk)], plan))

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, arrival: Arrival) -> Read:
        """A bug of ours that one message brings out costs that message only: it would come again and again."""
        try:
            return self._judge(arrival)
        except Exception as why:
            log.exception("message_not_read", fout=type(why).__name__)
            return Refusal(
                door=arrival.door,
                sender=arrival.sender,
                user=arrival.user,
                body=arrival.body,
                violations=(_BROKEN,),
                source=None,
                event_id=None,
                gemeente=None,
            )

    def _judge(self, arrival: Arrival) -> Read:
        if arrival.attributes is None:
            reading = parse(arrival.body)
        else:
            reading = parse_binary(arrival.attributes, arrival.body, arrival.content_type)
        if arrival.sender is None:
            why = "de afzender is niet bekend" if arrival.user else "het bericht noemt geen afzender (user_id)"
            found = [Violation("", Code.SENDER_UNKNOWN, why)]
        else:
            judged = check(reading, arrival.sender, self._clock.today())
            if isinstance(judged, Valid):
                body = arrival.body if arrival.attributes is None else _encode(reading.event)
                return checked(judged, arrival.sender, body, arrival.queued_at)
            found = self._with_doubles(judged, reading)
        return Refusal(
            door=arrival.door,
            sender=arrival.sender,
            user=arrival.user,
            body=arrival.body,
            violations=tuple(found),
            source=reading.source,
            event_id=reading.id,
            gemeente=reading.gemeente,
            dossier=reading.dossier,
            version=reading.version,
        )

    def _with_doubles(self, found: list[Violation], reading: Reading) -> list[Violation]:
        """Also who is named by id and by kvk, which is known only here; it would be the next thing to be wrong."""
        known = {(violation.pad, violation.code) for violation in found}
        doubles = named_twice(reading.creditors, self._desk.links.register)
        return [*found, *(double for double in doubles if (double.pad, double.code) not in known)]

    def _reread(self, body: bytes, sender_oin: str) -> Checked:
        """A message that was checked when it came in; the rules of that day were kept."""
        sender = self._senders.get(sender_oin) or Sender("onbekend", sender_oin, ())
        valid = check(parse(body), None, date.max)
        if not isinstance(valid, Valid):
            raise SealBroken
        return Checked.of(valid, sender, body)

    # -- committing -------------------------------------------------------------------------------------------------

    async def _commit(self, read: Sequence[Read]) -> list[Verdict]:
        """One transaction for all of them."""
        if not self._desk.links.is_loaded:
            raise LedgerAway("het register is nog niet geladen")
        now = self._clock.micros()
        identities = {(one.source, one.event_id) for one in read if not isinstance(one, Refusal)}
        dossiers = {(one.message.gemeente, one.message.dossier) for one in read if isinstance(one, Checked)}
        requests = {one.key for one in read if isinstance(one, CheckedRequest)}
        has_waited = any(isinstance(one, Checked) and one.queued_at is not None for one in read)

        def plan(known: Known) -> tuple[Writes, tuple[Planner, list[Verdict]]]:
            planner = Planner(self._desk, known, now)
            return planner.writes, (planner, [self._plan(planner, known, one, now) for one in read])

        planner, verdicts = await self._ledger.run(
            intake.accept, identities, dossiers, plan, requests, has_waited=has_waited
        )
        self._tell(planner)
        for verdict in verdicts:
            _log(verdict)
        return verdicts

    def _plan(self, planner: Planner, known: Known, one: Read, now: int) -> Verdict:
        if isinstance(one, Refusal):
            refuse(self._desk.sealer, self._desk.events, planner.writes, now, one)
            return Quarantined(one.violations[0].code) if one.sender is None else Refused(one.violations)
        if isinstance(one, CheckedRequest):
            planned = take(self._desk, known, planner.writes, now, one)
        else:
            planned = planner.plan(one)
        if planned.violations:
            refuse(self._desk.sealer, self._desk.events, planner.writes, now, one.refused(planned.violations))
            return Refused(planned.violations)
        return Duplicate() if planned.duplicate else Accepted(planned.message_id, planned.held)

    async def _commit_alone(self, one: Read) -> Verdict:
        """One message, however often other transactions meet it.

        It is refused, and kept as it came, where the fault is in what it is or in what we make of it: that would be so
        each time. What else the ledger has against it is not the message's fault, and it is offered again.
        """
        for _ in range(CONTENTION_TRIES):
            try:
                (verdict,) = await self._commit([one])
            except Contention:
                continue
            except LedgerAway:
                raise
            except Exception as why:
                log.exception("message_not_processed", fout=type(why).__name__)
                if is_of_the_ledger(why):
                    raise LedgerAway(type(why).__name__) from why
                refusal = one if isinstance(one, Refusal) else one.refused((_BROKEN,))
                (verdict,) = await self._commit([refusal])
            return verdict
        raise LedgerAway("te druk")

    def _tell(self, planner: Planner) -> None:
        if gone := {one.id for one in planner.writes.withdrawn}.union(planner.writes.unrepeated):
            self._on_withdrawn(gone)
        self._on_deliveries(planner.lanes)
        self._on_events()
        if planner.holds or planner.writes.nudges:
            self._on_agenda()


def _log(verdict: Verdict) -> None:
    match verdict:
        case Refused(violations=violations):
            codes = sorted({str(violation.code) for violation in violations})
            log.warning("message_refused", code=codes)
            if Code.OTHER_MESSAGE_SAME_ID in codes:
                log.error("same_id_other_content")
        case Quarantined(reason=reason):
            log.error("message_quarantined", reden=reason)
        case Accepted() | Duplicate():
            log.debug("message_accepted")
