"""The CJIB-style adapter against a real server with mTLS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.cjib.adapter import Cjib
from gateway.conformance import LOOPBACK, Conformance, surroundings
from gateway.contract import Endpoint
from gateway.pki import Authority, Issued
from gateway.sandbox.cjib_creditor import CjibCreditor


@pytest_asyncio.fixture
async def creditor(tmp_path: Path, authority: Authority, server_certificate: Issued) -> AsyncIterator[CjibCreditor]:
    async with CjibCreditor(tmp_path, server_certificate, authority.certificate) as creditor:
        yield creditor


@pytest.fixture
def peer(creditor: CjibCreditor) -> CjibCreditor:
    return creditor


@pytest.fixture
def endpoint(creditor: CjibCreditor, authority: Authority) -> Endpoint:
    table = creditor.add("cjib", authority.issue_client("gateway"))
    return Endpoint("cjib", "CJIB", table, 8, LOOPBACK, f"file:{authority.certificate}")


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Cjib]:
    channel = Cjib(surroundings())
    yield channel
    await channel.aclose()


class TestCjibConformance(Conformance):
    can_resolve = True
