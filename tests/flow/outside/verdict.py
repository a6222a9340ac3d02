"""What the three logs say together: every confirmed message accepted, every delivery at its creditor, always the same.

The letters are those of the promise: nothing confirmed is lost, nobody gets what is not his, a repeated delivery has
the same bytes, messages of one dossier reach a creditor in order, and nothing arrives that no event knows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.flow.outside.creditors import Sighting
from tests.flow.outside.messages import Message

Event = Mapping[str, Any]
Delivery = tuple[str, str]  # creditor, delivery id


def name(event: Event) -> str:
    """`bericht-geaccepteerd` of `nl.schuldhulpverlening.bericht-geaccepteerd.v1`."""
    return str(event["type"]).split(".")[-2]


def accepted(events: Iterable[Event]) -> dict[str, set[Delivery]]:
    """Message id → deliveries that its `bericht-geaccepteerd` names."""
    found: dict[str, set[Delivery]] = {}
    for event in events:
        if name(event) == "bericht-geaccepteerd":
            told = {(str(one["schuldeiser"]), str(one["bezorging"])) for one in event["data"]["schuldeisers"]}
            found.setdefault(event["data"]["bericht"]["id"], set()).update(told)
    return found


def handed_over(events: Iterable[Event]) -> set[Delivery]:
    return {
        (event["data"]["schuldeiser"], event["data"]["bezorging"])
        for event in events
        if name(event) == "bezorging-afgeleverd"
    }


def faults(
    confirmed: Iterable[Message], events: Mapping[str, Event], seen: Sequence[Sighting], creditors: Iterable[str]
) -> list[str]:
    """Everything amiss, one sentence each; empty when the promise was kept. `events`: event id → event."""
    known = accepted(events.values())
    deliveries: set[Delivery] = set().union(*known.values())
    return [
        *_intake_faults(list(confirmed), known, events.values(), set(creditors)),
        *_delivery_faults(deliveries, events.values(), seen),
        *_sameness_faults(seen),
        *_order_faults(seen),
    ]


def _intake_faults(
    confirmed: Sequence[Message], known: Mapping[str, set[Delivery]], events: Iterable[Event], creditors: set[str]
) -> Iterable[str]:
    for message in confirmed:
        if message.id not in known:
            yield f"confirmed message {message.id} ({message.dossier}) is not accepted"
        elif sorted(creditor for creditor, _ in known[message.id]) != sorted(creditors):
            yield f"message {message.id} has deliveries {sorted(known[message.id])}"
    for event in events:
        if name(event) in {"bericht-geweigerd", "bezorging-mislukt", "bezorging-ingetrokken"}:
            yield f"unexpected {name(event)}: {event['data']}"


def _delivery_faults(deliveries: set[Delivery], events: Iterable[Event], seen: Sequence[Sighting]) -> Iterable[str]:
    received = {(sighting.creditor, sighting.delivery) for sighting in seen}
    told = handed_over(events)
    yield from (f"{missing} never reached its creditor" for missing in sorted(deliveries - received))
    yield from (f"{stray} reached a creditor and no event knows it" for stray in sorted(received - deliveries))
    yield from (f"{silent} has no bezorging-afgeleverd" for silent in sorted(deliveries - told))
    yield from (f"{invented} is afgeleverd and was never accepted" for invented in sorted(told - deliveries))
    yield from (f"{one.creditor} got {one.delivery} with a bad {one.fault}" for one in seen if one.fault)


def _sameness_faults(seen: Iterable[Sighting]) -> Iterable[str]:
    digests: defaultdict[Delivery, set[str]] = defaultdict(set)
    for sighting in seen:
        digests[sighting.creditor, sighting.delivery].add(sighting.digest)
    yield from (f"{one} arrived with {len(some)} different contents" for one, some in digests.items() if len(some) > 1)


def _order_faults(seen: Iterable[Sighting]) -> Iterable[str]:
    """First sightings in version order per dossier and creditor; `seen` is in the order of receipt."""
    latest: dict[tuple[str, str], int] = {}
    first: set[Delivery] = set()
    for sighting in seen:
        one, lane = (sighting.creditor, sighting.delivery), (sighting.creditor, sighting.dossier)
        if one in first:
            continue
        first.add(one)
        if sighting.versie <= latest.get(lane, 0):
            yield f"{sighting.creditor} got versie {sighting.versie} of {sighting.dossier} after {latest[lane]}"
        latest[lane] = max(sighting.versie, latest.get(lane, 0))
