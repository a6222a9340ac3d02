"""What a gateway has in hand: what is withdrawn leaves its line, and gives up its place and its lease."""

from gateway.contract import DeliveryId, Parcel
from gateway.dispatch.in_hand import InHand
from gateway.dispatch.rendering import Ready
from gateway.ledger.queue import Claimed, Intent
from gateway.links import Links

LANE = ("energie", "webhook")


def ready(id_: str, fence: int = 1) -> Ready:
    claimed = Claimed(
        id_, "d", *LANE[:1], None, "kennisgeving", 1, LANE[1], 0, "in_wachtrij", fence, 0, 0, 0, 0, 0, "0363", "SHV-1",
        b"", b"", None, None, (), notice_failed=False,
    )  # fmt: skip
    parcel = Parcel(DeliveryId(id_), LANE[0], "kennisgeving", "t", fence, b"")
    return Ready(claimed, parcel, Intent(id_, "d", fence, LANE[1], b"", None), in_doubt=False)


def holding(*ids: str) -> tuple[InHand, list[str]]:
    """In one line, in this order; the list grows when there is room."""
    room: list[str] = []
    in_hand = InHand(Links({}), 30, on_room=lambda: room.append("room"))
    for id_ in ids:
        one = ready(id_)
        in_hand.hold(one.claimed)
        in_hand.line(LANE).append(one, fresh=id_ != "oud")
    return in_hand, room


def test_what_is_withdrawn_waits_no_more_and_its_lease_is_not_renewed() -> None:
    in_hand, room = holding("a", "oud", "b")
    in_hand.withdraw({"a", "oud", "elders"})
    assert [one.claimed.id for one in in_hand.waiting()] == in_hand.claims() == ["b"]
    assert (in_hand.line(LANE).claimed, room) == (1, ["room", "room"])


def test_what_is_under_way_when_it_is_withdrawn_stays_in_hand_until_it_has_ended() -> None:
    in_hand, room = holding("a")
    begun = in_hand.line(LANE).start(0)
    in_hand.withdraw({"a"})
    assert (in_hand.claims(), in_hand.line(LANE).claimed, in_hand.line(LANE).active, room) == (["a"], 1, 1, [])
    in_hand.leave_line(begun.claimed)
    in_hand.forget(begun.claimed)
    assert (in_hand.claims(), in_hand.line(LANE).claimed, room) == ([], 0, ["room"])
