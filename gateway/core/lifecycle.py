"""The life of a delivery: which happening moves which state. Nobody else compares states to decide.

Rules behind the table:

1. A delivery is offered until it is handed over or given up; `bezig` means that an attempt is under way and its
   intent is on record.
2. Whoever claimed a delivery and vanished leaves `bezig` behind; when its lease is over the attempt is in doubt
   (`onzeker`), never silently failed.
3. Authenticated evidence counts in any state, early or late: an answer may arrive before our own send is on record,
   or after we had given up. Only `ingetrokken` is never left. Where no answer is expected, a receipt is the end.
4. Time and our own attempts never move a terminal state; a hand-over recorded after the answer changes nothing. Of what
   evidence or time moved while an attempt was under way, the result of that attempt is recorded and moves nothing.
5. The latest authenticated answer is the current decision.
6. A withdrawal ends what was not handed over as `ingetrokken`, also while an attempt is under way: its result is kept
   and moves nothing. What was handed over stays a fact.
7. When no answer is expected any more (the term and the reminder are over, the pause has ended, the notice was
   withdrawn, a newer one is answered), what waits for one ends as `afgeleverd_zonder_antwoord`.
8. An operator, or the sender, may have what has ended sent again (`herhaald`): an act on record, with who and why. It
   is the only thing but evidence that leaves a terminal state, and it does not leave `ingetrokken`. What the creditor
   had already stays what it was: when the repeat has ended, however it ended, the delivery is that again (`blijft_…`),
   its decision untouched. A withdrawal, or evidence, ends a repeat at once.
9. After a backup was put back nobody knows what became of what was open in it: it is in doubt (`teruggezet`), and from
   then on it counts as something that may have arrived.
10. Of what is in doubt, and is looked at no more, a person may say that the creditor has it (`vastgesteld`): an act on
   record, with who and why. It is then what a hand-over makes of it.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """As on the wire."""

    QUEUED = "in_wachtrij"
    BUSY = "bezig"
    RETRYING = "wacht_op_poging"
    IN_DOUBT = "onzeker"
    DELIVERED = "afgeleverd"
    RECEIVED = "ontvangen"
    CONFIRMED = "bevestigd"
    REFUSED = "geweigerd"
    CLOSED = "afgeleverd_zonder_antwoord"
    WITHDRAWN = "ingetrokken"
    FAILED = "mislukt"


class Happening(StrEnum):
    """What can happen to a delivery."""

    CLAIMED = "geclaimd"
    LEASE_LOST = "lease_verlopen"
    RELEASED = "vrijgegeven"
    HANDED_OVER = "overgedragen"
    HANDED_OVER_FINAL = "overgedragen_zonder_antwoord"
    RETRY = "nieuwe_poging"
    DOUBT = "twijfel"
    GIVEN_UP = "opgegeven"
    BOUNCED = "teruggekomen"
    DIVERTED = "uitgeweken"
    WITHDRAWN = "ingetrokken"
    EXPIRED = "geen_antwoord_meer"
    RECEIPT = "ontvangst"
    RECEIPT_FINAL = "ontvangst_zonder_antwoord"
    CONFIRMING_ANSWER = "bevestigend_antwoord"
    REFUSING_ANSWER = "weigerend_antwoord"
    REPEATED = "herhaald"
    RESTORED = "teruggezet"
    ATTESTED = "vastgesteld"
    ATTESTED_FINAL = "vastgesteld_zonder_antwoord"
    STILL_DELIVERED = "blijft_afgeleverd"
    STILL_RECEIVED = "blijft_ontvangen"
    STILL_CONFIRMED = "blijft_bevestigd"
    STILL_REFUSED = "blijft_geweigerd"
    STILL_CLOSED = "blijft_afgeleverd_zonder_antwoord"


class NotAllowed(Exception):
    """A happening met a state that it cannot move: a bug in the caller, never bad input."""


_ANSWERS = {
    Happening.CONFIRMING_ANSWER: State.CONFIRMED,
    Happening.REFUSING_ANSWER: State.REFUSED,
}
_EVIDENCE = {Happening.RECEIPT: State.RECEIVED, Happening.RECEIPT_FINAL: State.CLOSED, **_ANSWERS}
_STILL = {
    Happening.STILL_DELIVERED: State.DELIVERED,
    Happening.STILL_RECEIVED: State.RECEIVED,
    Happening.STILL_CONFIRMED: State.CONFIRMED,
    Happening.STILL_REFUSED: State.REFUSED,
    Happening.STILL_CLOSED: State.CLOSED,
}
_AGAIN = {Happening.REPEATED: State.RETRYING}
_CAME_BACK = {Happening.BOUNCED: State.FAILED, Happening.DIVERTED: State.RETRYING}
"""What was handed over did not arrive: the end, or on by the next channel."""

OWN_RESULTS = frozenset(
    {
        Happening.HANDED_OVER,
        Happening.HANDED_OVER_FINAL,
        Happening.RETRY,
        Happening.DOUBT,
        Happening.GIVEN_UP,
        Happening.LEASE_LOST,
        Happening.RELEASED,
    }
)
"""What a claim of ours comes to."""


def _unmoved(state: State) -> dict[Happening, State]:
    """Results of an attempt that come after stronger evidence: recorded, and nothing moves."""
    return dict.fromkeys((*OWN_RESULTS, Happening.BOUNCED, Happening.WITHDRAWN, Happening.EXPIRED), state)


def _received(state: State) -> dict[Happening, State]:
    """A receipt says nothing new."""
    return {Happening.RECEIPT: state, Happening.RECEIPT_FINAL: state}


def _waiting(state: State) -> dict[Happening, State]:
    """To be offered, now or later."""
    return {
        Happening.CLAIMED: State.BUSY,
        Happening.BOUNCED: state,
        Happening.WITHDRAWN: State.WITHDRAWN,
        Happening.RESTORED: State.IN_DOUBT,
        **_EVIDENCE,
        **_STILL,
    }


TABLE: Mapping[State, Mapping[Happening, State]] = {
    State.QUEUED: _waiting(State.QUEUED),
    State.RETRYING: _waiting(State.RETRYING),
    State.IN_DOUBT: {
        **_waiting(State.IN_DOUBT),
        **_AGAIN,
        Happening.ATTESTED: State.DELIVERED,
        Happening.ATTESTED_FINAL: State.CLOSED,
    },
    State.BUSY: {
        Happening.LEASE_LOST: State.IN_DOUBT,
        Happening.RELEASED: State.RETRYING,
        Happening.HANDED_OVER: State.DELIVERED,
        Happening.HANDED_OVER_FINAL: State.CLOSED,
        Happening.RETRY: State.RETRYING,
        Happening.DOUBT: State.IN_DOUBT,
        Happening.GIVEN_UP: State.FAILED,
        **_CAME_BACK,
        Happening.WITHDRAWN: State.WITHDRAWN,
        Happening.RESTORED: State.IN_DOUBT,
        **_EVIDENCE,
        **_STILL,
    },
    State.DELIVERED: {
        **dict.fromkeys(OWN_RESULTS, State.DELIVERED),
        **_CAME_BACK,
        Happening.EXPIRED: State.CLOSED,
        **_EVIDENCE,
        **_STILL,
        **_AGAIN,
    },
    State.RECEIVED: {
        **_unmoved(State.RECEIVED),
        Happening.EXPIRED: State.CLOSED,
        **_EVIDENCE,
        **_STILL,
        **_AGAIN,
    },
    State.CONFIRMED: {**_unmoved(State.CONFIRMED), **_received(State.CONFIRMED), **_ANSWERS, **_AGAIN},
    State.REFUSED: {**_unmoved(State.REFUSED), **_received(State.REFUSED), **_ANSWERS, **_AGAIN},
    State.CLOSED: {**_unmoved(State.CLOSED), **_received(State.CLOSED), **_CAME_BACK, **_ANSWERS, **_AGAIN},
    State.FAILED: {**_unmoved(State.FAILED), **_EVIDENCE, **_AGAIN},
    State.WITHDRAWN: dict.fromkeys(Happening, State.WITHDRAWN),
}

CLAIMABLE = (State.QUEUED, State.RETRYING, State.IN_DOUBT, State.BUSY)
"""States in which a delivery whose `next_action_at` has passed is to be attempted (BUSY: its lease is over)."""

TERMINAL = frozenset({State.CONFIRMED, State.REFUSED, State.CLOSED, State.WITHDRAWN, State.FAILED})

SETTLED = TERMINAL | {State.DELIVERED, State.RECEIVED}
"""Handed over or terminal: the next version for the same creditor may go out (contract: order per creditor)."""

TOLD = SETTLED - {State.WITHDRAWN, State.FAILED}
"""The creditor has it, as far as anyone can know."""

AWAITING_ANSWER = (State.DELIVERED, State.RECEIVED)

IN_PROGRESS = frozenset({State.QUEUED, State.BUSY, State.RETRYING, State.IN_DOUBT})
"""Still to be handed over, as far as anyone can know."""

STAYS = {state: happening for happening, state in _STILL.items()}
"""What ends a repeat: the happening by which a delivery is again what it was before it."""


def move(state: State, happening: Happening) -> State:
    """The state after `happening`; raises NotAllowed."""
    try:
        return TABLE[state][happening]
    except KeyError:
        raise NotAllowed(f"{state} × {happening}") from None
