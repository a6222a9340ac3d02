"""`kennisgeving overzicht`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Struct
from rich.markup import escape

import schemas
from gateway.cli import spreadsheet
from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_read, run, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, option
from gateway.cli.output import console, say, say_json, table
from gateway.cli.spreadsheet import Cell
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.notice import plain_gemeente
from gateway.core.overview import Adoption
from gateway.core.period import Period, PeriodRefused, period
from gateway.http.figures import (
    Adherence,
    CreditorFigures,
    CreditorOverview,
    GemeenteFigures,
    GemeenteOverview,
    Refusals,
    Shares,
    creditor_overview,
    gemeente_overview,
)
from gateway.ledger import overview as rows
from gateway.ledger import register as register_rows
from gateway.overviews import coverage, creditor_figures
from gateway.register import creditor_from_json

From = Annotated[str | None, option("--van", "Eerste dag (2026-01-31); standaard twaalf maanden voor --tot.")]
Until = Annotated[str | None, option("--tot", "Laatste dag, die meetelt; standaard vandaag.")]
Gemeente = Annotated[str | None, option("--gemeente", "Alleen deze gemeente (CBS-code).")]
CsvFile = Annotated[Path | None, option("--csv", "Schrijf de cijfers ook naar dit CSV-bestand.")]


def creditors(
    *,
    first: From = None,
    last: Until = None,
    gemeente: Gemeente = None,
    csv: CsvFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """The JSON is that of `GET /v1/overzicht/schuldeisers`, of all gemeenten."""
    over = _period(first, last)
    found = run(_creditors(settings(config), over, _only(gemeente)))
    if csv:
        _write_creditors(csv, found.schuldeisers)
    if as_json:
        say_json(found)
        return 0
    _show_creditors(found)
    return 0


def gemeenten(
    *,
    first: From = None,
    last: Until = None,
    gemeente: Gemeente = None,
    csv: CsvFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """The JSON is that of `GET /v1/overzicht/gemeenten`, of all gemeenten."""
    over = _period(first, last)
    found = run(_gemeenten(settings(config), over, _only(gemeente)))
    if csv:
        _write(csv, _columns(GemeenteFigures), map(_cells, found.gemeenten))
    if as_json:
        say_json(found)
        return 0
    _show_gemeenten(found)
    return 0


async def _creditors(config: Config, over: Period, only: list[str] | None) -> CreditorOverview:
    async with ledger_to_read(config) as ledger:
        documents = await ledger.run(register_rows.entries)
        register = {id_: creditor_from_json(document) for id_, document in documents.items()}
        figures = await creditor_figures(ledger, register, Clock(), config.tempo.closed_days, over, only)
    return creditor_overview(over, figures, register)


async def _gemeenten(config: Config, over: Period, only: list[str] | None) -> GemeenteOverview:
    announced = {code for sender in config.senders if not sender.is_pause_button for code in sender.gemeenten}
    async with ledger_to_read(config) as ledger:
        covered = await coverage(ledger, over, only)
        in_use = await ledger.run(rows.gemeenten_in_use, only)
    return gemeente_overview(over, covered, schemas.gemeenten(), in_use, announced, only)


def _period(first: str | None, last: str | None) -> Period:
    try:
        return period(first, last, Clock().today())
    except PeriodRefused as why:
        raise WrongUse(*(f"--{name} {fault}" for name, fault in why.faults)) from why


def _only(gemeente: str | None) -> list[str] | None:
    if gemeente is None:
        return None
    code = plain_gemeente(gemeente)
    if code not in schemas.gemeenten():
        raise WrongUse("--gemeente: er is geen gemeente met deze CBS-code")
    return [code]


# -- for people -------------------------------------------------------------------------------------------------------

_CREDITORS = (
    *("schuldeiser", "verteld", "ontvangen", "op tijd", "te laat", "mediaan", "gepauzeerd", "deels", "overgedragen"),
    *("geweigerd", "geen antwoord", "termijn voorbij", "niet bezorgd", "ingetrokken", "onderweg", "convenant"),
)
_REASONS = ("schuldeiser", *(name.replace("_", " ") for name in Refusals.__struct_fields__))
_GEMEENTEN = ("gemeente", "naam", "gebruik", "dossiers", "schuldeisers", "verteld", "beantwoord", "gepauzeerd")
_USES = {
    Adoption.IN_USE: "gebruikt de gateway",
    Adoption.NOT_YET: "aangemeld, nog geen bericht",
    Adoption.NEVER_ANNOUNCED: "niet aangemeld",
}


def _show_creditors(found: CreditorOverview) -> None:
    say(f"Kennisgevingen van {found.van} tot en met {found.tot}")
    console().print(table("", _CREDITORS, map(_creditor_row, found.schuldeisers)))
    refusing = [one for one in found.schuldeisers if any(msgspec.structs.astuple(one.geweigerd))]
    if refusing:
        console().print(table("Waarom geweigerd", _REASONS, map(_reasons_row, refusing)))


def _show_gemeenten(found: GemeenteOverview) -> None:
    counts = msgspec.structs.asdict(found.gebruik)
    uses = [(words, str(counts[use])) for use, words in _USES.items()]
    console().print(table("Gebruik nu", ("gemeenten", "aantal"), [*uses, ("samen", str(sum(counts.values())))]))
    say(f"Kennisgevingen van {found.van} tot en met {found.tot}")
    known = [one for one in found.gemeenten if one.gebruik is not Adoption.NEVER_ANNOUNCED]
    console().print(table("", _GEMEENTEN, map(_gemeente_row, known)))


def _creditor_row(one: CreditorFigures) -> tuple[str, ...]:
    refused = sum(msgspec.structs.astuple(one.geweigerd))
    counts = (one.verteld, one.ontvangen, one.binnen_termijn, one.te_laat)
    answers = (one.pauze_ingesteld, one.pauze_gedeeltelijk, one.overgedragen, refused, one.zonder_antwoord)
    others = (one.termijn_voorbij, one.niet_bezorgd, one.ingetrokken, one.onderweg)
    wait = "" if one.mediaan_seconden is None else in_days(one.mediaan_seconden)
    return (_name(one), *map(str, counts), wait, *map(str, answers), *map(str, others), _covenant(one))


def _reasons_row(one: CreditorFigures) -> tuple[str, ...]:
    return (_name(one), *map(str, msgspec.structs.astuple(one.geweigerd)))


def _gemeente_row(one: GemeenteFigures) -> tuple[str, ...]:
    shares = (
        ("", "", "") if one.dekking is None else tuple(f"{share:.0%}" for share in msgspec.structs.astuple(one.dekking))
    )
    counts = (one.verteld, one.beantwoord, one.gepauzeerd)
    parts = (f"{count} ({share})" if share else str(count) for count, share in zip(counts, shares, strict=True))
    use = one.gebruik.replace("_", " ")
    return (one.gemeente, escape(one.naam or ""), use, str(one.dossiers), str(one.schuldeisers), *parts)


def _name(one: CreditorFigures) -> str:
    """As plain text: a name in square brackets is a name."""
    return escape(one.naam or one.schuldeiser) + (" (vertegenwoordiger)" if one.rol == "vertegenwoordiger" else "")


def _covenant(one: CreditorFigures) -> str:
    kept = one.convenant
    return "" if kept is None else f"{kept.nagekomen} wel, {kept.niet_nagekomen} niet"


def in_days(seconds: int) -> str:
    """The two largest of days, hours and minutes."""
    minutes = seconds // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} {'dag' if days == 1 else 'dagen'}" + (f" {hours} uur" if hours else "")
    return f"{hours} uur {minutes % 60} min" if hours else f"{minutes} min"


# -- for spreadsheets -------------------------------------------------------------------------------------------------

_INNER: Mapping[str, type[Struct]] = {"geweigerd": Refusals, "convenant": Adherence, "dekking": Shares}
"""What is a record within a record has a column for each of its fields."""


def _write_creditors(file: Path, lines: Sequence[CreditorFigures]) -> None:
    """With the median in words beside it."""
    waits = ["" if line.mediaan_seconden is None else in_days(line.mediaan_seconden) for line in lines]
    cells = [[*_cells(line), wait] for line, wait in zip(lines, waits, strict=True)]
    _write(file, [*_columns(CreditorFigures), "mediaan"], cells)


def _write(file: Path, columns: Sequence[str], cells: Iterable[Sequence[Cell]]) -> None:
    try:
        spreadsheet.write(file, columns, cells)
    except OSError as why:
        raise Failed(f"{file}: {why.strerror}") from why


def _columns(kind: type[Struct]) -> list[str]:
    return [f"{name}_{part}".rstrip("_") for name, part in _paths(kind)]


def _cells(line: Struct) -> list[Cell]:
    return [_at(getattr(line, name), part) for name, part in _paths(type(line))]


def _paths(kind: type[Struct]) -> Iterator[tuple[str, str]]:
    for name in kind.__struct_fields__:
        parts = _INNER[name].__struct_fields__ if name in _INNER else ("",)
        yield from ((name, part) for part in parts)


def _at(value: Any, part: str) -> Cell:
    found: Cell = getattr(value, part, None) if part else value
    return found
