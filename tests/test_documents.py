"""What the documents name exists, and what exists is named: links, commands, codes, events, settings, modules."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import get_args

import msgspec
import pytest
import yaml
from cyclopts import App
from msgspec import Struct

import schemas
from adapters.cjib.settings import CjibSettings
from adapters.email.settings import CreditorSettings, EmailSettings, Mailbox
from adapters.sftp.settings import SftpSettings
from adapters.webhook.settings import WebhookSettings
from gateway.cli import app
from gateway.core.answer import AnswerKind
from gateway.core.errors import Code
from gateway.core.health import Signs
from gateway.core.lifecycle import State
from gateway.core.outcome import Outcome
from gateway.core.task import TaskKind
from gateway.http.routes import PREFIX, ROUTES
from gateway.ledger.gauges import Gauges
from gateway.meters import Meters
from gateway.metrics import ALARMS, Metrics, Seen
from gateway.sandbox.dossiers import gemeenten
from gateway.sandbox.register import entries
from tests.documents import DOCUMENTS, ROOT, Document, document

GEMEENTEN, SCHULDEISERS = document("docs/gemeenten.md"), document("docs/schuldeisers.md")
OPERATORS, CHANNELS = document("docs/operators.md"), document("docs/channels.md")


# -- links, targets, commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", DOCUMENTS, ids=lambda each: each.name)
def test_every_link_leads_somewhere(each: Document) -> None:
    for link in each.links():
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = Document((each.path.parent / path).resolve() if path else each.path)
        assert target.path.exists(), link
        assert not anchor or anchor in target.anchors(), link


def test_the_readme_names_every_make_target_and_no_document_another() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name.removeprefix("make ") for name in document("README.md").first_names("Make targets")} == targets
    for each in DOCUMENTS:
        assert set(re.findall(r"(?:^ {4}|`)make (\w+)", each.text, re.MULTILINE)) <= targets, each.name


def commands(group: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, by the words that name it."""
    for name in group:
        if name.startswith("-"):
            continue
        below = list(commands(group[name], (*path, name)))
        yield from below or [(*path, name)]


def command_lines() -> Iterator[tuple[str, list[str]]]:
    for each in DOCUMENTS:
        lines = [line for example in each.examples("sh", "ini") for line in example.text.splitlines()]
        for line in [*lines, *each.inline()]:
            if found := re.search(r"(?:^|[ /])kennisgeving ([a-z].*)", line):
                yield each.name, shlex.split(found[1], comments=True)


@pytest.mark.parametrize(("name", "words"), list(command_lines()), ids=lambda value: str(value)[:60])
def test_a_command_in_a_document_can_be_given(name: str, words: list[str]) -> None:
    groups = {path[:1] for path in commands() if len(path) > 1}
    if tuple(words) in groups:
        return
    app.parse_args(words, exit_on_error=False, print_error=False)
    assert any(tuple(words[: len(path)]) == path for path in commands()), f"{name}: {words}"


def test_every_command_is_in_a_document() -> None:
    given = [words for _, words in command_lines()]
    assert [path for path in commands() if not any(tuple(words[: len(path)]) == path for words in given)] == []


def test_the_demo_in_the_readme_is_the_demo() -> None:
    assert f"{len(gemeenten())} dossiers, {len(entries())} schuldeisers" in document("README.md").text


def test_the_services_of_the_compose_file_are_documented() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert OPERATORS.first_names("Docker Compose") == set(services)


# -- names -----------------------------------------------------------------------------------------------------------


def test_every_code_of_refusal_is_explained_to_gemeenten() -> None:
    assert GEMEENTEN.first_names("Als een bericht wordt geweigerd") == set(Code)


def test_every_state_is_explained_to_gemeenten() -> None:
    assert GEMEENTEN.first_names("De toestand van een bezorging") == set(State)


def test_every_answer_is_explained_to_creditors() -> None:
    rows = [row for row in SCHULDEISERS.rows("Antwoorden") if len(row) == 3]
    assert {row[0].strip("`") for row in rows} == set(AnswerKind)


def events_made() -> set[str]:
    """Every event of the contract that a module of the gateway names."""
    known = {kind.split(".")[2] for kind in schemas.document("gebeurtenissen")["properties"]["type"]["enum"]}
    modules = [
        path for path in (ROOT / "gateway").rglob("*.py") if not {"sandbox", "simulation", "cli"} & set(path.parts)
    ]
    nodes = [node for path in modules for node in ast.walk(ast.parse(path.read_text()))]
    return known & {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def test_every_event_is_explained_to_gemeenten_and_none_is_promised() -> None:
    now = events_made()
    assert GEMEENTEN.first_names("Wat u terugkrijgt") == now
    for name in ("README.md", "CHANGELOG.md"):
        assert [event for event in now if f"`{event}`" not in document(name).text] == []
    known = {kind.split(".")[2] for kind in schemas.document("gebeurtenissen")["properties"]["type"]["enum"]}
    assert [event for event in known if f"`{event}`" not in GEMEENTEN.section("Wat u terugkrijgt")] == []


def test_every_route_is_documented_for_who_may_call_it() -> None:
    documented = GEMEENTEN.first_names("Zonder RabbitMQ: de HTTP-API")
    own = {f"{route.method} {PREFIX}{route.path}" for route in ROUTES if route.who != "schuldeiser"}
    assert {name for name in documented if "/v1/" in name} == own
    for route in ROUTES:
        assert route.who != "schuldeiser" or f"`{route.method} {PREFIX}{route.path.split('{')[0]}" in SCHULDEISERS.text


def test_every_kind_of_task_is_explained_to_operators() -> None:
    assert OPERATORS.first_names("Tasks") == set(TaskKind)


def test_every_outcome_is_explained_to_operators_and_integrators() -> None:
    outcomes = get_args(Outcome)
    rows = [row for row in OPERATORS.rows("Retries, channels and giving up") if len(row) == 3]
    assert {row[0].strip("`") for row in rows} == {outcome.__struct_config__.tag for outcome in outcomes}
    assert document("docs/integrators.md").first_names("Outcomes") == {outcome.__name__ for outcome in outcomes}


def log_events() -> dict[str, str]:
    """Every event that is logged, with its level; `any` where that depends."""
    levels = {name: name for name in ("debug", "info", "warning", "error", "critical")}
    levels |= {"exception": "error", "log": "any"}
    found = {"event_withheld": "any"}
    for path in [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=log, attr=method)) if method in levels and is_logger(log):
                    found |= {name: levels[method] for argument in node.args for name in event_names(argument)}
                case _:
                    continue
    return found


