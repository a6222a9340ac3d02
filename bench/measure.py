"""Reading the measures: CPU and memory of a process, percentiles, and the machine they were taken on."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Latency:
    """Publish → received, in milliseconds, over every delivery of the run."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        ordered = sorted(seconds)
        return cls(1000 * statistics.median(ordered), 1000 * ordered[int(0.99 * (len(ordered) - 1))])


@dataclass
class Run:
    """What one program did in one round. Rates are deliveries per second, settled; CPU in microseconds."""

    program: str
    settled: float = 0.0
    cpu: float = 0.0
    slow: float = 0.0
    memory: float = 0.0
    idle: float = 0.0
    paced: dict[int, Latency] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """The medians of all runs of one program."""

    settled: float
    cpu: float
    slow: float
    memory: float
    idle: float
    paced: dict[int, Latency]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Summary":
        rates = runs[0].paced.keys()
        return cls(
            settled=statistics.median(run.settled for run in runs),
            cpu=statistics.median(run.cpu for run in runs),
            slow=statistics.median(run.slow for run in runs),
            memory=max(run.memory for run in runs),
            idle=statistics.median(run.idle for run in runs),
            paced={
                rate: Latency(
                    statistics.median(run.paced[rate].p50 for run in runs),
                    statistics.median(run.paced[rate].p99 for run in runs),
                )
                for rate in rates
            },
        )


def family(pid: int) -> list[int]:
    """The process and all its descendants that live."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(_fields(path)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time spent so far, descendants included."""
    spent = (_fields(Path(f"/proc/{member}/stat"))[11:13] for member in family(pid))
    return sum(int(user) + int(system) for user, system in spent) / TICKS


def peak_memory(pid: int) -> float:
    """MiB of resident memory at its highest, descendants included."""
    return sum(_peak(member) for member in family(pid)) / 1024


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _fields(stat: Path) -> list[str]:
    """The fields of proc(5) stat from the third on; the second is a name in brackets that may hold spaces."""
    return stat.read_text().rpartition(")")[2].split()


def machine() -> list[str]:
    """What the figures depend on, one fact a line."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    libraries = ("aio-pika", "aiohttp", "asyncpg", "msgspec", "SQLAlchemy", "uvloop")
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return [
        f"{os.cpu_count()} × {processor}, {system}, Linux {platform.release()}",
        f"CPython {platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in libraries),
    ]


def spread(values: Iterable[float]) -> str:
    """`4,020 (3,900 to 4,100)`: median, lowest and highest."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):,.0f} ({ordered[0]:,.0f} to {ordered[-1]:,.0f})"
