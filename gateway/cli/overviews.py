"""`kennisgeving overzicht`."""

import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from cyclopts import Parameter
from msgspec import Struct

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

_GEMEENTE = re.compile(r"\d{4}", re.ASCII)

From = Annotated[str | None, option("--van", "Eerste dag (2026-01-31); standaard twaalf maanden voor --tot.")]
Until = Annotated[str | None, option("--tot", "Laatste dag, die meetelt; standaard vandaag.")]
Gemeente = Annotated[str | None, option("--gemeente", "Alleen deze gemeente (CBS-code).")]
CsvFile = Annotated[Path | None, option("--csv", "Schrijf de cijfers ook naar dit CSV-bestand.")]
F = TypeVar("F", CreditorOverview, GemeenteOverview)
Sheet = tuple[Sequence[str], Iterable[Sequence[Cell]]]
"""Names of columns, and the cells of each line."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What both overviews take."""

    first: From = None
    last: Until = None
    gemeente: Gemeente = None
    csv: CsvFile = None
    config: ConfigFile = DEFAULT_CONFIG
    as_json: AsJson = False


Options = Annotated[Asked, Parameter(name="*")]
_NOTHING = Asked()


def creditors(*, asked: Options = _NOTHING) -> int:
    """The JSON is that of `GET /v1/overzicht/schuldeisers`, of all gemeenten."""
    return _tell(asked, _creditors, _creditor_sheet, _show_creditors)


def gemeenten(*, asked: Options = _NOTHING) -> int:
    """The JSON is that of `GET /v1/overzicht/gemeenten`, of all gemeenten."""
    return _tell(asked, _gemeenten, _gemeente_sheet, _show_gemeenten)


def _tell(
    asked: Asked,
    gather: Callable[[Config, Period, list[str] | None], Coroutine[None, None, F]],
    sheet: Callable[[F], Sheet],
    show: Callable[[F], None],
) -> int:
    over = _period(asked.first, asked.last)
    found = run(gather(settings(asked.config), over, _only(asked.gemeente)))
    if asked.csv:
        _write(asked.csv, *sheet(found))
    if asked.as_json:
        say_json(found)
    else:
        show(found)
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
    if not _GEMEENTE.fullmatch(code):
        raise WrongUse("--gemeente: geef een CBS-code van vier cijfers")
    return [code]


# -- for people -------------------------------------------------------------------------------------------------------

_TOLD = (
    *("schuldeiser", "kennisgevingen", "verteld", "ontvangen", "niet bezorgd", "ingetrokken", "onderweg"),
    *("op tijd", "te laat", "mediaan", "geen antwoord", "termijn voorbij"),
)
_DECIDED = (
    *("schuldeiser", "pauze", "deels", "overgedragen", "klant onbekend", "finale kwijting", "stabilisatie"),
    *("geen samenwerking", "niet in aanmerking", "convenant nagekomen", "niet nagekomen"),
)
_GEMEENTEN = ("gemeente", "naam", "gebruik", "dossiers", "schuldeisers", "verteld", "beantwoord", "gepauzeerd")
_USES = {
    Adoption.IN_USE: "gebruikt de gateway",
    Adoption.NOT_YET: "aangemeld, nog geen bericht",
    Adoption.NEVER_ANNOUNCED: "niet aangemeld",
}


def _show_creditors(found: CreditorOverview) -> None:
    say(f"Kennisgevingen van {found.van} tot en met {found.tot}")
    console().print(table("Verteld en beantwoord", _TOLD, map(_told_row, found.schuldeisers)))
    console().print(table("Wat zij besloten", _DECIDED, map(_decided_row, found.schuldeisers)))


def _show_gemeenten(found: GemeenteOverview) -> None:
    counts = msgspec.structs.asdict(found.gebruik)
    uses = [(words, str(counts[use])) for use, words in _USES.items()]
    console().print(table("Gebruik nu", ("gemeenten", "aantal"), [*uses, ("samen", str(sum(counts.values())))]))
    say(f"Kennisgevingen van {found.van} tot en met {found.tot}")
    known = [one for one in found.gemeenten if one.gebruik is not Adoption.NEVER_ANNOUNCED]
    console().print(table("", _GEMEENTEN, map(_gemeente_row, known)))


def _told_row(one: CreditorFigures) -> tuple[str, ...]:
    reached = (one.kennisgevingen, one.verteld, one.ontvangen, one.niet_bezorgd, one.ingetrokken, one.onderweg)
    times = (one.binnen_termijn, one.te_laat, _wait(one), one.zonder_antwoord, one.termijn_voorbij)
    return (_name(one), *map(str, reached), *map(str, times))


def _decided_row(one: CreditorFigures) -> tuple[str, ...]:
    kept = ("", "") if one.convenant is None else (one.convenant.nagekomen, one.convenant.niet_nagekomen)
    answers = (one.pauze_ingesteld, one.pauze_gedeeltelijk, one.overgedragen, *msgspec.structs.astuple(one.geweigerd))
    return (_name(one), *map(str, answers), *map(str, kept))


def _gemeente_row(one: GemeenteFigures) -> tuple[str, ...]:
    shares = (
        ("", "", "") if one.dekking is None else tuple(f"{share:.0%}" for share in msgspec.structs.astuple(one.dekking))
    )
    counts = (one.verteld, one.beantwoord, one.gepauzeerd)
    parts = (f"{count} ({share})" if share else str(count) for count, share in zip(counts, shares, strict=True))
    use = one.gebruik.replace("_", " ")
    return (one.gemeente, one.naam or "", use, str(one.dossiers), str(one.schuldeisers), *parts)


def _name(one: CreditorFigures) -> str:
    return (one.naam or one.schuldeiser) + (" (vertegenwoordiger)" if one.rol == "vertegenwoordiger" else "")


def _wait(one: CreditorFigures) -> str:
    return "" if one.mediaan_seconden is None else in_days(one.mediaan_seconden)


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


def _creditor_sheet(found: CreditorOverview) -> Sheet:
    """With the median in words beside it."""
    return [*_columns(CreditorFigures), "mediaan"], ([*_cells(line), _wait(line)] for line in found.schuldeisers)


def _gemeente_sheet(found: GemeenteOverview) -> Sheet:
    return _columns(GemeenteFigures), map(_cells, found.gemeenten)


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
