"""Whose cancellation it is.

One exception says two things: whoever owns a task ends it, or what the task waits for was ended by somebody else, as
when a connection is closed under it. The first must go through. The second is a failure like any other, but it passes
every `except Exception`, and a task group takes a task that ends of it for one that ended in good order.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class CutOff(ConnectionError):
    """What was waited for was ended by somebody else."""


async def or_cut_off(work: Awaitable[T]) -> T:
    """What `work` comes to. Raises CutOff where it is cancelled and the task that waits for it is not."""
    try:
        return await work
    except asyncio.CancelledError as why:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise CutOff from why
