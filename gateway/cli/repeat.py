"""`kennisgeving bezorging herhaal`."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct
from sqlalchemy import Connection

from gateway.cli.actor import Actor, acting, kept
from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_read, run, settings
from gateway.cli.moment import moment_of
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag, option
from gateway.cli.output import console, moment, say, say_json, table
from gateway.cli.timeline import in_words
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.repeat import Plan, counted, counted_left
from gateway.core.task import reason as kept_reason
from gateway.ledger.acts import Act, Which
from gateway.repeats import Manner, Refused, Repeats, reaches_in_ledger

_FASTEST = 1000.0


class Count(Struct, frozen=True):
    """How many deliveries of one kind are repeated."""

    schuldeiser: str
    soort: str
    toestand: str
    aantal: int


class Left(Struct, frozen=True):
    """What is not repeated, and why."""

    reden: str
    bezorgingen: Sequence[str]


class Told(Struct, frozen=True, omit_defaults=True):
    """The JSON. `gedaan`: it was carried out; `code`: with which a second person confirms it."""

    gedaan: bool
    herhaald: Sequence[Count]
    niet_herhaald: Sequence[Left]
    code: str | None = None


def repeat(
    *ids: Annotated[str, Parameter(name="ID", help="De bezorgingen.")],
    creditor: Annotated[str | None, option("--schuldeiser", "In plaats van ID: alles aan deze schuldeiser …")] = None,
    since: Annotated[str | None, option("--sinds", "… dat sinds dit tijdstip is afgeleverd of mislukt …")] = None,
    until: Annotated[str | None, option("--tot", "… en tot dit tijdstip; standaard nu.")] = None,
    also_answered: Annotated[bool, flag("--ook-beantwoord", "Ook wat al is beantwoord.")] = False,
    per_second: Annotated[
        float | None, option("--per-seconde", "Hoeveel per seconde; standaard zijn limiet, anders 5.")
    ] = None,
    reason: Annotated[str | None, option("--reden", "Waarom; verplicht met --uitvoeren.")] = None,
    carry_out: Annotated[bool, flag("--uitvoeren", "Doe het; zonder dit ziet u alleen wat er zou gebeuren.")] = False,
    code: Annotated[str | None, option("--bevestig", "Bevestig met deze code wat een ander vroeg, en doe het.")] = None,
    actor: Actor = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is nothing to repeat, or what was asked cannot be confirmed."""
    known = settings(config)
    if code is not None:
        if ids or creditor or carry_out:
            raise WrongUse("--bevestig: noem verder niets; de code zegt wat er herhaald wordt")
        return _tell(run(_confirm(known, code, acting(actor))), as_json=as_json)
    which, manner = _which(ids, creditor, since, until), _manner(per_second, also_answered=also_answered)
    if not carry_out:
        return _tell(run(_preview(known, which, manner)), as_json=as_json)
    if reason is None:
        raise WrongUse("--reden: zeg waarom")
    who, why = acting(actor), kept("--reden", kept_reason, reason)
    ask = _ask if known.gateway.four_eyes else _carry_out
    return _tell(run(ask(known, which, manner, who, why)), as_json=as_json)


def _which(ids: tuple[str, ...], creditor: str | None, since: str | None, until: str | None) -> Which:
    if bool(ids) == (creditor is not None):
        raise WrongUse("noem bezorgingen, of een schuldeiser met --schuldeiser en --sinds")
    if creditor is None:
        if since or until:
            raise WrongUse("--sinds, --tot: horen bij --schuldeiser")
        return Which(tuple(dict.fromkeys(ids)))
    if since is None:
        raise WrongUse("--sinds: vanaf wanneer?")
    now = Clock().micros()
    return Which((), creditor, moment_of("--sinds", since), now if until is None else moment_of("--tot", until))


