"""A task as programs and people read it: what happened, what to do next, what it is about, what was done to it."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from gateway.cli.output import moment
from gateway.cli.timeline import in_words
from gateway.core.task import GUIDES, Guide, TaskKind
from gateway.events import rfc3339
from gateway.ledger.tasks import CLOSED

_MORE = {
    TaskKind.CREDITOR_UNKNOWN: ("schuldeisers list",),
    TaskKind.AGENT_UNKNOWN: ("schuldeisers list",),
    TaskKind.OWN_FAULT: ("check",),
}
"""Commands that help with tasks of a kind, beside those for what a task is about."""


class Sheet(Struct, frozen=True):
    """A task and its steps, as rows of the ledger."""

    row: Any
    steps: Sequence[Any]


class TaskLine(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`schuldeiser`: id in the register, or the name as sent of one that the register does not have. `tijdstip`: when
    it came about; `afgehandeld`: when it was closed."""

    taak: str
    soort: str
    tijdstip: str
    gemeente: str | None = None
    dossier: str | None = None
    dossierkenmerk: str | None = None
    schuldeiser: str | None = None
    bezorging: str | None = None
    toegewezen_aan: str | None = None
    afgehandeld: str | None = None


class Step(Struct, frozen=True):
    tijdstip: str
    door: str
    stap: str
    reden: str


class TaskDetail(TaskLine, frozen=True, kw_only=True):
    """`gebeurd`: what happened; `doen`: what to do next; `stappen`: what was done to it, oldest first."""

    gebeurd: str
    doen: str
    stappen: tuple[Step, ...]


def task_line(row: Any) -> TaskLine:
    return TaskLine(**_fields(row))


def task_detail(sheet: Sheet) -> TaskDetail:
    guide = _guide(sheet.row)
    steps = (Step(rfc3339(one.at), one.actor, one.step, one.reason) for one in sheet.steps)
    return TaskDetail(**_fields(sheet.row), gebeurd=guide.what, doen=guide.next, stappen=tuple(steps))


def sheet_lines(sheet: Sheet) -> Iterator[str]:
    """For people."""
    row, guide = sheet.row, _guide(sheet.row)
    yield f"Taak {row.id}: {in_words(row.soort)}"
    yield from (f"{name + ':':<17}{value}" for name, value in _facts(row) if value)
    yield ""
    yield f"Wat er gebeurde: {guide.what}"
    yield f"Wat te doen:     {guide.next}"
    yield from _headed("Verder kijken", (f"kennisgeving {command}" for command in _commands(row)))
    yield from _headed("Geschiedenis", map(step_in_words, sheet.steps))


def step_in_words(step: Any) -> str:
    """`25-11-2026 16:40  Noor: afgehandeld, gebeld`"""
    return f"{moment(step.at)}  {step.actor}: {step.step}{',' if step.step == CLOSED else ''} {step.reason}"


def _facts(row: Any) -> Iterator[tuple[str, str | None]]:
    delivery = f"{row.delivery_id} ({row.delivery_soort}, versie {row.delivery_versie})"
    yield "Sinds", moment(row.created_at)
    yield "Toegewezen aan", row.assigned_to
    yield "Afgehandeld", row.closed_at and moment(row.closed_at)
    yield "Gemeente", row.gemeente
    yield "Dossier", row.kenmerk
    yield "Schuldeiser", row.creditor
    yield "Bezorging", f"{delivery}: {in_words(row.delivery_state)}" if row.delivery_soort else row.delivery_id


def _commands(row: Any) -> Iterator[str]:
    """To look further. A sender's words are quoted: people copy these lines into a shell."""
    creditor = shlex.quote(f"--schuldeiser={row.creditor}")
    if row.dossier_id:
        yield f"dossier show {row.dossier_id}"
    if row.delivery_id:
        yield f"bezorging show {row.delivery_id}"
        yield f"bezorging list {creditor}"
    if row.creditor:
        yield f"werkbak list --alles {creditor}"
    if row.soort == TaskKind.RESTORED_UNKNOWN and row.closed_at is None:
        yield f'bezorging aangekomen {row.delivery_id} --uitvoeren --reden "…"'
        yield f'bezorging herhaal {row.delivery_id} --uitvoeren --reden "…"'
        return
    yield from _MORE.get(row.soort, ())
    if row.closed_at is None:
        yield f'werkbak done {row.id} --reden "…"'


def _headed(title: str, lines: Iterator[str]) -> Iterator[str]:
    for at, line in enumerate(lines):
        if at == 0:
            yield ""
            yield title
        yield f"  {line}"


def _guide(row: Any) -> Guide:
    """What a later version of the gateway wrote has its text in the row."""
    return GUIDES[TaskKind(row.soort)] if row.soort in set(TaskKind) else Guide(row.detail, "")


def _fields(row: Any) -> dict[str, Any]:
    return {
        "taak": row.id,
        "soort": row.soort,
        "tijdstip": rfc3339(row.created_at),
        "gemeente": row.gemeente,
        "dossier": row.dossier_id,
        "dossierkenmerk": row.kenmerk,
        "schuldeiser": row.creditor,
        "bezorging": row.delivery_id,
        "toegewezen_aan": row.assigned_to,
        "afgehandeld": None if row.closed_at is None else rfc3339(row.closed_at),
    }
