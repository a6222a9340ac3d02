"""F14 to F18: what comes in is broken, repeated, out of order, half there, or far too large."""

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aio_pika
from sqlalchemy import Connection, func, select

from gateway.ledger import schema
from gateway.sandbox.bericht_xml import write_answer
from tests.faults.grounds import Grounds
from tests.faults.kills import ENGINES
from tests.faults.load import Load
from tests.faults.scene import Figures, Scene, open_scene
from tests.faults.sightings import Log
from tests.flow.outside.messages import CONTENT_TYPE, GEMEENTE, SENDER, Message
from tests.flow.outside.sender import connect

LARGE = 10 * 2**20
RSS_AT_MOST_MB = 600


async def half_files(grounds: Grounds, seed: int) -> list[Figures]:
    """F14. Answers that grow under the reader's eyes, are renamed in, come twice, come again with other content."""
    async with open_scene(grounds, "F14", "sqlite", seed) as scene:
        for _ in range(6):
            scene.send(scene.load.dossier(("s-stil",), ()))
        await scene.sent()
        await scene.handed_over("s-stil")
        deliveries = await scene.read(_of_silent)
        outbox = grounds.directory / "sftp" / "s-stil" / "outbox"
        log = Log(grounds.neighbours.log)
        ways = (_grows, _is_renamed, _comes_twice, _changes, _grows, _is_renamed)
        await asyncio.gather(*(way(outbox, delivery, log) for way, delivery in zip(ways, deliveries, strict=True)))
        (outbox / "kapot.xml").write_bytes(b"<Antwoord><Bezor")
        await scene.until(lambda connection: _answered(connection) == len(deliveries), 30)
        scene.figures.notes.append(f"{len(deliveries)} answers, each recorded once")
        return [await scene.end()]


def _of_silent(connection: Connection) -> list[str]:
    delivery = schema.delivery.c
    return list(connection.execute(select(delivery.id).where(delivery.creditor == "s-stil")).scalars())


def _answered(connection: Connection) -> int:
    evidence = schema.evidence.c
    query = select(func.count(evidence.delivery_id.distinct())).where(evidence.kind == "answer")
    found: int = connection.execute(query).scalar_one()
    return found


def _answer(delivery: str, soort: str = "pauze_ingesteld") -> bytes:
    return write_answer(delivery, {"soort": soort, "totEnMet": "2099-01-01"} if "pauze" in soort else {"soort": soort})


async def _grows(outbox: Path, delivery: str, log: Log) -> None:
    log.reply("s-stil", delivery, "said")
    body = _answer(delivery)
    with (outbox / f"antwoord_{delivery}.xml").open("wb", buffering=0) as file:
        for start in range(0, len(body), 60):
            file.write(body[start : start + 60])
            await asyncio.sleep(0.2)


async def _is_renamed(outbox: Path, delivery: str, log: Log) -> None:
    log.reply("s-stil", delivery, "said")
    part = outbox / f".antwoord_{delivery}.part"
    part.write_bytes(_answer(delivery))
    await asyncio.sleep(1)
    part.rename(outbox / f"antwoord_{delivery}.xml")


async def _comes_twice(outbox: Path, delivery: str, log: Log) -> None:
    await _is_renamed(outbox, delivery, log)
    await asyncio.sleep(2)
    (outbox / f"antwoord_{delivery}.xml").write_bytes(_answer(delivery))


async def _changes(outbox: Path, delivery: str, log: Log) -> None:
    await _is_renamed(outbox, delivery, log)
    await asyncio.sleep(2)
    (outbox / f"antwoord_{delivery}.xml").write_bytes(_answer(delivery, "klant_onbekend"))


# -- poison ------------------------------------------------------------------------------------------------------------


