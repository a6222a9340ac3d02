"""What an attempt can end in: a closed set, returned by adapters, matched exhaustively by the core.

| outcome        | whose doing | spends retry budget | next                                   |
|----------------|-------------|---------------------|----------------------------------------|
| HandedOver     | -           | -                   | afgeleverd, or further by proof/answer |
| Deferred       | ours        | no                  | again after `seconds`                  |
| Transient      | theirs      | yes                 | again by the schedule or their hint    |
| RefusedForGood | theirs      | ends it             | next channel, else a task;             |
|                |             |                     | `other_content`: an alarm and a task   |
| OwnFault       | ours        | no                  | lane waits, operator is alarmed        |
| Uncertain      | unknown     | yes                 | the adapter is asked to resolve it     |
"""

from enum import IntEnum
from typing import Literal

from msgspec import Struct


class Proof(IntEnum):
    """Strength of proof (contract: 1 transport, 2 received, 3 answered)."""

    NONE = 0
    TRANSPORT = 1
    RECEIVED = 2
    ANSWERED = 3


class Evidence(Struct, frozen=True):
    """What the peer said. `code` is short and free of personal data ("250", "201", "hernoemd", "tls"),
    and may be logged; `reply` is the peer's exact answer, at most 4 KiB, and is stored sealed."""

    code: str
    reply: bytes = b""


class HandedOver(Struct, frozen=True, tag="overgedragen"):
    """The peer took it. `answer` is the raw JSON of an answer given in the reply; `reference` is the name
    the peer gave it (a Location), kept for later messages and polling."""

    evidence: Evidence
    proof: Literal[Proof.TRANSPORT, Proof.RECEIVED] = Proof.TRANSPORT
    answer: bytes | None = None
    reference: str | None = None


class Deferred(Struct, frozen=True, tag="uitgesteld"):
    """We chose not to try now (rate limit, breaker, maintenance window)."""

    seconds: float
    reason: str


class Transient(Struct, frozen=True, tag="tijdelijk"):
    """A failure that may pass. `retry_after` (seconds) is the peer's own hint and holds its whole lane."""

    evidence: Evidence
    retry_after: float | None = None


class RefusedForGood(Struct, frozen=True, tag="geweigerd"):
    """This channel will never take this delivery; with `whole_channel` it takes no other one either (410).
    `other_content`: the peer has something else under this delivery's key, which a person must look into, whatever
    becomes of the delivery."""

    evidence: Evidence
    whole_channel: bool = False
    other_content: bool = False


CERTIFICATE_REFUSED = "mtls_geweigerd"
"""Code of the one fault of ours that shows after the request has left: it may have arrived all the same."""


class OwnFault(Struct, frozen=True, tag="eigen_fout"):
    """Our certificate, credentials, key or settings are wrong: not an outage of theirs. `this_only`: something of ours
    is wrong with this delivery alone, and the others of its lane are not held up by it."""

    evidence: Evidence
    this_only: bool = False


class Uncertain(Struct, frozen=True, tag="onzeker"):
    """It may or may not have arrived (connection lost after the last byte, an exception, a crash)."""

    evidence: Evidence


Outcome = HandedOver | Deferred | Transient | RefusedForGood | OwnFault | Uncertain


def evidence_of(outcome: Outcome) -> Evidence:
    """What the peer said, or for a deferral of ours: why."""
    return Evidence(outcome.reason) if isinstance(outcome, Deferred) else outcome.evidence


def name_of(outcome: Outcome) -> str:
    """The outcome's name as the ledger and the wire have it."""
    return str(outcome.__struct_config__.tag)
