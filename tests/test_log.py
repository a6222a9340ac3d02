"""No personal data in log lines: a canary put into every place where one could slip in never comes out."""

import ast
import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.log import ALLOWED, configure, logger
from gateway.secrets import SettingsRefused

CANARY = "999990019-Voorbeeld-O'Neill"
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
ROOT = Path(__file__).parent.parent


class Lines(io.StringIO):
    """What was logged, parsed; a line that is not one JSON object is an error."""

    def all(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.getvalue().splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def one(self) -> dict[str, Any]:
        (line,) = self.all()
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    handlers, level = list(root.handlers), root.level
    stream = Lines()
    configure(stream)
    yield stream
    logging.captureWarnings(capture=False)
    configure(None)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], root.level = handlers, level
    logging.raiseExceptions = True
    logging.captureWarnings(capture=False)


log = logger("tests.log")


def test_a_line_is_one_json_object_with_time_level_logger_and_event(lines: Lines) -> None:
    log.info("lane_held", schuldeiser="cjib", kanaal="cjib", seconden=2.5, poging=3)
    line = lines.one()
    assert list(line)[:4] == ["tijd", "level", "logger", "event"]
    assert (line["level"], line["logger"], line["event"]) == ("info", "tests.log", "lane_held")
    assert (line["schuldeiser"], line["kanaal"], line["seconden"], line["poging"]) == ("cjib", "cjib", 2.5, 3)
    assert line["tijd"].endswith("+00:00")


def test_a_key_that_is_not_allowed_is_dropped_and_counted(lines: Lines) -> None:
    log.warning("x", bsn=CANARY, naam=CANARY, schuldeiser="cjib")
    assert CANARY not in lines.getvalue()
    assert lines.one()["weggelaten"] == 2


def test_bound_values_pass_the_same_list(lines: Lines) -> None:
    log.bind(hulpvrager=CANARY, kanaal="sftp").info("x")
    assert CANARY not in lines.getvalue()
    assert lines.one()["kanaal"] == "sftp"


def test_an_event_with_a_value_formatted_into_it_is_withheld(lines: Lines) -> None:
    sent = f"gezonden aan {CANARY}"
    log.info(sent)
    assert lines.one()["event"] == "event_withheld"


class Debtor:
    def __repr__(self) -> str:
        return CANARY


@pytest.mark.parametrize("value", [Debtor(), {"bsn": CANARY}, CANARY.encode(), ValueError(CANARY), [Debtor()]])
def test_a_value_that_is_not_plain_shows_its_type_only(lines: Lines, value: object) -> None:
    log.info("x", code=value)
    assert CANARY not in lines.getvalue()


def test_long_text_is_cut(lines: Lines) -> None:
    log.info("x", reden="a" * 10_000, regel=["b" * 10_000] * 1000)
    assert len(lines.getvalue()) < 8_000


def fail(secret: str) -> None:
    local = secret * 2
    raise ValueError(local)


def test_an_exception_shows_types_and_places_but_no_text_and_no_locals(lines: Lines) -> None:
    try:
        try:
            fail(CANARY)
        except ValueError as why:
            raise KeyError(CANARY) from why
    except KeyError:
        log.exception("x", bezorging="0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01")
    line = lines.one()
    assert CANARY not in lines.getvalue()
    assert line["fout"] == ["builtins.KeyError", "builtins.ValueError"]
    assert line["plaats"][0].startswith("tests/test_log.py:")


def test_an_exception_group_shows_what_it_holds(lines: Lines) -> None:
    log.error("x", exc_info=ExceptionGroup(CANARY, [ValueError(CANARY), OSError(CANARY)]))
    assert lines.one()["fout"] == ["builtins.ExceptionGroup", "builtins.ValueError", "builtins.OSError"]
    assert CANARY not in lines.getvalue()


def test_the_text_of_our_own_exceptions_is_shown(lines: Lines) -> None:
    log.error("x", exc_info=SettingsRefused("[amqp] url ontbreekt"))
    assert lines.one()["reden"] == "[amqp] url ontbreekt"


@pytest.mark.parametrize("name", ["aiohttp.server", "aio_pika", "asyncssh", "sqlalchemy.engine", "py.warnings"])
def test_of_a_librarys_record_only_logger_level_place_and_exception_remain(lines: Lines, name: str) -> None:
    library = logging.getLogger(name)
    library.warning("refused %s", CANARY)
    library.error(f"sent {CANARY}", extra={"schuldeiser": CANARY}, exc_info=ValueError(CANARY))
    plain, failed = lines.all()
    assert CANARY not in lines.getvalue()
    assert (plain["logger"], plain["level"], plain["event"]) == (name, "warning", "library")
    assert plain["plaats"][0].startswith("tests/test_log.py:")
    assert (failed["level"], failed["fout"]) == ("error", ["builtins.ValueError"])


def test_what_libraries_say_below_warning_is_left_out(lines: Lines) -> None:
    logging.getLogger("aiohttp.access").info("GET /antwoord/%s", CANARY)
    assert lines.getvalue() == ""


def test_a_librarys_constant_message_is_shown(lines: Lines) -> None:
    async def lose_an_exception() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        task.get_loop().call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": ValueError(CANARY), "task": task}
        )
        await task

    asyncio.run(lose_an_exception())
    line = lines.one()
    assert line["melding"] == "Task exception was never retrieved"
    assert line["fout"] == ["builtins.ValueError"]
    assert CANARY not in lines.getvalue()


def test_warnings_and_bad_format_arguments_do_not_escape(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, UserWarning, stacklevel=1)
    logging.getLogger("asyncssh").error("%d", CANARY)
    assert CANARY not in lines.getvalue()
    assert len(lines.all()) == 2


def test_an_exception_that_nobody_catches_is_one_line_too() -> None:
    program = f"""
import threading
from gateway.log import configure
configure()
def fail(): raise RuntimeError("{CANARY}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
fail()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 1
    assert CANARY not in ended.stdout + ended.stderr
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["uncaught", "uncaught"]


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nothing(lines: Lines) -> None:
    configure(FullDisk())
    log.info("x")
    assert lines.getvalue() == ""


def calls_of_log() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted([*ROOT.glob("gateway/**/*.py"), *ROOT.glob("adapters/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=method)) if method in LEVELS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def is_constant(event: ast.expr) -> bool:
    match event:
        case ast.IfExp():
            return is_constant(event.body) and is_constant(event.orelse)
        case _:
            return isinstance(event, ast.Constant)


def test_every_log_call_names_a_constant_event_and_allowed_keys() -> None:
    for place, call in calls_of_log():
        assert all(map(is_constant, call.args[:1])), place
        keys = {keyword.arg for keyword in call.keywords} - {"exc_info"}
        assert keys <= ALLOWED, f"{place}: {keys - ALLOWED}"
