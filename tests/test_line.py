"""One lane at work: what may be claimed, what may start, and when."""

import pytest

from gateway.core.creditor import Limit
from gateway.core.lane import SECOND
from gateway.core.outcome import Evidence, HandedOver, Outcome, OwnFault, Transient
from gateway.core.retry import Policy
from gateway.core.window import START, Sign, Window, after
from gateway.dispatch.lanes import AHEAD, Line, Room
from gateway.ledger.lanes import Rest

NOW = 1_800_000_000 * SECOND


class Bounds:
    """A register whose limit for this lane can be changed."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    def __call__(self) -> Limit:
        return self.limit


def line(limit: Limit | None = None) -> Line[str]:
    return Line(Bounds(limit or Limit()))


def dead(now: int = NOW) -> Window:
    window = Window()
    while window.is_alive:
        window = after(window, Sign.AILING, now, 8, Policy())
    return window


def started(of: Line[str], now: int = NOW) -> list[str]:
    """What starts at `now`, as far as it may."""
    found = []
    while of.may_start_at(now) == now:
        found.append(of.start(now))
    return found


def fill(of: Line[str], *, fresh: str = "", backlog: str = "") -> None:
    for items, is_fresh in ((fresh, True), (backlog, False)):
        for item in items:
            of.append(item, fresh=is_fresh)
            of.claimed += 1


def test_new_and_old_start_in_turns() -> None:
    one = line()
    fill(one, backlog="12345")
    fill(one, fresh="ab")
    assert started(one) == ["a", "1", "b", "2", "3"]


def test_it_claims_ahead_of_its_window_in_batches() -> None:
    one = line()
    assert one.room(NOW) == Room(AHEAD * START)
    one.claimed = AHEAD * START // 2 + 1
    assert one.room(NOW) is None


def test_a_backlog_that_fills_the_line_leaves_room_for_what_is_new() -> None:
    one = line()
    fill(one, backlog="x" * (AHEAD * START))
    assert one.room(NOW) is None
    one.has_news = True
    assert one.room(NOW) == Room(0, START)
    fill(one, fresh="a" * START)
    assert one.room(NOW) is None


def test_a_changed_limit_holds_for_the_next_start() -> None:
    bounds = Bounds(Limit(1))
    one: Line[str] = Line(bounds)
    fill(one, fresh="abcdef")
    assert started(one) == ["a"]
    bounds.limit = Limit(3)
    assert started(one) == ["b", "c"]
    bounds.limit = Limit(1)
    one.active -= 1
    assert started(one) == []


def test_a_changed_rate_holds_for_the_next_start() -> None:
    bounds = Bounds(Limit(8, per_second=0.01))
    one: Line[str] = Line(bounds)
    fill(one, fresh="abc")
    assert started(one) == ["a"]
    assert one.may_start_at(NOW) == NOW + 100 * SECOND
    bounds.limit = Limit(8)
    assert started(one) == ["b", "c"]


def test_a_dead_lane_claims_and_starts_nothing_and_then_one() -> None:
    one = line()
    one.window = dead()
    fill(one, fresh="ab")
    one.claimed = 0
    assert (one.room(NOW), started(one)) == (None, [])
    probing = one.window.dead_until
    assert one.may_start_at(NOW) == probing
    assert one.room(probing) == Room(1)
    assert started(one, probing) == ["a"]
    one.claimed = 1
    assert one.room(probing) is None


def test_after_a_fault_of_ours_one_goes_at_a_time_until_one_does_well() -> None:
    one = line()
    one.is_ours_to_mend = True
    assert one.room(NOW) == Room(1)
    fill(one, fresh="ab")
    assert started(one) == ["a"]
    one.is_ours_to_mend = False
    assert started(one) == ["b"]


def test_while_it_rests_nothing_starts_however_wide_it_is() -> None:
    one = line()
    one.held_until = NOW + SECOND
    fill(one, fresh="ab")
    assert one.room(NOW) is None
    assert one.may_start_at(NOW) == NOW + SECOND
    assert one.empty() == ["a", "b"]
    assert one.may_start_at(NOW + SECOND) is None


def test_a_failure_alone_changes_nothing_that_the_ledger_keeps_and_the_last_of_many_does() -> None:
    one, failure = line(), Transient(Evidence("503"))
    changed = []
    for _ in range(START):
        one.learn(failure, NOW, Policy())
        changed.append(one.rest != one.on_record)
    assert changed == [False] * (START - 1) + [True]
    assert one.rest.dead_until == one.rests_until(NOW) > NOW
    one.learn(HandedOver(Evidence("200")), one.rests_until(NOW), Policy())
    assert one.rest.dead_until == 0


def test_what_a_peer_asks_for_outlives_us_and_a_fault_of_ours_does_not() -> None:
    asked, ours = line(), line()
    for one, outcome in ((asked, Transient(Evidence("503"), retry_after=90.0)), (ours, OwnFault(Evidence("tls")))):
        one.learn(outcome, NOW, Policy())
        one.hold_after(outcome, NOW)
        assert one.rests_until(NOW) > NOW
    assert (asked.rest.held_until, ours.rest.held_until) == (NOW + 90 * SECOND, 0)
    assert (asked.is_ours_to_mend, ours.is_ours_to_mend) == (False, True)
    heir = line()
    heir.stand_as(asked.rest, NOW, Policy())
    assert (heir.rest, heir.rests_until(NOW)) == (asked.rest, asked.rests_until(NOW))


# -- a clock that is set back ----------------------------------------------------------------------------------------

STEPS = pytest.mark.parametrize("back", [SECOND, 3600 * SECOND, 10 * 365 * 86_400 * SECOND], ids=["1s", "1h", "10y"])


@STEPS
def test_a_clock_that_is_set_back_holds_up_no_start(back: int) -> None:
    one = line()
    fill(one, fresh="ab")
    assert one.start(NOW) == "a"
    assert started(one, NOW - back) == ["b"]


@STEPS
def test_a_clock_that_is_set_back_makes_a_pace_no_slower_than_twice(back: int) -> None:
    one = line(Limit(8, per_second=0.5))
    fill(one, fresh="abc")
    assert one.start(NOW) == "a"
    earlier = NOW - back
    assert one.may_start_at(earlier) == earlier + 2 * SECOND
    assert one.may_start_at(earlier + SECOND) == earlier + 2 * SECOND
    assert started(one, earlier + 2 * SECOND) == ["b"]


@STEPS
@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [(Transient(Evidence("503"), retry_after=90.0), 90), (OwnFault(Evidence("tls")), 60), (None, 5)],
    ids=["asked", "ours", "dead"],
)
def test_a_clock_that_is_set_back_makes_no_rest_longer(back: int, outcome: Outcome | None, seconds: int) -> None:
    one, earlier = line(), NOW - back
    if outcome is None:
        one.window = dead()
        one.rests_until(NOW)
    else:
        one.learn(outcome, NOW, Policy())
        one.hold_after(outcome, NOW)
    fill(one, fresh="a")
    assert one.rests_until(NOW) == NOW + seconds * SECOND
    assert one.may_start_at(earlier) == one.rests_until(earlier) == earlier + seconds * SECOND
    assert one.rest.held_until <= earlier + seconds * SECOND
    assert one.rest.dead_until <= earlier + seconds * SECOND
    assert started(one, earlier + seconds * SECOND) == ["a"]


def test_what_came_after_a_lane_was_revived_is_new_by_a_clock_that_was_set_back_too() -> None:
    one, earlier = line(), NOW - 3600 * SECOND
    one.window = dead(NOW - 100 * SECOND)
    one.learn(HandedOver(Evidence("200")), NOW, Policy())
    one.rests_until(earlier)
    assert (one.is_fresh(earlier + 1), one.is_fresh(earlier - 1)) == (True, False)


def test_what_a_clock_that_is_set_back_takes_along_differs_from_what_is_on_record() -> None:
    asked = Rest(held_until=NOW + 30 * SECOND)
    one = line()
    one.stand_as(asked, NOW, Policy())
    one.learn(HandedOver(Evidence("200")), NOW + 60 * SECOND, Policy())  # a rest that is over is no other rest
    assert one.rest == one.on_record == asked
    one.learn(HandedOver(Evidence("200")), NOW, Policy())
    assert one.rest.held_until == NOW - 30 * SECOND < one.on_record.held_until


def test_a_rest_that_no_clock_of_ours_can_have_meant_is_not_taken_over() -> None:
    beyond = NOW + 10 * 365 * 86_400 * SECOND
    one, meant = line(), Rest(beyond, 1, beyond, beyond)
    one.stand_as(meant, NOW, Policy())
    assert one.rest == Rest(NOW + 86_400 * SECOND, 1, NOW + 5 * SECOND, NOW)
    assert one.on_record == meant
