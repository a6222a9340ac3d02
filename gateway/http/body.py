"""Reading the body of a request: bounded in bytes and in time, and exactly as it was sent."""

import asyncio

from aiohttp import web

from gateway.http.problems import Problem

WITHIN = 10.0
"""Seconds in which a body must have come in."""


async def read_body(request: web.Request, at_most: int) -> bytes:
    """The raw bytes; raises Problem: 413 beyond `at_most`, 408 when it trickles, 415 when it is packed."""
    if (request.content_length or 0) > at_most:
        raise _too_large(at_most)
    body = await read_beginning(request, at_most + 1)
    if len(body) > at_most:
        raise _too_large(at_most)
    return body


async def read_beginning(request: web.Request, at_most: int) -> bytes:
    """The first `at_most` of the raw bytes; raises Problem: 408 when it trickles, 415 when it is packed."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Stuur de inhoud zonder Content-Encoding.")
    try:
        async with asyncio.timeout(WITHIN):
            return await _read(request, at_most)
    except TimeoutError as why:
        raise Problem(408, f"De inhoud was er niet binnen {WITHIN:.0f} seconden.") from why
    except web.RequestPayloadError as why:
        raise Problem(400, "De inhoud brak af.") from why


async def _read(request: web.Request, at_most: int) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) >= at_most:
            break
    return bytes(body[:at_most])


def _too_large(at_most: int) -> Problem:
    return Problem(413, f"De inhoud is groter dan {at_most} bytes.")
