"""How a command ends early.

Exception
└── Stop        `lines`: what is wrong, Dutch, without personal data
    ├── WrongUse    arguments or settings cannot be used: exit 2
    └── Failed      what was asked could not be done: exit 1
"""

from collections.abc import Sequence
from typing import ClassVar


class Stop(Exception):
    code: ClassVar[int]

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines: Sequence[str] = lines


class WrongUse(Stop):
    code = 2


class Failed(Stop):
    code = 1
