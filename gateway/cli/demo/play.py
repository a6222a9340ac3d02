"""The sender's part: it sends, follows its events, and knows from those alone how far things are."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Protocol

from aio_pika.exceptions import AMQPError
from msgspec import Struct

from gateway.app import Gateway
from gateway.cli.demo.stage import SENDER, Stage
from gateway.cli.errors import Failed
from gateway.sandbox.dossiers import Dossier
from gateway.sandbox.sender import AmqpSender, Event, FeedReader
from gateway.spool import Spool

TOKEN_SECONDS: Final = 12 * 3600


class Told(Struct, frozen=True):
    """One delivery, as `bericht-geaccepteerd` announced it."""

    dossier: str
    versie: int
    creditor: str


class Progress:
    """What the events of these dossiers have said so far; an event that comes twice counts once."""

    def __init__(self, dossiers: Iterable[Dossier], answering: Iterable[str]) -> None:
        self.dossiers = {dossier.reference: dossier for dossier in dossiers}
        self.accepted: set[tuple[str, int]] = set()
        self.told: dict[str, Told] = {}
        self.handed_over: set[str] = set()
        self.answered: dict[str, str] = {}
        self.refused: list[str] = []
        self.counts: Counter[str] = Counter()
        self._answering = frozenset(answering)
        self._seen: set[str] = set()

    def take(self, event: Event) -> str | None:
        """Learn from an event; returns the dossier whose kennisgeving it says is accepted, if that is what it says."""
        data = event["data"]
        name = event["type"].removeprefix("nl.schuldhulpverlening.").removesuffix(".v1")
        reference = data.get("dossierkenmerk")
        if event["id"] in self._seen or (reference not in self.dossiers and name != "bericht-geweigerd"):
            return None
        self._seen.add(event["id"])
        self.counts[name] += 1
        match name:
            case "bericht-geaccepteerd":
                return self._accept(reference, data)
            case "bericht-geweigerd":
                self.refused += [f"{fault['pad']} {fault['code']}" for fault in data["fouten"]]
            case "bezorging-afgeleverd":
                self.handed_over.add(data["bezorging"])
            case "antwoord-ontvangen":
                self.answered[data["bezorging"]] = data["antwoord"]["soort"]
            case _:
                pass
        return None

    def _accept(self, reference: str, data: dict[str, Any]) -> str | None:
        versie = data["versie"]
        self.accepted.add((reference, versie))
        for one in data["schuldeisers"]:
            self.told[one["bezorging"]] = Told(reference, versie, one["schuldeiser"])
        return reference if versie == 1 else None

    @property
    def awaited(self) -> set[str]:
        """Deliveries whose creditor will answer."""
        return {id_ for id_, told in self.told.items() if told.versie == 1 and told.creditor in self._answering}

    @property
    def is_complete(self) -> bool:
        return (
            len(self.accepted) == 2 * len(self.dossiers)
            and self.told.keys() <= self.handed_over
            and self.awaited <= self.answered.keys()
        )


class Sender(Protocol):
    """The gemeente's side, whatever is in between."""

    async def send(self, routing_key: str, body: bytes) -> None: ...
    async def subscribe(self) -> AsyncIterator[Event]: ...


class EmbeddedSender:
    """Messages into the gateway's own queue, events from the feed of its API."""

    def __init__(self, spool: Spool, feed: FeedReader) -> None:
        self._spool = spool
        self._feed = feed

    async def send(self, routing_key: str, body: bytes) -> None:
        await self._spool.put(SENDER, [body])

    async def subscribe(self) -> AsyncIterator[Event]:
        return self._feed.events()


@asynccontextmanager
async def sender_of(stage: Stage, gateway: Gateway, amqp: str | None) -> AsyncIterator[Sender]:
    """Over the broker at `amqp`, or without one. Raises Failed where the broker cannot be reached."""
    if amqp is None:
        yield EmbeddedSender(gateway.spool, FeedReader(stage.url, stage.issuer.token(SENDER, TOKEN_SECONDS)))
        return
    async with AsyncExitStack() as connected:
        try:
            sender = await connected.enter_async_context(AmqpSender(amqp))
        except (OSError, AMQPError) as why:
            raise Failed(f"de broker is niet bereikbaar ({type(why).__name__})") from why
        yield sender


async def play(progress: Progress, sender: Sender) -> None:
    """Send every kennisgeving, each voortgang once its kennisgeving is accepted, and listen until all is complete."""
    events = await sender.subscribe()
    for dossier in progress.dossiers.values():
        await sender.send(f"{dossier.gemeente}.kennisgeving", dossier.notice)
    async for event in events:
        accepted = progress.take(event)
        if accepted is not None:
            dossier = progress.dossiers[accepted]
            await sender.send(f"{dossier.gemeente}.voortgang", dossier.progress)
        if progress.is_complete:
            return
