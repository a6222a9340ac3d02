"""Months of the gateway on virtual time: what must hold holds, the same seed gives the same bytes, and bugs show."""

import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import Connection, text

from gateway.simulation.report import Report, joined
from gateway.simulation.run import simulate
from gateway.simulation.world import Plan
from tests.documents import ROOT


def run(dossiers: int, days: int, seed: int, within: Callable[[Connection], None] | None = None) -> Report:
    return simulate(Plan(dossiers, days, seed, within=within), lambda _month, _deliveries: None)


def command(seed: int, hash_seed: int) -> bytes:
    """What `kennisgeving simulate` prints; it must succeed."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "gateway",
            "simulate",
            "--dossiers",
            "8",
            "--jaar",
            "0.2",
            "--seed",
            str(seed),
            "--json",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        check=True,
        capture_output=True,
    )
    return done.stdout


def test_what_must_hold_holds_for_months() -> None:
    report = run(30, 120, 42)
    assert report.broken is None
    for invariant in ("I2", "I3", "I6", "I7", "I9", "I10", "I13", "I17"):
        assert report.checks[invariant] > 0
    assert report.checks["I3 volledig"] == 2 * 120
    assert sum(report.sightings["kennisgeving"].values()) >= sum(report.answers["pauze_ingesteld"].values()) > 100
    assert set(report.answers["overgedragen"]) == {"overdragend"}
    assert report.answers["pauze_ingesteld"]["zwijgend"] < report.deliveries["herinnering"]["zwijgend"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = command(7, hash_seed=1), command(7, hash_seed=2), command(8, hash_seed=1)
    assert first == again
    assert msgspec.json.decode(first)["geschonden"] is None
    assert msgspec.json.decode(first)["vingerafdruk"] != msgspec.json.decode(other)["vingerafdruk"]


def test_two_halves_are_the_whole() -> None:
    whole = run(12, 60, 3)
    halves = [simulate(Plan(12, 60, 3, part=part, parts=2), lambda _month, _deliveries: None) for part in (0, 1)]
    both = joined(halves)
    assert both.posted == whole.posted
    assert both.deliveries["kennisgeving"] == whole.deliveries["kennisgeving"]
    assert both.creditors == whole.creditors
    assert both.broken is None


def forget_the_order(ledger: Connection) -> None:
    """No delivery waits for the one before it."""
    ledger.execute(text("UPDATE delivery SET waits_for = NULL WHERE waits_for IS NOT NULL"))


def forget_what_was_told(ledger: Connection) -> None:
    """What the clock caused is not remembered, so it is caused again."""
    ledger.execute(text("DELETE FROM milestone"))


def ignore_withdrawals(ledger: Connection) -> None:
    """What a withdrawal stopped goes on, as if nothing had been said."""
    ledger.execute(text("DELETE FROM transition WHERE \"after\" = 'ingetrokken'"))
    now = "(SELECT max(received_at) FROM message)"
    goes_on = f"UPDATE delivery SET state = 'in_wachtrij', next_action_at = {now} WHERE state = 'ingetrokken'"  # noqa: S608
    ledger.execute(text(goes_on))


@pytest.mark.parametrize(
    ("bug", "invariant"), [(forget_the_order, "I7"), (forget_what_was_told, "I15"), (ignore_withdrawals, "I9")]
)
def test_a_bug_ends_the_run_with_the_invariant_that_it_breaks(
    bug: Callable[[Connection], None], invariant: str
) -> None:
    report = run(150, 120, 42, bug)
    assert report.broken is not None
    assert report.broken.invariant == invariant
    assert report.broken.seed == 42
