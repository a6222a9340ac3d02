"""Log lines: one JSON object each, on stderr, holding only what is on the allow-list.

    our own loggers ─► exception ─► time ─┐
    stdlib loggers of libraries ──────────┴─► allow-list ─► JSON ─► stderr

A key that is not allowed is dropped and counted in `weggelaten`; a value that is not a plain one shows its type only.
An exception shows its types and places in code: no locals, and no text unless it is one of ours, whose texts name
field and rule and never a value. Of a library's record only its logger, level, place and exception remain, because
libraries put addresses, bodies and reprs in their messages.
"""

import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from gateway.clock import Clock

_OWN = ("tijd", "level", "logger", "event")
ALLOWED = frozenset(_OWN) | {
    *("fout", "plaats", "reden", "melding", "weggelaten"),
    *("aantal", "afzender", "bericht", "bestand", "bewijskracht", "bezorging", "code", "dagen", "deur", "dossier"),
    *("gebeurtenis", "gemeente", "instelling", "kanaal", "ledger", "luister", "netwerk", "poging", "poort", "regel"),
    *("schuldeiser", "seconden", "signaal", "soort", "stap", "toestand", "tot", "uitkomst", "uitwisseling", "versie"),
    *("duur_ms", "wacht_ms", "wachtrij"),
}
"""Identifiers, codes and numbers. Never a kenmerk, name, address of a person, token or text that others wrote."""

KNOWN_MESSAGES = frozenset(
    {
        "Exception in default exception handler",
        "Future exception was never retrieved",
        "Task exception was never retrieved",
        "Task was destroyed but it is pending!",
        "Unclosed client session",
        "Unclosed connection",
        "Unhandled exception in event loop",
        "Error handling request",
    }
)
"""First lines of libraries' messages that are constant text; they are shown as `melding`."""

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,59}")
_LONGEST = 300
_MOST = 20
_CLOCK = Clock()
_NUMBERS = frozenset({int, float, bool, type(None)})
_Reduced = str | int | float | bool | list[Any] | None


_ALARMING = frozenset({"error", "critical"})
_ALARMS: Counter[str] = Counter()


class _Sink:
    """Where lines go; None is stderr as it stands at that moment. A full disk or closed pipe stops no delivery."""

    stream: TextIO | None = None

    def write(self, line: str) -> None:
        try:
            (self.stream or sys.stderr).write(line + "\n")
        except OSError:
            return

    debug = info = warning = error = critical = write


_SINK = _Sink()


def logger(name: str) -> FilteringBoundLogger:
    """The logger of a module: `log.warning("lane_held", schuldeiser=…, seconden=…)`; keys are those of ALLOWED."""
    wrapped = structlog.wrap_logger(
        _SINK,
        processors=[structlog.processors.add_log_level, _exception, _time, _only_allowed, _counted, _json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return cast(FilteringBoundLogger, wrapped.bind(logger=name))


def alarms() -> dict[str, int]:
    """How often each event was logged as error or critical since the process began."""
    return dict(_ALARMS)


def configure(stream: TextIO | None = None) -> None:
    """Send what libraries log, warnings and uncaught exceptions the same way; `stream`: instead of stderr."""
    _SINK.stream = stream
    logging.basicConfig(level=logging.WARNING, handlers=[_Foreign()], force=True)
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class _Foreign(logging.Handler):
    """Records of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        first_line = str(record.msg).partition("\n")[0]
        logger(record.name).log(
            min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL),
            "library",
            exc_info=record.exc_info,
            **({"plaats": [_place(record.pathname, record.lineno)]} if not record.exc_info else {}),
            **({"melding": first_line} if first_line in KNOWN_MESSAGES else {}),
        )


def _uncaught(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    error = value if value is not None else kind()
    logger("python").critical("uncaught", exc_info=error.with_traceback(trace))


def _exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    match event.pop("exc_info", None):
        case True:
            error = sys.exc_info()[1]
        case BaseException() as error:
            pass
        case (_, BaseException() as error, _):
            pass
        case _:
            error = None
    if error is None:
        return event
    event["fout"] = list(_types(error))
    event["plaats"] = [_place(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)][-_MOST:]
    if type(error).__module__.startswith("gateway.") and str(error):
        event.setdefault("reden", str(error))
    return event


def _types(error: BaseException | None) -> Iterator[str]:
    """Of the exception, what it groups, and what it came from; outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < _MOST:
        seen.add(id(error))
        yield f"{type(error).__module__}.{type(error).__qualname__}"
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions[:_MOST]:
                yield from _types(one)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _place(path: str, line: int) -> str:
    return f"{'/'.join(Path(path).parts[-2:])}:{line}"


def _time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["tijd"] = _CLOCK.now().isoformat(timespec="milliseconds")
    return event


def _only_allowed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    kept: EventDict = {key: _plain(event[key]) for key in _OWN}
    if not _is_plain_name(str(event["event"])):
        kept["event"] = "event_withheld"
    for key, value in event.items():
        if key in ALLOWED and key not in kept:
            kept[key] = value if type(value) in _NUMBERS else _plain(value)
    if dropped := len(event) - len(kept):
        kept["weggelaten"] = dropped
    return kept


def _counted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if event["level"] in _ALARMING:
        _ALARMS[event["event"]] += 1
    return event


@lru_cache(500)
def _is_plain_name(event: str) -> bool:
    return _EVENT.fullmatch(event) is not None


def _plain(value: object) -> _Reduced:
    if type(value) is str:
        return value if len(value) <= _LONGEST else value[:_LONGEST]
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return value[:_LONGEST]
        case list() | tuple():
            return [_plain(one) for one in value[:_MOST]]
        case _:
            return f"<{type(value).__name__}>"


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event).decode()
