"""The suite every adapter passes, ours and others': against a real server, never a patched client.

Use it from a test module of your own, with pytest and pytest-asyncio installed::

    @pytest_asyncio.fixture
    async def peer(tmp_path):                       # a running creditor: see `Peer`
        async with PigeonLoft(tmp_path) as peer:
            yield peer

    @pytest.fixture
    def endpoint(peer):                             # the register's entry for that creditor
        return Endpoint("pigeon", "Pigeon B.V.", {"loft": ...}, concurrent=8, networks=LOOPBACK)

    @pytest_asyncio.fixture
    async def channel():                            # made with `surroundings()`: attempts time out after 2 s
        channel = Pigeon(surroundings())
        yield channel
        await channel.aclose()

    class TestPigeon(Conformance):
        can_resolve = True                          # `resolve` can ask the peer what it has

Fixtures to provide, in the module or in the class: `peer`, `endpoint`, `channel`. With
`pytest.register_assert_rewrite("gateway.conformance")` in `conftest.py` a failed comparison shows its values.
"""

# ruff: noqa: S101  asserts are what this module is for

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import ClassVar

import msgspec
import pytest
import pytest_asyncio

from gateway.clock import Clock
from gateway.contract import (
    Channel,
    DeliveryId,
    Draft,
    Endpoint,
    HandedOver,
    Link,
    Outcome,
    OwnFault,
    Parcel,
    RefusedForGood,
    SettingsRefused,
    Surroundings,
    Transient,
    Uncertain,
    View,
)
from gateway.core.view import Pause, Sender
from gateway.ids import uuid7
from gateway.sandbox.peer import Peer, Sighting

__all__ = ["CANARIES", "LOOPBACK", "Conformance", "Peer", "Sighting", "draft", "parcel", "surroundings"]

LOOPBACK = ("127.0.0.0/8", "::1/128")
ATTEMPT_TIMEOUT = 2.0
CANARIES = ("Kanarievogel", "999990007", "K-774411", "1987-03-14", "Lijsterbesstraat", "SHV-2026-990099")
LONGEST_REPLY = 4096
TOO_DEEP = b'{"antwoord":' * 2000 + b"{}" + b"}" * 2000
"""JSON at which readers raise RecursionError."""
_SHORT_CODE = re.compile(r"[a-z0-9_.-]{1,40}")


def surroundings(
    settings: dict[str, object] | None = None,
    attempt_timeout: float = ATTEMPT_TIMEOUT,
    now: Callable[[], datetime] = Clock().now,  # noqa: B008  (a clock has no state)
) -> Surroundings:
    """What a test gives a channel; `settings` is the channel's own table of gateway.toml."""
    return Surroundings(
        oin="00000099000000001000",
        name="Kennisgeving-gateway",
        public_url="https://kennisgeving.example",
        attempt_timeout=attempt_timeout,
        poll_every=0.05,
        poll_at_most=1.0,
        settings=settings or {},
        now=now,
        entropy=os.urandom,
        channel_key=bytes(range(32)),
    )


def draft(soort: str = "kennisgeving", delivery: str | None = None) -> Draft:
    """A message to render, full of CANARIES."""
    key = DeliveryId(delivery or uuid7(Clock().micros()))
    view = View(
        kenmerk=key,
        soort=soort,
        gemeente="0363",
        afzender=Sender("Gemeente Voorbeeld", "00000099000000363000"),
        dossierkenmerk="SHV-2026-990099",
        versie=1,
        hulpvrager=msgspec.Raw(_DEBTOR),
        klantnummer="K-774411",
        vorderingen=msgspec.Raw(b'[{"kenmerk":"F-118","soort":"energie","bedrag":118.5}]'),
        pauze=Pause("2026-11-23", "2027-07-22", "convenant"),
        contactpersoon=msgspec.Raw(b'{"naam":"Team Schuldhulp","telefoon":"+31201234567"}'),
    )
    time = datetime(2026, 11, 23, 9, 15, tzinfo=UTC).isoformat()
    return Draft(key, f"nl.schuldhulpverlening.{soort}.v1", time, msgspec.json.encode(view))


_DEBTOR = (
    b'{"voornamen":"Anna Sophia","voorletters":"A.S.","achternaam":"Kanarievogel","geboortedatum":"1987-03-14",'
    b'"bsn":"999990007","adres":{"straat":"Lijsterbesstraat","huisnummer":12,"postcode":"1015CN",'
    b'"woonplaats":"Amsterdam"}}'
)


def parcel(
    link: Link,
    endpoint: Endpoint,
    message: Draft,
    attempt: int = 1,
    notice_reference: str | None = None,
    notices: tuple[DeliveryId, ...] = (),
) -> Parcel:
    """The attempt that the gateway would make of `message`, rendered by `link`."""
    return Parcel(
        delivery=message.delivery,
        creditor=endpoint.creditor,
        soort=message.view.soort,
        type=message.type,
        attempt=attempt,
        body=link.render(message).body,
        notice_reference=notice_reference,
        notices=notices,
    )


