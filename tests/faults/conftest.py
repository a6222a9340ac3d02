"""The grounds of the campaign on the servers of the test run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.grounds import Grounds, open_grounds
from tests.servers import PostgreSQL, RabbitMQ


@pytest.fixture
async def grounds(rabbitmq: RabbitMQ, postgres: PostgreSQL, tmp_path: Path) -> AsyncIterator[Grounds]:
    async with open_grounds(tmp_path, rabbitmq, postgres) as made:
        yield made
