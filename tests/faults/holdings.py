"""I23: what a gateway holds open when all is quiet, and what it leaves lying at the creditors.

At rest it holds no more than before the load, thing by thing; what is kept on purpose is bounded:

| | at rest, at most |
|---|---|
| a file, a pipe, an epoll or event object, a listener, a connection to the broker | as many as before the load |
| connections to PostgreSQL | what the two pools hold |
| a file of SQLite | two: one for the connection that writes, one for that of the watch |
| connections to the mail relay | what the pool for it holds |
| connections to an SFTP server | one per creditor there |
| connections to an API that is polled | one per creditor there |
| any other connection over HTTP, of ours and to us | none: they are closed when idle, here after a second |
| a connection that its other side has closed (CLOSE_WAIT) | none |

What is idle is closed a moment after its last use, so some seconds may pass before it is so. All that live at the end
of a round are held against what the first gateway held when it had nothing to do yet: every life is of the same program
with the same settings, and what grows from one load to the next shows in whichever had the loads.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adapters.email import relay
from gateway.invariants import Finding
from gateway.ledger.engine import POOL_SIZE, READING_POOL_SIZE

CLOSED_WITHIN = 8.0
"""Seconds after which what is idle has been closed, on a machine that has more to do."""
_LISTEN, _CLOSE_WAIT = "0A", "08"
"""States in /proc/net/tcp."""


def held_by(pid: int) -> Counter[str]:
    """Open descriptors of a process by what they are: `pipe`, `/var/log/a.log`, `to 5432`, `from a caller`."""
    sockets = _sockets(pid)
    return Counter(sockets.get(inode, kind) for kind, inode in _descriptors(pid))


def ports_to(pid: int, port: int) -> list[int]:
    """From which a process is connected to `port`."""
    own = {inode for _, inode in _descriptors(pid)}
    return [_port(row[1]) for row in _rows(pid) if row[9] in own and _port(row[2]) == port]


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    """What each is, and its inode where it has no path."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind, _, inode = os.readlink(link).partition(":[")
        except FileNotFoundError:  # closed since
            continue
        yield kind, inode[:-1]


def _sockets(pid: int) -> Mapping[str, str]:
    """Every TCP socket around a process by its inode."""
    rows = _rows(pid)
    listening = {_port(ours) for _, ours, _, state, *_ in rows if state == _LISTEN}
    return {row[9]: _name(_port(row[1]), _port(row[2]), row[3], listening) for row in rows}


def _rows(pid: int) -> Sequence[Sequence[str]]:
    """Of the tables of TCP around a process."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    return [line.split() for table in tables for line in table]


def _name(ours: int, theirs: int, state: str, listening: set[int]) -> str:
    if state == _LISTEN:
        return "listens"
    if state == _CLOSE_WAIT:
        return f"closed by the other side, {ours} {theirs}"
    return "from a caller" if ours in listening else f"to {theirs}"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def kept_on_purpose(
    creditors: Iterable[Mapping[str, Any]], email: Mapping[str, Any], postgresql: Iterable[int], sqlite: Path
) -> Mapping[str, int]:
    """How many of each may stay open; `creditors` are tables of the register, `email` is that of gateway.toml,
    `postgresql` has the ports at which it is reached, `sqlite` is the file of the ledger where that is what it is."""
    polled = Counter(
        f"to {table['sftp']['poort'] if 'sftp' in table else urlsplit(table['cjib']['url']).port}"
        for table in creditors
        if table.keys() & {"sftp", "cjib"}
    )
    pools = dict.fromkeys((f"to {port}" for port in postgresql), POOL_SIZE + READING_POOL_SIZE)
    files = dict.fromkeys((f"{sqlite}{suffix}" for suffix in ("", "-wal", "-shm")), 2)
    return {**polled, **pools, **files, f"to {urlsplit(email['relais']).port}": relay.CONNECTIONS}


def kept_open(held: Mapping[str, Counter[str]], before: Counter[str], on_purpose: Mapping[str, int]) -> Finding:
    """`held`: by gateways, by their names."""
    broken = [
        f"{gateway}: {number} × {what}"
        for gateway, all_of_it in held.items()
        for what, number in sorted(all_of_it.items())
        if number > on_purpose.get(what, before[what])
    ]
    checked = sum(all_of_it.total() for all_of_it in held.values())
    return Finding("I23", "wat een gateway in rust openhoudt, groeit niet", checked, tuple(broken))


def parts(directory: Path) -> frozenset[Path]:
    """Files that were never given their final name, wherever they lie with the SFTP creditors."""
    return frozenset(directory.rglob("*.part"))


def left_lying(directory: Path, before: Iterable[Path]) -> Finding:
    """`checked` is every file with a creditor."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    broken = tuple(sorted(path.name for path in parts(directory).difference(before)))
    return Finding("I23", "geen half bestand blijft bij een schuldeiser", len(files), broken)
