"""Where the gateway is killed: named points before, inside and after everything that must not be torn apart.

A transaction has three: `before` it begins, `inside` it when all is written and nothing committed, `after` the commit.
What is not a transaction has two. The gateway itself knows nothing of them: `arm` wraps the functions in the process
that is to die, which then ends at the k-th hit as by SIGKILL, without a word.
"""

import functools
import importlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gateway.ledger.engine import Ledger

KILLED = 137
When = Literal["before", "inside", "after"]


class Point(NamedTuple):
    """`function`: of a module, or `Class.method`. `is_transaction`: it is run by the ledger."""

    name: str
    module: str
    function: str
    when: When
    is_transaction: bool


TRANSACTIONS = {
    "upgrade": "gateway.ledger.upgrade:upgrade",
    "register": "gateway.ledger.register:apply",
    "intake": "gateway.ledger.intake:accept",
    "claim": "gateway.ledger.queue:claim_and_look",
    "freeze": "gateway.ledger.queue:freeze",
    "settle": "gateway.ledger.settle:settle",
    "renew": "gateway.ledger.queue:renew",
    "events": "gateway.ledger.outbox:take_events",
    "published": "gateway.ledger.outbox:published",
    "answer": "gateway.ledger.evidence:record",
    "agenda": "gateway.ledger.agenda:look",
    "page": "gateway.ledger.evidence:enter_page",
    "share": "gateway.ledger.lanes:share",
    "release": "gateway.ledger.queue:release",
}
ON_POSTGRESQL = ("share",)
"""Who has SQLite shares with nobody."""
CALLS = {
    "ack": "aiormq.channel:Channel.basic_ack",
    "publish": "aiormq.channel:Channel.basic_publish",
    "webhook": "adapters.webhook.adapter:WebhookLink.send",
    "sftp": "adapters.sftp.adapter:SftpLink.send",
    "sftp_rename": "adapters.sftp.adapter:SftpLink._rename",
    "sftp_shelve": "adapters.sftp.outbox:Outbox._shelve",
    "email": "adapters.email.adapter:EmailLink.send",
    "cjib": "adapters.cjib.adapter:CjibLink.send",
    "cjib_poll": "adapters.cjib.adapter:CjibLink._poll",
    "receive": "gateway.receipts:Receipts.receive",
}


_OF_TRANSACTION: tuple[When, ...] = ("before", "inside", "after")
_OF_CALL: tuple[When, ...] = ("before", "after")


def _points() -> dict[str, Point]:
    found = [
        Point(f"{name}:{when}", module, function, when, kind is TRANSACTIONS)
        for kind, moments in ((TRANSACTIONS, _OF_TRANSACTION), (CALLS, _OF_CALL))
        for name, (module, _, function) in ((name, place.partition(":")) for name, place in kind.items())
        for when in moments
    ]
    return {point.name: point for point in found}


POINTS = _points()


def points_on(engine: str) -> tuple[str, ...]:
    """Names of those that a gateway on this engine comes to."""
    return tuple(name for name in POINTS if engine == "postgresql" or name.partition(":")[0] not in ON_POSTGRESQL)


SENDING = {"webhook": "webhook:after", "sftp": "sftp:after", "email": "email:after", "cjib": "cjib:after"}
"""Channel → the point between I/O and its record (F2)."""


def arm(name: str, hit: int, note: Path) -> None:
    """From now on this process dies at the `hit`-th time (from 1) that it comes to the point; `note` then says so."""
    point, hits = POINTS[name], count(1)

    def reached() -> None:
        if next(hits) == hit:
            note.write_text(name)
            os._exit(KILLED)

    if point.is_transaction:
        _wrap_transaction(point, reached)
    else:
        _wrap_call(point, reached)


def _wrap_transaction(point: Point, reached: Callable[[], None]) -> None:
    run, place = Ledger.run, f"{point.module}:{point.function}"

    async def watched(self: Ledger, transaction: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if f"{transaction.__module__}:{transaction.__name__}" != place:
            return await run(self, transaction, *args, **kwargs)

        @functools.wraps(transaction)
        def inside(*inner: Any, **named: Any) -> Any:
            result = transaction(*inner, **named)
            if point.when == "inside":
                reached()
            return result

        if point.when == "before":
            reached()
        result = await run(self, inside, *args, **kwargs)
        if point.when == "after":
            reached()
        return result

    Ledger.run = watched  # type: ignore[method-assign]


def _wrap_call(point: Point, reached: Callable[[], None]) -> None:
    owner, name = place_of(point.module, point.function)
    call = getattr(owner, name)

    @functools.wraps(call)
    async def watched(*args: Any, **kwargs: Any) -> Any:
        if point.when == "before":
            reached()
        result = await call(*args, **kwargs)
        if point.when == "after":
            reached()
        return result

    setattr(owner, name, watched)


def place_of(module: str, function: str) -> tuple[Any, str]:
    """The module or class that has the function, and its name there."""
    owner: Any = importlib.import_module(module)
    *outer, name = function.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name
