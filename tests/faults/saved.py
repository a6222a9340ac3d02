"""The logs that a campaign leaves with `--keep DIR`, judged again: ledger, creditors, publisher, gateways, trace.

    python -m tests.faults.saved DIR…             every round in it; a round by itself is a directory with `round.json`
    python -m tests.faults.saved DIR --ledger URL  one round, on a ledger that was kept elsewhere

Every invariant with how much it looked at; 1: something does not hold, 2: there is nothing to judge. What is asked of
processes that live (I23: descriptors, connections) is not in any log.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.cli.ledger_check import line
from gateway.invariants import Circumstances, Finding
from gateway.ledger.engine import Ledger
from tests.faults import sightings
from tests.faults.books import Witness, read_books
from tests.faults.verdict import judge

ROUND, EVENTS, SIGHTINGS, CONFIRMED = "round.json", "events.jsonl", "sightings.jsonl", "confirmed.jsonl"


class Round(Struct, frozen=True):
    """What no log says. `addressed`: message id → creditors; `counted_out`: messages that the delivery limit parked;
    `began`: epoch µs, from when the round's own sightings are; for the rest see Witness."""

    ledger: str
    circumstances: Circumstances
    began: int
    addressed: dict[str, list[str]]
    counted_out: list[str]
    parked: int
    commits_lost: int
    still: float
    heard: dict[str, int]
    secrets: frozenset[str]
    names: list[str]
    altered: frozenset[str]


def keep(directory: Path, what: Round, witness: Witness, creditors: bytes) -> None:
    """Beside the logs that are there already; `creditors`: their log of this round."""
    (directory / ROUND).write_bytes(msgspec.json.encode(what))
    (directory / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in witness.events.values()))
    (directory / SIGHTINGS).write_bytes(creditors)


def read(directory: Path) -> tuple[Round, Witness]:
    what = msgspec.json.decode((directory / ROUND).read_bytes(), type=Round)
    confirmed = {one["id"] for one in _lines(directory / CONFIRMED)}
    seen, replies = sightings.read(directory / SIGHTINGS)
    return what, Witness(
        confirmed=confirmed - set(what.counted_out),
        addressed={id_: frozenset(names) for id_, names in what.addressed.items()},
        events={event["id"]: event for event in _lines(directory / EVENTS)},
        heard=what.heard,
        seen=seen,
        replies=replies,
        trace=[one for path in sorted(directory.glob("?.trace")) for one in path.read_text().splitlines()],
        logs=b"".join(path.read_bytes() for path in sorted(directory.glob("*.log"))),
        secrets=frozenset(word.encode() for word in what.secrets),
        names=what.names,
        altered=what.altered,
        parked=what.parked,
        commits_lost=what.commits_lost,
        still=what.still,
    )


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """Of JSON; none where nothing was written."""
    for text in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(text)


def mine(seen: Iterable[sightings.Sighting], deliveries: Iterable[str], began: int) -> list[sightings.Sighting]:
    """Without what creditors saw late of the round before."""
    known = set(deliveries)
    return [one for one in seen if one.delivery in known or one.at >= began]


async def judged(directory: Path, url: str | None = None) -> list[Finding]:
    """Raises LedgerAway."""
    what, witness = read(directory)
    ledger = Ledger(url or what.ledger, reading=True)
    try:
        books = await ledger.run(read_books, what.circumstances)
    finally:
        await ledger.aclose()
    seen = mine(witness.seen, books.deliveries, what.began)
    return judge(books, msgspec.structs.replace(witness, seen=seen))


def rounds(directory: Path) -> list[Path]:
    if (directory / ROUND).exists():
        return [directory]
    return sorted(path.parent for path in directory.glob(f"*/{ROUND}"))


def has_ledger(directory: Path) -> bool:
    url = msgspec.json.decode((directory / ROUND).read_bytes(), type=Round).ledger
    return url.startswith("sqlite:///") and Path(url.removeprefix("sqlite:///")).exists()


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.saved", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--ledger", help="URL of a ledger that was kept elsewhere, of one round")
    given = parser.parse_args(arguments)
    found = [one for directory in given.directories for one in rounds(directory)]
    if given.ledger and len(found) != 1:
        parser.error("--ledger goes with one round")
    broken, seen = 0, 0
    for directory in found:
        if not given.ledger and not has_ledger(directory):
            tell(f"{directory.name}: its ledger was not kept")
            continue
        tell(f"{directory.name}:")
        seen += 1
        for finding in asyncio.run(judged(directory, given.ledger)):
            broken += bool(finding.broken)
            tell(f"  {line(finding)}")
    return 1 if broken else 0 if seen else 2


if __name__ == "__main__":
    sys.exit(main())
