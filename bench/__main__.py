"""`python -m bench`: the gateway beside the bare limit, on the same servers, in turns; bench/RESULTS.md keeps it.

A burst of 2,000 notices to 8 creditors each. Settled is from the first publish to the last outcome in the ledger and
the last event in its queue. Machines differ by tens of per cent from day to day: only the ratio says something.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from bench.measure import Run
from bench.programs import PROGRAMS
from bench.report import document, ratio, table
from bench.round import Load, Progress, run, stage
from tests.flow.outside.messages import GEMEENTE, SENDER
from tests.servers import PostgreSQL, RabbitMQ

RESULTS = Path(__file__).parent / "RESULTS.md"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="500 notices, no RESULTS.md")
    parser.add_argument("--notices", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=[*PROGRAMS], help="measure one program, no RESULTS.md")
    parser.add_argument("--at-least", type=float, default=0.0, help="exit 1 when the ratio of settled rates is lower")
    return parser.parse_args(arguments)


async def measure(rabbitmq: RabbitMQ, postgres: PostgreSQL, given: argparse.Namespace, progress: Progress) -> list[Run]:
    """The programs in turns, so that a machine that slows down or speeds up does so for both."""
    load = Load.sized(500 if given.quick else given.notices)
    turns = ([given.only] if given.only else [*PROGRAMS]) * given.rounds
    async with stage(rabbitmq, postgres) as where:
        return [await run(where, which, load, progress) for which in turns]


def watched(given: argparse.Namespace, console: Console) -> list[Run]:
    """Measure with a bar for who looks on; silent where nobody does."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting RabbitMQ and PostgreSQL", total=None)

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        with RabbitMQ({SENDER: [GEMEENTE]}) as rabbitmq, PostgreSQL() as postgres:
            return asyncio.run(measure(rabbitmq, postgres, given, progress))


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwind, so that no server is left behind
    console = Console(stderr=True)
    load_before = os.getloadavg()[0]
    runs = watched(given, console)
    sys.stdout.write(table(runs))
    if given.only:
        return 0
    if not given.quick:
        RESULTS.write_text(document(runs, given.notices, load_before))
    return 0 if ratio(runs) >= given.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
