"""Figures over a period, worked out page by page: whoever else uses the ledger or the event loop gets its turn."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import date

from msgspec import Struct

from gateway.clock import Clock
from gateway.core.creditor import Creditor, CreditorId
from gateway.core.overview import Coverage, Expectation, Figures, Sent, response_to
from gateway.core.period import Period
from gateway.ids import first_id
from gateway.ledger import overview as rows
from gateway.ledger.engine import Ledger
from gateway.ledger.overview import Notified

SCAN = 5000
"""Messages looked at in one transaction."""
DOSSIERS = 100
"""Of which the deliveries are read in one transaction."""


class Role(Struct, frozen=True):
    """A creditor in its own right, or as the agent of others."""

    creditor: str
    is_agent: bool


async def creditor_figures(
    ledger: Ledger,
    register: Mapping[str, Creditor],
    clock: Clock,
    closed: Collection[date],
    period: Period,
    gemeenten: Collection[str] | None,
) -> dict[Role, Figures]:
    """`gemeenten` None: of all. Where the deliveries do not say whether a covenant was binding, the register does (for
    an agent: that of its principal)."""
    now = clock.micros()
    figures: dict[Role, Figures] = {}
    async for _, notices in _pages(ledger, period, gemeenten):
        for sent in notices:
            one = response_to(sent)
            role = Role(one.creditor, one.agent_for is not None)
            expected = _expected(register, one.creditor, one.agent_for)
            figures.setdefault(role, Figures()).add(one, expected, now, closed)
    return figures


async def coverage(ledger: Ledger, period: Period, gemeenten: Collection[str] | None) -> dict[str, Coverage]:
    """Per gemeente that began a dossier or told somebody in the period; `gemeenten` None: of all."""
    found: dict[str, Coverage] = {}
    async for page, notices in _pages(ledger, period, gemeenten):
        where = {one.dossier: found.setdefault(one.gemeente, Coverage()) for one in page}
        for one in page:
            where[one.dossier].dossiers += one.versie == 1
        for sent in notices:
            where[sent[0].dossier_id].add(response_to(sent))
    return found


async def _pages(
    ledger: Ledger, period: Period, gemeenten: Collection[str] | None
) -> AsyncIterator[tuple[Sequence[Notified], Sequence[Sequence[Sent]]]]:
    """Kennisgevingen of the period, and the notices that begin with one of them."""
    after: str | None = first_id(period.begins)
    while after is not None:
        found, after = await ledger.run(rows.notifications, after, first_id(period.ends), gemeenten, SCAN)
        for start in range(0, len(found), DOSSIERS):
            page = found[start : start + DOSSIERS]
            messages = {one.message for one in page}
            sent = await ledger.run(rows.sent, {one.dossier for one in page})
            yield page, [notice for notice in sent if notice[0].message_id in messages]


def _expected(register: Mapping[str, Creditor], creditor: str, agent_for: str | None) -> Expectation:
    """What left the register is measured by what holds for a creditor of which nothing is said."""
    plain = Creditor(CreditorId(creditor), creditor)
    covenant = register.get(agent_for or creditor, plain).covenant
    return Expectation(register.get(creditor, plain).answer_days, covenant is not None and covenant.binding)
