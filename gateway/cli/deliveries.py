"""`kennisgeving bezorging`."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text
from rich.tree import Tree
from sqlalchemy import Connection

from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_read, run, sealer, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, option
from gateway.cli.output import console, say, say_json, table
from gateway.cli.timeline import Told, add_delivery, delivery_record, in_words, opened
from gateway.config import Config
from gateway.core.lifecycle import State
from gateway.core.notice import plain_gemeente
from gateway.http.records import DeliveryLine, delivery_fields
from gateway.ledger import read
from gateway.seal import Sealer

_COLUMNS = ("bezorging", "schuldeiser", "soort", "gemeente", "dossier", "versie", "kanaal", "toestand", "besluit")


def show_all(
    *,
    creditor: Annotated[
        str | None, option("--schuldeiser", "Alleen die van deze schuldeiser (id in het register).")
    ] = None,
    state: Annotated[str | None, option("--toestand", f"Alleen die in deze toestand: {', '.join(State)}.")] = None,
    gemeente: Annotated[str | None, option("--gemeente", "Alleen die van deze gemeente (CBS-code).")] = None,
    after: Annotated[str, option("--na", "Ga verder na deze bezorging.")] = "",
    limit: Annotated[int, option("--aantal", "Hoeveel ten hoogste; standaard 100.")] = 100,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """The JSON is a list of lines as in `GET /v1/dossiers`."""
    if state is not None and state not in set(State):
        raise WrongUse(f"--toestand: kies uit {', '.join(State)}")
    known = settings(config)
    which = {
        "creditor": creditor,
        "state": state,
        "gemeente": None if gemeente is None else plain_gemeente(gemeente),
        "after": after,
        "limit": limit,
    }
    found = run(_list(known, which))
    if as_json:
        say_json(found)
        return 0
    console().print(table("", _COLUMNS, map(_row, found)))
    if len(found) == limit:
        say(f"Meer: --na {found[-1].bezorging}")
    return 0


def show(
    delivery: Annotated[str, Parameter(name="ID", help="De bezorging.")],
    /,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is no such delivery. The JSON is that of `GET /v1/bezorgingen/<id>`."""
    told = run(_read(settings(config), delivery))
    if as_json:
        say_json(delivery_record(told))
        return 0
    row = told.row
    tree = Tree(Text(f"Bezorging {row.id} aan {row.creditor}, dossier {row.kenmerk} (gemeente {row.gemeente})"))
    add_delivery(tree, told)
    console().print(tree)
    return 0


async def _list(config: Config, which: dict[str, Any]) -> list[DeliveryLine]:
    async with ledger_to_read(config) as ledger:
        rows = await ledger.run(read.deliveries, **which)
    return [DeliveryLine(**delivery_fields(row)) for row in rows]


async def _read(config: Config, delivery: str) -> Told:
    opens = sealer(config)
    async with ledger_to_read(config) as ledger:
        found = await ledger.run(_found, opens, delivery)
    if found is None:
        raise Failed("deze bezorging is er niet")
    return found


def _found(connection: Connection, opens: Sealer, delivery: str) -> Told | None:
    found = read.delivery_with(connection, delivery)
    return None if found is None else opened(opens, *found[:3], read.acts_on(connection, [delivery]))


def _row(line: DeliveryLine) -> tuple[str, ...]:
    decision = in_words(line.besluit or "")
    dossier = (line.gemeente, line.dossierkenmerk, str(line.versie))
    return (line.bezorging, line.schuldeiser, line.soort, *dossier, line.kanaal, in_words(line.toestand), decision)
