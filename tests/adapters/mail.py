"""What the tests of the email adapter share."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import msgspec

from adapters.email.adapter import Email, EmailLink
from gateway.conformance import surroundings
from gateway.contract import (
    Draft,
    Endpoint,
)

SENDER = "kennisgeving@gateway.example"
KEY = bytes(range(32))
DELIVERY = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


def writer(settings: dict[str, object] | None = None, creditor: dict[str, object] | None = None) -> EmailLink:
    """A link to render with; nothing is sent. With a relay, so that there is one variant of a mail."""
    channel = Email(surroundings({"afzender": SENDER, "relais": "smtp://relais.example", **(settings or {})}))
    table = {"adres": "schuldhulp@energie.example", **(creditor or {})}
    return channel.link(Endpoint("energie", "Energie Voorbeeld B.V.", table, 8))


def parse(body: bytes) -> EmailMessage:
    return BytesParser(policy=default).parsebytes(body)


def parts(body: bytes) -> dict[str, Any]:
    return {part.get_content_type(): part.get_content() for part in parse(body).walk() if not part.is_multipart()}


def changed(message: Draft, **fields: Any) -> Draft:
    view = msgspec.structs.replace(message.view, **fields)
    return msgspec.structs.replace(message, view_json=msgspec.json.encode(view))


@asynccontextmanager
async def dsn_server(
    said: list[str], *, offers_dsn: bool = True, tls: ssl.SSLContext | None = None, starts_plain: bool = True
) -> AsyncIterator[int]:
    """Just enough SMTP to see which parameters we use; its port. With `tls`: by STARTTLS, or else from the first byte.

    Until it has had an EHLO on this side of TLS, it offers nothing.
    """
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_open = tls is None or not starts_plain
        writer.write(b"220 server.example\r\n")
        while line := (await reader.readline()).decode().strip():
            said.append(line)
            if line.startswith("EHLO"):
                offers = ([b"DSN"] if offers_dsn and is_open else []) + ([] if is_open else [b"STARTTLS"])
                writer.write(
                    b"".join(b"250-%s\r\n" % offer for offer in [b"server.example", *offers]) + b"250 SIZE\r\n"
                )
            elif line == "STARTTLS" and tls is not None:
                writer.write(b"220 Go\r\n")
                await writer.start_tls(tls)
                is_open = True
            elif line == "DATA":
                writer.write(b"354 Go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 2.0.0 Ok: queued as 4X\r\n")
            else:
                writer.write(b"250 Ok\r\n")
        writer.close()
        await writer.wait_closed()
        over.set()

    first = None if starts_plain else tls
    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=first) as server:
        yield server.sockets[0].getsockname()[1]
        await over.wait()


def parameters(said: Sequence[str]) -> list[str]:
    """What followed the addresses of MAIL and RCPT, in order."""
    return [line.partition(">")[2].strip() for line in said if line.startswith(("MAIL", "RCPT"))]
