"""Properties of AMQP messages as strangers write them: one that cannot be read costs itself, never the connection.

The broker passes on what a sender put there (AMQP 0-9-1 §4.2.5): short strings that are no UTF-8, tables nested a
thousand deep, moments far beyond the year 9999. A client that ends its connection over one of them gets the same
message again, and again, and the queue stands still behind it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from pamqp import decode
from pamqp.common import FieldValue

Read = Callable[..., tuple[int, FieldValue]]
"""From the bytes that are left to how many it took and the value."""

_LENGTHS: Final[Mapping[str, Callable[[bytes], int]]] = {
    "shortstr": lambda rest: 1 + rest[0],
    "table": lambda rest: 4 + int.from_bytes(rest[:4], "big"),
    "timestamp": lambda _: 8,
}
_UNREADABLE = (ValueError, OverflowError, OSError, RecursionError)


@cache
def tolerate() -> None:
    """From now on such a property reads as absent, in every connection of this process."""
    for kind, length in _LENGTHS.items():
        decode.METHODS[kind] = _tolerant(decode.METHODS[kind], length)


def _tolerant(read: Read, length: Callable[[bytes], int]) -> Read:
    def read_or_skip(rest: bytes) -> tuple[int, FieldValue]:
        try:
            return read(rest)
        except _UNREADABLE:
            return length(rest), None

    return read_or_skip
