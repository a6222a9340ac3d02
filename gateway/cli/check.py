"""`kennisgeving check`."""

from typing import Annotated

from gateway.checking import check as findings
from gateway.checking import line
from gateway.cli.ledger import run
from gateway.cli.ledger_check import check_ledger
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag
from gateway.cli.output import say, say_json
from gateway.clock import Clock
from gateway.contract import Finding

OfLedger = Annotated[bool, flag("--ledger", "Kijk of het grootboek klopt, in plaats van of de instellingen kloppen.")]


def check(*, config: ConfigFile = DEFAULT_CONFIG, ledger: OfLedger = False, as_json: AsJson = False) -> int:
    """1: at least one thing is wrong."""
    if ledger:
        return check_ledger(config, as_json=as_json)
    found = run(_look(config, as_json))
    if as_json:
        say_json([{"goed": finding.ok, "melding": finding.text} for finding in found])
    return 1 if any(finding.ok is False for finding in found) else 0


async def _look(config: ConfigFile, quietly: bool) -> list[Finding]:
    found = []
    async for finding in findings(config, Clock()):
        found.append(finding)
        if not quietly:
            say(line(finding))
    return found
