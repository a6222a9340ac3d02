"""docker-compose.yml and what it starts from, as far as that shows without an engine."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker.prepare import ACCOUNTS, prepare
from gateway.config import read_config
from gateway.sandbox.broker import GATEWAY
from gateway.sandbox.dossiers import gemeenten

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for volume in ("authority", *ACCOUNTS):
        (tmp_path / volume).mkdir()
    prepare(tmp_path, dict.fromkeys(ACCOUNTS, os.getuid()))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_makes_nothing_new(volumes: Path) -> None:
    before = contents(volumes)
    prepare(volumes, dict.fromkeys(ACCOUNTS, os.getuid()))
    assert contents(volumes) == before


def test_every_service_gets_its_own_keys_and_nobody_else_s(volumes: Path) -> None:
    found = {volume: contents(volumes / volume) for volume in ACCOUNTS}
    assert found["rabbitmq"].keys() == {"ca.pem", "server.pem", "server.key", "definitions.json"}
    assert found["postgres"].keys() == {"ca.pem", "server.pem", "server.key", "password"}
    assert "ca.key" not in found["gateway"]
    keys = [content for files in found.values() for name, content in files.items() if name.endswith(".key")]
    assert len(set(keys)) == len(keys)
    assert found["gateway"]["amqp.wachtwoord"] not in found["rabbitmq"]["definitions.json"]


def test_what_is_secret_is_readable_by_its_owner_only(volumes: Path) -> None:
    public = {path for path in volumes.rglob("*") if path.suffix == ".pem" or path.name == "ready"}
    secret = {path for path in volumes.rglob("*") if path.is_file()} - public
    assert secret
    assert {path for path in secret if path.stat().st_mode & 0o077} == set()


def test_the_settings_are_read_and_name_files_that_are_made(volumes: Path) -> None:
    settings = ROOT / "docker" / "gateway.toml"
    config = read_config(settings, environ={}, channels=["email"])
    assert set(gemeenten()) <= set(config.senders[0].gemeenten)
    assert config.amqp is not None
    assert config.amqp.url.startswith(f"amqps://{GATEWAY}@rabbitmq")
    assert config.ledger.ca == "file:/run/kennisgeving/ca.pem"
    named = re.findall(r"file:/run/kennisgeving/([\w.]+)", settings.read_text())
    assert set(named) <= contents(volumes / "gateway").keys()


def test_no_service_has_a_secret_in_its_definition() -> None:
    secret = re.compile(r"(PASS|PASSWORD|SECRET|TOKEN|COOKIE|KEY)$")
    variables = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    assert {name for name in variables if secret.search(name)} == set()


def test_every_service_that_stays_up_has_a_health_check() -> None:
    staying = {
        name: COMPOSE["services"][name] for name in ("rabbitmq", "postgres", "gateway-a", "gateway-b", "creditors")
    }
    assert [name for name, service in staying.items() if "test" not in service.get("healthcheck", {})] == []


def test_one_service_builds_the_image_and_the_others_start_after_it() -> None:
    services = COMPOSE["services"]
    ours = {name: service for name, service in services.items() if service["image"] == services["prepare"]["image"]}
    assert [name for name, service in ours.items() if "build" in service] == ["prepare"]
    assert {service["pull_policy"] for name, service in ours.items() if name != "prepare"} == {"never"}
    assert {name for name in services if "prepare" in _before(name)} == services.keys() - {"prepare"}


def _before(service: str) -> set[str]:
    """What is up before it starts."""
    direct = set(COMPOSE["services"][service].get("depends_on", {}))
    return direct.union(*map(_before, direct))


def test_the_image_gets_every_file_it_is_built_from() -> None:
    sent = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert sent >= {"adapters", "gateway", "schemas", "pyproject.toml", "requirements.txt", "requirements-build.txt"}
    assert [name for name in sent if not (ROOT / name).exists()] == []
