"""What must hold of any ledger, asked of it alone: each check counts what it looked at, and names what is broken.

| | |
|---|---|
| I2 | a message has one delivery per addressee, and a first kennisgeving has at least one, or a task |
| I3 | a delivery is terminal, due, waits for another one, awaits an answer under its dossier's agenda, or has a task |
| I3 | one that failed is or was a task |
| I6 | attempts on one channel sent the same bytes |
| I9 | no attempt starts after the withdrawal is committed |
| I10 | changes of state follow the table and each other; only evidence leaves a terminal state, nothing `ingetrokken`;
|     | who says that something arrived is on record |
| I11 | of one fencing token at most one result counts, and a stale one moves nothing |
| I12 | an answer is from the creditor of its delivery or an agent, with the digest of what came in |
| I12 | what a mailbox got is about what was sent |
| I13 | as many decisions on record as events about them |
| I14 | `bevestigd` and `geweigerd` rest on a decision of the creditor |
| I15 | every change of state that the contract names has its event, once |
| I16 | what is not, or was not, handed over within 4 hours has been reported |
| I17 | attempts keep to the schedule, in time and in number, and none begins on a lane that is dead |
| I23 | no claim outlives its lease, no change is left unlooked at |
| I24 | what is past its horizon has ended, and so has everything when all is quiet |

Those that need the creditors' and the publisher's own logs (I1, I4, I5, I7, I8, I19), and what I23 says of descriptors,
connections and half files, are with the fault campaign in `tests/faults/`.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from gateway.invariants import answers, attempts, deliveries, events, pacing, rest, states
from gateway.invariants.finding import Circumstances, Finding

__all__ = ["CHECKS", "Circumstances", "Finding", "verify"]

CHECKS: tuple[Callable[[Connection, Circumstances], Finding], ...] = (
    deliveries.one_each,
    deliveries.none_lost,
    deliveries.failed_for_a_person,
    attempts.same_bytes,
    states.none_after_withdrawal,
    states.by_the_table,
    states.one_after_another,
    states.as_the_row_says,
    states.terminal_but_for_evidence,
    states.attested_by_somebody,
    attempts.one_result,
    answers.by_its_creditor,
    answers.came_back_from_us,
    answers.told_once,
    answers.behind_every_decision,
    events.for_messages,
    events.for_hand_overs,
    events.for_ends,
    events.for_receipts,
    events.for_the_clock,
    events.for_refusals,
    events.for_pause_requests,
    deliveries.reported_late,
    pacing.paced,
    pacing.bounded,
    pacing.none_while_dead,
    rest.no_claim_forgotten,
    rest.no_nudge_forgotten,
    deliveries.ended,
)


def verify(connection: Connection, circumstances: Circumstances) -> list[Finding]:
    """Every check, in one transaction, so that all see the same ledger."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    return [check(connection, circumstances) for check in CHECKS]
