"""`kennisgeving check`: what is right and wrong in a configuration, line by line, in Dutch.

Looks and changes nothing: makes no ledger, no queue, no delivery. What a start of the gateway will make by itself is
right; what could not be looked at says so (`ok` is None).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import msgspec

from gateway.app import make_channels
from gateway.broker_check import check_broker
from gateway.clock import Clock
from gateway.config import Config, HttpSettings, Tempo, read_config
from gateway.contract import Channel, Finding, SecretMissing, SettingsRefused, look_at_certificate, read_secret
from gateway.core.creditor import Creditor
from gateway.key_files import look_at_files, of_creditors, of_settings
from gateway.keys import KeyRefused, Keys, read_keys
from gateway.ledger import register as register_rows
from gateway.ledger.durability import durability
from gateway.ledger.engine import Contention, LedgerAway
from gateway.ledger.opening import open_ledger
from gateway.ledger.upgrade import is_current
from gateway.register import creditor_from_json, endpoint_of, read_register
from gateway.tables import TablesRefused

TEST_OIN = "00000099"
PROMISED_WORKING_DAYS = 5
AT_ONCE = 8
PATIENCE = 30.0
"""Seconds that one look at the ledger, or at one creditor on one channel, may take."""
_MARKS = {True: "goed", False: "FOUT", None: "niet te controleren"}


def line(finding: Finding) -> str:
    """As `check` prints it."""
    return f"{_MARKS[finding.ok]:<20} {finding.text}"


async def check(path: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Finding]:
    """Every finding about the configuration in `path`, part by part."""
    try:
        config = read_config(path, environ)
    except TablesRefused as why:
        for error in why.errors:
            yield Finding(False, error)
        return
    yield Finding(True, f"{path}: alle instellingen zijn geldig")
    looks = _Checkup(config, clock)
    for look in (
        looks.settings,
        looks.key,
        looks.ledger,
        looks.broker,
        looks.register,
        looks.key_files,
        looks.creditors,
    ):
        for finding in await look():
            yield finding


async def reasons_not_to_start(config: Config, clock: Clock) -> list[str]:
    """What of our own is unsafe before anything has started, as far as it can be seen now: a broker that is away is
    waited for. The ledger and the key files of creditors are judged when the ledger is there."""
    own = [*look_at_files(of_settings(config)), *_look_at_own_certificates(config, clock)]
    if config.amqp is not None:
        own += [finding async for finding in check_broker(config.amqp)]
    return [finding.text for finding in own if finding.unsafe]


class _Checkup:
    """One look at everything; what one part finds, a later one uses."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._keys: Keys | None = None
        self._creditors: list[Creditor] = []
        """Of the register in force, and as the file has them where that says otherwise."""

    async def settings(self) -> list[Finding]:
        return [*_cautions(self._config), *_look_at_http(self._config.http, self._clock)]

    async def key_files(self) -> list[Finding]:
        return look_at_files([*of_settings(self._config), *of_creditors(self._creditors)])

    async def key(self) -> list[Finding]:
        try:
            self._keys = read_keys(self._config.ledger.key)
        except (KeyRefused, SecretMissing, SettingsRefused) as why:
            return [Finding(False, f"[ledger] sleutel: {why}")]
        return [Finding(True, "[ledger] sleutel: 32 bytes, alleen voor de eigenaar en zijn groep")]

    async def ledger(self) -> list[Finding]:
        absent = _absent_file(self._config.ledger.url)
        if absent is not None:
            return [absent]
        try:
            ledger = open_ledger(self._config.ledger)
        except (SecretMissing, SettingsRefused) as why:
            return [Finding(False, str(why))]
        try:
            async with asyncio.timeout(PATIENCE):
                durable = await ledger.run(durability)
                current = await ledger.run(is_current)
                documents = await ledger.run(register_rows.entries) if current else {}
        except (LedgerAway, Contention, TimeoutError) as why:
            return [Finding(False, f"[ledger] niet bereikbaar ({str(why) or type(why).__name__})")]
        finally:
            await ledger.aclose()
        self._creditors = [creditor_from_json(document) for document in documents.values()]
        schema = "het huidige schema" if current else "het schema wordt bij de start bijgewerkt"
        return [Finding(True, f"[ledger] bereikbaar, {schema}"), *durable]

    async def broker(self) -> list[Finding]:
        if self._config.amqp is None:
            return [Finding(True, "[amqp] ontbreekt: alleen de ingebouwde intake")]
        return [finding async for finding in check_broker(self._config.amqp)]

    async def register(self) -> list[Finding]:
        in_force = [Finding(True, f"register van kracht: {len(self._creditors)} schuldeisers")] * bool(self._creditors)
        if self._config.register is None:
            return in_force
        file = Path(self._config.register.file)
        try:
            filed = read_register(file)
        except TablesRefused as why:
            return [*in_force, *(Finding(False, error) for error in why.errors)]
        except SettingsRefused as why:
            return [*in_force, Finding(False, str(why))]
        found = [*in_force, Finding(True, f"{file}: {len(filed)} schuldeisers")]
        before, after = ({one.id: one for one in creditors} for creditors in (self._creditors, filed))
        number = sum(before.get(id_) != after.get(id_) for id_ in before | after)
        if before and number:
            advice = "kennisgeving schuldeisers apply brengt het bestand van kracht"
            found.append(Finding(True, f"{file}: let op, bij {number} anders dan wat van kracht is; {advice}"))
        self._creditors = list((before | after).values())
        return found

    async def creditors(self) -> list[Finding]:
        if self._keys is None:
            return [Finding(None, "kanalen: zonder sleutel niet te openen")]
        try:
            channels = make_channels(self._config, self._keys, self._clock)
        except (SettingsRefused, SecretMissing) as why:
            return [Finding(False, str(why))]
        turn = asyncio.Semaphore(AT_ONCE)
        lanes = [(creditor, name) for creditor in self._creditors for name in creditor.channels]
        found = await asyncio.gather(*(_look_at_lane(channels.get(name), one, name, turn) for one, name in lanes))
        await asyncio.gather(*(channel.aclose() for channel in channels.values()))
        return [finding for findings in found for finding in findings]


