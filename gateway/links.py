"""The open ends: the register in force, one channel of each kind, and one link per lane."""

import asyncio
from collections.abc import Iterable, Mapping

from gateway.contract import Channel, Endpoint, Link, SecretMissing, SettingsRefused
from gateway.core.creditor import Creditor, Register
from gateway.log import logger

log = logger(__name__)

Lane = tuple[str, str]
"""(creditor, channel)"""


class Links:
    """Opened when first used, kept until the creditor's entry changes."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self.channels = channels
        self.register = Register(())
        self.is_loaded = False
        """A register is in force; until then nobody can say to whom a message goes."""
        self.closed: frozenset[Lane] = frozenset()
        """Lanes whose peer said that it is gone (410), until the register changes there."""
        self._links: dict[Lane, Link] = {}
        self._open_channels: dict[str, tuple[str, ...]] = {}

    async def load(self, creditors: Iterable[Creditor], closed: Iterable[Lane]) -> None:
        """Put another register in force; links of entries that changed are closed and opened anew when needed."""
        old, self.register = self.register, Register(creditors)
        self.closed = frozenset(closed)
        self.is_loaded = True
        self._open_channels.clear()
        gone = [lane for lane in self._links if old.by_id.get(lane[0]) != self.register.by_id.get(lane[0])]
        for lane in gone:
            await self._links.pop(lane).aclose()

    def close_lanes(self, lanes: Iterable[Lane]) -> None:
        self.closed |= set(lanes)
        self._open_channels.clear()

    def open_channels(self, creditor: str) -> tuple[str, ...]:
        """Those the creditor can be reached on, in the register's order."""
        known = self._open_channels.get(creditor)
        if known is None:
            entry = self.register.by_id.get(creditor)
            names = entry.channels if entry else ()
            known = tuple(name for name in names if (creditor, name) not in self.closed)
            self._open_channels[creditor] = known
        return known

    def link(self, lane: Lane) -> Link | None:
        """The link of a lane; None where our own settings or keys do not allow it (logged)."""
        link = self._links.get(lane)
        return link if link is not None else self._open(lane)

    def _open(self, lane: Lane) -> Link | None:
        creditor, name = lane
        entry, channel = self.register.by_id.get(creditor), self.channels.get(name)
        if entry is None or channel is None or name not in entry.endpoints:
            log.error("lane_without_settings", schuldeiser=creditor, kanaal=name)
            return None
        try:
            link = channel.link(
                Endpoint(
                    creditor=entry.id,
                    name=entry.name,
                    settings=entry.endpoints[name],
                    concurrent=entry.limit.concurrent,
                    networks=entry.networks,
                    ca=entry.ca,
                )
            )
        except (SettingsRefused, SecretMissing) as why:
            log.error("lane_refused", schuldeiser=creditor, kanaal=name, reden=str(why))
            return None
        except Exception as why:
            log.exception("adapter_raised", schuldeiser=creditor, kanaal=name, fout=type(why).__name__)
            return None
        self._links[lane] = link
        return link

    def collecting(self) -> list[Lane]:
        """Lanes whose creditor leaves answers for us to fetch."""
        lanes = [(entry.id, name) for entry in self.register.by_id.values() for name in entry.channels]
        return [lane for lane in lanes if (link := self.link(lane)) is not None and link.collects]

    async def aclose(self) -> None:
        await asyncio.gather(*(link.aclose() for link in self._links.values()))
        await asyncio.gather(*(channel.aclose() for channel in self.channels.values()))
