"""Identifiers: lower-case UUIDv7 (RFC 9562 §5.7), so that rows, events and files sort in the order they were made."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

_STOCK = 1024
"""Bytes of entropy asked for at once; a multiple of 8."""


class Uuid7:
    """Gives ids for instants in epoch microseconds (sub-millisecond part in rand_a). Strictly rising within one
    process, also for the same instant (RFC 9562 §6.2): the next id then takes the next free microsecond. Any thread
    may ask: the embedded ledger plans on a thread of its own."""

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._stock = b""
        self._last = 0
        self._one_at_a_time = Lock()

    @contextmanager
    def drawing_on(self, entropy: Callable[[int], bytes]) -> Iterator[None]:
        """Meanwhile draw on other entropy and begin anew: for a run with its own clock, while nobody else asks."""
        before = self._entropy, self._stock, self._last
        self._entropy, self._stock, self._last = entropy, b"", 0
        try:
            yield
        finally:
            self._entropy, self._stock, self._last = before

    def __call__(self, micros: int) -> str:
        with self._one_at_a_time:
            self._last = micros = max(micros, self._last + 1)
            self._stock = self._stock or self._entropy(_STOCK)
            taken, self._stock = self._stock[:8], self._stock[8:]
        millis, rest = divmod(micros, 1000)
        value = (millis << 80) | (0x7 << 76) | ((rest * 4096 // 1000) << 64) | (0x2 << 62)
        value |= int.from_bytes(taken, "big") >> 2
        return _as_text(value)


def first_id(micros: int) -> str:
    """Below every id of the millisecond of `micros` (epoch µs) and above every id of an earlier one."""
    return _as_text(max(micros, 0) // 1000 << 80)


def _as_text(value: int) -> str:
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


uuid7 = Uuid7()