def is_logger(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "logger"
    return made or (isinstance(node, ast.Name) and node.id == "log")


def event_names(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str() as name):
            yield name
        case ast.IfExp(body=one, orelse=other):
            yield from [*event_names(one), *event_names(other)]
        case _:
            return


def test_every_event_in_the_log_is_explained_to_operators() -> None:
    assert {row[0].strip("`"): row[1] for row in OPERATORS.rows("Log")} == log_events()


def metric_names() -> set[str]:
    """As Prometheus asks for them: a counter ends in `_total`."""
    signs = Signs(register_loaded=True, consuming=True, loop_lag=0.0, timers_idle=0.0)
    gauges = Gauges(0, {}, {}, {}, 0, None, None, None, {}, {}, 0, 0)
    seen = Seen(0, signs, gauges, True, 0.0, 0, {}, {}, ())
    meters = Meters()
    Metrics(meters, "sqlite", lambda: seen)
    endings = {"counter": "_total", "info": "_info"}
    return {family.name + endings.get(family.type, "") for family in meters.registry.collect()}


def test_every_metric_is_explained_to_operators() -> None:
    assert OPERATORS.first_names("Metrics") == metric_names()


def test_the_alarms_that_operators_are_told_to_act_on_are_those_that_are_shown_before_the_first() -> None:
    told = OPERATORS.first_names("Alarms")
    assert told == set(map(str, ALARMS))
    levels = log_events()
    assert {levels[name] for name in told} <= {"error", "critical"}


def test_the_rules_for_prometheus_can_be_read_and_ask_for_metrics_that_exist() -> None:
    scrape, rules = [yaml.safe_load(example.text) for example in OPERATORS.examples("yaml")]
    assert scrape["scrape_configs"][0]["scheme"] == "https"
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = set(re.findall(r"(?:kennisgeving|process)_\w+", " ".join(expressions)))
    assert named
    assert named <= metric_names()
    for each in expressions:
        assert each.count("(") == each.count(")"), each


def test_every_sign_of_readiness_is_explained_to_operators() -> None:
    told = {name for name in OPERATORS.first_names("Health") if not name.startswith("/")}
    tree = ast.parse((ROOT / "gateway/watch.py").read_text())
    (method,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "told"]
    keys = [key for node in ast.walk(method) if isinstance(node, ast.Dict) for key in node.keys]
    assert told == {key.value for key in keys if isinstance(key, ast.Constant)}


# -- settings of channels --------------------------------------------------------------------------------------------

TABLES: Mapping[str, tuple[type[Struct], ...]] = {
    "webhook": (WebhookSettings,),
    "sftp": (SftpSettings,),
    "email": (EmailSettings, CreditorSettings),
    "cjib": (CjibSettings,),
}


@pytest.mark.parametrize("channel", TABLES)
def test_every_setting_of_a_channel_is_documented(channel: str) -> None:
    settings = {field.encode_name for kind in TABLES[channel] for field in msgspec.structs.fields(kind)}
    if channel == "email":
        settings |= {f"inkomend.{field.encode_name}" for field in msgspec.structs.fields(Mailbox)}
    assert CHANNELS.first_names(channel) == settings


# -- the code map ----------------------------------------------------------------------------------------------------


def mapped() -> dict[str, str]:
    """Module → what the code map says of it."""
    folder, found = "", {}
    for line in document("ARCHITECTURE.md").section("Code map").splitlines():
        if heading := re.fullmatch(r"### `(.+/)`", line):
            folder = heading[1]
        elif entry := re.fullmatch(r"- `(\w[\w/]*\.py)` (.+)", line):
            found[folder + entry[1]] = entry[2]
    return found


def test_the_code_map_has_every_module_and_no_other() -> None:
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("gateway", "adapters")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py" or (folder == "gateway" and path.stat().st_size)
    }
    assert set(mapped()) == modules


def test_paths_that_documents_name_exist() -> None:
    for each in DOCUMENTS:
        named = {
            code
            for code in each.inline()
            if re.fullmatch(r"(gateway|adapters|tests|schemas|docs|bench|docker)/\S*", code)
        }
        assert [path for path in named if not (ROOT / path).exists()] == [], each.name
