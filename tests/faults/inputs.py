"""F14 to F17: what comes in is broken, repeated, out of order, or half there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import aio_pika
from sqlalchemy import Connection, func, select

from gateway.core.lifecycle import State
from gateway.ledger import schema
from gateway.sandbox.bericht_xml import write_answer
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.kills import ENGINES
from tests.faults.load import Load
from tests.faults.opening import open_scene
from tests.faults.scene import LOOK, Scene
from tests.faults.sightings import SAID as DECIDED
from tests.faults.sightings import Log
from tests.flow.outside.messages import CONTENT_TYPE, GEMEENTE, SENDER, Message
from tests.flow.outside.sender import connect

ON_RECORD_WITHIN = 1.0
REPEATED, TURNED = 20, 25
"""Dossiers that come ten times; dossiers that come out of order."""


async def half_files(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F14. Answers that grow under the reader's eyes, are renamed in, come twice, come again with other content: each
    content is on record once, the latest counts, and what is no answer is set aside with its reason."""
    async with open_scene(grounds, "F14", "sqlite", seed) as scene:
        for _ in range(6):
            scene.send(scene.load.dossier(("s-stil",), ()))
        await scene.sent()
        await scene.handed_over("s-stil")
        deliveries = await scene.read(_of_silent)
        outbox = grounds.directory / "sftp" / "s-stil" / "outbox"
        ways = (_grows, _is_renamed, _comes_twice, _changes, _grows, _is_renamed)
        said = dict(zip(deliveries, ways, strict=True))
        with closing(Log(grounds.neighbours.log)) as log:
            await asyncio.gather(*(way(outbox, delivery, log) for delivery, way in said.items()))
        (outbox / "kapot.xml").write_bytes(b"<Antwoord><Bezor")
        expected = sorted((delivery, soort) for delivery, way in said.items() for soort in SAID[way])
        await _all_read(outbox)
        found = await scene.read(_answers)
        scene.figures.notes.append(f"{len(found)} answers on record, {len(set(found))} of them different")
        if sorted(found) != expected:
            scene.figures.faults.append(f"on record is {sorted(found)}, not {expected}")
        changed = next(delivery for delivery, way in said.items() if way is _changes)
        if (state := (await scene.read(_states))[changed]) != State.REFUSED:
            scene.figures.faults.append(f"after another answer under the same name the delivery is {state}")
        if not list((outbox / "afgekeurd").glob("kapot*.reden.txt")):
            scene.figures.faults.append("the file that is no answer was not set aside with its reason")
        yield await scene.end()


async def _all_read(outbox: Path) -> None:
    """Nothing lies in the outbox any more; raises TimeoutError."""
    async with asyncio.timeout(30):
        while any(path.is_file() for path in outbox.iterdir()):
            await asyncio.sleep(LOOK)


def _of_silent(connection: Connection) -> list[str]:
    delivery = schema.delivery.c
    return list(connection.execute(select(delivery.id).where(delivery.creditor == "s-stil")).scalars())


def _answers(connection: Connection) -> list[tuple[str, str]]:
    """(delivery, soort) of every answer on record."""
    evidence = schema.evidence.c
    query = select(evidence.delivery_id, evidence.soort).where(evidence.kind == "answer")
    return [(delivery, soort) for delivery, soort in connection.execute(query)]


def _states(connection: Connection) -> dict[str, str]:
    delivery = schema.delivery.c
    return {row.id: row.state for row in connection.execute(select(delivery.id, delivery.state))}


def _answer(delivery: str, soort: str = "pauze_ingesteld") -> bytes:
    return write_answer(delivery, {"soort": soort, "totEnMet": "2099-01-01"} if "pauze" in soort else {"soort": soort})


async def _grows(outbox: Path, delivery: str, log: Log) -> None:
    log.reply("s-stil", delivery, DECIDED)
    body = _answer(delivery)
    with (outbox / f"antwoord_{delivery}.xml").open("wb", buffering=0) as file:
        for start in range(0, len(body), 60):
            file.write(body[start : start + 60])
            await asyncio.sleep(0.2)


