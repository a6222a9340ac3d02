"""F12: the name of a creditor does not resolve, is not answered, or leads to an address that is not a creditor's.

The gateway gets an `/etc/hosts` and `/etc/resolv.conf` of its own in a mount namespace (root only), with a resolver of
ours behind them; glibc does the rest, as in life.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.faults.grounds import Grounds
from tests.faults.scene import Figures, open_scene

RESOLVER = "127.77.0.53"
ELSEWHERE = "169.254.169.254"
MODES = ("nowhere", "silent", "elsewhere")
NAMED = ("w-net",)


class NamespaceRefused(Exception):
    """This machine gives us no mount namespace, or no port 53."""


class Resolver(asyncio.DatagramProtocol):
    """Says of every name what `mode` says: `answers` 127.0.0.1, or one of MODES."""

    def __init__(self) -> None:
        self.mode = "answers"
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

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
        elif question.rdtype == dns.rdatatype.A:
            address = ELSEWHERE if self.mode == "elsewhere" else "127.0.0.1"
            reply.answer.append(dns.rrset.from_text(question.name, 1, dns.rdataclass.IN, dns.rdatatype.A, address))
        return reply


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


async def astray(grounds: Grounds, seed: int, seconds: float = 3.0) -> list[Figures]:
    """F12. Deliveries wait for the name to come back, and nothing goes to where it leads meanwhile."""
    if os.getuid() != 0:
        raise NamespaceRefused("not root")
    names = grounds.directory / f"names-{grounds.rounds}"
    async with (
        resolver(names) as desk,
        open_scene(grounds, "F12", "sqlite", seed, names=names, by_name=NAMED) as scene,
    ):
        for mode in MODES:
            desk.mode = mode
            await scene.gateway.kill()  # so that no connection is left over from before
            await scene.start()
            for _ in range(5):
                scene.send(scene.load.dossier((*NAMED, "w-antwoord"), ()))
            await asyncio.sleep(seconds)
            desk.mode = "answers"
            await scene.handed_over("w-antwoord")
        scene.figures.notes.append(f"the resolver was asked {desk.asked} times")
        if not desk.asked:
            scene.figures.faults.append("the gateway never asked")
        return [await scene.end()]
