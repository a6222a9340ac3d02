"""What ledger, creditors and publisher say together at the end of a round; every invariant with how much it looked at.

`gateway.invariants` asks the ledger alone; here its answers meet the creditors' logs (sinks) and the confirms of the
broker (pub). What is broken is named by ids.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select

from gateway.core.lifecycle import AWAITING_ANSWER, State
from gateway.invariants import Circumstances, Finding, verify
from gateway.ledger import schema
from tests.faults.creditors import AGENTS, CJIB
from tests.faults.once import counted_once
from tests.faults.sightings import CANARY, Reply, Sighting
from tests.faults.tidings import Owed, Tiding, amiss, complete, owed, told
from tests.faults.trace import acknowledged_too_soon
from tests.faults.withdrawals import begun, begun_too_late, heard_of
from tests.flow.outside.verdict import Event

OPEN = (State.QUEUED, State.BUSY, State.RETRYING, State.IN_DOUBT)


class Books(Struct, frozen=True):
    """The ledger at rest, as far as others know something of it too."""

    findings: list[Finding]
    messages: list[Any]
    deliveries: Mapping[str, Any]
    attempts: list[Any]
    evidence: list[Any]
    refusals: frozenset[str]
    outbox: Mapping[str, str]
    dossiers: Mapping[str, str]
    """dossier id → dossierkenmerk"""
    owed: Owed
    complete: Mapping[Tiding, int]
    counted: tuple[int, list[str]]
    """What was looked at and what counts more often than it happened (I19)."""


def read_books(connection: Connection, circumstances: Circumstances) -> Books:
    findings = verify(connection, circumstances)
    attempt, evidence, delivery = schema.attempt.c, schema.evidence.c, schema.delivery.c
    message, dossier, outbox = schema.message.c, schema.dossier.c, schema.outbox.c
    read = connection.execute
    deliveries = (delivery.id, delivery.message_id, delivery.dossier_id, delivery.creditor, delivery.agent_for,
                  delivery.soort, delivery.versie, delivery.state, delivery.proof, delivery.handed_over_at)  # fmt: skip
    return Books(
        findings,
        list(
            read(
                select(
                    message.id,
                    message.event_id,
                    message.dossier_id,
                    message.soort,
                    message.out_of_order,
                    message.versie,
                )
            )
        ),
        {row.id: row for row in read(select(*deliveries))},
        list(read(select(attempt.delivery_id, attempt.channel, attempt.digest, attempt.started_at, attempt.outcome))),
        list(read(select(evidence.delivery_id, evidence.creditor, evidence.kind, evidence.soort))),
        frozenset(read(select(schema.refusal.c.event_id)).scalars()),
        {row.id: row.name for row in read(select(outbox.id, outbox.name))},
        {row.id: row.kenmerk for row in read(select(dossier.id, dossier.kenmerk))},
        owed(connection),
        complete(connection),
        counted_once(connection),
    )


class Witness(Struct, frozen=True):
    """What is known outside the ledger. `events`: those that the sender got, by id; `heard`: when it first did (epoch
    µs); `repeated`: messages that were sent more than once; `parked`: messages left in queues; `commits_lost`: how many
    of which the answer never came."""

    confirmed: AbstractSet[str]
    addressed: Mapping[str, AbstractSet[str]]
    events: Mapping[str, Event]
    heard: Mapping[str, int]
    seen: list[Sighting]
    replies: list[Reply]
    trace: list[str]
    logs: bytes
    secrets: tuple[bytes, ...]
    repeated: AbstractSet[str] = frozenset()
    parked: int = 0
    commits_lost: int = 0
    still: float = 0.0
    """Seconds for which a gateway was stopped at most."""


Check = Callable[[Books, Witness], tuple[int, Iterable[str]]]


def judge(books: Books, witness: Witness) -> list[Finding]:
    """The ledger's own findings, and those that need the witnesses."""
    found = list(books.findings)
    for invariant, what, check in CHECKS:
        checked, broken = check(books, witness)
        found.append(Finding(invariant, what, checked, tuple(sorted(set(broken)))))
    return found


