"""I9 from outside: which attempts and sightings came too late, and which may end after a withdrawal."""

import json
from datetime import UTC, datetime

import pytest

from gateway.core.lane import SECOND
from tests.faults.sightings import Sighting
from tests.faults.withdrawals import GRAIN, LONGEST, MARGIN, Begun, begun, begun_too_late

AT = 1_800_000_000 * SECOND
"""When it was withdrawn."""


def attempt(began: int, ended: int) -> Begun:
    return Begun("d", "webhook", 1, AT + began, AT + ended)


def sighting(at: int) -> Sighting:
    return Sighting("energie", "webhook", "d", "kennisgeving", "00", AT + at, ())


LATE = MARGIN + LONGEST + SECOND


@pytest.mark.parametrize(
    ("attempts", "seen", "still", "late"),
    [
        ([attempt(-SECOND, LATE)], [sighting(LATE)], 0, 0),
        ([attempt(MARGIN, LATE)], [sighting(LATE + GRAIN)], 0, 0),
        ([attempt(MARGIN + 1, LATE)], [sighting(MARGIN + 2)], 0, 1),
        ([attempt(MARGIN + 1, LATE)], [sighting(MARGIN + 2)], 1, 0),
        ([attempt(-SECOND, 0)], [sighting(LATE)], 0, 1),
        ([], [sighting(MARGIN + LONGEST)], 0, 0),
        ([], [sighting(LATE)], 0, 1),
        ([attempt(LATE, LATE + 1)], [sighting(LATE)], 0, 2),
    ],
)
def test_an_attempt_may_end_after_a_withdrawal_but_not_begin(
    attempts: list[Begun], seen: list[Sighting], still: float, late: int
) -> None:
    checked, broken = begun_too_late({"d": AT}, attempts, seen, still)
    assert (checked, len(broken)) == (len(attempts) + len(seen), late)
    assert begun_too_late({"other": AT}, attempts, seen, still) == (0, [])


def test_a_line_of_the_log_says_when_an_attempt_began() -> None:
    said = {"event": "attempt", "bezorging": "d", "kanaal": "webhook", "poging": 3, "duur_ms": 1500,
            "tijd": datetime.fromtimestamp(AT // SECOND, UTC).isoformat(timespec="milliseconds")}  # fmt: skip
    line = json.dumps(said).encode()
    assert begun(line + b"\n" + line[:40] + b"\n{}\n") == [Begun("d", "webhook", 3, AT - 1_500_000, AT)]
