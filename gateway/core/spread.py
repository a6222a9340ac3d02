"""Which lanes a gateway takes, and which it lets go, so that each has one owner and all gateways have about as many.

A gateway takes what nobody who lives owns, up to its fair share: all lanes over all gateways, rounded up. What it has
beyond that it lets go. Nothing moves without need, and the shares together are never less than the lanes: each lane
finds an owner.
"""

from collections.abc import Mapping

from msgspec import Struct

Lane = tuple[str, str]
"""(creditor, channel)"""


class Move(Struct, frozen=True):
    """`take`: mine from now on. `surplus`: mine, and to be let go when nothing in it is under way."""

    take: tuple[Lane, ...]
    surplus: tuple[Lane, ...]


def fair_share(lanes: int, gateways: int) -> int:
    return -(-lanes // max(1, gateways))


def spread(me: str, living: Mapping[str, bool], owners: Mapping[Lane, str | None]) -> Move:
    """What `me` does now. `living`: gateways, and whether they stay; one that is ending keeps what it has until that is
    done, and has no share any more. `owners`: of every lane; they may be gateways that do not live any more."""
    mine = sorted(lane for lane, owner in owners.items() if owner == me)
    free = sorted(lane for lane, owner in owners.items() if owner != me and owner not in living)
    share = fair_share(len(owners), sum(living.values())) if living[me] else 0
    return Move(take=tuple(free[: max(0, share - len(mine))]), surplus=tuple(mine[share:]))