def _manner(per_second: float | None, *, also_answered: bool) -> Manner:
    if per_second is not None and not 0 < per_second <= _FASTEST:
        raise WrongUse(f"--per-seconde: meer dan 0, hoogstens {_FASTEST:g}")
    return Manner(also_answered, per_second)


class _Outcome(Struct, frozen=True):
    plan: Plan
    is_done: bool
    asked: tuple[str, ...] = ()
    act: Act | None = None

    @property
    def left(self) -> dict[str, list[str]]:
        return counted_left(self.plan, self.asked)


async def _preview(config: Config, which: Which, manner: Manner) -> _Outcome:
    def look(connection: Connection) -> Plan:
        return _repeats(config, connection).preview(connection, which, manner, Clock().micros())

    async with ledger_to_read(config) as ledger:
        return _Outcome(await ledger.run(look), is_done=False, asked=which.ids)


async def _ask(config: Config, which: Which, manner: Manner, who: str, reason: str) -> _Outcome:
    def ask(connection: Connection) -> tuple[Act, Plan]:
        made = _repeats(config, connection).ask(connection, which, manner, who, reason, Clock().micros())
        if not made[1].steps:
            raise Failed("er is niets te herhalen", *_left_lines(counted_left(made[1], which.ids)))
        return made

    async with ledger_to_read(config) as ledger:
        act, plan = await ledger.run(ask)
    return _Outcome(plan, is_done=False, asked=which.ids, act=act)


async def _carry_out(config: Config, which: Which, manner: Manner, who: str, reason: str) -> _Outcome:
    def carry_out(connection: Connection) -> Plan:
        return _repeats(config, connection).carry_out(connection, which, manner, who, reason, Clock().micros())[0]

    async with ledger_to_read(config) as ledger:
        return _Outcome(await ledger.run(carry_out), is_done=True, asked=which.ids)


async def _confirm(config: Config, code: str, who: str) -> _Outcome:
    def confirm(connection: Connection) -> tuple[Act, Plan]:
        return _repeats(config, connection).confirm(connection, code, who, Clock().micros())[:2]

    async with ledger_to_read(config) as ledger:
        try:
            act, plan = await ledger.run(confirm)
        except Refused as why:
            raise Failed(str(why)) from why
    return _Outcome(plan, is_done=True, act=act)


def _repeats(config: Config, connection: Connection) -> Repeats:
    return Repeats(reaches_in_ledger(connection), config.tempo.policy, config.tempo.closed_days)


def _tell(outcome: _Outcome, *, as_json: bool) -> int:
    plan = outcome.plan
    waits = outcome.act is not None and not outcome.is_done
    if as_json:
        counts = [Count(*key, number) for key, number in counted(plan).items()]
        left = [Left(why, ids) for why, ids in outcome.left.items()]
        say_json(Told(outcome.is_done, counts, left, outcome.act.code if outcome.act and waits else None))
    else:
        _print(outcome)
        say(_end(outcome))
    return 0 if plan.steps else 1


def _print(outcome: _Outcome) -> None:
    rows = [(*map(in_words, key), str(number)) for key, number in counted(outcome.plan).items()]
    if rows:
        console().print(table("", ("schuldeiser", "soort", "toestand", "aantal"), rows))
    for line in _left_lines(outcome.left):
        say(line)


def _left_lines(left: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"niet herhaald, {why}: {len(ids)}" for why, ids in left.items()]


def _end(outcome: _Outcome) -> str:
    number = len(outcome.plan.steps)
    if not number:
        return "Er is niets te herhalen."
    if outcome.is_done:
        return f"{number} bezorgingen worden herhaald."
    if outcome.act is not None and outcome.act.expires_at is not None:
        until = moment(outcome.act.expires_at)
        return f"Laat een ander dit bevestigen, voor {until}: bezorging herhaal --bevestig {outcome.act.code}"
    return f"{number} bezorgingen zouden worden herhaald; met --uitvoeren en --reden gebeurt het."
