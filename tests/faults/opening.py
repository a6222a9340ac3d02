"""How a round begins: its ledger and its settings, a gateway that has nothing to do yet, a sender that listens."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from gateway.ledger.engine import Ledger
from gateway.sandbox.register import register_toml, to_toml
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.hearing import Listener
from tests.faults.load import Load
from tests.faults.nursery import Gateway
from tests.faults.scene import Scene
from tests.flow.outside.messages import GEMEENTE, SENDER, SENDER_OIN
from tests.flow.outside.sender import BROKER_AWAY, connect, listening

TEMPO = {
    "eerste_herhaling": "0.2 s",
    "hoogste_herhaling": "1 s",
    "antwoord_binnen": "2 s",
    "sftp_peiling": "0.5 s",
    "cjib_peiling": "0.5 s",
    "cjib_peiling_hoogste": "1 s",
    "gat_wachttijd": "2 s",
    "lease": "2 s",
}
RED_WITHIN = 8.0
"""With a seeded bug it may never become quiet."""


@asynccontextmanager
async def open_scene(
    grounds: Grounds,
    fault: str,
    engine: str,
    seed: int,
    *,
    bugs: Sequence[str] = (),
    proxied: Sequence[str] = (),
    indirect: Sequence[str] = ("a", "b"),
    tempo: Mapping[str, str] | None = None,
    home: Path | None = None,
    names: Path | None = None,
    by_name: Sequence[str] = (),
    limits: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    at_birth: Sequence[str] = (),
    late_after: float = 0.0,
) -> AsyncIterator[Scene]:
    """A gateway that is ready and a sender that listens. Before that it dies once at each of the points `at_birth`, of
    what it does on an empty ledger only.

    `proxied`: "ledger", "broker", which the gateways named in `indirect` reach by way of the proxies; `home`: where
    SQLite is; `names` has the gateway's own hosts and resolv.conf, for the webhooks `by_name`; `limits`: their
    `limiet`; `late_after`: seconds in the place of the four hours after which what is not handed over is reported.
    """
    grounds.rounds += 1
    await grounds.sweep()
    directory = grounds.directory / f"{grounds.rounds:04}-{fault}"
    directory.mkdir()
    url = _ledger(grounds, engine, home or directory)
    ledger = Ledger(url)
    gateways = tuple(Gateway(grounds.nursery, directory, name) for name in ("a", "b"))
    for gateway, port in zip(gateways, grounds.ports, strict=True):
        gateway.names, gateway.late_after = names, late_after
        by_proxy = proxied if gateway.name in indirect else ()
        gateway.config.write_text(_settings(grounds, url, port, by_proxy, {**TEMPO, **(tempo or {})}))
    (directory / "schuldeisers.toml").write_text(register_toml(grounds.register(by_name, limits)))
    sender = Listener(grounds.rabbitmq.url(SENDER), directory / "confirmed.jsonl")
    load = Load(seed, grounds.rounds)
    figures = Figures(fault, engine)
    scene = Scene(grounds, directory, url, ledger, load, sender, (gateways[0], gateways[1]), figures,
                  grounds.neighbours.written, tuple(bugs))  # fmt: skip
    scene.commits_lost_before = grounds.to_ledger.commits_lost
    if bugs:
        scene.quiet_within = RED_WITHIN
    try:
        await _begun(scene, at_birth)
        async with listening(sender):
            yield scene
    finally:
        await _cleared_away(scene)
        if engine == "postgresql":
            grounds.postgres.drop_database(urlsplit(url).path[1:])


async def _cleared_away(scene: Scene) -> None:
    for task in scene.sending:
        task.cancel()
    await asyncio.gather(*scene.sending, return_exceptions=True)
    for gateway in scene.gateways:
        await gateway.kill()
    await scene.ledger.aclose()


async def _begun(scene: Scene, at_birth: Sequence[str]) -> None:
    for point in at_birth:
        await scene.gateway.start(point, 1, scene.bugs)
        await scene.dies(scene.gateway, point)
    await scene.start()
    await _subscribed(scene)
    await scene.settle_in()


async def _subscribed(scene: Scene) -> None:
    """Only when the gateway consumes is all that it declares there: a message that is sent to no queue is confirmed
    never, and the gateway may be about to die."""
    async with asyncio.timeout(60):
        while True:
            scene.gateway.died_at()
            try:
                if await _is_consumed(scene.grounds.rabbitmq.url()):
                    return await scene.sender.subscribe()
            except BROKER_AWAY:
                pass
            await asyncio.sleep(0.1)


async def _is_consumed(url: str) -> bool:
    async with await connect(url) as broker, broker.channel() as channel:
        declared = await channel.declare_queue("kennisgeving.intake", passive=True)
        return bool(declared.declaration_result.consumer_count)


def _ledger(grounds: Grounds, engine: str, home: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:///{home / 'ledger.db'}"
    return grounds.postgres.create_database(f"round_{uuid4().hex}")


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))


def _settings(grounds: Grounds, ledger: str, port: int, proxied: Sequence[str], tempo: Mapping[str, str]) -> str:
    amqp = grounds.rabbitmq.url()
    server = grounds.pki.server
    tables: dict[str, Mapping[str, Any]] = {
        "[ledger]": {
            "url": _through(ledger, grounds.to_ledger.port) if "ledger" in proxied else ledger,
            "sleutel": f"file:{grounds.pki.ledger_key}",
        },
        "[amqp]": {"url": _through(amqp, grounds.to_broker.port) if "broker" in proxied else amqp},
        "[http]": {
            "luister": f"127.0.0.1:{port}",
            "publiek_adres": f"https://127.0.0.1:{grounds.ports[0]}",
            "certificaat": f"file:{server.certificate}",
            "certificaat_sleutel": f"file:{server.key}",
        },
        "[email]": {**grounds.neighbours.email, "afzender": "kennisgeving@gateway.example"},
        "[tempo]": tempo,
        "[register]": {"bestand": "schuldeisers.toml"},
        "[[afzender]]": {
            "naam": "Gemeente Voorbeeld",
            "oin": SENDER_OIN,
            "amqp_gebruiker": SENDER,
            "client_id": SENDER,
            "gemeenten": [GEMEENTE],
        },
    }
    written = [[name, *(f"{key} = {to_toml(value)}" for key, value in table.items())] for name, table in tables.items()]
    return "\n\n".join("\n".join(lines) for lines in written) + "\n"
