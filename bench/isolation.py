"""`python -m bench.isolation`: what three sick creditors cost the healthy ones; bench/ISOLATION.md keeps it.

14 creditors, a steady stream of notices to all of them. In the clean runs all are well; in the others one takes the
connection and never answers, one refuses connections, and one answers 429 to everything. Compared is publish →
received of the other eleven, in turns on the same servers, each run on a new gateway with an empty ledger.
"""

import argparse
import asyncio
import base64
import os
import secrets
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Latency, machine
from bench.publisher import Publisher
from bench.round import Stage, WorkLost, stage
from tests.flow.outside.installation import Gateway, Settings, webhook_entry
from tests.flow.outside.messages import GEMEENTE, SENDER, kennisgeving
from tests.servers import PostgreSQL, RabbitMQ

RESULTS = Path(__file__).parent / "ISOLATION.md"
GOAL = 1.2
CREDITORS = [f"schuldeiser-{nr:02}" for nr in range(1, 15)]
HANGS, REFUSES, BUSY = SICK = CREDITORS[:3]
HEALTHY = CREDITORS[3:]
WARM_UP = 20
STUCK_AFTER = 30.0
TEMPO = {"antwoord_binnen": "5 s"}
"""The one that hangs costs its lane a time-out each time; a shorter one than usual makes that happen more often."""


@dataclass(frozen=True)
class Load:
    notices: int
    per_second: float


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.isolation")
    parser.add_argument("--quick", action="store_true", help="100 notices, 1 round, no ISOLATION.md")
    parser.add_argument("--notices", type=int, default=600)
    parser.add_argument("--rate", type=float, default=20.0, help="notices per second, each to 14 creditors")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-most", type=float, default=float("inf"), help="exit 1 when the ratio of p99 is higher")
    return parser.parse_args(arguments)


def closed_port() -> tuple[socket.socket, int]:
    """A port that refuses connections as long as the socket is held: bound, and not listened on."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held, int(held.getsockname()[1])


@asynccontextmanager
async def gateway(directory: Path, where: Stage, refused_at: int | None) -> AsyncIterator[None]:
    """`kennisgeving serve` with the fourteen; `refused_at`: the port of the one that refuses."""
    (directory / "webhook.key").write_text("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    roots = {REFUSES: f"http://127.0.0.1:{refused_at}"} if refused_at else {}
    register = [
        webhook_entry(creditor, nr, f"{roots.get(creditor, where.receiver)}/{creditor}", "webhook.key")
        for nr, creditor in enumerate(CREDITORS, start=1)
    ]
    running = Gateway(directory, Settings(where.rabbitmq.url(), where.ledger(), register, TEMPO))
    running.install()
    running.start()
    try:
        await running.ready()
        yield
    finally:
        running.kill()


async def run(where: Stage, load: Load, *, sick: bool) -> Latency:
    """Publish → received of the healthy ones."""
    await where.clear()
    held, port = closed_port()
    with held, tempfile.TemporaryDirectory(prefix="kennisgeving-bench-") as directory:
        async with (
            gateway(Path(directory), where, port if sick else None),
            Publisher(where.rabbitmq.url(SENDER)) as publisher,
        ):
            for creditor, how in ((HANGS, "hang"), (BUSY, "busy")):
                await where.creditors.sicken(creditor, how if sick else "well")
            await stream(where, publisher, "warm", Load(WARM_UP, load.per_second))
            return Latency.of(await stream(where, publisher, "run", load))


async def stream(where: Stage, publisher: Publisher, name: str, load: Load) -> list[float]:
    """Seconds of every delivery to a healthy creditor."""
    await where.creditors.clear()
    messages = [kennisgeving(f"SHV-{name}-{nr:05}", CREDITORS) for nr in range(load.notices)]
    published = await publisher.publish_paced(messages, load.per_second)
    deadline = time.monotonic() + STUCK_AFTER
    wanted = {f"/{creditor}" for creditor in HEALTHY}
    while True:
        seen = [(dossier, at) for dossier, path, at in await where.creditors.sightings() if path in wanted]
        if len(seen) == load.notices * len(HEALTHY):
            return [at - published[dossier] for dossier, at in seen]
        if time.monotonic() > deadline:
            raise WorkLost(f"healthy creditors received {len(seen)} of {load.notices * len(HEALTHY)}")
        await asyncio.sleep(0.1)


async def measure(rabbitmq: RabbitMQ, postgres: PostgreSQL, load: Load, rounds: int) -> list[tuple[Latency, Latency]]:
    """Clean and sick in turns, so that a machine that slows down or speeds up does so for both."""
    async with stage(rabbitmq, postgres) as where:
        return [(await run(where, load, sick=False), await run(where, load, sick=True)) for _ in range(rounds)]


def ratios(runs: Sequence[tuple[Latency, Latency]]) -> tuple[float, float]:
    """Of the medians of the rounds: p50 and p99, sick over clean."""

    (clean50, clean99), (sick50, sick99) = (
        (statistics.median(run[at].p50 for run in runs), statistics.median(run[at].p99 for run in runs))
        for at in (0, 1)
    )
    return sick50 / clean50, sick99 / clean99


def table(runs: Sequence[tuple[Latency, Latency]]) -> str:
    lines = [
        "| round | all well, p50 ms | p99 ms | three sick, p50 ms | p99 ms | ratio of p99 |",
        "|------:|-----------------:|-------:|-------------------:|-------:|-------------:|",
    ]
    for nr, (clean, sick) in enumerate(runs, start=1):
        cells = [f"{nr:>5}", f"{clean.p50:>16.1f}", f"{clean.p99:>6.1f}", f"{sick.p50:>18.1f}", f"{sick.p99:>6.1f}"]
        lines.append("| " + " | ".join([*cells, f"{sick.p99 / clean.p99:>12.2f}"]) + " |")
    p50, p99 = ratios(runs)
    return "\n".join(lines) + f"\n\n**Ratio of the medians: p50 {p50:.2f}, p99 {p99:.2f}** (goal: p99 at most {GOAL})\n"


def document(runs: Sequence[tuple[Latency, Latency]], load: Load, load_before: float) -> str:
    facts = [*machine(), f"load average of the machine when it began: {load_before:.1f}"]
    return f"""# Isolation

What three sick creditors cost the other eleven of fourteen. {load.notices} notices to all fourteen, {load.per_second:g}
a second, over RabbitMQ, webhooks, PostgreSQL with fsync on. One creditor takes the connection and never answers, one
refuses connections, one answers 429 to everything. Publish → received of the eleven; made by
`python -m bench.isolation`.

{table(runs)}
Machine:

{chr(10).join("- " + fact for fact in facts)}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwind, so that no server is left behind
    load_before = os.getloadavg()[0]
    load = Load(100 if given.quick else given.notices, given.rate)
    with RabbitMQ({SENDER: [GEMEENTE]}) as rabbitmq, PostgreSQL() as postgres:
        runs = asyncio.run(measure(rabbitmq, postgres, load, 1 if given.quick else given.rounds))
    sys.stdout.write(table(runs))
    if not given.quick:
        RESULTS.write_text(document(runs, load, load_before))
    return 0 if ratios(runs)[1] <= given.at_most else 1


if __name__ == "__main__":
    sys.exit(main())