async def _is_renamed(outbox: Path, delivery: str, log: Log) -> None:
    log.reply("s-stil", delivery, DECIDED)
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
    log.reply("s-stil", delivery, DECIDED)
    (outbox / f"antwoord_{delivery}.xml").write_bytes(_answer(delivery, "klant_onbekend"))


SAID = {
    _grows: ("pauze_ingesteld",),
    _is_renamed: ("pauze_ingesteld",),
    _comes_twice: ("pauze_ingesteld",),
    _changes: ("klant_onbekend", "pauze_ingesteld"),
}
"""What is on record after each, in the order of the alphabet."""


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


async def poisoned(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F15. Poison among good notices: every piece is refused and on record within a second, and the good ones go on."""
    bodies = poison()
    for engine in ENGINES:
        async with open_scene(grounds, "F15", engine, seed) as scene:
            seen = asyncio.create_task(_on_record(scene, len(bodies)))
            sent = [await _swallow(scene, body) for body in bodies]
            slowest = max(then - began for began, then in zip(sent, await seen, strict=True))
            await scene.sent()
            behind = await scene.accepted(30)
            scene.figures.notes.append(f"{len(bodies)} pieces of poison, the slowest on record after {slowest:.2f} s")
            if max(slowest, behind) > ON_RECORD_WITHIN:
                scene.figures.faults.append(
                    f"poison on record after {slowest:.2f} s, good notices {behind:.2f} s later"
                )
            yield await scene.end()


async def _swallow(scene: Scene, body: bytes) -> float:
    """Send this piece, and a good notice behind it; when it was sent."""
    began = time.monotonic()
    await publish_raw(scene, [(body, CONTENT_TYPE)])
    scene.send(scene.load.dossier((), ()))
    return began


async def _on_record(scene: Scene, number: int) -> list[float]:
    """When the first refusal was on record, the second, …; raises TimeoutError."""
    moments: list[float] = []
    async with asyncio.timeout(60):
        while len(moments) < number:
            await asyncio.sleep(ON_RECORD_WITHIN / 20)
            moments += [time.monotonic()] * (await scene.read(_refusals) - len(moments))
    return moments


def _refusals(connection: Connection) -> int:
    found: int = connection.execute(select(func.count()).select_from(schema.refusal)).scalar_one()
    return found


async def publish_raw(scene: Scene, bodies: Iterable[tuple[bytes, str]]) -> None:
    """(body, content type), as the sender, one after another and each until it is confirmed."""
    async with await connect(scene.grounds.rabbitmq.url(SENDER)) as broker, broker.channel() as channel:
        exchange = await channel.get_exchange("kennisgeving.in", ensure=False)
        for body, content_type in bodies:
            message = aio_pika.Message(body, content_type=content_type, delivery_mode=2, user_id=SENDER)
            await exchange.publish(message, f"{GEMEENTE}.kennisgeving", timeout=30)


# -- order, duplicates -------------------------------------------------------------------------------------------------


async def duplicates(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F16. Every message ten times, at two gateways at the same time."""
    async with open_scene(grounds, "F16", "postgresql", seed) as scene:
        await scene.start(scene.gateways[1])
        for _ in range(REPEATED):
            messages = scene.load.dossier()
            for _ in range(2):
                scene.send(messages, copies=5)
        yield await scene.end()


async def out_of_order(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F17. Versions arrive backwards, with a gap, and a withdrawal overtakes its notice."""
    for engine in ENGINES:
        async with open_scene(grounds, "F17", engine, seed) as scene:
            for nr in range(TURNED):
                messages = scene.load.dossier((), ("voortgang", "intrekking") if nr % 2 else ("voortgang", "voortgang"))
                order: list[Message] = [messages[2], messages[0], messages[1]] if nr % 3 else messages[::-1]
                scene.send(order)
            yield await scene.end()
