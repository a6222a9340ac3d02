"""Identifiers: lower-case UUIDv7 (RFC 9562 §5.7), so that rows and files sort by the time they were made."""

import os
from collections.abc import Callable


def uuid7(micros: int, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """A UUIDv7 for the instant `micros` (epoch microseconds); the sub-millisecond part goes into rand_a."""
    millis, rest = divmod(micros, 1000)
    value = (millis << 80) | (0x7 << 76) | ((rest * 4096 // 1000) << 64) | (0x2 << 62)
    value |= int.from_bytes(entropy(8), "big") >> 2
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
