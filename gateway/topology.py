"""What stands on the broker, and how the broker is reached."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractChannel, AbstractConnection
from msgspec import Struct

from gateway.amqp_client import connect

PARKED_ARGUMENTS: Mapping[str, str] = {"x-queue-type": "quorum"}


class Topology(Struct, frozen=True):
    """Names of what stands on the broker; `declare` False: check that it is there, make nothing."""

    incoming: str = "kennisgeving.in"
    intake: str = "kennisgeving.intake"
    parked: str = "kennisgeving.geparkeerd"
    outgoing: str = "kennisgeving.uit"
    declare: bool = True

    @property
    def intake_arguments(self) -> dict[str, str]:
        """Dead-lettering that cannot lose (contract: kennisgeving.intake)."""
        return {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.parked,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


class Management(Struct, frozen=True):
    """The broker's HTTP API, for the user of the AMQP address. `tls` matters to https only."""

    url: str
    tls: ssl.SSLContext


class Broker(Struct, frozen=True):
    """How the broker is reached. `tls` is None on loopback only, `management` where settings name none."""

    url: str
    tls: ssl.SSLContext | None
    topology: Topology
    management: Management | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AbstractConnection]:
        """Raises OSError, AMQPError."""
        connection = await connect(self.url, self.tls)
        try:
            yield connection
        finally:
            await connection.close()

    async def prepare(self, channel: AbstractChannel) -> None:
        """Declare the topology, or check that it is there; raises AMQPError naming what differs."""
        names, passive = self.topology, not self.topology.declare
        incoming = await channel.declare_exchange(names.incoming, "topic", durable=True, passive=passive)
        await channel.declare_exchange(names.outgoing, "topic", durable=True, passive=passive)
        await channel.declare_queue(names.parked, durable=True, passive=passive, arguments=dict(PARKED_ARGUMENTS))
        intake = await channel.declare_queue(
            names.intake, durable=True, passive=passive, arguments=dict(names.intake_arguments)
        )
        if not passive:
            await intake.bind(incoming, "#")
