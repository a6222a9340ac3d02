"""The sftp adapter against a real SFTP server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.sftp.adapter import Sftp
from gateway.conformance import LOOPBACK, Conformance, surroundings
from gateway.contract import Endpoint
from gateway.sandbox.sftp_creditor import SftpCreditor


@pytest_asyncio.fixture
async def creditor(tmp_path: Path) -> AsyncIterator[SftpCreditor]:
    async with SftpCreditor(tmp_path) as creditor:
        yield creditor


@pytest.fixture
def endpoint(creditor: SftpCreditor) -> Endpoint:
    return Endpoint("zorg-voorbeeld", "Zorg Voorbeeld", creditor.add("zorg-voorbeeld"), 8, LOOPBACK)


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[Sftp]:
    channel = Sftp(surroundings())
    yield channel
    await channel.aclose()


class TestSftpConformance(Conformance):
    can_resolve = True

    @pytest.fixture
    def peer(self, creditor: SftpCreditor) -> SftpCreditor:
        return creditor

    @pytest.fixture
    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        return endpoint

    @pytest_asyncio.fixture
    async def channel(self, channel: Sftp) -> Sftp:
        return channel
