"""What can be left out this time when the ledger is away."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.log import logger

log = logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def unless_away(
    ledger: Ledger, transaction: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """What the transaction returns; None: it was left out."""
    try:
        return await ledger.run(transaction, *args, **kwargs)
    except (LedgerAway, Contention) as why:
        log.warning("ledger_away", stap="onderhoud", reden=str(why))
        return None
