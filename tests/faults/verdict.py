"""What ledger, creditors and publisher say together at the end of a round; every invariant with how much it looked at.

`gateway.invariants` asks the ledger alone; here its answers meet the creditors' logs (sinks) and the confirms of the
broker (pub). What is broken is named by ids.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from hashlib import sha256

from gateway.core.lifecycle import IN_PROGRESS, State
from gateway.invariants import Finding
from tests.faults import answers
from tests.faults.addressees import as_addressed, nobody_elses
from tests.faults.books import Books, Witness
from tests.faults.creditors import CJIB
from tests.faults.load import SECRETS
from tests.faults.sightings import CANARY
from tests.faults.tidings import amiss, told
from tests.faults.trace import acknowledged_too_soon
from tests.faults.withdrawals import begun, begun_too_late, heard_of

HANDED_OVER = (State.DELIVERED, State.RECEIVED, State.CLOSED)
"""Not only decided: a decision may be taken over from another delivery."""


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
    both = (accepted & books.refusals) - _too_early(witness)
    return len(witness.confirmed), [*lost, *doubled, *both]


def _too_early(witness: Witness) -> AbstractSet[str]:
    """Messages that were refused for no more than that their dossier was unknown: when one comes again later, from its
    sender or from a broker that never got the acknowledgement, it may be accepted."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for event in witness.events.values():
        if event["type"].split(".")[2] == "bericht-geweigerd" and event["data"]["bericht"]:
            codes[event["data"]["bericht"]["id"]].update(fault["code"] for fault in event["data"]["fouten"])
    return {id_ for id_, found in codes.items() if found == {"dossier_onbekend"}}


def _acknowledged_after_commit(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    return acknowledged_too_soon(witness.trace)


def _seen_what_was_sent(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """By its attempts, on their channel; and by the delivery itself, whatever its attempts are said to be."""
    seen = {(one.delivery, one.channel) for one in witness.seen}
    handed_over = {(one.delivery_id, one.channel) for one in books.attempts if one.outcome == "overgedragen"}
    has_it = {id_ for id_, one in books.deliveries.items() if one.handed_over_at or one.state in HANDED_OVER}
    unseen = [f"{delivery} {channel}" for delivery, channel in handed_over - seen]
    return len(handed_over | has_it), [*unseen, *(has_it - {delivery for delivery, _ in seen})]


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


def _none_begun_after_withdrawal(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    withdrawn = heard_of(books, witness)
    return begun_too_late(withdrawn, begun(witness.logs), witness.seen, witness.still)


def _all_told(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """Events on the broker are the rows of the outbox, both ways, and always the same."""
    return len(books.outbox), (witness.events.keys() ^ books.outbox.keys()) | witness.altered


def _each_told_once(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    return books.owed.must.total(), amiss(books.owed, told(witness.events.values()))


def _complete_told(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    got = told(witness.events.values())
    return len(books.complete), (about for event, about in books.complete if got[event, about] != 1)


def _again_without_effect(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """Where answers to COMMIT were lost."""
    return books.counted if witness.commits_lost else (0, ())


def _nothing_left(books: Books, _: Witness) -> tuple[int, Iterable[str]]:
    waiting = [id_ for id_, one in books.deliveries.items() if one.state in IN_PROGRESS]
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
    said = witness.logs + "\n".join(witness.names).encode()
    found = {f"geheim {sha256(word).hexdigest()[:8]}" for word in witness.secrets if word in said}
    return said.count(b"\n"), found | {name.decode() for name in CANARY.findall(said)}


def _nothing_in_events(_: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """The sender hears of its own claims what creditors answer about them, and nothing of the person."""
    return len(witness.events), (
        id_ for id_, event in witness.events.items() if any(word.decode() in json.dumps(event) for word in SECRETS)
    )


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("I1", "wat de broker bevestigde, is aangenomen of geweigerd", _nothing_lost),
    ("I1", "de wachtrijen zijn leeg", _queues_empty),
    ("I2", "een bericht heeft een bezorging voor wie het is, en voor niemand anders", as_addressed),
    ("I4", "erkend na het vastleggen", _acknowledged_after_commit),
    ("I5", "wat afgeleverd heet, is gezien", _seen_what_was_sent),
    ("I5", "wat gezien is, was eerst voorgenomen", _sent_what_was_seen),
    ("I6", "gezien is wat bevroren was", _same_bytes),
    ("I7", "voor het eerst gezien op volgorde", _in_order),
    ("I8", "niemand ziet iets van een ander", nobody_elses),
    ("I9", "geen poging begint na de intrekking", _none_begun_after_withdrawal),
    ("I12", "een aangenomen antwoord is vastgelegd", answers.kept),
    ("I13", "elk besluit staat niet vaker vast dan het genomen is", answers.once),
    ("I14", "elk besluit is door de schuldeiser genomen", answers.given),
    ("I15", "de afzender kreeg elke gebeurtenis, en geen andere", _all_told),
    ("I15", "elke verandering is één keer gemeld, over de juiste bezorging", _each_told_once),
    ("I15", "een dossier dat volledig is, is één keer zo gemeld", _complete_told),
    ("I19", "wat opnieuw gebeurde nadat een antwoord op COMMIT verloren ging, telt één keer", _again_without_effect),
    ("I20", "niets persoonlijks of geheims in log of bestandsnaam", _nothing_in_logs),
    ("I20", "niets persoonlijks in een gebeurtenis", _nothing_in_events),
    ("I24", "alles is klaar", _nothing_left),
    ("I24", "niets is opgegeven", _none_failed),
)
