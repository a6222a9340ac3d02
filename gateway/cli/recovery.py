"""`kennisgeving herstel`."""

from typing import Annotated

from msgspec import Struct

from gateway.cli.actor import Actor, acting, kept
from gateway.cli.errors import WrongUse
from gateway.cli.ledger import ledger_to_read, ledger_to_write, run, settings
from gateway.cli.moment import moment_of
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag, option
from gateway.cli.output import console, say, say_json, table
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.recovery import Manner
from gateway.core.task import reason as kept_reason
from gateway.recovery import Found, askable, preview, put_back
from gateway.register import load_channels


class Line(Struct, frozen=True):
    """How many deliveries to one creditor on one channel, and what becomes of them."""

    schuldeiser: str
    kanaal: str
    gevolg: str
    aantal: int


class Told(Struct, frozen=True):
    """The JSON. `later`: how many of them were made after the moment of the backup, as it was given."""

    gedaan: bool
    bezorgingen: tuple[Line, ...]
    later: int


def recover(
    *,
    since: Annotated[str, option("--sinds", "Het tijdstip van de back-up die is teruggezet, ter controle.")],
    send_again: Annotated[
        bool, flag("--opnieuw-sturen", "Stuur ook opnieuw wat niet kan worden nagevraagd; dat kan dubbel aankomen.")
    ] = False,
    reason: Annotated[str | None, option("--reden", "Waarom; verplicht met --uitvoeren.")] = None,
    carry_out: Annotated[bool, flag("--uitvoeren", "Doe het; zonder dit ziet u alleen wat er zou gebeuren.")] = False,
    actor: Actor = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """Counts per creditor, channel and consequence."""
    known, manner = settings(config), Manner(moment_of("--sinds", since), send_again)
    if not carry_out:
        return _tell(run(_preview(known, manner)), is_done=False, as_json=as_json)
    if reason is None:
        raise WrongUse("--reden: zeg waarom")
    who, why = acting(actor), kept("--reden", kept_reason, reason)
    return _tell(run(_put_back(known, manner, who, why)), is_done=True, as_json=as_json)


async def _preview(config: Config, manner: Manner) -> Found:
    async with ledger_to_read(config) as ledger:
        return await ledger.run(preview, manner, askable(load_channels()))


async def _put_back(config: Config, manner: Manner, who: str, reason: str) -> Found:
    tempo = config.tempo
    async with ledger_to_write(config) as ledger:
        return await ledger.run(
            put_back,
            manner,
            askable(load_channels()),
            who,
            reason,
            Clock().micros(),
            tempo.policy,
            tempo.closed_days,
        )


def _tell(found: Found, *, is_done: bool, as_json: bool) -> int:
    lines = tuple(Line(*key[:2], str(key[2]), number) for key, number in found.counts.items())
    if as_json:
        say_json(Told(is_done, lines, found.later))
        return 0
    rows = [(one.schuldeiser, one.kanaal, one.gevolg, str(one.aantal)) for one in lines]
    if rows:
        console().print(table("", ("schuldeiser", "kanaal", "gevolg", "aantal"), rows))
    number = sum(one.aantal for one in lines)
    say(f"{number} bezorgingen zijn onzeker." if is_done else f"{number} bezorgingen zouden onzeker worden.")
    if found.later:
        say(f"Waarvan gemaakt na dat tijdstip: {found.later}. Klopt --sinds?")
    return 0
