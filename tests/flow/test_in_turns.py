"""More deliveries are open on a lane than are asked after in one round: they come in turns."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.webhook.adapter import Webhook, WebhookLink
from adapters.webhook.settings import WebhookSettings, read_settings
from gateway import app, receipts
from gateway.contract import Endpoint, OpenDelivery, Receive, Surroundings
from gateway.register import load_channels
from tests.flow.running import neighbour, running
from tests.flow.test_dispatch import notices


class Curious(WebhookLink):
    """Notes after whom it is asked to ask."""

    collects = True

    def __init__(self, surroundings: Surroundings, endpoint: Endpoint, settings: WebhookSettings) -> None:
        super().__init__(surroundings, endpoint, settings)
        self.rounds: list[list[str]] = []

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        self.rounds.append([one.delivery for one in open_deliveries])


class CuriousWebhook(Webhook):
    made: Curious | None = None

    def link(self, endpoint: Endpoint) -> WebhookLink:
        self.made = Curious(self._surroundings, endpoint, read_settings(endpoint.settings))
        return self.made


async def test_every_open_delivery_is_asked_after_however_many_stay_unanswered(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "OPEN_AT_ONCE", 2)
    monkeypatch.setattr(app, "load_channels", lambda: {**load_channels(), "webhook": CuriousWebhook})
    async with running(tmp_path, ledger_url, [neighbour("energie")], tempo={"peiling": "0.05 s"}) as town:
        await town.send(*notices(5, "energie"))
        rows = await town.hand_over()
        webhook = town.gateway.links.channels["webhook"]
        assert isinstance(webhook, CuriousWebhook)
        assert webhook.made is not None
        rounds = webhook.made.rounds
        rounds.clear()

        async def all_were() -> bool:
            return {one for asked in rounds for one in asked} == {row.id for row in rows}

        await town.until(all_were, within=3.0)
        assert max(map(len, rounds)) == 2
