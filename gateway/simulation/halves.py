"""A large run in two halves, side by side: each has half of the dossiers, and a gateway and a ledger of its own.

Always two, whatever the machine has: the same plan gives the same report everywhere.
"""

import io
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from multiprocessing import get_context

from msgspec import structs

from gateway.log import configure
from gateway.simulation.report import Report, joined
from gateway.simulation.run import simulate
from gateway.simulation.world import Plan

IN_ONE = 100
"""Up to so many dossiers one process does it."""

Tell = Callable[[int, date, int], None]
"""Told by each half (0 or 1) on the first of every month, with its deliveries so far; runs in another process."""


class _Journal(io.StringIO):
    """Where the log of a run goes; what points at a bug of ours is shown."""

    bugs = 0

    def write(self, line: str) -> int:
        if '"plaats":' in line:
            self.bugs += 1
            sys.stderr.write(line)
        return len(line)


def simulate_all(plan: Plan, tell: Tell) -> tuple[Report, int]:
    """The report, and how often the log pointed at a bug."""
    if plan.dossiers <= IN_ONE:
        return _simulate_part(plan, tell)
    halves = [structs.replace(plan, part=part, parts=2) for part in (0, 1)]
    with get_context("spawn").Pool(len(halves)) as processes:
        done = processes.map(partial(_simulate_part, tell=tell), halves, chunksize=1)
    return joined([report for report, _ in done]), sum(bugs for _, bugs in done)


def _simulate_part(plan: Plan, tell: Tell) -> tuple[Report, int]:
    journal = _Journal()
    configure(journal)
    sys.excepthook = sys.__excepthook__  # there is someone watching
    report = simulate(plan, partial(tell, plan.part))
    return report, journal.bugs