@pytest.mark.asyncio
class Conformance:
    """Subclass it as `Test…`, provide the three fixtures, and stay empty otherwise."""

    can_resolve: ClassVar[bool] = False
    """`resolve` asks the peer; else it returns None."""
    sees_other_content: ClassVar[bool] = False
    """The peer itself notices that it has something else under a delivery's key."""
    is_guarded: ClassVar[bool] = True
    """It connects to the creditor itself, so that `netwerken` applies; a mail relay is not."""

    @pytest_asyncio.fixture
    async def link(self, channel: Channel, endpoint: Endpoint) -> AsyncIterator[Link]:
        link = channel.link(endpoint)
        yield link
        await link.aclose()

    # -- settings

    async def test_the_settings_of_its_own_example_are_accepted(self, channel: Channel, endpoint: Endpoint) -> None:
        channel.check_settings(endpoint.settings)

    async def test_an_unknown_setting_is_refused_by_name(self, channel: Channel, endpoint: Endpoint) -> None:
        with pytest.raises(SettingsRefused, match="onzin"):
            channel.check_settings({**endpoint.settings, "onzin": 1})

    async def test_a_setting_of_the_wrong_type_is_refused_by_name(self, channel: Channel, endpoint: Endpoint) -> None:
        for key in endpoint.settings:
            with pytest.raises(SettingsRefused, match=key):
                channel.check_settings({**endpoint.settings, key: object()})

    async def test_an_empty_table_is_refused(self, channel: Channel) -> None:
        with pytest.raises(SettingsRefused):
            channel.check_settings({})

    async def test_it_says_whether_its_peer_can_be_asked(self, channel: Channel) -> None:
        assert getattr(type(channel), "resolves", False) is self.can_resolve

    # -- handing over

    async def test_handed_over_means_that_the_peer_has_exactly_the_frozen_bytes(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        sent = parcel(link, endpoint, draft())
        assert isinstance(await _sent(link, sent), HandedOver)
        assert [seen.digest for seen in peer.received(sent.delivery)] == [sha256(sent.body).hexdigest()]

    async def test_every_attempt_has_the_same_key_and_the_same_bytes(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        sent = parcel(link, endpoint, draft())
        assert isinstance(await _sent(link, sent), HandedOver)
        assert isinstance(await _sent(link, msgspec.structs.replace(sent, attempt=2)), HandedOver)
        assert len(set(peer.received(sent.delivery))) == 1

    async def test_deliveries_at_the_same_time_do_not_mix(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        parcels = [parcel(link, endpoint, draft()) for _ in range(endpoint.concurrent)]
        outcomes = await asyncio.gather(*[_sent(link, sent) for sent in parcels])
        assert {type(outcome) for outcome in outcomes} == {HandedOver}
        for sent in parcels:
            assert {seen.digest for seen in peer.received(sent.delivery)} == {sha256(sent.body).hexdigest()}

    async def test_connections_are_kept_and_used_again(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        await _sent(link, parcel(link, endpoint, draft()))
        made = peer.connections_made
        for _ in range(5):
            await _sent(link, parcel(link, endpoint, draft()))
        assert peer.connections_made == made

    # -- when it goes wrong

    async def test_a_refusal_is_for_good(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        async with peer.refuses():
            assert isinstance(await _sent(link, parcel(link, endpoint, draft())), RefusedForGood)

    async def test_a_key_that_was_used_for_something_else_is_refused_for_good_and_alarms(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        if not self.sees_other_content:
            pytest.skip("its peer does not compare what comes under one key")
        message = draft()
        sent = parcel(link, endpoint, message)
        assert isinstance(await _sent(link, sent), HandedOver)
        changed = msgspec.structs.replace(message, view_json=message.view_json.replace(b"K-774411", b"K-774412"))
        other = msgspec.structs.replace(sent, body=link.render(changed).body)
        outcome = await _sent(link, other)
        assert isinstance(outcome, RefusedForGood)
        assert outcome.other_content
        assert peer.received(sent.delivery)[0].digest == sha256(sent.body).hexdigest()

    async def test_a_peer_that_is_down_is_a_transient_failure(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        sent = parcel(link, endpoint, draft())
        async with peer.is_down():
            assert isinstance(await _sent(link, sent), Transient)
        assert isinstance(await _sent(link, sent), HandedOver)

    async def test_connections_that_the_peer_closed_in_the_meantime_do_no_harm(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        await _sent(link, parcel(link, endpoint, draft()))
        async with peer.is_down():
            pass
        sent = parcel(link, endpoint, draft())
        assert await _handed_over_within(2, link, sent)
        assert {seen.digest for seen in peer.received(sent.delivery)} == {sha256(sent.body).hexdigest()}

    async def test_a_hanging_peer_ends_in_time_and_leaves_the_link_usable(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        sent = parcel(link, endpoint, draft())
        async with peer.hangs(), asyncio.timeout(ATTEMPT_TIMEOUT + 1):
            assert isinstance(await _sent(link, sent), Transient | Uncertain)
        assert await _handed_over_within(2, link, sent)

    async def test_a_lost_reply_is_neither_success_nor_refusal(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        sent = parcel(link, endpoint, draft())
        async with peer.drops_reply():
            assert isinstance(await _sent(link, sent), Transient | Uncertain)
        resolved = await link.resolve(sent)
        if self.can_resolve:
            assert isinstance(resolved, HandedOver)
        else:
            assert resolved is None
            assert isinstance(await _sent(link, sent), HandedOver)
        assert len(set(peer.received(sent.delivery))) == 1

    async def test_what_never_arrived_is_not_resolved_as_handed_over(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        sent = parcel(link, endpoint, draft())
        assert await link.resolve(sent) is None
        assert peer.received(sent.delivery) == []

    async def test_resolving_with_a_peer_that_is_down_is_no_success(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        async with peer.is_down():
            resolved = await link.resolve(parcel(link, endpoint, draft()))
        assert resolved is None or isinstance(resolved, Transient | Uncertain)

    async def test_a_reply_that_is_nested_too_deeply_to_read_is_an_outcome_all_the_same(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        answers_with = getattr(peer, "answers_with", None)
        if answers_with is None:
            pytest.skip("its peer answers with no bytes of the suite's choosing")
        for status in (200, 400, 503):
            async with answers_with(status, body=TOO_DEEP):
                assert isinstance(await _sent(link, parcel(link, endpoint, draft())), Outcome)

    async def test_a_cancelled_attempt_leaves_the_link_usable(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        async with peer.hangs():
            attempt = asyncio.create_task(link.send(parcel(link, endpoint, draft())))
            await asyncio.sleep(0.1)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
        assert await _handed_over_within(2, link, parcel(link, endpoint, draft()))

    # -- whom it trusts, and what it shows

    async def test_nothing_is_sent_to_an_impostor(self, link: Link, endpoint: Endpoint, peer: Peer) -> None:
        sent = parcel(link, endpoint, draft())
        async with peer.is_impostor():
            assert isinstance(await _sent(link, sent), Transient | OwnFault)
            assert peer.received(sent.delivery) == []

    async def test_an_address_outside_its_networks_is_not_dialled(
        self, channel: Channel, endpoint: Endpoint, peer: Peer
    ) -> None:
        if not self.is_guarded:
            pytest.skip("connects to a relay of ours, to which netwerken does not apply")
        made = peer.connections_made
        link = channel.link(msgspec.structs.replace(endpoint, networks=()))
        try:
            assert isinstance(await _sent(link, parcel(link, endpoint, draft())), OwnFault)
        finally:
            await link.aclose()
        assert peer.connections_made == made

    async def test_no_personal_data_is_visible_outside_the_body(
        self, link: Link, endpoint: Endpoint, peer: Peer
    ) -> None:
        assert isinstance(await _sent(link, parcel(link, endpoint, draft())), HandedOver)
        seen = peer.visible().decode("utf-8", errors="replace").casefold()
        assert [canary for canary in CANARIES if canary.casefold() in seen] == []

    async def test_closing_closes_every_connection(self, channel: Channel, endpoint: Endpoint, peer: Peer) -> None:
        before = peer.connections_open
        link = channel.link(endpoint)
        await _sent(link, parcel(link, endpoint, draft()))
        await link.aclose()
        await channel.aclose()
        assert await _open_again(peer, before) == before

    @pytest.mark.parametrize("after", [0.0, 0.003, 0.01, 0.03])
    async def test_closing_in_the_middle_of_an_attempt_closes_every_connection(
        self, channel: Channel, endpoint: Endpoint, peer: Peer, after: float
    ) -> None:
        """As when the creditor's entry in the register changes; a link that is closed opens nothing any more."""
        before = peer.connections_open
        link = channel.link(endpoint)
        sent = parcel(link, endpoint, draft())
        under_way = asyncio.create_task(link.send(sent))
        await asyncio.sleep(after)
        await link.aclose()
        await asyncio.gather(under_way, link.send(sent), return_exceptions=True)
        await channel.aclose()
        assert await _open_again(peer, before) == before


async def _open_again(peer: Peer, number: int) -> int:
    """Connections, once there are no more than `number`; the peer sees the end of one a moment later."""
    for _ in range(500):
        if peer.connections_open > number:
            await asyncio.sleep(0.01)
    return peer.connections_open


async def _sent(link: Link, sent: Parcel) -> Outcome:
    """One attempt; whatever it ends in, its code may be logged."""
    outcome = await link.send(sent)
    evidence = getattr(outcome, "evidence", None)
    assert evidence is None or _SHORT_CODE.fullmatch(evidence.code), evidence.code
    assert evidence is None or len(evidence.reply) <= LONGEST_REPLY
    return outcome


async def _handed_over_within(attempts: int, link: Link, sent: Parcel) -> bool:
    for attempt in range(1, attempts + 1):
        if isinstance(await _sent(link, msgspec.structs.replace(sent, attempt=attempt)), HandedOver):
            return True
    return False
