"""The figures as a table in Markdown: it reads well in a terminal too."""

from collections.abc import Callable, Sequence

from bench.measure import Run, Summary, machine, spread

Cell = Callable[[Summary], float]


def ratio(runs: Sequence[Run]) -> float:
    """Settled by the gateway for each settled by the bare limit, of the medians."""
    bare, gateway = _summaries(runs).values()
    return gateway.settled / bare.settled


def table(runs: Sequence[Run]) -> str:
    summaries = _summaries(runs)
    rates = runs[0].paced
    rows: list[tuple[str, str, Cell]] = [
        ("burst, settled per second", ",.0f", lambda of: of.settled),
        ("CPU of the program per delivery, µs", ",.0f", lambda of: of.cpu),
        ("the burst where a receiver takes 50 ms, settled per second", ",.0f", lambda of: of.slow),
        ("publish → received, one notice on an idle program, p50 ms", ".1f", lambda of: of.idle),
    ]
    for rate in rates:
        rows += _latency_rows(rate)
    rows.append(("peak memory after the burst, MiB", ",.0f", lambda of: of.memory))
    width = max(len(label) for label, _, _ in rows)
    names = [*summaries, "ratio"] if len(summaries) > 1 else [*summaries]
    lines = [f"| {'median of the rounds':{width}} | " + " | ".join(f"{name:>10}" for name in names) + " |"]
    lines.append(f"|{'-' * (width + 2)}|" + "|".join("-----------:" for _ in names) + "|")
    for label, form, cell in rows:
        values = [cell(summary) for summary in summaries.values()]
        cells = [f"{value:>10{form}}" for value in values]
        if len(values) > 1:
            cells.append(f"{values[1] / values[0]:>10.2f}")
        lines.append(f"| {label:{width}} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def document(runs: Sequence[Run], notices: int, load_before: float) -> str:
    """RESULTS.md: the table, what it was measured on and how busy that was, and how far the rounds lay apart."""
    rounds = [
        f"- {name}: {spread(run.settled for run in runs if run.program == name)} settled per second"
        for name in _summaries(runs)
    ]
    return f"""# Speed

{notices:,} notices to 8 creditors each over RabbitMQ, webhooks to a receiver on the same machine, PostgreSQL with
fsync on. *Settled*: from the first publish to the last outcome in the ledger and the last event in its queue. The
*bare limit* (`bench/bare.py`) does the same in the least Python can and keeps nothing safe. Only ratios of one run
say something: made by `make bench`.

**Ratio of settled rates: {ratio(runs):.2f}**

{table(runs)}
Rounds, {len(runs) // 2} of each program in turns:

{chr(10).join(rounds)}

Machine:

{chr(10).join("- " + fact for fact in machine())}
- load average of the machine when it began: {load_before:.1f}
"""


def _latency_rows(rate: int) -> list[tuple[str, str, Cell]]:
    return [
        (f"publish → received at {rate} notices/s, p50 ms", ".1f", lambda of: of.paced[rate].p50),
        (f"publish → received at {rate} notices/s, p99 ms", ".1f", lambda of: of.paced[rate].p99),
    ]


def _summaries(runs: Sequence[Run]) -> dict[str, Summary]:
    names = dict.fromkeys(run.program for run in runs)
    return {name: Summary.of([run for run in runs if run.program == name]) for name in names}
