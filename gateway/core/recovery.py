"""After a backup was put back: what was open in it may have gone out since, and the ledger does not know.

All of it is in doubt. Where the creditor can be asked what it has, it is asked, and only what it does not have goes.
Where it cannot, nothing is sent of the gateway's own accord: a person finds out, or says that a duplicate is the lesser
evil. Whatever becomes of it, it counts as claimed once more: the creditor may have it, so it hears of a withdrawal.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.case import Delivery
from gateway.core.lifecycle import Happening, move
from gateway.core.repeat import Candidate, Step

KIND = "herstel"
"""Of the act."""


class Recovery(StrEnum):
    """What becomes of a delivery, as it is shown."""

    ASKED = "wordt nagevraagd"
    SENT_AGAIN = "wordt opnieuw gestuurd"
    FOR_A_PERSON = "wordt een taak"


class Manner(Struct, frozen=True):
    """How a backup is put back; kept with the act. `since`: the moment of the backup (epoch µs), as far as anybody
    knows it: only to tell, and to be looked at."""

    since: int
    send_again: bool


class Gap(Struct, frozen=True):
    """What a backup cannot know of: whatever was there, or was due, when it was put back (`until`, epoch µs) may have
    led to a message that went out, under a reference that is lost. `act`: the id of the restore."""

    act: str
    until: int

    def may_hide(self, at: int) -> bool:
        """What is made because of something of this instant may have been made before."""
        return at <= self.until


def put_in_doubt(one: Delivery) -> Delivery:
    """A new delivery that may have been made and sent before: no question to its creditor would find it, since the one
    that went had another reference."""
    return replace(one, state=move(one.state, Happening.RESTORED), fence=1, waits_for=None)


Askable = Callable[[str, str], bool]
"""Of a channel and a soort: whether a creditor can be asked there whether it has such a message."""


def recovery_of(one: Candidate, is_askable: Askable, *, send_again: bool) -> Recovery:
    if is_askable(one.channel, one.soort):
        return Recovery.ASKED
    return Recovery.SENT_AGAIN if send_again else Recovery.FOR_A_PERSON


def recover(
    found: Sequence[Candidate], now: int, give_up_at: int, is_askable: Askable, *, send_again: bool
) -> tuple[Step, ...]:
    """At `now` (epoch µs), and with a new horizon: the time that the gateway was away does not count."""
    return tuple(_in_doubt(one, now, give_up_at, recovery_of(one, is_askable, send_again=send_again)) for one in found)


def _in_doubt(one: Candidate, now: int, give_up_at: int, recovery: Recovery) -> Step:
    changes: dict[str, object] = {
        "next_action_at": now,
        "owner": None,
        "channel_since": now,
        "give_up_at": give_up_at,
        "fence": one.fence + 1,
    }
    if recovery is Recovery.FOR_A_PERSON:  # nor does it go when what it waited for has gone
        changes |= {"next_action_at": None, "waits_for": None}
    return Step(one, Happening.RESTORED, move(one.state, Happening.RESTORED), changes)