def _cautions(config: Config) -> Iterator[Finding]:
    """What may be meant, and had better be known."""
    if config.gateway.oin.startswith(TEST_OIN):
        yield Finding(True, "[gateway] oin: let op, dit is een test-OIN")
    if _gives_up_early(config.tempo):
        yield Finding(True, "[tempo] opgeven_na: let op, korter dan 5 werkdagen: een storing in het weekend telt mee")
    if not config.senders:
        yield Finding(True, "[[afzender]]: let op, er is er geen; elk bericht wordt geparkeerd")


def _gives_up_early(tempo: Tempo) -> bool:
    horizon = tempo.give_up_after
    if horizon.unit == "werkdagen":
        return horizon.amount < PROMISED_WORKING_DAYS
    return horizon.fixed() < timedelta(days=PROMISED_WORKING_DAYS + 2)


def _look_at_http(http: HttpSettings, clock: Clock) -> Iterator[Finding]:
    if http.certificate:
        yield look_at_certificate(http.certificate, clock.now())
    for key, reference in (("certificaat_sleutel", http.certificate_key), ("ca", http.ca)):
        if reference:
            yield _is_readable(f"[http] {key}", reference)
    if http.oauth2:
        yield _look_at_jwks(http.oauth2.keys)


def _look_at_own_certificates(config: Config, clock: Clock) -> Iterator[Finding]:
    """Of our listeners, and what channels sign with; a creditor's client certificate is its own lane's trouble."""
    signing = (table.get("certificaat") for table in config.channels.values())
    for reference in (config.http.certificate, *signing):
        if isinstance(reference, str):
            yield look_at_certificate(reference, clock.now())


def _is_readable(place: str, reference: str) -> Finding:
    try:
        read_secret(reference)
    except (SecretMissing, SettingsRefused) as why:
        return Finding(False, f"{place}: {why}")
    return Finding(True, f"{place}: leesbaar")


def _look_at_jwks(reference: str) -> Finding:
    place = "[http] oauth2.jwks"
    try:
        keys = msgspec.json.decode(read_secret(reference), type=dict[str, list[dict[str, object]]]).get("keys", [])
    except (SecretMissing, SettingsRefused) as why:
        return Finding(False, f"{place}: {why}")
    except (msgspec.DecodeError, RecursionError):
        return Finding(False, f"{place}: geen JWKS")
    return Finding(bool(keys), f"{place}: {len(keys)} publieke sleutels")


def _absent_file(url: str) -> Finding | None:
    """For an SQLite ledger that is not there yet, which looking at would make."""
    file = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or file.exists():
        return None
    if os.access(file.parent, os.W_OK | os.X_OK):
        return Finding(True, f"[ledger] {file}: wordt bij de start gemaakt")
    return Finding(False, f"[ledger] {file}: in deze map kan niet worden geschreven")


async def _look_at_lane(
    channel: Channel | None, creditor: Creditor, name: str, turn: asyncio.Semaphore
) -> list[Finding]:
    place = f"{creditor.id} {name}"
    if channel is None:
        return [Finding(False, f"{place}: dit kanaal is niet ingericht")]
    try:
        async with turn, asyncio.timeout(PATIENCE):
            found = await channel.check(endpoint_of(creditor, name))
    except (SettingsRefused, SecretMissing) as why:
        return [Finding(False, f"{place}: {why}")]
    except OSError as why:  # TimeoutError is one
        return [Finding(False, f"{place}: niet bereikbaar ({type(why).__name__})")]
    return [Finding(finding.ok, f"{place}: {finding.text}") for finding in found]
