"""Seeded bug by seeded bug: the fault that brings it out, and the invariants that must turn red."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from gateway.ledger import schema
from tests.faults import disks, limits, network
from tests.faults.causes import causes
from tests.faults.figures import Figures
from tests.faults.grounds import Grounds
from tests.faults.opening import open_scene


class Tooth(NamedTuple):
    bug: str
    what: str
    invariants: frozenset[str]
    """At least one of them."""
    bring_out: Callable[[Grounds, int], AsyncIterator[Figures]]


class Bite(NamedTuple):
    """What turned red. `skipped` says why this machine could not try it, `broke_off` what came in between: both count
    as not caught."""

    bug: str
    what: str
    broken: tuple[str, ...]
    caught: bool
    skipped: str = ""
    broke_off: str = ""


async def _killed_before_commit(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["ack_before_commit"]) as scene:
        await scene.gateway.kill()
        for _ in range(3):
            scene.send(scene.load.dossier(("w-stil",), ()))
        await scene.sent()
        await scene.gateway.start("intake:inside", 1, scene.bugs)
        await scene.dies(scene.gateway, "intake:inside")
        scene.quiet_within = 3
        yield await scene.end()


async def _acknowledged_together(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """Some messages are there when the gateway begins to consume, so that they come as one batch."""
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["ack_one_too_far"]) as scene:
        await scene.gateway.kill()
        for _ in range(6):
            scene.send(scene.load.dossier(("w-stil",), ()))
        await scene.sent()
        await scene.start()
        yield await scene.end()


async def _reply_lost(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["render_on_retry"]) as scene:
        async with grounds.neighbours.misbehaving("email", "drops_reply"):
            scene.send(scene.load.dossier(("m-scanner",), ()))  # an answer would make a retry superfluous
            await scene.seen("m-scanner")
        yield await scene.end()


async def _new_keys(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["key_per_attempt"]) as scene:
        async with grounds.neighbours.misbehaving("hostile", "resets"):
            scene.send(scene.load.dossier(("w-vijand",), ()))
            await scene.seen("w-vijand")
        yield await scene.end()


async def _scanned(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """The mail goes to a creditor that never answers, and whose scanner follows every link."""
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["get_confirms"]) as scene:
        scene.send(scene.load.dossier(("m-scanner",), ()))
        await scene.sent()
        await scene.handed_over("m-scanner")
        await asyncio.sleep(1)
        yield await scene.end()


async def _withdrawn_in_line(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """A creditor takes its time, so that most of what it is to get waits in its line when it is withdrawn."""
    async with open_scene(grounds, "teeth", "sqlite", seed, bugs=["withdrawals_unheard"]) as scene:
        dossiers = [scene.load.dossier(("w-net",), ("intrekking",)) for _ in range(24)]
        async with grounds.to_creditor.spoiled(latency=0.9):
            scene.send(notice for notice, _ in dossiers)
            await scene.sent()
            await scene.until(lambda connection: _frozen(connection) == len(dossiers))
            scene.send(withdrawal for _, withdrawal in dossiers)
            await scene.sent()
            await asyncio.sleep(5)
        yield await scene.end()


def _frozen(connection: Connection) -> int:
    """How many deliveries are to be attempted next, or were."""
    return len(set(connection.execute(select(schema.attempt.c.delivery_id)).scalars()))


def _one_notice(bug: str) -> Callable[[Grounds, int], AsyncIterator[Figures]]:
    """It shows at the first one."""

    async def bring_out(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
        async with open_scene(grounds, "teeth", "sqlite", seed, bugs=[bug]) as scene:
            scene.send(scene.load.dossier(("w-stil",), ()))
            yield await scene.end()

    return bring_out


TEETH: Mapping[str, Tooth] = {
    tooth.bug: tooth
    for tooth in (
        Tooth("ack_before_commit", "acknowledged before the commit", frozenset({"I1", "I4"}), _killed_before_commit),
        Tooth("ack_one_too_far", "acknowledged with those before it", frozenset({"I4"}), _acknowledged_together),
        Tooth(
            "synchronous_off",
            "SQLite does not wait for the disk",
            frozenset({"I1"}),
            lambda grounds, seed: disks.power_cut(grounds, seed, 2, ["sqlite"], ["synchronous_off"]),
        ),
        Tooth(
            "no_fencing",
            "late results count whatever their token",
            frozenset({"I10", "I11"}),
            lambda grounds, seed: network.frozen(grounds, seed, 3, bugs=["no_fencing"]),
        ),
        Tooth("key_per_attempt", "a new key for every attempt", frozenset({"I5"}), _new_keys),
        Tooth("render_on_retry", "rendered anew for every attempt", frozenset({"I6"}), _reply_lost),
        Tooth("get_confirms", "a GET of the answer page confirms", frozenset({"I14"}), _scanned),
        Tooth(
            "no_dead_letters",
            "no dead-letter exchange, and a delivery limit",
            frozenset({"I1"}),
            lambda grounds, seed: limits.delivery_limit(grounds, seed, bugs=["no_dead_letters"]),
        ),
        Tooth(
            "one_lane_for_all",
            "a slow creditor keeps the others waiting",
            frozenset({"F10"}),
            lambda grounds, seed: network.bad_creditors(grounds, seed, ["sqlite"], ["silent"], ["one_lane_for_all"]),
        ),
        Tooth(
            "withdrawals_unheard",
            "what waits in a line is sent though it was withdrawn",
            frozenset({"I9"}),
            _withdrawn_in_line,
        ),
        Tooth("bsn_in_log", "a BSN in a log line", frozenset({"I20"}), _one_notice("bsn_in_log")),
        Tooth("connection_left_open", "a connection too many", frozenset({"I23"}), _one_notice("connection_left_open")),
    )
}
QUICK = (
    "ack_before_commit",
    "ack_one_too_far",
    "key_per_attempt",
    "render_on_retry",
    "get_confirms",
    "bsn_in_log",
    "connection_left_open",
)


async def bite_one(grounds: Grounds, seed: int, bug: str) -> Bite:
    """Raises what breaks it off."""
    tooth = TEETH[bug]
    try:
        rounds = [figures async for figures in tooth.bring_out(grounds, seed)]
    except disks.MountRefused as why:
        return Bite(bug, tooth.what, (), False, skipped=f"this machine mounts nothing ({why})")
    broken = {finding.invariant for figures in rounds for finding in figures.broken}
    return Bite(bug, tooth.what, tuple(sorted(broken)), bool(broken & tooth.invariants))


async def bite(grounds: Grounds, seed: int, tell: Callable[[str], None]) -> list[Bite]:
    """Every one of them."""
    bites = []
    for bug in TEETH:
        try:
            found = await bite_one(grounds, seed, bug)
        except Exception as why:  # noqa: BLE001 - the others are to be seen too, and this one is red
            found = Bite(bug, TEETH[bug].what, (), False, broke_off="; ".join(causes(why)))
        bites.append(found)
        tell(f"teeth {bug}: {_seen(found)}{'' if found.caught else '  NOT CAUGHT'}")
    return bites


def _seen(found: Bite) -> str:
    if found.skipped or found.broke_off:
        return f"SKIPPED: {found.skipped}" if found.skipped else f"BROKE OFF: {found.broke_off}"
    return ", ".join(found.broken) or "nothing"
