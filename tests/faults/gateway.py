"""The process that gateways are born from: everything is imported once, and each gateway is a fork that then serves.

    python -m tests.faults.gateway        one order per line on standard input, the pid of each birth on standard output

A gateway so born is a process of its own, with its own connections, log and end; only the second that Python takes to
import it is saved, which a thousand deaths would not have otherwise. Crash points and seeded bugs are put in after the
fork: `kennisgeving serve` knows of neither.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.sftp import litter
from gateway import app, http_peer, timers
from gateway.__main__ import run
from gateway.core import agenda, lane
from gateway.core.lane import SECOND
from gateway.http import server
from tests.faults import points, trace
from tests.faults.kernel import die_with_parent, use_names_of
from tests.imports import import_everything

IN_DOUBT_FOR = 6 * SECOND
"""Two minutes in life: how long a withdrawal waits for an attempt that a killed gateway never ended."""
OWN_FAULT_PAUSE = 2.0
"""A minute in life: how long a lane rests after a fault of our own."""
IDLE = 1.0
"""Half a minute in life: how long a connection over HTTP is kept that is not used."""
REGISTER_EVERY = 0.5
"""Five seconds in life: between two looks whether there is another register."""
LITTER_EVERY = 1.0
"""An hour in life: between two looks for parts that were left in an SFTP inbox."""


@dataclass(frozen=True)
class Order:
    """`point` is reached `hit` times and then the gateway dies; `note` says where it did, `code` gets its exit code,
    `trace` what was committed and acknowledged. `bugs` are names of `tests.faults.bugs`; `names` is the directory of
    its own hosts and resolv.conf; `command` is what of `kennisgeving` it carries out; `late_after`: seconds in place
    of the four hours after which what is not handed over is reported, 0: four hours."""

    config: str
    log: str
    note: str
    code: str
    trace: str
    point: str = ""
    hit: int = 1
    bugs: tuple[str, ...] = ()
    names: str = ""
    command: tuple[str, ...] = ("serve",)
    late_after: float = 0.0


def main() -> None:
    import_everything()
    importlib.import_module("tests.faults.bugs")  # it imports what it puts itself in the place of
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes the dead away
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _live(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _live(order: Order) -> None:
    """Be a gateway; never returns."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        die_with_parent()
        _redirect(order.log)
        agenda.IN_DOUBT_FOR, lane.OWN_FAULT_PAUSE = IN_DOUBT_FOR, OWN_FAULT_PAUSE
        http_peer.KEPT_SECONDS = server.IDLE = IDLE
        app.REGISTER_EVERY, litter.LOOK_EVERY = REGISTER_EVERY, LITTER_EVERY
        if order.late_after:
            _hurry(order.late_after)
        if order.names:
            use_names_of(Path(order.names))
        _plant(order.bugs)
        trace.keep(Path(order.trace))
        if order.point:
            points.arm(order.point, order.hit, Path(order.note))
        code = run([*order.command, "--config", order.config])
    except BaseException as why:  # noqa: BLE001 - a fork may never come back to the loop of its parent
        traceback.print_exception(why)
    finally:
        sys.stderr.flush()
        Path(order.code).write_text(str(code))
        os._exit(code)


def _hurry(late_after: float) -> None:
    """Every look of the clock comes as soon as suits this."""
    agenda.DELAYED_AFTER, agenda._SPREAD = int(late_after * SECOND), SECOND
    lane.LATE_FROM = agenda.DELAYED_AFTER
    timers.Timers.__init__.__kwdefaults__ = {"look_every": 0.5, "gather": 0.5}


def _redirect(log: str) -> None:
    null, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _plant(bugs: Iterable[str]) -> None:
    from tests.faults.bugs import BUGS  # noqa: PLC0415 - the crash points need none

    for name in bugs:
        BUGS[name]()


def written(order: Order) -> str:
    return json.dumps(asdict(order)) + "\n"


if __name__ == "__main__":
    main()
