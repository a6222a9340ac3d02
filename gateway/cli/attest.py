"""`kennisgeving bezorging aangekomen`."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct

from gateway import attested
from gateway.cli.actor import Actor, acting, kept
from gateway.cli.errors import WrongUse
from gateway.cli.ledger import ledger_to_read, run, sealer, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag, option
from gateway.cli.output import console, say, say_json, table
from gateway.cli.repeat import Count, Left
from gateway.cli.timeline import in_words
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.repeat import Plan, counted, counted_left
from gateway.core.task import reason as kept_reason
from gateway.events import Events


class Told(Struct, frozen=True):
    """The JSON. `gedaan`: it is on record."""

    gedaan: bool
    aangekomen: Sequence[Count]
    niet_aangekomen: Sequence[Left]


def arrived(
    *ids: Annotated[str, Parameter(name="ID", help="De bezorgingen.")],
    reason: Annotated[str | None, option("--reden", "Hoe u het weet; verplicht met --uitvoeren.")] = None,
    carry_out: Annotated[bool, flag("--uitvoeren", "Doe het; zonder dit ziet u alleen wat er zou gebeuren.")] = False,
    actor: Actor = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is nothing to put on record."""
    known = settings(config)
    if not ids:
        raise WrongUse("noem bezorgingen")
    asked = tuple(dict.fromkeys(ids))
    if not carry_out:
        return _tell(run(_preview(known, asked)), asked, is_done=False, as_json=as_json)
    if reason is None:
        raise WrongUse("--reden: zeg hoe u het weet")
    who, why = acting(actor), kept("--reden", kept_reason, reason)
    return _tell(run(_put_down(known, asked, who, why)), asked, is_done=True, as_json=as_json)


async def _preview(config: Config, ids: tuple[str, ...]) -> Plan:
    async with ledger_to_read(config) as ledger:
        return await ledger.run(attested.preview, ids, Clock().micros())


async def _put_down(config: Config, ids: tuple[str, ...], who: str, reason: str) -> Plan:
    events = Events(config.gateway.oin, sealer(config))
    async with ledger_to_read(config) as ledger:
        return await ledger.run(attested.put_down, ids, events, who, reason, Clock().micros())


def _tell(plan: Plan, asked: tuple[str, ...], *, is_done: bool, as_json: bool) -> int:
    counts = [Count(*key, number) for key, number in counted(plan).items()]
    left = [Left(why, ids) for why, ids in counted_left(plan, asked).items()]
    if as_json:
        say_json(Told(is_done, counts, left))
    else:
        _print(counts, left)
        say(_end(len(plan.steps), is_done=is_done))
    return 0 if plan.steps else 1


def _print(counts: Sequence[Count], left: Sequence[Left]) -> None:
    rows = [(*map(in_words, (one.schuldeiser, one.soort, one.toestand)), str(one.aantal)) for one in counts]
    if rows:
        console().print(table("", ("schuldeiser", "soort", "toestand", "aantal"), rows))
    for one in left:
        say(f"niet vastgelegd, {one.reden}: {len(one.bezorgingen)}")


def _end(number: int, *, is_done: bool) -> str:
    if not number:
        return "Er is niets vast te leggen."
    if is_done:
        return f"{number} bezorgingen zijn als aangekomen vastgelegd."
    return f"{number} bezorgingen zouden als aangekomen worden vastgelegd; met --uitvoeren en --reden gebeurt het."
