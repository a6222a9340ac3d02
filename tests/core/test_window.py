"""The window of a lane: how it grows, shrinks, dies, probes and revives."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import (
    Deferred,
    Evidence,
    HandedOver,
    Outcome,
    OwnFault,
    RefusedForGood,
    Transient,
    Uncertain,
)
from gateway.core.retry import Policy
from gateway.core.window import DEAD_AT_MOST, FEWEST, SECOND, START, Sign, Window, after, dead_for, sign_of, slots

NOW = 1_800_000_000 * SECOND
POLICY = Policy()
MOST = 16

signs = st.lists(st.tuples(st.sampled_from(Sign), st.integers(0, 90 * SECOND)), max_size=80)
limits = st.integers(1, 64)


def run(steps: Sequence[tuple[Sign, int]], most: int = MOST, window: Window | None = None) -> tuple[Window, int]:
    """The window after attempts that ended one after another, each so many µs after the one before."""
    now, found = NOW, window or Window()
    for sign, pause in steps:
        now += pause
        found = after(found, sign, now, most, POLICY)
    return found, now


def dead(window: Window | None = None) -> tuple[Window, int]:
    return run([(Sign.AILING, 0)] * START, window=window)


# -- what an outcome says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "sign"),
    [
        (HandedOver(Evidence("200")), Sign.WELL),
        (RefusedForGood(Evidence("422")), Sign.WELL),
        (RefusedForGood(Evidence("410"), whole_channel=True), Sign.WELL),
        (Transient(Evidence("verbinding")), Sign.AILING),
        (Transient(Evidence("dns")), Sign.AILING),
        (Transient(Evidence("503")), Sign.AILING),
        (Transient(Evidence("429"), retry_after=5), Sign.AILING),
        (Uncertain(Evidence("timeout")), Sign.AILING),
        (Transient(Evidence("409")), Sign.NOTHING),
        (Uncertain(Evidence("fout_in_adapter")), Sign.NOTHING),
        (OwnFault(Evidence("certificaat_verlopen")), Sign.NOTHING),
        (Deferred(5, "baan_rust"), Sign.NOTHING),
    ],
)
def test_only_failures_of_connection_or_transport_speak_against_a_peer(outcome: Outcome, sign: Sign) -> None:
    assert sign_of(outcome) is sign


# -- alive -----------------------------------------------------------------------------------------------------------


def test_it_starts_small_and_grows_by_one_for_every_window_of_successes() -> None:
    assert slots(Window(), MOST, NOW) == START
    assert slots(run([(Sign.WELL, 0)] * START)[0], MOST, NOW) == START
    assert slots(run([(Sign.WELL, 0)] * (START + 1))[0], MOST, NOW) == START + 1
    assert slots(run([(Sign.WELL, 0)] * 500)[0], MOST, NOW) == MOST


def test_it_shrinks_by_one_for_every_failure() -> None:
    wide = run([(Sign.WELL, 0)] * 500)[0]
    narrower = run([(Sign.AILING, 0)] * 3, window=wide)[0]
    assert slots(narrower, MOST, NOW) == MOST - 3
    assert narrower.is_alive


@given(steps=signs, most=limits)
def test_while_alive_it_is_between_one_and_what_the_register_allows(
    steps: Sequence[tuple[Sign, int]], most: int
) -> None:
    window, now = run(steps, most)
    if window.is_alive:
        assert 1 <= slots(window, most, now) <= most


@given(steps=signs, before=limits, most=limits)
def test_a_changed_limit_holds_at_once(steps: Sequence[tuple[Sign, int]], before: int, most: int) -> None:
    window, now = run(steps, before)
    assert slots(window, most, now) <= most
    assert slots(after(window, Sign.WELL, now, most, POLICY), most, now) <= most


# -- dead, probing, alive again --------------------------------------------------------------------------------------


@given(grown=st.integers(0, 200), most=limits)
def test_it_dies_of_exactly_as_many_failures_in_a_row_as_it_was_wide(grown: int, most: int) -> None:
    window, now = run([(Sign.WELL, 0)] * grown, most)
    cohort = max(FEWEST, slots(window, most, now))
    assert run([(Sign.AILING, 0)] * (cohort - 1), most, window)[0].is_alive
    assert not run([(Sign.AILING, 0)] * cohort, most, window)[0].is_alive


def test_a_success_in_between_counts_the_failures_anew() -> None:
    one_short = [(Sign.AILING, 0)] * (START - 1)
    window, _ = run([*one_short, (Sign.WELL, 0), (Sign.AILING, 0), (Sign.AILING, 0)])
    assert window.is_alive


def test_while_dead_nothing_is_sent_and_after_that_a_probe_of_one() -> None:
    window, now = dead()
    assert window.dead_until == now + int(POLICY.first * SECOND)
    assert slots(window, MOST, now) == slots(window, MOST, window.dead_until - 1) == 0
    assert slots(window, MOST, window.dead_until) == 1


def test_a_failed_probe_makes_it_dead_for_longer_up_to_a_bound() -> None:
    window, _ = dead()
    lengths = []
    for _ in range(8):
        now = window.dead_until
        window = after(window, Sign.AILING, now, MOST, POLICY)
        lengths.append((window.dead_until - now) / SECOND)
    assert lengths == [10, 20, 40, 60, 60, 60, 60, 60]
    assert slots(window, MOST, window.dead_until) == 1


def test_what_began_before_it_died_and_fails_after_it_does_not_prolong_it() -> None:
    window, now = dead()
    assert after(window, Sign.AILING, now + SECOND, MOST, POLICY) == window


@pytest.mark.parametrize("when", [0, 5 * SECOND])
def test_a_success_brings_it_to_life_and_what_was_due_before_is_backlog(when: int) -> None:
    window, now = dead()
    alive = after(window, Sign.WELL, now + when, MOST, POLICY)
    assert (alive.is_alive, slots(alive, MOST, now), alive.fresh_since) == (True, START, now + when)


@given(steps=signs, most=limits)
def test_it_is_never_dead_for_good_nor_longer_than_its_bound(steps: Sequence[tuple[Sign, int]], most: int) -> None:
    window, now = run(steps, most)
    assert window.dead_until - now <= DEAD_AT_MOST * SECOND
    assert slots(window, most, max(now, window.dead_until)) >= 1


@given(steps=signs, most=limits)
def test_no_more_than_a_cohort_of_failures_goes_out_to_a_peer_that_is_away(
    steps: Sequence[tuple[Sign, int]], most: int
) -> None:
    window, _ = run(steps, most)
    cohort = max(FEWEST, START, most)
    window, _ = run([(Sign.AILING, 0)] * cohort, most, window)
    assert not window.is_alive


@given(first=st.floats(0.01, 120), highest=st.floats(0.01, 20_000), deaths=st.integers(1, 10_000))
def test_a_dead_lane_is_looked_at_no_less_often_than_a_message_would_be(
    first: float, highest: float, deaths: int
) -> None:
    policy = Policy(first, max(first, highest))
    assert 0 < dead_for(deaths, policy) <= max(first, min(DEAD_AT_MOST, policy.highest))
