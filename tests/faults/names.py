"""F12: the name of a creditor does not resolve, is not answered, or leads to an address that is not a creditor's.

The gateway gets an `/etc/hosts` and `/etc/resolv.conf` of its own in a mount namespace (root only), with a resolver of
ours behind them; glibc does the rest, as in life. The creditor's entry allows 127.0.0.1 alone, so that WITHIN, where
somebody does listen, is as forbidden as the metadata service at ELSEWHERE.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.ledger import schema
from tests.faults.figures import Figures
from tests.faults.gateway import IDLE
from tests.faults.grounds import Grounds
from tests.faults.opening import open_scene
from tests.faults.scene import Scene

RESOLVER = "127.77.0.53"
ALLOWED, WITHIN, ELSEWHERE = "127.0.0.1", "127.66.6.6", "169.254.169.254"
MODES: Mapping[str, str] = {
    "rebinds": "adres_geweigerd",
    "elsewhere": "adres_geweigerd",
    "within": "adres_geweigerd",
    "broken": "dns",
    "silent": "dns",
    "nowhere": "dns",
}
"""→ the code that an attempt must end with. `nowhere`: NXDOMAIN; `broken`: SERVFAIL; `silent`: no answer; `rebinds`:
the first answer is right, and from then on the name leads to WITHIN, for the same gateway."""
SHOWS_WITHIN = 25.0
"""Seconds until such an attempt is on record; resolved names are kept for ten."""
APART = IDLE + 0.5
"""Seconds between two messages, so that no connection is kept and each looks the name up."""
NAMED = ("w-net",)


class NamespaceRefused(Exception):
    """This machine gives us no mount namespace, or no port 53."""


class Resolver(asyncio.DatagramProtocol):
    """Says of every name what `mode` says: `answers` ALLOWED, or one of MODES."""

    def __init__(self) -> None:
        self.mode = "answers"
        self.asked = 0
        self.answered = 0
        """With an address, in this mode."""
        self._transport: asyncio.DatagramTransport | None = None

    def turn(self, mode: str) -> None:
        self.mode, self.answered = mode, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        self.asked += 1
        if self.mode != "silent" and self._transport is not None:
            self._transport.sendto(self._reply(dns.message.from_wire(data)).to_wire(), addr)

    def _reply(self, query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        question = query.question[0]
        if self.mode == "nowhere":
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif self.mode == "broken":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif question.rdtype == dns.rdatatype.A:
            answer = dns.rrset.from_text(question.name, 1, dns.rdataclass.IN, dns.rdatatype.A, self._address())
            reply.answer.append(answer)
            self.answered += 1
        return reply

    def _address(self) -> str:
        """To live for a second."""
        if self.mode == "rebinds":
            return WITHIN if self.answered else ALLOWED
        return {"elsewhere": ELSEWHERE, "within": WITHIN}.get(self.mode, ALLOWED)


@asynccontextmanager
async def resolver(directory: Path) -> AsyncIterator[Resolver]:
    """Also leaves in `directory` what a gateway is to read. Raises NamespaceRefused."""
    directory.mkdir()
    (directory / "hosts").write_text("# nobody\n")
    (directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    made = Resolver()
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: made, local_addr=(RESOLVER, 53)
        )
    except OSError as why:
        raise NamespaceRefused(str(why)) from why
    try:
        yield made
    finally:
        transport.close()


@asynccontextmanager
async def listener(port: int) -> AsyncIterator[list[str]]:
    """Who stands at WITHIN, at the creditor's port: everybody who came there, by their own address."""
    came: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(str(writer.get_extra_info("peername")))
        writer.transport.abort()

    server = await asyncio.start_server(note, WITHIN, port)
    try:
        yield came
    finally:
        server.close()


async def astray(grounds: Grounds, seed: int) -> AsyncIterator[Figures]:
    """F12. Deliveries wait for the name to come back, the attempts say why, and nothing goes to where it leads."""
    if os.getuid() != 0:
        raise NamespaceRefused("not root")
    names = grounds.directory / f"names-{grounds.rounds}"
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(resolver(names))
        came = await stack.enter_async_context(listener(grounds.to_creditor.port))
        scene = await stack.enter_async_context(open_scene(grounds, "F12", "sqlite", seed, names=names, by_name=NAMED))
        for mode, code in MODES.items():
            await _lead(scene, desk, mode, code)
        scene.figures.notes.append(f"the resolver was asked {desk.asked} times; {len(came)} came to {WITHIN}")
        if came:
            scene.figures.faults.append(f"came to {WITHIN}: {', '.join(came)}")
        yield await scene.end()


async def _lead(scene: Scene, desk: Resolver, mode: str, code: str) -> None:
    """Until an attempt has ended with `code`; the name is right again afterwards, and all goes out."""
    desk.turn(mode)
    await scene.gateway.kill()  # so that no connection is left over, and no answer of the resolver
    await scene.start()
    began, asked = Clock().micros(), desk.asked
    until = time.monotonic() + SHOWS_WITHIN
    codes: Sequence[str] = ()
    while code not in codes and time.monotonic() < until:
        scene.send(scene.load.dossier((*NAMED, "w-antwoord"), ()))
        await asyncio.sleep(APART if mode == "rebinds" else 0.5)
        codes = await scene.read(lambda connection: _codes(connection, began))
    expected = {code, *(["200"] if mode == "rebinds" else [])}
    if set(codes) != expected:
        scene.figures.faults.append(f"{mode}: attempts ended with {sorted(codes)}, not with {sorted(expected)}")
    if desk.asked == asked:
        scene.figures.faults.append(f"{mode}: the gateway never asked")
    desk.turn("answers")
    await scene.handed_over("w-antwoord")


def _codes(connection: Connection, since: int) -> Sequence[str]:
    """With which attempts for NAMED ended that began `since` then (epoch µs)."""
    attempt, delivery = schema.attempt.c, schema.delivery.c
    query = select(attempt.code).distinct().where(attempt.started_at >= since, attempt.code.is_not(None))
    return (
        connection.execute(query.where(attempt.delivery_id == delivery.id, delivery.creditor.in_(NAMED)))
        .scalars()
        .all()
    )
