"""A creditor as the conformance suite sees it: what arrived, and faults to switch on."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sighting:
    """One arrival at the peer. `key` is what it would drop duplicates by; `digest` is sha256, hex, of the bytes."""

    key: str
    digest: str


class Peer(Protocol):
    """The creditor: a real server, with faults that can be switched on for the length of an `async with`.

    One that speaks HTTP also has `answers_with(status, body=b"…")`, as `https_server.py` does: it answers every
    delivery so.
    """

    @property
    def connections_made(self) -> int:
        """Accepted so far."""
        ...

    @property
    def connections_open(self) -> int: ...

    def received(self, delivery: str) -> list[Sighting]:
        """What arrived of one delivery and was taken, in order."""
        ...

    def visible(self) -> bytes:
        """All that arrived outside of what is encrypted or sealed: names, headers, envelope, subject, path."""
        ...

    def refuses(self) -> AbstractAsyncContextManager[object]:
        """Answers every delivery with a permanent refusal."""
        ...

    def is_down(self) -> AbstractAsyncContextManager[object]:
        """Nothing listens and what was open is closed; afterwards the peer is back at the same address."""
        ...

    def hangs(self) -> AbstractAsyncContextManager[object]:
        """Takes the connection or request and never answers."""
        ...

    def drops_reply(self) -> AbstractAsyncContextManager[object]:
        """Takes the delivery (it is in `received`) and cuts the connection instead of saying so."""
        ...

    def is_impostor(self) -> AbstractAsyncContextManager[object]:
        """Answers at the same address with another certificate authority or host key."""
        ...
