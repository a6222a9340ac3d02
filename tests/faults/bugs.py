"""Seeded bugs (guarantee: teeth), put into a gateway of the campaign only: each must turn it red."""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from aiormq.abc import DeliveredMessage
from msgspec import structs
from sqlalchemy import Connection
from yarl import URL

from adapters.cjib.adapter import CjibLink
from adapters.sftp.adapter import SftpLink
from adapters.webhook.adapter import WebhookLink
from gateway import amqp, topology
from gateway.contract import DeliveryId, Inbound, Outcome, Parcel
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.preparing import Preparing
from gateway.dispatch.rendering import Ready
from gateway.dispatch.sending import Sending
from gateway.http.answers import AnswerPages
from gateway.http_peer import HttpPeer
from gateway.ids import uuid7
from gateway.intake import Accepted, Arrival, Intake, Read, Verdict
from gateway.ledger import durability, engine, evidence, settle
from gateway.ledger.queue import Claimed
from gateway.ledger.settle import Result
from gateway.log import logger

log = logger(__name__)

A_MOMENT = 0.2


def ack_before_commit() -> None:
    take = amqp._Session._settle

    async def settle_early(self: amqp._Session, batch: list[DeliveredMessage]) -> None:
        tag = batch[-1].delivery_tag
        underlay = await self._underlay()
        if tag is not None:
            await underlay.basic_ack(tag, multiple=True)
        self._underlay = _without_ack(underlay)  # type: ignore[method-assign]
        await take(self, batch)
        del self._underlay

    amqp._Session._settle = settle_early  # type: ignore[method-assign]


def _without_ack(underlay: Any) -> Callable[[], Any]:
    """The channel, deaf to the acknowledgement that comes in its proper place."""

    async def ignore(*_: object, **__: object) -> None:
        return None

    async def channel() -> Any:
        return SimpleNamespace(
            basic_ack=ignore, basic_consume=underlay.basic_consume, basic_cancel=underlay.basic_cancel
        )

    return channel


def ack_one_too_far() -> None:
    """The last message of a batch is acknowledged with the others, and committed a moment later."""
    accept, later = amqp._Session._accept, set[asyncio.Task[Any]]()

    async def accept_all_but_the_last(self: amqp._Session, arrivals: list[Arrival]) -> Sequence[Verdict]:
        if len(arrivals) == 1:
            return await accept(self, arrivals)
        *first, last = arrivals

        async def accept_last() -> None:
            await asyncio.sleep(A_MOMENT)
            await accept(self, [last])

        verdicts = await accept(self, first)
        later.add(asyncio.create_task(accept_last()))
        return [*verdicts, Accepted("")]

    amqp._Session._accept = accept_all_but_the_last  # type: ignore[method-assign]


def synchronous_off() -> None:
    """And the gateway, which would not start so, does not look."""
    settings = engine._sqlite_settings

    def careless(connection: sqlite3.Connection, _record: object) -> None:
        settings(connection, _record)
        connection.execute("PRAGMA synchronous=OFF").close()

    engine._sqlite_settings = careless
    durability.judge_sqlite = lambda *_: []


def no_fencing() -> None:
    """Whoever comes with a result is believed, whatever its token."""
    lock, settle_all = settle._lock, settle.settle
    tokens: dict[str, int] = {}

    def believing(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
        rows = lock(connection, ids)
        return {
            id_: SimpleNamespace(**{**row._mapping, "fence": tokens[id_], "owner": "x"}) for id_, row in rows.items()
        }

    def unfenced(connection: Connection, results: Sequence[Result], *more: Any) -> list[tuple[str, str]]:
        tokens.update({result.id: result.fence for result in results})
        return settle_all(connection, results, *more)

    unfenced.__module__, unfenced.__name__ = settle_all.__module__, settle_all.__name__
    settle._lock = believing
    for module in [module for name, module in sys.modules.items() if name.startswith("gateway.")]:
        if vars(module).get("settle") is settle_all:  # whoever imported it by its name
            vars(module)["settle"] = unfenced


def key_per_attempt() -> None:
    send = WebhookLink.send

    async def send_with_new_key(self: WebhookLink, parcel: Parcel) -> Outcome:
        return await send(self, structs.replace(parcel, delivery=DeliveryId(uuid7(0))))

    WebhookLink.send = send_with_new_key  # type: ignore[method-assign]


def connection_left_open() -> None:
    """Every request over HTTP comes with a connection that nobody closes."""
    ask, left = HttpPeer.ask, list[object]()

    async def ask_and_leave(self: HttpPeer, method: str, url: URL, *args: Any, **named: Any) -> Any:
        left.append(await asyncio.open_connection(url.host, url.port))
        return await ask(self, method, url, *args, **named)

    HttpPeer.ask = ask_and_leave  # type: ignore[method-assign]


def one_lane_for_all() -> None:
    """Whoever is slow keeps the others waiting."""
    turn = asyncio.Semaphore(2)
    for link in (WebhookLink, SftpLink, CjibLink):
        _in_turn(link, turn)


def _in_turn(link: Any, turn: asyncio.Semaphore) -> None:
    send = link.send

    async def wait_and_send(self: Any, parcel: Parcel) -> Outcome:
        async with turn:
            outcome: Outcome = await send(self, parcel)
            return outcome

    link.send = wait_and_send


def render_on_retry() -> None:
    prepare = Preparing._prepare

    def prepare_anew(self: Preparing, claimed: Claimed) -> None:
        prepare(self, structs.replace(claimed, frozen=None))

    Preparing._prepare = prepare_anew  # type: ignore[method-assign]


def get_confirms() -> None:
    show = AnswerPages.show

    async def show_and_confirm(self: AnswerPages, request: web.Request) -> web.Response:
        token_hash = self._token_hash(request)
        page = await self._ledger.run(evidence.page, token_hash)
        if page is not None:
            answer = b'{"soort":"pauze_ingesteld","totEnMet":"2099-01-01"}'
            source = f"klik:{token_hash.hex()}"
            delivery = DeliveryId(page.delivery_id)
            await self._receipts.receive(Inbound("answer", page.creditor, delivery, source, answer, answer))
        return await show(self, request)

    AnswerPages.show = show_and_confirm  # type: ignore[method-assign]


def no_dead_letters() -> None:
    arguments = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
    topology.Topology.intake_arguments = property(lambda _: arguments)  # type: ignore[assignment,method-assign]


def withdrawals_unheard() -> None:
    """What waits in its lane's line goes, whatever became of it meanwhile."""

    async def never_look(self: Sending, ready: Ready) -> bool:
        return True

    InHand.withdraw = lambda self, ids: None  # type: ignore[method-assign]
    Sending._is_still_ours = never_look  # type: ignore[method-assign]


def bsn_in_log() -> None:
    read = Intake._read

    def read_aloud(self: Intake, arrival: Arrival) -> Read:
        body = arrival.body.decode(errors="replace")
        at = body.find('"bsn"')
        log.warning("message_read", melding=body[at : at + 30])
        return read(self, arrival)

    Intake._read = read_aloud  # type: ignore[method-assign]


BUGS: Mapping[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        ack_before_commit,
        ack_one_too_far,
        synchronous_off,
        no_fencing,
        key_per_attempt,
        connection_left_open,
        one_lane_for_all,
        render_on_retry,
        get_confirms,
        no_dead_letters,
        withdrawals_unheard,
        bsn_in_log,
    )
}