def _nothing_lost(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    known = [message.event_id for message in books.messages]
    accepted = set(known)
    lost = [id_ for id_ in witness.confirmed if id_ not in accepted and id_ not in books.refusals]
    doubled = [id_ for id_ in accepted if known.count(id_) > 1]
    both = (accepted & books.refusals) - (witness.repeated & _too_early(witness))
    return len(witness.confirmed), [*lost, *doubled, *both]


def _too_early(witness: Witness) -> AbstractSet[str]:
    """Messages that were refused for no more than that their dossier was unknown: when one comes again later it may be
    accepted."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for event in witness.events.values():
        if event["type"].split(".")[2] == "bericht-geweigerd" and event["data"]["bericht"]:
            codes[event["data"]["bericht"]["id"]].update(fault["code"] for fault in event["data"]["fouten"])
    return {id_ for id_, found in codes.items() if found == {"dossier_onbekend"}}


def _as_addressed(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    notified: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in books.deliveries.values():
        if one.soort == "kennisgeving":
            notified[one.message_id].append((one.creditor, one.agent_for or ""))
    notices = [one for one in books.messages if one.soort == "kennisgeving" and one.event_id in witness.addressed]
    return len(notices), (
        one.event_id for one in notices if sorted(notified[one.id]) != _addressees(witness.addressed[one.event_id])
    )


def _addressees(named: Iterable[str]) -> list[tuple[str, str]]:
    """Creditors in their own right, and the agents that the register has for them, each with for whom."""
    creditors = list(named)
    agents = [(agent, name) for name in creditors for agent in AGENTS.get(name, ())]
    return sorted([*((name, "") for name in creditors), *agents])


def _acknowledged_after_commit(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    return acknowledged_too_soon(witness.trace)


def _seen_what_was_sent(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    seen = {(one.delivery, one.channel) for one in witness.seen}
    handed_over = {(one.delivery_id, one.channel) for one in books.attempts if one.outcome == "overgedragen"}
    return len(handed_over), (f"{delivery} {channel}" for delivery, channel in handed_over - seen)


def _sent_what_was_seen(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    first: dict[tuple[str, str], int] = {}
    for one in books.attempts:
        key = (one.delivery_id, one.channel)
        first[key] = min(one.started_at, first.get(key, one.started_at))
    return len(witness.seen), (
        one.delivery
        for one in witness.seen
        if first.get((one.delivery, one.channel), one.at + 1) > one.at
        or books.deliveries[one.delivery].creditor != one.creditor
    )


def _same_bytes(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    frozen = {(one.delivery_id, one.channel, one.digest.hex()) for one in books.attempts}
    return len(witness.seen), (
        f"{one.delivery} {one.channel}" for one in witness.seen if (one.delivery, one.channel, one.digest) not in frozen
    )


def _in_order(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """First sightings per dossier and creditor; messages that were processed out of order are flagged so."""
    flagged = {one.id for one in books.messages if one.out_of_order}
    latest: dict[tuple[str, ...], int] = {}
    known: set[str] = set()
    broken = []
    for one in sorted(witness.seen, key=lambda one: one.at):
        row = books.deliveries.get(one.delivery)
        if row is None or one.delivery in known or row.message_id in flagged or row.soort == "herinnering":
            continue
        known.add(one.delivery)
        lane = (row.dossier_id, row.creditor, row.agent_for)
        if row.versie < latest.get(lane, 0):
            broken.append(one.delivery)
        latest[lane] = max(row.versie, latest.get(lane, 0))
    return len(known), broken


def _nobody_elses(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """The canary names its dossier and its creditor, whose claims an agent sees too."""
    return len(witness.seen), _strange_canaries(books, witness)


def _strange_canaries(books: Books, witness: Witness) -> Iterator[str]:
    for one in witness.seen:
        row = books.deliveries.get(one.delivery)
        dossier = books.dossiers[row.dossier_id].removeprefix("SHV-") if row else ""
        whose = row.agent_for or row.creditor if row else one.creditor
        if any(name != f"KAN{dossier}Z{whose}Z" for name in one.canaries):
            yield one.delivery
        elif row is not None and row.soort == "kennisgeving" and not one.canaries:
            yield f"{one.delivery} (geen kanarie)"


def _none_begun_after_withdrawal(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    withdrawn = heard_of(witness.events, witness.heard)
    return begun_too_late(withdrawn, begun(witness.logs), witness.seen, witness.still)


def _answers_kept(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """What the gateway told a creditor that it had taken is on record."""
    kept = {(one.delivery_id, one.creditor) for one in books.evidence}
    taken = {(one.delivery, one.creditor) for one in witness.replies if one.kind == "taken"}
    taken = {one for one in taken if one[0] in books.deliveries}
    return len(taken), (delivery for delivery, _ in taken - kept)


def _answers_given(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """A decision on record was made by the creditor: no scanner, no GET, no guess of ours."""
    said = {(one.delivery, one.creditor) for one in witness.replies if one.kind == "said"}
    decisions = [one for one in books.evidence if one.kind == "answer" and one.soort != "ontvangen"]
    return len(decisions), (one.delivery_id for one in decisions if (one.delivery_id, one.creditor) not in said)


def _all_told(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """Events on the broker are the rows of the outbox, both ways."""
    return len(books.outbox), witness.events.keys() ^ books.outbox.keys()


def _each_told_once(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    return books.owed.must.total(), amiss(books.owed, told(witness.events.values()))


def _complete_told(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    got = told(witness.events.values())
    return len(books.complete), (about for event, about in books.complete if got[event, about] != 1)


def _again_without_effect(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """Where answers to COMMIT were lost."""
    return books.counted if witness.commits_lost else (0, ())


def _nothing_left(books: Books, _: Witness) -> tuple[int, Iterable[str]]:
    waiting = [id_ for id_, one in books.deliveries.items() if one.state in OPEN]
    assert set(AWAITING_ANSWER).isdisjoint(OPEN)
    return len(books.deliveries), waiting


def _none_failed(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """Every creditor of the campaign takes what it gets, sooner or later. One thing is for a person: a withdrawal to an
    API that never saw the notice, because the gateway was killed when it was about to send it."""
    saw = [books.deliveries[one.delivery] for one in witness.seen if one.delivery in books.deliveries]
    reached = {(one.dossier_id, one.creditor) for one in saw if one.soort == "kennisgeving"}
    failed = [(id_, one) for id_, one in books.deliveries.items() if one.state == State.FAILED]
    return len(books.deliveries), [
        id_
        for id_, one in failed
        if (one.dossier_id, one.creditor) in reached or one.soort != "intrekking" or one.creditor not in CJIB
    ]


def _queues_empty(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    return 1, [f"{witness.parked} berichten"] if witness.parked else []


def _nothing_in_logs(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    found = {word.decode() for word in witness.secrets if word in witness.logs}
    found |= {name.decode() for name in CANARY.findall(witness.logs)}
    return witness.logs.count(b"\n"), found


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("I1", "wat de broker bevestigde, is aangenomen of geweigerd", _nothing_lost),
    ("I1", "de wachtrijen zijn leeg", _queues_empty),
    ("I2", "een kennisgeving heeft een bezorging voor wie zij noemt", _as_addressed),
    ("I4", "erkend na het vastleggen", _acknowledged_after_commit),
    ("I5", "wat afgeleverd heet, is gezien", _seen_what_was_sent),
    ("I5", "wat gezien is, was eerst voorgenomen", _sent_what_was_seen),
    ("I6", "gezien is wat bevroren was", _same_bytes),
    ("I7", "voor het eerst gezien op volgorde", _in_order),
    ("I8", "niemand ziet iets van een ander", _nobody_elses),
    ("I9", "geen poging begint na de intrekking", _none_begun_after_withdrawal),
    ("I12", "een aangenomen antwoord is vastgelegd", _answers_kept),
    ("I14", "elk besluit is door de schuldeiser genomen", _answers_given),
    ("I15", "de afzender kreeg elke gebeurtenis, en geen andere", _all_told),
    ("I15", "elke verandering is één keer gemeld, over de juiste bezorging", _each_told_once),
    ("I15", "een dossier dat volledig is, is één keer zo gemeld", _complete_told),
    ("I19", "wat opnieuw gebeurde nadat een antwoord op COMMIT verloren ging, telt één keer", _again_without_effect),
    ("I20", "niets persoonlijks in het log", _nothing_in_logs),
    ("I24", "alles is klaar", _nothing_left),
    ("I24", "niets is opgegeven", _none_failed),
)
