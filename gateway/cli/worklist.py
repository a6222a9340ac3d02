"""`kennisgeving werkbak`."""

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter
from sqlalchemy import Connection

from gateway.cli.actor import Actor, acting, kept
from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_read, run, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, flag, option
from gateway.cli.output import console, moment, say, say_json, table
from gateway.cli.task_sheet import Sheet, sheet_lines, step_in_words, task_detail, task_line
from gateway.cli.timeline import in_words
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.notice import plain_gemeente
from gateway.core.task import TaskKind, person
from gateway.core.task import reason as kept_reason
from gateway.ledger import tasks
from gateway.ledger.tasks import LeftInDoubt, Rows

_COLUMNS = ("taak", "soort", "sinds", "gemeente", "dossier", "schuldeiser", "toegewezen aan")

TaskId = Annotated[str, Parameter(name="ID", help="De taak.")]


def show_all(
    *,
    kind: Annotated[str | None, option("--soort", f"Alleen taken van deze soort: {', '.join(TaskKind)}.")] = None,
    gemeente: Annotated[str | None, option("--gemeente", "Alleen die van deze gemeente (CBS-code).")] = None,
    creditor: Annotated[str | None, option("--schuldeiser", "Alleen die over deze schuldeiser.")] = None,
    assignee: Annotated[str | None, option("--van", "Alleen die aan deze persoon zijn toegewezen.")] = None,
    closed: Annotated[bool, flag("--alles", "Ook wat is afgehandeld.")] = False,
    after: Annotated[str, option("--na", "Ga verder na deze taak.")] = "",
    limit: Annotated[int, option("--aantal", "Hoeveel ten hoogste; standaard 100.")] = 100,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """The oldest first. The JSON is a list of lines."""
    if kind is not None and kind not in set(TaskKind):
        raise WrongUse(f"--soort: kies uit {', '.join(TaskKind)}")
    if limit < 1:
        raise WrongUse("--aantal: minstens 1")
    which = {
        "soort": kind,
        "gemeente": None if gemeente is None else plain_gemeente(gemeente),
        "creditor": creditor,
        "assignee": assignee,
        "closed": closed,
        "after": after,
        "limit": limit,
    }
    found = run(_list(settings(config), which))
    if as_json:
        say_json([task_line(row) for row in found])
    else:
        _print_rows(found, closed=closed, limit=limit)
    return 0


def show(task: TaskId, /, *, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> int:
    """1: there is no such task. The JSON is a line with what to do and the steps."""
    sheet = run(_read(settings(config), task))
    if as_json:
        say_json(task_detail(sheet))
    else:
        for line in sheet_lines(sheet):
            say(line)
    return 0


def done(
    task: TaskId,
    /,
    *,
    reason: Annotated[str, option("--reden", "Waarom dit klaar is: wat u deed, of waarom er niets hoeft.")],
    actor: Actor = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is no such task, it is closed already, or its delivery is in doubt still. The JSON is that of `show`."""
    who, why = acting(actor), kept("--reden", kept_reason, reason)
    now = Clock().micros()
    try:
        sheet = run(_work(settings(config), task, lambda connection: tasks.close(connection, task, who, why, now)))
    except LeftInDoubt as left:
        raise Failed(*_left_in_doubt(str(left))) from left
    return _tell(sheet, "Afgehandeld", as_json=as_json)


def _left_in_doubt(delivery: str) -> tuple[str, ...]:
    return (
        "deze bezorging is nog onzeker, en zonder deze taak kijkt niemand er meer naar om; zeg eerst wat ervan is:",
        f'de schuldeiser heeft het bericht:  kennisgeving bezorging aangekomen {delivery} --uitvoeren --reden "…"',
        f'hij heeft het niet:                kennisgeving bezorging herhaal {delivery} --uitvoeren --reden "…"',
    )


def assign(
    task: TaskId,
    to: Annotated[str, Parameter(name="NAAM", help="Wie het oppakt.")],
    /,
    *,
    reason: Annotated[str | None, option("--reden", "Waarom.")] = None,
    actor: Actor = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: there is no such task, or it is closed already. The JSON is that of `show`."""
    who, name = acting(actor), kept("NAAM", person, to)
    why = None if reason is None else kept("--reden", kept_reason, reason)
    now = Clock().micros()
    sheet = run(_work(settings(config), task, lambda connection: tasks.assign(connection, task, name, who, now, why)))
    return _tell(sheet, f"Toegewezen aan {name}", as_json=as_json)


async def _list(config: Config, which: dict[str, Any]) -> Rows:
    async with ledger_to_read(config) as ledger:
        return await ledger.run(tasks.worklist, **which)


async def _read(config: Config, task: str) -> Sheet:
    async with ledger_to_read(config) as ledger:
        return _found(await ledger.run(tasks.task_with_steps, task))


async def _work(config: Config, task: str, act: Callable[[Connection], bool]) -> Sheet:
    """Carry out `act`, and the task after it. Raises Failed where it was closed, or never there."""
    async with ledger_to_read(config) as ledger:
        acted, sheet = await ledger.run(_after, act, task)
    if not acted:
        raise Failed("deze taak is al afgehandeld", *map(step_in_words, sheet.steps[-1:]))
    return sheet


def _after(connection: Connection, act: Callable[[Connection], bool], task: str) -> tuple[bool, Sheet]:
    return act(connection), _found(tasks.task_with_steps(connection, task))


def _found(found: tuple[Any, Rows] | None) -> Sheet:
    if found is None:
        raise Failed("deze taak is er niet")
    return Sheet(*found)


def _tell(sheet: Sheet, what: str, *, as_json: bool) -> int:
    if as_json:
        say_json(task_detail(sheet))
    else:
        say(f"{what}: {in_words(sheet.row.soort)} ({sheet.row.id})")
    return 0


def _print_rows(found: Rows, *, closed: bool, limit: int) -> None:
    if not found:
        say("geen taken")
        return
    columns = (*_COLUMNS, "afgehandeld") if closed else _COLUMNS
    console().print(table("", columns, (_row(row)[: len(columns)] for row in found)))
    if len(found) == limit:
        say(f"Meer: --na {found[-1].id}")


def _row(row: Any) -> tuple[str, ...]:
    about = (row.gemeente or "", row.kenmerk or "", row.creditor or "", row.assigned_to or "")
    closed = "" if row.closed_at is None else moment(row.closed_at)
    return (row.id, row.soort, moment(row.created_at), *about, closed)
