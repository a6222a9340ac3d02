"""Identifiers: well-formed, in order, and never the same twice."""

import re
from threading import Thread

from gateway.ids import Uuid7, first_id

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NOW = 1_800_000_000_123_456


def test_an_id_is_a_version_7_uuid_of_its_millisecond() -> None:
    identifier = Uuid7()(NOW)
    assert FORM.fullmatch(identifier)
    assert int(identifier[:8] + identifier[9:13], 16) == NOW // 1000


def test_ids_of_one_instant_and_of_a_clock_that_steps_back_still_rise() -> None:
    new = Uuid7()
    ids = [new(NOW), new(NOW), new(NOW - 5_000_000), new(NOW + 10)]
    assert ids == sorted(set(ids))


def test_threads_never_get_the_same_id() -> None:
    new = Uuid7()
    made: list[str] = []
    threads = [Thread(target=lambda: made.extend([new(NOW) for _ in range(2000)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(made) == 8000


def test_a_moment_is_a_place_among_ids() -> None:
    before, after = Uuid7()(NOW - 1000), Uuid7()(NOW // 1000 * 1000)
    assert before < first_id(NOW) < after
    assert first_id(-1) == "00000000-0000-0000-0000-000000000000"
