"""`kennisgeving schuldeisers`: the register."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from gateway.app import apply_register
from gateway.cli.errors import WrongUse
from gateway.cli.ledger import ledger_to_read, ledger_to_write, run, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag, option
from gateway.cli.output import console, say, say_json, table
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.creditor import Covenant, Creditor
from gateway.http.records import creditor_line
from gateway.ledger import register as register_rows
from gateway.ledger.engine import Ledger
from gateway.register import Change, creditor_from_json, difference, read_register


class _Changed(Struct):
    """One record of `apply --json`. `verschil`: nieuw, gewijzigd or vervallen."""

    schuldeiser: str
    verschil: str
    regels: Sequence[str]


def apply(
    *,
    file: Annotated[Path | None, option("--bestand", "In plaats van [register] bestand.")] = None,
    only_show: Annotated[bool, flag("--droog", "Toon alleen het verschil.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """The difference, and then the change; nothing where there is no difference."""
    return run(_apply(settings(config), file, only_show, as_json))


def show_all(*, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> int:
    """The register in force."""
    creditors = run(_read(settings(config)))
    if as_json:
        say_json([creditor_line(creditor) for creditor in creditors])
        return 0
    columns = ("schuldeiser", "naam", "sector", "kanalen", "pauze", "BSN")
    console().print(table(f"{len(creditors)} schuldeisers", columns, map(_row, creditors)))
    return 0


async def _apply(config: Config, file: Path | None, only_show: bool, as_json: bool) -> int:
    if file is None and config.register is None:
        raise WrongUse("noem het register met --bestand, of in de instellingen als [register] bestand")
    path = file or Path(config.register.file if config.register else "")
    new = read_register(path)
    async with (ledger_to_read if only_show else ledger_to_write)(config) as ledger:
        changes = difference(await _in_force(ledger), new)
        _say_changes(changes, as_json)
        if changes and not only_show:
            await apply_register(ledger, Clock(), new)
    if not as_json:
        say(f"{path}: {_summary(len(changes), len(new), only_show)}")
    return 0


async def _read(config: Config) -> list[Creditor]:
    async with ledger_to_read(config) as ledger:
        return await _in_force(ledger)


async def _in_force(ledger: Ledger) -> list[Creditor]:
    documents = await ledger.run(register_rows.entries)
    return [creditor_from_json(document) for document in documents.values()]


def _say_changes(changes: Sequence[Change], as_json: bool) -> None:
    if as_json:
        say_json([_Changed(change.creditor, change.kind, change.lines) for change in changes])
        return
    for change in changes:
        say(f"{change.kind}: {change.creditor}")
        for line in change.lines:
            say(f"  {line}")


def _summary(changes: int, creditors: int, only_show: bool) -> str:
    if not changes:
        return "geen verschil"
    if only_show:
        return f"{changes} verschillen, niets doorgevoerd (--droog)"
    return f"{changes} verschillen doorgevoerd; {creditors} schuldeisers"


def _row(creditor: Creditor) -> tuple[str, ...]:
    return (
        creditor.id,
        creditor.name,
        creditor.sector or "",
        ", ".join(creditor.channels),
        _pause(creditor.covenant),
        "ja" if creditor.bsn_basis else "",
    )


def _pause(covenant: Covenant | None) -> str:
    if covenant is None:
        return "verzoek"
    ground = "" if covenant.binding else " (niet bindend)"
    return f"{covenant.pause.amount} {covenant.pause.unit}{ground}"
