"""`kennisgeving check --ledger`: what must hold of the ledger, each with how much was looked at."""

from pathlib import Path

from gateway.cli.ledger import ledger_to_read, run, settings
from gateway.cli.output import say, say_json
from gateway.clock import Clock
from gateway.config import Config
from gateway.invariants import Circumstances, Finding, verify

NAMED_AT_MOST = 10


def check_ledger(config: Path, *, as_json: bool) -> int:
    """1: something does not hold. Only reads; the gateway may run meanwhile."""
    found = run(_verify(config))
    if as_json:
        say_json([_record(finding) for finding in found])
    else:
        for finding in found:
            say(line(finding))
    return 1 if any(finding.broken for finding in found) else 0


async def _verify(path: Path) -> list[Finding]:
    config = settings(path)
    async with ledger_to_read(config) as ledger:
        return await ledger.run(verify, circumstances(path, config))


def circumstances(path: Path, config: Config) -> Circumstances:
    """What a gateway did that began before its settings were written is not held against these settings."""
    written = path.stat().st_mtime_ns // 1000
    return Circumstances(Clock().micros(), config.tempo.policy, settings_from=written)


def _record(finding: Finding) -> dict[str, object]:
    return {
        "invariant": finding.invariant,
        "melding": finding.what,
        "bekeken": finding.checked,
        "geschonden": list(finding.broken),
    }


def line(finding: Finding) -> str:
    mark = "FOUT" if finding.broken else "goed"
    said = f"{mark}  {finding.invariant:<4}{finding.what}: {finding.checked} bekeken"
    if not finding.broken:
        return said
    named = ", ".join(finding.broken[:NAMED_AT_MOST])
    more = len(finding.broken) - NAMED_AT_MOST
    return f"{said}, {len(finding.broken)} geschonden: {named}" + (f" en nog {more}" if more > 0 else "")
