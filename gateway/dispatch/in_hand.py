"""What this gateway has in hand: a line for each lane at work, and the claims that are its own."""

from collections.abc import Callable, Collection

from gateway.core.creditor import Limit
from gateway.core.lane import SECOND
from gateway.dispatch.lanes import Line
from gateway.dispatch.rendering import Ready
from gateway.ledger.queue import Claimed
from gateway.links import Lane, Links


class InHand:
    """The stages share it; it does no work itself.

    A claim is taken (`hold`), leaves its line when its attempt has ended (`leave_line`), and is forgotten when that is
    settled (`forget`); what will not be attempted is dropped. `lease` in seconds; `on_room` is called when a line may
    take more.
    """

    def __init__(self, links: Links, lease: float, *, on_room: Callable[[], None]) -> None:
        self._links = links
        self._lease = int(lease * SECOND)
        self._on_room = on_room
        self.lines: dict[Lane, Line[Ready]] = {}
        self._fences: dict[str, int] = {}
        """Claims of ours (delivery id → fence): what is renewed. What is not on it is left to its lease."""

    # -- lines ------------------------------------------------------------------------------------------------------

    def line(self, lane: Lane) -> Line[Ready]:
        line = self.lines.get(lane)
        if line is None:
            line = self.lines[lane] = Line(lambda: self._limit(lane[0]))
        return line

    def _limit(self, creditor: str) -> Limit:
        entry = self._links.register.by_id.get(creditor)
        return entry.limit if entry else Limit()

    def resting(self, now: int) -> list[Lane]:
        """Lanes on which nothing may start now."""
        return [lane for lane, line in self.lines.items() if line.rests_until(now) > now]

    def running(self) -> list[Lane]:
        """The lane of every attempt under way."""
        return [lane for lane, line in self.lines.items() for _ in range(line.active)]

    def waiting(self) -> list[Ready]:
        """What has not started."""
        return [ready for line in self.lines.values() for ready in line.waiting]

    def is_idle(self, lane: Lane) -> bool:
        return self.line(lane).claimed == 0

    # -- claims -----------------------------------------------------------------------------------------------------

    def lease_end(self, now: int) -> int:
        """Until when a claim is ours that is made, or renewed, now."""
        return now + self._lease

    def hold(self, claimed: Claimed) -> None:
        self._fences[claimed.id] = claimed.fence
        self.line(claimed.lane).claimed += 1

    def claims(self) -> list[str]:
        """Ids of the deliveries whose lease is to be renewed."""
        return list(self._fences)

    def leave_line(self, claimed: Claimed) -> None:
        """It takes no place in its lane's line any more."""
        self.line(claimed.lane).claimed -= 1
        self._on_room()

    def forget(self, claimed: Claimed) -> None:
        """Its lease is not renewed any more."""
        if self._fences.get(claimed.id) == claimed.fence:
            del self._fences[claimed.id]

    def drop(self, ready: Ready) -> None:
        """It will not be attempted by us: another gateway has it, or it is left to its lease."""
        self.leave_line(ready.claimed)
        self.forget(ready.claimed)

    def withdraw(self, ids: Collection[str]) -> None:
        """Drop those of these deliveries that have not started."""
        for line in self.lines.values():
            gone = [ready for ready in line.waiting if ready.claimed.id in ids]
            for ready in gone:
                line.remove(ready)
                self.drop(ready)
