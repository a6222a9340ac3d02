"""Answers on the page that a mail links to, as a person with a browser would: look, type the reference, decide.

The page is taken as it comes: forms are read, hidden fields sent back, nothing is known of it but the contract's names.
"""

import asyncio
import ssl
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from gateway.sandbox.mail_reader import Mail

_PAUSES: Final = (0.05, 0.2, 0.5, 1, 2, 5, 10)  # seconds between attempts
_OK: Final = 200
_DONE: Final = frozenset({200, 303, 410})


class AnswerPage:
    """`ca`: the anchor of the page's certificate, where it is not a public one."""

    def __init__(self, ca: Path | None = None) -> None:
        self.statuses: dict[str, int] = {}
        """Delivery → the last status that the page gave."""
        self._tls = ssl.create_default_context(cafile=ca) if ca else True
        self._client: aiohttp.ClientSession | None = None
        self._readers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def answer(self, mail: Mail, answer: Mapping[str, Any]) -> None:
        """Begins to; a mail that came twice is answered once."""
        if mail.delivery not in self.statuses and mail.link and mail.references and self._client:
            self.statuses[mail.delivery] = 0
            reader = asyncio.create_task(self._persevere(self._client, mail, mail.link, answer))
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)

    async def _persevere(self, client: aiohttp.ClientSession, mail: Mail, link: str, answer: Mapping[str, Any]) -> None:
        for pause in _PAUSES:
            try:
                self.statuses[mail.delivery] = await _fill_in(client, link, mail.references[0], answer)
            except (aiohttp.ClientError, TimeoutError):
                self.statuses[mail.delivery] = 0
            if self.statuses[mail.delivery] in _DONE:
                return
            await asyncio.sleep(pause)


async def _fill_in(client: aiohttp.ClientSession, link: str, reference: str, answer: Mapping[str, Any]) -> int:
    """The status of the last page seen."""
    async with client.get(link, allow_redirects=False) as first:
        fields = fields_of(await first.text())
        if first.status != _OK or "referentie" not in fields:
            return first.status
    async with client.post(link, data={**fields, "referentie": reference}, allow_redirects=False) as second:
        fields = fields_of(await second.text())
        if second.status != _OK or "soort" not in fields:
            return second.status
    chosen = {"soort": answer["soort"], "totEnMet": answer.get("totEnMet", ""), "toelichting": answer.get("reden", "")}
    async with client.post(link, data={**fields, **chosen}, allow_redirects=False) as last:
        return last.status


def fields_of(page: str) -> dict[str, str]:
    """The names in the page's forms, with the values that a browser would send for those left alone."""
    form = _Form()
    form.feed(page)
    return form.fields


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"input", "textarea", "select"} and (name := given.get("name")):
            self.fields[name] = given.get("value") or "" if given.get("type") != "radio" else ""
