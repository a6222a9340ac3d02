"""Sets the stage: a directory with keys, settings and register, and four servers that listen."""

import base64
import hashlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway.app import apply_register
from gateway.cli.errors import WrongUse
from gateway.cli.ledger import ledger_to_write
from gateway.clock import Clock
from gateway.config import Config, read_config
from gateway.ledger import register as register_rows
from gateway.pki import DevPki, make_dev_pki, write_secret
from gateway.register import read_register
from gateway.sandbox.creditors import Creditors
from gateway.sandbox.dossiers import Dossier, dossiers, gemeenten
from gateway.sandbox.register import Entry, entries, to_toml
from gateway.sandbox.sender import TokenIssuer

LOOPBACK: Final = "127.0.0.1"
SENDER_OIN: Final = "00000099000000777000"
SENDER: Final = "kredietbank-voorbeeld"
TEMPO: Final[Mapping[str, str]] = {
    "eerste_herhaling": "1 s",
    "sftp_peiling": "1 s",
    "cjib_peiling": "1 s",
    "cjib_peiling_hoogste": "5 s",
}
"""As fast as a demo likes it; contract §8 has the ordinary values."""


class Stage(Struct, frozen=True):
    """Everything in place, and nothing sent yet."""

    settings: Path
    config: Config
    entries: tuple[Entry, ...]
    dossiers: tuple[Dossier, ...]
    creditors: Creditors
    issuer: TokenIssuer

    @property
    def url(self) -> str:
        return self.config.http.public_url


@asynccontextmanager
async def set_stage(
    directory: Path, clock: Clock, amqp: str | None, ledger: str | None, user: str
) -> AsyncIterator[Stage]:
    """`amqp` and `ledger` instead of what is embedded; `user`: the sender's name at the broker.

    Raises WrongUse where the ledger is in use for something else.
    """
    pki = _keys(directory / "certs", ledger)
    address = f"{LOOPBACK}:{_free_port()}"
    async with Creditors(directory / "schuldeisers", pki, gateway_url=f"http://{address}") as creditors:
        known = entries()
        (directory / "schuldeisers.toml").write_text(creditors.register(known), "utf-8")
        issuer = TokenIssuer(directory / "certs", clock)
        settings = directory / "gateway.toml"
        write_secret(settings, _settings(address, pki, creditors, issuer, amqp, ledger, user).encode())
        config = read_config(settings, environ={})
        await _put_register_in_force(config, {entry.id for entry in known}, clock)
        now = clock.now()
        samples = dossiers(known, SENDER_OIN, f"{now:%y%m%d%H%M%S}", now)
        yield Stage(settings, config, tuple(known), tuple(samples), creditors, issuer)


def _keys(directory: Path, ledger: str | None) -> DevPki:
    """A ledger that outlives the demo gets a key that follows from its address, so that a later demo can read it."""
    if ledger is not None:
        directory.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(f"kennisgeving demo {ledger}".encode()).digest()
        write_secret(directory / "ledger.key", base64.b64encode(key) + b"\n")
    return make_dev_pki(directory)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _settings(
    address: str,
    pki: DevPki,
    creditors: Creditors,
    issuer: TokenIssuer,
    amqp: str | None,
    ledger: str | None,
    user: str,
) -> str:
    tables: dict[str, Mapping[str, object]] = {
        "ledger": {"url": ledger or "sqlite:///kennisgeving.db", "sleutel": f"file:{pki.ledger_key}"},
        "amqp": {"url": amqp} if amqp else {},
        "http": {
            "luister": address,
            "oauth2": {"uitgever": issuer.issuer, "jwks": f"file:{issuer.jwks}", "publiek": issuer.audience},
        },
        "email": {**creditors.relay(), "afzender": "kennisgeving@gateway.example"},
        "tempo": TEMPO,
        "register": {"bestand": "schuldeisers.toml"},
        "[afzender]": {
            "naam": "Kredietbank Voorbeeld",
            "oin": SENDER_OIN,
            "amqp_gebruiker": user,
            "client_id": SENDER,
            "gemeenten": list(gemeenten()),
        },
    }
    return "\n".join(_table(name, keys) for name, keys in tables.items() if keys)


def _table(name: str, keys: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {to_toml(value)}" for key, value in keys.items()), ""])


async def _put_register_in_force(config: Config, ours: set[str], clock: Clock) -> None:
    """A ledger with creditors that are not the demo's is somebody's: hands off."""
    async with ledger_to_write(config) as ledger:
        present = set(await ledger.run(register_rows.entries))
        if present - ours:
            raise WrongUse("dit grootboek heeft een eigen schuldeisersregister; neem voor de demo een lege database")
        if config.register is not None:
            await apply_register(ledger, clock, read_register(Path(config.register.file)))
