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
        form = read_form(await first.text())
        if first.status != _OK or "referentie" not in form.names:
            return first.status
    entry = {**form.values, "referentie": reference}
    async with client.post(link, data=entry, allow_redirects=False) as second:
        form = read_form(await second.text())
        if second.status != _OK or "soort" not in form.names:
            return second.status
    async with client.post(link, data=_chosen(form, answer), allow_redirects=False) as last:
        return last.status


def _chosen(form: "Form", answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a browser sends; of claims those that are paused are ticked."""
    typed = {
        "soort": answer["soort"],
        "totEnMet": answer.get("totEnMet", ""),
        "naar": answer.get("naar", ""),
        "toelichting": answer.get("reden", ""),
    }
    paused = [claim["kenmerk"] for claim in answer.get("vorderingen", ()) if claim["soort"] == "pauze_ingesteld"]
    ticked = paused if "vordering" in form.names else []
    fields = {**form.values, **{name: value for name, value in typed.items() if name in form.names}}
    return [*fields.items(), *(("vordering", claim) for claim in ticked)]


def read_form(page: str) -> "Form":
    form = Form()
    form.feed(page)
    return form


class Form(HTMLParser):
    """The fields on a page. `names`: all; `values`: what a browser sends for those that are left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag not in {"input", "textarea", "select"} or not name:
            return
        self.names.add(name)
        if given.get("type") not in {"radio", "checkbox"} or "checked" in given:
            self.values[name] = given.get("value") or ""
