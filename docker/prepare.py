"""Makes the keys, certificates and passwords of docker-compose.yml, each in the volume of the one that needs it.

    authority   the development CA; for every sender a client certificate and its password on the broker
    gateway     key-encryption key, TLS certificates, passwords for the broker and the ledger
    rabbitmq    TLS certificate; users and their rights, passwords as salted hashes
    postgres    TLS certificate and password
    creditors   the CA; docker/creditors.py adds the rest

Runs as root before the other services start. What is there is kept, so a second start changes nothing.
"""

import json
import os
import secrets
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gateway.pki import DevPki, make_dev_pki, write_secret
from gateway.sandbox.broker import GATEWAY, definitions

SETTINGS = Path(__file__).parent / "gateway.toml"
GATEWAY_HOSTS = ("gateway-a", "gateway-b", "localhost", "127.0.0.1")
ACCOUNTS = {"gateway": 10001, "rabbitmq": 999, "postgres": 999, "creditors": 10001}
"""Volume → numeric user, in our image, in rabbitmq:4-management and in postgres:17."""


def prepare(volumes: Path, accounts: Mapping[str, int] = ACCOUNTS) -> None:
    ready = volumes / "authority" / "ready"
    if ready.exists():
        return
    settings = tomllib.loads(SETTINGS.read_text())
    senders = {sender["amqp_gebruiker"]: sender for sender in settings["afzender"]}
    passwords = {user: secrets.token_urlsafe(24) for user in (GATEWAY, *senders, "postgres")}
    pki = make_dev_pki(volumes / "authority", GATEWAY_HOSTS, settings["gateway"]["oin"])
    for user, sender in senders.items():
        pki.authority.issue_client(user, sender["oin"])
        _write(volumes / "authority" / f"{user}.wachtwoord", passwords[user])
    _for_gateway(volumes / "gateway", pki, passwords)
    _for_server(volumes / "rabbitmq", pki)
    rights = definitions(passwords, {user: sender["gemeenten"] for user, sender in senders.items()})
    _write(volumes / "rabbitmq" / "definitions.json", json.dumps(rights))
    _for_server(volumes / "postgres", pki)
    _write(volumes / "postgres" / "password", passwords["postgres"])
    shutil.copy(pki.authority.certificate, volumes / "creditors" / "gateway-ca.pem")
    for volume, account in accounts.items():
        _give(volumes / volume, account)
    ready.touch()


def _for_gateway(volume: Path, pki: DevPki, passwords: Mapping[str, str]) -> None:
    for issued in (pki.server, pki.gateway):
        shutil.copy(issued.certificate, volume)
        shutil.copy(issued.key, volume)
    shutil.copy(pki.ledger_key, volume)
    shutil.copy(pki.authority.certificate, volume)
    _write(volume / "amqp.wachtwoord", passwords[GATEWAY])
    # https://www.postgresql.org/docs/current/libpq-pgpass.html
    _write(volume / "pgpass", f"postgres:5432:kennisgeving:{GATEWAY}:{passwords['postgres']}\n")


def _for_server(volume: Path, pki: DevPki) -> None:
    issued = pki.authority.issue_server(volume.name, [volume.name, "localhost", "127.0.0.1"])
    shutil.move(issued.certificate, volume / "server.pem")
    shutil.move(issued.key, volume / "server.key")
    shutil.copy(pki.authority.certificate, volume)


def _write(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    write_secret(path, content.encode())


def _give(volume: Path, account: int) -> None:
    for path in volume.iterdir():
        os.chown(path, account, account)
        path.chmod(0o400)
    os.chown(volume, account, account)
    volume.chmod(0o700)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
