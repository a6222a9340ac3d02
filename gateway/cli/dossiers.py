"""`kennisgeving dossier`."""

import re
from typing import Annotated, Any

from cyclopts import Parameter
from sqlalchemy import Connection

from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_read, run, sealer, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from gateway.cli.output import console, say_json
from gateway.cli.timeline import Look, Story, dossier_record, read_stories, timeline
from gateway.clock import Clock
from gateway.config import Config, Tempo
from gateway.core.notice import plain_gemeente
from gateway.ledger import register as register_rows
from gateway.register import creditor_from_json
from gateway.seal import Sealer

_GEMEENTE = re.compile(r"(GM)?[0-9]{4}")


def show(
    gemeente: Annotated[str, Parameter(name="GEMEENTE", help="CBS-code van vier cijfers, of het id van het dossier.")],
    reference: Annotated[str | None, Parameter(name="DOSSIERKENMERK", help="Kenmerk van het dossier daar.")] = None,
    /,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is no such dossier. The JSON is that of `GET /v1/dossiers/<id>`, with every delivery in full."""
    story, look = run(_read(settings(config), gemeente, reference))
    if as_json:
        say_json(dossier_record(story, look))
    else:
        console().print(timeline(story, look))
    return 0


async def _read(config: Config, gemeente: str, reference: str | None) -> tuple[Story, Look]:
    if reference is None:
        which: dict[str, Any] = {"dossier_id": gemeente}
    elif _GEMEENTE.fullmatch(gemeente):
        which = {"gemeenten": (plain_gemeente(gemeente),), "kenmerk": reference}
    else:
        raise WrongUse("gemeente is een CBS-code van vier cijfers")
    opens = sealer(config)
    async with ledger_to_read(config) as ledger:
        found, look = await ledger.run(_found, opens, config.tempo, which)
    if not found:
        raise Failed("dit dossier is er niet")
    return found[0], look


def _found(connection: Connection, opens: Sealer, tempo: Tempo, which: dict[str, Any]) -> tuple[list[Story], Look]:
    return read_stories(connection, opens, **which), look_of(connection, tempo)


def look_of(connection: Connection, tempo: Tempo) -> Look:
    """As things stand now, with the creditors in force."""
    register = {id_: creditor_from_json(text) for id_, text in register_rows.entries(connection).items()}
    names = {id_: creditor.name for id_, creditor in register.items()}
    return Look(Clock().micros(), tempo.terms(register.get), names)