def poison() -> list[bytes]:
    """Bodies that no gateway may choke on (guarantee: bad input to try)."""
    good = Load(1, 9_999).dossier(("w-antwoord",), ())[0].body.decode()
    event = json.loads(good)
    changed: list[dict[str, Any]] = [
        {"gemeente": "0000"},
        {"versie": -1},
        {"versie": 10**30},
        {"schuldeisers": []},
        {"schuldeisers": [{"schuldeiser": "w-stil"}] * 3},
        {"schuldeisers": [{"schuldeiser": f"x{nr}"} for nr in range(900)]},
        {"toelating": {"datum": "2026-02-30"}},
        {"hulpvrager": {"voornamen": "A\u202eB" * 40}},
        {"dossierkenmerk": "\x00"},
        {"__proto__": {}},
    ]
    bodies = [json.dumps({**event, "data": {**event["data"], **change}}).encode() for change in changed]
    return [
        *bodies,
        b"",
        b"\x00" * 100,
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"\xef\xbb\xbf" + good.encode(),
        good.encode("utf-16"),
        good.replace('"versie": 1', '"versie": 1e400').encode(),
        good.replace('"versie": 1', '"versie": NaN').encode(),
        good.replace('"versie": 1', '"versie": 1, "versie": 2').encode(),
        good.replace("Anna", "\\ud800").encode(),
        b'"' + b"a" * 70_000 + b'"',
    ]


async def poisoned(grounds: Grounds, seed: int) -> list[Figures]:
    """F15. Poison among good notices: every piece refused and on record, and the good ones go on at once."""
    rounds, bodies = [], poison()
    for engine in ENGINES:
        async with open_scene(grounds, "F15", engine, seed) as scene:
            for nr, body in enumerate(bodies):
                await _publish_raw(scene, [(body, CONTENT_TYPE)])
                if nr % 4 == 0:
                    scene.send(scene.load.dossier((), ()))
            await scene.sent()
            took = await scene.until(lambda connection: _refusals(connection) >= len(bodies), 30)
            scene.figures.notes.append(f"{len(bodies)} pieces of poison on record, the last after {took:.1f} s")
            rounds.append(await scene.end())
    return rounds


def _refusals(connection: Connection) -> int:
    found: int = connection.execute(select(func.count()).select_from(schema.refusal)).scalar_one()
    return found


async def _publish_raw(scene: Scene, bodies: Iterable[tuple[bytes, str]]) -> None:
    async with await connect(scene.grounds.rabbitmq.url(SENDER)) as broker, broker.channel() as channel:
        exchange = await channel.get_exchange("kennisgeving.in", ensure=False)
        for body, content_type in bodies:
            message = aio_pika.Message(body, content_type=content_type, delivery_mode=2, user_id=SENDER)
            await exchange.publish(message, f"{GEMEENTE}.kennisgeving", timeout=30)


# -- order, duplicates, size -------------------------------------------------------------------------------------------


async def duplicates(grounds: Grounds, seed: int, dossiers: int = 20) -> list[Figures]:
    """F16. Every message ten times, at two gateways at the same time."""
    async with open_scene(grounds, "F16", "postgresql", seed) as scene:
        await scene.start(scene.gateways[1])
        for _ in range(dossiers):
            messages = scene.load.dossier()
            for _ in range(2):
                scene.send(messages, copies=5)
        return [await scene.end()]


async def out_of_order(grounds: Grounds, seed: int, dossiers: int = 25) -> list[Figures]:
    """F17. Versions arrive backwards, with a gap, and a withdrawal overtakes its notice."""
    rounds = []
    for engine in ENGINES:
        async with open_scene(grounds, "F17", engine, seed) as scene:
            for nr in range(dossiers):
                messages = scene.load.dossier((), ("voortgang", "intrekking") if nr % 2 else ("voortgang", "voortgang"))
                order: list[Message] = [messages[2], messages[0], messages[1]] if nr % 3 else messages[::-1]
                scene.send(order)
            rounds.append(await scene.end())
    return rounds


async def large(grounds: Grounds, seed: int, bodies: int = 20) -> list[Figures]:
    """F18. Bodies of 10 MB: refused politely, with memory that stays bounded, while others go on."""
    async with open_scene(grounds, "F18", "sqlite", seed) as scene:
        peak, began = 0, time.monotonic()
        body = b'{"a":"' + b"x" * LARGE + b'"}'
        for _ in range(bodies):
            await _publish_raw(scene, [(body, CONTENT_TYPE)])
            scene.send(scene.load.dossier((), ()))
            peak = max(peak, scene.gateway.memory_mb())
        await scene.until(lambda connection: _refusals(connection) >= bodies, 60)
        peak = max(peak, scene.gateway.memory_mb())
        scene.figures.notes.append(f"{bodies} bodies of 10 MB in {time.monotonic() - began:.0f} s, at most {peak} MB")
        if peak > RSS_AT_MOST_MB:
            scene.figures.faults.append(f"the gateway grew to {peak} MB")
        return [await scene.end()]
