"""The webhook adapter against a real HTTPS server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.webhook.adapter import Webhook
from gateway.conformance import LOOPBACK, Conformance, surroundings
from gateway.contract import Endpoint
from gateway.pki import Authority, Issued
from gateway.sandbox.webhook_creditor import WebhookCreditor


@pytest_asyncio.fixture
async def creditor(tmp_path: Path, authority: Authority, server_certificate: Issued) -> AsyncIterator[WebhookCreditor]:
    async with WebhookCreditor(tmp_path, server_certificate) as creditor:
        yield creditor


@pytest.fixture
def peer(creditor: WebhookCreditor) -> WebhookCreditor:
    return creditor


@pytest.fixture
def endpoint(creditor: WebhookCreditor, authority: Authority) -> Endpoint:
    table = creditor.add("energie-voorbeeld")
    return Endpoint("energie-voorbeeld", "Energie Voorbeeld", table, 8, LOOPBACK, f"file:{authority.certificate}")


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Webhook]:
    channel = Webhook(surroundings())
    yield channel
    await channel.aclose()


class TestWebhookConformance(Conformance):
    """A lost reply cannot be asked about."""
