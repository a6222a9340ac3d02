"""The channel between the gateway and simulated creditors: a call where others have a connection."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from gateway.contract import Draft, Endpoint, Finding, OpenDelivery, Outcome, Parcel, Receive, Rendition
from gateway.simulation.creditor import SimulatedCreditor
from gateway.simulation.population import CHANNEL, FALLBACK


class SimulatedLink:
    slow_render: ClassVar[bool] = False
    collects: ClassVar[bool] = False

    def __init__(self, creditor: SimulatedCreditor, is_first_channel: bool) -> None:
        self._creditor = creditor
        self._is_first_channel = is_first_channel

    def render(self, draft: Draft) -> Rendition:
        return Rendition(draft.view_json)

    async def send(self, parcel: Parcel) -> Outcome:
        return await self._creditor.take(parcel, self._is_first_channel)

    async def resolve(self, parcel: Parcel) -> Outcome | None:
        return self._creditor.resolve(parcel)

    async def collect(self, open_deliveries: Sequence[OpenDelivery], receive: Receive) -> None:
        """Creditors send their answers themselves."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Simulated:
    """`creditors`: by register id."""

    name: ClassVar[str] = CHANNEL

    def __init__(self, creditors: Mapping[str, SimulatedCreditor]) -> None:
        self.creditors = creditors

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        """There is nothing to set."""

    def link(self, endpoint: Endpoint) -> SimulatedLink:
        return SimulatedLink(self.creditors[endpoint.creditor], self.name == CHANNEL)

    async def check(self, endpoint: Endpoint) -> list[Finding]:
        return []

    async def collect(self, receive: Receive) -> None:
        """Nothing arrives for the channel as a whole."""

    async def aclose(self) -> None:
        """Nothing is open."""


class SimulatedFallback(Simulated):
    """The second way to a creditor, which is up when the first is down."""

    name: ClassVar[str] = FALLBACK
