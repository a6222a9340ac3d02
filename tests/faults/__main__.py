"""The commands of this package; the last line says whether every invariant held, and so does the exit code."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign import CI, FAULTS, FULL, QUICK, Effort, carry_out, chosen
from tests.faults.figures import Figures
from tests.faults.grounds import open_grounds
from tests.faults.report import REPORT, is_skipped, unseen, write, write_teeth
from tests.faults.teeth import Bite, bite
from tests.servers import ServerMissing

ALL_HELD = "Every invariant held."


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="F1|…|teeth", help="faults by name; nothing: all, then the teeth")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--kills", type=int, default=None, help="of the gateway, in F1")
    parser.add_argument("--minutes", type=float, default=None, help="of F24")
    parser.add_argument("--quick", action="store_true", help="at most a minute: F1, F6, F16")
    parser.add_argument("--ci", action="store_true", help="at most ten minutes: every fault once")
    parser.add_argument("--keep", type=Path, help="an empty directory to leave all logs in")
    return parser.parse_args(arguments)


def effort_of(given: argparse.Namespace) -> Effort:
    effort = QUICK if given.quick else CI if given.ci else FULL
    if given.kills is not None:
        effort = effort._replace(kills=given.kills)
    return effort if given.minutes is None else effort._replace(minutes=given.minutes)


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def run(given: argparse.Namespace, directory: Path) -> int:
    effort, seed = effort_of(given), given.seed if given.seed is not None else secrets.randbelow(10_000)
    names = [name for name in given.what if name != "teeth"]
    is_whole = not (given.what or given.quick or given.ci)
    began, rounds, bites = time.monotonic(), list[Figures](), list[Bite]()

    def note(found: list[Figures]) -> None:
        if is_whole:
            write(REPORT, seed, found, bites, time.monotonic() - began)

    async with open_grounds(directory) as grounds:
        if names or not given.what:
            rounds = await carry_out(grounds, chosen(names, effort), seed, effort, tell, note)
        if "teeth" in given.what or is_whole:
            bites += await bite(grounds, seed, tell)
        note(rounds)
    if given.what == ["teeth"]:
        write_teeth(REPORT, seed, bites)
    wrong = [one.fault for one in rounds if one.broken or one.faults] + [one.bug for one in bites if not one.caught]
    skipped = [one.fault for one in rounds if is_skipped(one)]
    for line in unseen(rounds) if is_whole else ():
        tell(line)
    held = f"Every invariant held where this machine let us; skipped: {', '.join(skipped)}." if skipped else ALL_HELD
    tell(f"RED: {', '.join(dict.fromkeys(wrong))}" if wrong else held)
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    unknown = [name for name in given.what if name != "teeth" and name.upper() not in FAULTS]
    if unknown:
        sys.stderr.write(f"there is no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwind, so that no server is left behind
    for name in ("aiormq", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is away or cut off is part of the story
    with tempfile.TemporaryDirectory(prefix="kennisgeving-faults-", ignore_cleanup_errors=True) as temporary:
        try:
            return asyncio.run(run(given, given.keep or Path(temporary)))
        except ServerMissing as why:
            sys.stderr.write(f"{why}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
