"""The four sandbox servers together, with an account on them for every creditor of the sandbox's register.

    webhook ─► HTTPS    sftp ─► SFTP    email ─► SMTP with STARTTLS    cjib ─► mTLS API

Each verifies what it gets and answers in its own way. `given` has what every creditor decided, `receipts` all that
arrived, from the servers' own logs.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gateway.pki import DevPki
from gateway.sandbox import cjib_creditor, decisions, mail_creditor, sftp_creditor, webhook_creditor
from gateway.sandbox.cjib_creditor import CjibCreditor, DecideCases, Zaken
from gateway.sandbox.decisions import Decide, View
from gateway.sandbox.mail_creditor import MailCreditor
from gateway.sandbox.register import Entry, register_toml
from gateway.sandbox.sftp_creditor import SftpCreditor
from gateway.sandbox.webhook_creditor import WebhookCreditor

Table = dict[str, object]
Receipt = tuple[str, str]
"""(creditor, sha256 of the bytes that arrived, in hex)"""

CHANNELS: Final = ("webhook", "cjib", "sftp", "email")
ANY_PORT: Final[Mapping[str, int]] = dict.fromkeys(CHANNELS, 0)
_WEBHOOK: Final[Mapping[str, webhook_creditor.Way]] = {
    "in_antwoord": "in_reply",
    "terugmelding": "by_callback",
    "niet": "not",
}
_SFTP: Final[Mapping[str, sftp_creditor.Way]] = {
    "bestand": "answers",
    "bevestiging_en_bestand": "confirms",
    "niet": "not",
}
_EMAIL: Final[Mapping[str, mail_creditor.Way]] = {"pagina": "answers", "niet": "not"}
_DECISIONS: Final[Mapping[str, Decide]] = {
    "pauze_ingesteld": decisions.agree,
    "pauze_gedeeltelijk": decisions.pause_in_part,
    "klant_onbekend": decisions.know_nobody,
    "overgedragen": decisions.pass_on,
    "wisselend": decisions.vary,
}


class Creditors:
    """`async with Creditors(directory, pki) as creditors`: they listen; `register(entries)` opens their accounts.

    `networks`: where the gateway may find them.
    """

    def __init__(
        self,
        directory: Path,
        pki: DevPki,
        *,
        gateway_url: str,
        host: str = "127.0.0.1",
        ports: Mapping[str, int] = ANY_PORT,
        networks: Sequence[str] = ("127.0.0.0/8",),
    ) -> None:
        self.given: dict[str, str] = {}
        """Delivery → `soort` of what its creditor decided."""
        self._pki = pki
        self._networks = list(networks)
        self._logs = {channel: directory / f"{channel}.log" for channel in CHANNELS}
        server, ca = pki.server, pki.authority.certificate
        homes = {channel: directory / channel for channel in CHANNELS}
        for home in homes.values():
            home.mkdir(parents=True, exist_ok=True)
        self.webhook = WebhookCreditor(
            homes["webhook"],
            server,
            port=ports["webhook"],
            log=self._logs["webhook"],
            gateway_url=gateway_url,
            ca=ca,
        )
        self.cjib = CjibCreditor(homes["cjib"], server, ca, polls=1, port=ports["cjib"], log=self._logs["cjib"])
        self.webhook.host = self.cjib.host = host
        self.sftp = SftpCreditor(homes["sftp"], host=host, port=ports["sftp"], log=self._logs["sftp"])
        self.email = MailCreditor(
            homes["email"], server, host=host, port=ports["email"], log=self._logs["email"], ca=ca
        )
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for server in (self.webhook, self.cjib, self.sftp, self.email):
            await self._running.enter_async_context(server)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.__aexit__(kind, error, trace)

    def register(self, entries: Iterable[Entry]) -> str:
        """Open an account for each on every channel it has; returns the register as TOML."""
        ca = f"file:{self._pki.authority.certificate}"
        tables: list[dict[str, Any]] = []
        for entry in entries:
            endpoints = {channel: self._account(entry, channel) for channel in entry.channels}
            tables.append({**entry.table, "netwerken": self._networks, "ca": ca, **endpoints})
        return register_toml(tables)

    def relay(self) -> dict[str, object]:
        """The keys of `[email]` that say how to reach the mail server."""
        return self.email.relay(self._pki.authority.certificate)

    @property
    def refused(self) -> list[str]:
        """What the servers would not take, and why."""
        return [why for server in (self.webhook, self.cjib, self.sftp, self.email) for why in server.refused]

    def receipts(self) -> dict[str, set[Receipt]]:
        """By delivery."""
        found: dict[str, set[Receipt]] = defaultdict(set)
        for log in self._logs.values():
            for line in log.read_text("utf-8").splitlines() if log.exists() else ():
                receipt = json.loads(line)
                found[receipt["bezorging"]].add((receipt["schuldeiser"], receipt["sha256"]))
        return found

    def _account(self, entry: Entry, channel: str) -> Table:
        way, decides = entry.practice.answers, entry.practice.decides
        match channel:
            case "webhook":
                return self.webhook.add(entry.id, _WEBHOOK[way], self._remembered(decides))
            case "sftp":
                return self.sftp.add(entry.id, _SFTP[way], self._remembered(decides))
            case "email":
                return self.email.add(entry.id, _EMAIL.get(way, "answers"), self._remembered(decides))
            case "cjib":
                return self.cjib.add(entry.id, self._pki.gateway, self._remembered_cases(decides))
            case _:
                raise ValueError(f"the sandbox has no channel {channel}")

    def _remembered(self, soort: str) -> Decide:
        decide = _decision(soort)

        def decided(view: View) -> dict[str, Any]:
            answer = decide(view)
            self.given[view["kenmerk"]] = answer["soort"]
            return answer

        return decided

    def _remembered_cases(self, soort: str) -> DecideCases:
        decide = _decision(soort)

        def decided(view: View) -> Zaken:
            cases = cases_of(view, decide(view))
            self.given[view["kenmerk"]] = meaning_of(cases)
            return cases

        return decided


def _decision(soort: str) -> Decide:
    def plain(_: View) -> dict[str, Any]:
        return {"soort": soort}

    return _DECISIONS.get(soort, plain)


def cases_of(view: View, answer: Mapping[str, Any]) -> Zaken:
    """An answer as the API tells it: per case, stopped or not."""
    if answer["soort"] == "klant_onbekend":
        return []
    stopped = {claim["kenmerk"] for claim in answer.get("vorderingen", ()) if claim["soort"] == "pauze_ingesteld"}
    cases = cjib_creditor.pause_all(view)
    if answer["soort"] == "pauze_ingesteld":
        return cases
    return [
        case if case["zaaknummer"] in stopped else {"zaaknummer": case["zaaknummer"], "stilgelegd": False}
        for case in cases
    ]


def meaning_of(cases: Zaken) -> str:
    """`soort` of the answer that these cases amount to (contract: cjib)."""
    if not cases:
        return "klant_onbekend"
    stopped = [case["stilgelegd"] for case in cases]
    if all(stopped):
        return "pauze_ingesteld"
    return "pauze_gedeeltelijk" if any(stopped) else "niet_in_aanmerking"
