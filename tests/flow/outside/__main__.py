"""The commands of this package; each starts its own RabbitMQ and PostgreSQL and exits 1 when something is amiss."""

import argparse
import asyncio
import json
import logging
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.flow.outside.installation import GatewayFailed
from tests.flow.outside.messages import GEMEENTE, SENDER
from tests.flow.outside.stories import QUICK, Cast, Report, broker_story, kill_story, pause_story
from tests.servers import PostgreSQL, RabbitMQ


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.flow.outside")
    parser.add_argument("story", choices=["kill", "broker", "pause"])
    parser.add_argument("--notices", type=int, default=200)
    parser.add_argument("--creditors", type=int, default=14)
    parser.add_argument("--sftp", type=int, default=2, help="how many of the creditors take files over SFTP")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a gateway stands still")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000))
    parser.add_argument("--trouble", type=float, default=0.01, help="part of the webhook answers that goes wrong")
    parser.add_argument("--defaults", action="store_true", help="the gateway's own lease and retry times")
    parser.add_argument("--keep", type=Path, help="an empty directory to leave all logs in")
    return parser.parse_args(arguments)


def tell(given: argparse.Namespace, directory: Path) -> Report:
    tempo = {} if given.defaults else dict(QUICK)
    patience = 400.0 if given.defaults else 120.0
    cast = Cast(given.notices, given.creditors, given.seed, given.sftp, given.trouble, tempo, patience)
    with RabbitMQ({SENDER: [GEMEENTE]}) as rabbitmq, PostgreSQL() as postgres:
        ledger = postgres.create_database("ledger")
        if given.story == "kill":
            return asyncio.run(kill_story(cast, given.kills, directory, rabbitmq.url, ledger))
        if given.story == "pause":
            return asyncio.run(pause_story(cast, given.seconds, directory, rabbitmq.url, ledger))
        return asyncio.run(broker_story(cast, directory, rabbitmq, ledger))


def _for_us_alone(directory: Path) -> Path:
    """Keys lie in it."""
    directory.chmod(0o700)
    return directory


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwind, so that no server is left behind
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # a broker that is away is part of the story
    sys.stderr.write(f"seed {given.seed}\n")
    with tempfile.TemporaryDirectory(prefix="kennisgeving-outside-") as temporary:
        try:
            found = tell(given, _for_us_alone(given.keep or Path(temporary)))
        except GatewayFailed as why:
            sys.stderr.write(f"the gateway {why}\n")
            return 1
    sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
