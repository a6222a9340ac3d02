"""`kennisgeving check`: what is right and wrong in a configuration, line by line, in Dutch.

Looks and changes nothing: makes no ledger, no queue, no delivery. What a start of the gateway will make by itself is
right; what could not be looked at says so (`ok` is None).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
from sqlalchemy import Connection, text

from gateway.app import make_channels
from gateway.broker_check import check_broker
from gateway.clock import Clock
from gateway.config import Config, HttpSettings, Tempo, read_config
from gateway.contract import (
    Channel,
    Finding,
    SecretMissing,
    SettingsRefused,
    look_at_certificate,
    read_secret,
)
from gateway.core.creditor import Creditor
from gateway.core.deadlines import Duration
from gateway.keys import KeyRefused, Keys, read_keys
from gateway.ledger import register as register_rows
from gateway.ledger.engine import Contention, Ledger, LedgerAway
from gateway.ledger.upgrade import is_current
from gateway.register import creditor_from_json, endpoint_of, read_register
from gateway.tables import TablesRefused

TEST_OIN = "00000099"
AT_ONCE = 8
PATIENCE = 30.0
"""Seconds that one look at one creditor on one channel may take."""


def line(finding: Finding) -> str:
    """As `check` prints it."""
    mark = {True: "goed", False: "FOUT", None: "niet te controleren"}[finding.ok]
    return f"{mark:<20}{finding.text}"


async def check(path: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Finding]:
    """Every finding about the configuration in `path`, as it becomes known."""
    try:
        config = read_config(path, environ)
    except TablesRefused as why:
        for error in why.errors:
            yield Finding(False, error)
        return
    yield Finding(True, f"{path}: alle instellingen zijn geldig")
    for finding in (*_cautions(config), *_check_http(config.http, clock)):
        yield finding
    keys, finding = _check_key(config.ledger.key)
    yield finding
    in_force: list[Creditor] = []
    async for finding in _check_ledger(config.ledger.url, in_force):
        yield finding
    if config.amqp is None:
        yield Finding(True, "[amqp] ontbreekt: alleen de ingebouwde intake")
    else:
        async for finding in check_broker(config.amqp):
            yield finding
    creditors = in_force
    if config.register is not None:
        filed, findings = _check_register(Path(config.register.file))
        creditors = creditors or filed
        for finding in findings:
            yield finding
    async for finding in _check_creditors(config, keys, creditors, clock):
        yield finding


def _cautions(config: Config) -> Iterator[Finding]:
    """What may be meant, and had better be known."""
    if config.gateway.oin.startswith(TEST_OIN):
        yield Finding(True, "[gateway] oin: let op, dit is een test-OIN")
    if _is_short(config.tempo):
        yield Finding(
            True, "[tempo] opgeven_na: let op, korter dan 5 werkdagen; een weekend storing wordt niet overleefd"
        )
    if not config.senders:
        yield Finding(True, "[[afzender]]: let op, er is er geen; elk bericht wordt geparkeerd")


def _is_short(tempo: Tempo) -> bool:
    match tempo.give_up_after:
        case Duration(unit="werkdagen", amount=amount):
            return amount < 5  # noqa: PLR2004 - guarantee: retries
        case fixed:
            return fixed.fixed() < timedelta(days=7)


def _check_http(http: HttpSettings, clock: Clock) -> Iterator[Finding]:
    if http.certificate:
        yield look_at_certificate(http.certificate, clock.now())
    for name, reference in (("certificaat_sleutel", http.certificate_key), ("ca", http.ca)):
        if reference:
            yield _readable(f"[http] {name}", reference)
    if http.oauth2:
        yield _check_jwks(http.oauth2.keys)


def _readable(place: str, reference: str) -> Finding:
    try:
        read_secret(reference)
    except (SecretMissing, SettingsRefused) as why:
        return Finding(False, f"{place}: {why}")
    return Finding(True, f"{place}: leesbaar")


def _check_jwks(reference: str) -> Finding:
    place = "[http] oauth2.jwks"
    try:
        keys = msgspec.json.decode(read_secret(reference), type=dict[str, list[dict[str, object]]]).get("keys", [])
    except (SecretMissing, SettingsRefused) as why:
        return Finding(False, f"{place}: {why}")
    except msgspec.DecodeError:
        return Finding(False, f"{place}: geen JWKS")
    return Finding(bool(keys), f"{place}: {len(keys)} publieke sleutels")


def _check_key(reference: str) -> tuple[Keys | None, Finding]:
    try:
        return read_keys(reference), Finding(True, "[ledger] sleutel: 32 bytes, alleen voor de eigenaar en zijn groep")
    except (KeyRefused, SecretMissing, SettingsRefused) as why:
        return None, Finding(False, f"[ledger] sleutel: {why}")


async def _check_ledger(url: str, in_force: list[Creditor]) -> AsyncIterator[Finding]:
    """Adds the creditors of the register in force to `in_force`."""
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.exists():
        usable = os.access(file.parent, os.W_OK)
        yield Finding(usable, f"[ledger] {file}: " + ("wordt bij de start gemaakt" if usable else "niet te maken"))
        return
    ledger = Ledger(url)
    try:
        async with asyncio.timeout(PATIENCE):
            settings = await ledger.run(_durability)
            current = await ledger.run(is_current)
            documents = await ledger.run(register_rows.entries) if current else {}
    except (LedgerAway, Contention, TimeoutError) as why:
        yield Finding(False, f"[ledger] niet bereikbaar: {why or type(why).__name__}")
        return
    finally:
        await ledger.aclose()
    yield Finding(True, "[ledger] bereikbaar")
    yield Finding(True, "[ledger] schema: " + ("het huidige" if current else "wordt bij de start bijgewerkt"))
    for name, (value, is_safe) in settings.items():
        yield Finding(
            is_safe, f"[ledger] {name} = {value}" + ("" if is_safe else ": bij stroomuitval gaat iets verloren")
        )
    in_force += [creditor_from_json(document) for document in documents.values()]


def _durability(connection: Connection) -> dict[str, tuple[str, bool]]:
    """What decides whether a commit survives a power cut, and whether it does."""
    if connection.dialect.name == "sqlite":
        mode = str(connection.scalar(text("PRAGMA journal_mode")))
        level = str(connection.scalar(text("PRAGMA synchronous")))
        return {"journal_mode": (mode, mode == "wal"), "synchronous": (level, level in ("2", "3"))}
    values = {name: str(connection.scalar(text(f"SHOW {name}"))) for name in _POSTGRESQL}
    return {name: (value, value not in _UNSAFE) for name, value in values.items()}


_POSTGRESQL = ("fsync", "full_page_writes", "synchronous_commit")
_UNSAFE = ("off", "local") if False else ("off",)


def _check_register(file: Path) -> tuple[list[Creditor], Sequence[Finding]]:
    try:
        creditors = read_register(file)
    except TablesRefused as why:
        return [], [Finding(False, error) for error in why.errors]
    return creditors, [Finding(True, f"{file}: {len(creditors)} schuldeisers")]


async def _check_creditors(
    config: Config, keys: Keys | None, creditors: Iterable[Creditor], clock: Clock
) -> AsyncIterator[Finding]:
    if keys is None:
        yield Finding(None, "kanalen: zonder sleutel niet te openen")
        return
    try:
        channels = make_channels(config, keys, clock)
    except (SettingsRefused, SecretMissing) as why:
        yield Finding(False, str(why))
        return
    turn = asyncio.Semaphore(AT_ONCE)
    lanes = [(creditor, name) for creditor in creditors for name in creditor.channels]
    looks = [asyncio.create_task(_look(channels.get(name), creditor, name, turn)) for creditor, name in lanes]
    for look in looks:
        for finding in await look:
            yield finding
    await asyncio.gather(*(channel.aclose() for channel in channels.values()))


async def _look(channel: Channel | None, creditor: Creditor, name: str, turn: asyncio.Semaphore) -> list[Finding]:
    place = f"{creditor.id} {name}"
    if channel is None:
        return [Finding(False, f"{place}: dit kanaal is niet ingericht ([{name}])")]
    try:
        async with turn, asyncio.timeout(PATIENCE):
            found = await channel.check(endpoint_of(creditor, name))
    except (SettingsRefused, SecretMissing) as why:
        return [Finding(False, f"{place}: {why}")]
    except OSError as why:  # TimeoutError is one
        return [Finding(False, f"{place}: niet bereikbaar ({type(why).__name__})")]
    return [Finding(finding.ok, f"{place}: {finding.text}") for finding in found]
