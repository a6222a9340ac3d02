"""I4 is judged by delivery tag: no acknowledgement covers a message that no commit before it held."""

import pytest

from tests.faults.trace import acknowledged_too_soon

COMMIT, TWO = "commit 7 1 1 2 3", "commit 7 1 4"


@pytest.mark.parametrize(
    ("lines", "acknowledged", "too_soon"),
    [
        ([COMMIT, "ack 7 1 3 multiple"], 3, []),
        ([COMMIT, TWO, "ack 7 1 4 multiple"], 4, []),
        ([COMMIT, "ack 7 1 2 one"], 1, []),
        ([COMMIT, "ack 7 1 3 multiple", TWO, "ack 7 1 4 multiple"], 4, []),
        ([COMMIT, "ack 7 1 4 multiple", TWO], 4, [4]),
        ([COMMIT, "ack 7 1 3 multiple", "ack 7 1 4 one", TWO], 4, [4]),
        (["ack 7 1 1 one", COMMIT], 1, [1]),
        (["commit 7 1 1 3", "ack 7 1 3 multiple"], 3, [2]),
        ([COMMIT, "ack 7 1 0 multiple"], 1, [0]),
        ([COMMIT, "ack 7 2 1 multiple"], 1, [1]),
        ([COMMIT, "ack 8 1 1 multiple"], 1, [1]),
    ],
)
def test_an_acknowledgement_covers_committed_messages_only(
    lines: list[str], acknowledged: int, too_soon: list[int]
) -> None:
    found, broken = acknowledged_too_soon(lines)
    assert (found, [int(one.rpartition(" ")[2]) for one in broken]) == (acknowledged, too_soon)
