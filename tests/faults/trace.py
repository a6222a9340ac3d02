"""What a gateway committed and acknowledged, in its own order: a line is written between the two, for I4."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiormq import Channel

from gateway.ledger.engine import Ledger


def keep(path: Path) -> None:
    """From now on this process writes `commit <pid>` after every commit of intake and `ack <pid>` before every
    acknowledgement; a line is one write, so that a kill tears none."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    run, ack = Ledger.run, Channel.basic_ack
    pid = os.getpid()

    async def traced_run(self: Ledger, transaction: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        result = await run(self, transaction, *args, **kwargs)
        if (transaction.__module__, transaction.__name__) == ("gateway.ledger.intake", "accept"):
            os.write(file, f"commit {pid}\n".encode())
        return result

    async def traced_ack(self: Channel, *args: Any, **kwargs: Any) -> None:
        os.write(file, f"ack {pid}\n".encode())
        await ack(self, *args, **kwargs)

    Ledger.run = traced_run  # type: ignore[method-assign]
    Channel.basic_ack = traced_ack  # type: ignore[method-assign]
