"""What comes over a channel that a delivery has left: proof and answers count, and a bounce undoes nothing."""

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row

from adapters.email.wire import return_path
from gateway.app import Gateway
from gateway.ledger import schema
from tests.flow.desk import notice
from tests.flow.running import Town, neighbour, running


class Mailbag:
    """The mailbox of bounces, as the email channel reads it."""

    def __init__(self) -> None:
        self.mails: dict[str, bytes] = {}
        self.read: list[str] = []

    def put_up(self, gateway: Gateway) -> None:
        channel: Any = gateway.links.channels["email"]
        channel._inbox = self

    async def unread(self) -> list[tuple[str, bytes]]:
        return [(uid, raw) for uid, raw in self.mails.items() if uid not in self.read]

    async def mark(self, done: list[str], left: list[str]) -> None:
        self.read += done

    async def aclose(self) -> None:
        """It has no connection."""

    async def bring(self, town: Town, delivery: str, action: str) -> None:
        """A delivery status to the return path of this delivery, unlike every other; returns when it is on record."""
        channel: Any = town.gateway.links.channels["email"]
        key, domain = channel.surroundings.channel_key, channel.settings.domain
        uid = str(len(self.mails))
        self.mails[uid] = _status(return_path(delivery, key, domain), action, uid)

        async def is_read() -> bool:
            return uid in self.read

        await town.until(is_read)


def _status(to: str, action: str, uid: str) -> bytes:
    """RFC 3464."""
    mail = EmailMessage()
    mail["To"], mail["From"], mail["Message-ID"] = to, "MAILER-DAEMON@b.example", f"<{uid}@b.example>"
    mail.set_content(f"Reporting-MTA: dns; b\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: {action}\r\n")
    return mail.as_bytes().replace(b"text/plain", b"message/delivery-status")


async def over(town: Town) -> list[tuple[str, str]]:
    return [(row.kind, row.channel) for row in await town.rows(schema.evidence)]


async def _moved_on(town: Town, bag: Mailbag, to: str = "webhook") -> Row[Any]:
    """The delivery, of which the mail came back, once it is on the next channel."""
    await town.send(notice("SHV-1", 1, "energie"))
    (row,) = await town.hand_over()
    assert row.channel == "email"
    await bag.bring(town, row.id, "failed")

    async def look() -> list[Row[Any]]:
        rows = await town.deliveries("energie")
        return [row for row in rows if (row.channel, row.state) == (to, "afgeleverd")]

    return (await town.until(look))[0]


@pytest.mark.parametrize("more", [(), ("sftp",)])
async def test_a_late_bounce_does_not_undo_the_hand_over_on_another_channel(
    ledger_url: str, tmp_path: Path, more: tuple[str, ...]
) -> None:
    bag = Mailbag()
    creditor = neighbour("energie", "email", "webhook", *more)
    async with running(tmp_path, ledger_url, [creditor], tempo={"peiling": "0.05 s"}, change=bag.put_up) as town:
        row = await _moved_on(town, bag)
        await bag.bring(town, row.id, "failed")  # of the copy that went while the first was in doubt
        assert await town.delivery("energie") == row
        assert await town.tasks() == []
        assert {name for name, _ in await town.told("energie")} == {"bezorging-afgeleverd"}
        assert await over(town) == [("bounce", "email")] * 2


@pytest.mark.parametrize(("fault", "state"), [("keeps_reply", "bezig"), ("drops_reply", "onzeker")])
async def test_a_bounce_that_overtakes_the_hand_over_is_not_forgotten(
    ledger_url: str, tmp_path: Path, fault: str, state: str
) -> None:
    bag = Mailbag()
    creditor = neighbour("energie", "email", "webhook")
    async with running(tmp_path, ledger_url, [creditor], tempo={"peiling": "0.05 s"}, change=bag.put_up) as town:
        assert town.mail is not None
        async with getattr(town.mail, fault)():
            await town.send(notice("SHV-1", 1, "energie"))
            (row,) = await town.reach(state)
            await town.until(lambda: _is_taken(town, row.id))
            await bag.bring(town, row.id, "failed")
        (now,) = await town.reach("afgeleverd")
        assert now.channel == "webhook"
        assert town.webhooks["energie"].deliveries == [row.id]
        channels = [data["kanaal"] for name, data in await town.told() if name == "bezorging-afgeleverd"]
        assert channels == ["webhook"]


async def _is_taken(town: Town, id_: str) -> bool:
    return town.mail is not None and bool(town.mail.received(id_))


async def test_a_delivery_status_about_the_channel_that_was_left_proves_that_the_creditor_has_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    bag = Mailbag()
    creditor = neighbour("energie", "email", "webhook")
    async with running(tmp_path, sqlite_url, [creditor], tempo={"peiling": "0.05 s"}, change=bag.put_up) as town:
        row = await _moved_on(town, bag)
        await bag.bring(town, row.id, "delivered")
        (now,) = await town.reach("ontvangen")
        assert (now.channel, now.proof) == ("webhook", 2)
        assert (await town.hears("ontvangst-bevestigd"))["bewijskracht"] == 2
        assert await over(town) == [("bounce", "email"), ("receipt", "email")]
