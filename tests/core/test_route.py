"""To whom a message goes, and after what."""

import msgspec
import pytest

from gateway.core.case import Delivery, Key
from gateway.core.creditor import Creditor, CreditorId, Register
from gateway.core.errors import Code
from gateway.core.lane import BLOCKS_AT_MOST
from gateway.core.lifecycle import SETTLED, TOLD, State
from gateway.core.notice import CreditorRef, Notice, Progress
from gateway.core.route import named_twice, overtaken, predecessor, route_follow_up, route_notice, unchanged
from tests.core import examples

NOW = 1_800_000_000_000_000
ZORG: Key = ("zorg", None)
OPEN = set(State) - SETTLED
LOST = SETTLED - TOLD
REGISTER = Register(
    [
        Creditor(CreditorId("energie"), "Energie", kvk="68750110", oin="00000099000000004000"),
        Creditor(CreditorId("zorg"), "Zorg"),
        Creditor(CreditorId("bank"), "Bank", agents=(CreditorId("incasso"), CreditorId("verdwenen"))),
        Creditor(CreditorId("incasso"), "Incasso"),
    ]
)


def notice(*names: str) -> Notice:
    read = msgspec.convert(examples.read("kennisgeving-kort")["data"], Notice)
    return msgspec.structs.replace(read, creditors=tuple(map(CreditorRef, names)))


def progress(*names: str) -> Progress:
    return Progress("0363", "SHV-1", 2, "stabilisatie_loopt", None, names)


def earlier(
    creditor: str,
    state: State = State.DELIVERED,
    agent_for: str | None = None,
    soort: str = "kennisgeving",
    versie: int = 1,
    age: int = 0,
    digest: bytes = b"a",
) -> Delivery:
    identifier = f"{creditor}/{agent_for}/{soort}/{versie}"
    return Delivery(
        id=identifier,
        creditor=creditor,
        agent_for=agent_for,
        soort=soort,
        versie=versie,
        state=state,
        created_at=NOW - age,
        view_digest=digest,
    )


def told(message: Progress, *before: Delivery) -> tuple[set[Key], tuple[str, ...]]:
    """Who gets the message, and who was never told."""
    refs = {name: CreditorRef(name) for name in REGISTER.by_id}
    routing = route_follow_up(message, before, refs, REGISTER)
    return {one.key for one in routing.addressees}, routing.not_told


# -- a kennisgeving --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["energie", "kvk:68750110", "oin:00000099000000004000"])
def test_a_creditor_is_found_by_id_kvk_and_oin(name: str) -> None:
    routing = route_notice(notice(name), REGISTER)
    assert [(one.creditor.id, one.ref.creditor) for one in routing.addressees] == [("energie", name)]
    assert (routing.unknown, routing.violations) == ((), ())


@pytest.mark.parametrize("name", ["Energie", "kvk:68750111", "68750110", "verdwenen", "kvk:", ""])
def test_who_is_not_in_the_register_is_listed_as_sent_and_the_others_go(name: str) -> None:
    routing = route_notice(notice("zorg", name), REGISTER)
    assert [one.creditor.id for one in routing.addressees] == ["zorg"]
    assert routing.unknown == (name,)


def test_a_creditor_that_is_named_twice_is_refused_where_it_comes_again() -> None:
    routing = route_notice(notice("energie", "zorg", "kvk:68750110", "oin:00000099000000004000"), REGISTER)
    assert [(one.pad, str(one.code)) for one in routing.violations] == [
        ("/data/schuldeisers/2/schuldeiser", "schuldeiser_dubbel"),
        ("/data/schuldeisers/3/schuldeiser", "schuldeiser_dubbel"),
    ]


def test_doubles_are_found_under_any_name_and_strangers_are_nobodys() -> None:
    named = [("/0", "energie"), ("/1", "iemand"), ("/2", "kvk:68750110"), ("/3", "iemand"), ("/4", "energie")]
    found = named_twice(named, REGISTER)
    assert [(one.pad, str(one.code)) for one in found] == [("/2", "schuldeiser_dubbel"), ("/4", "schuldeiser_dubbel")]


def test_agents_that_are_in_the_register_are_told_what_is_said_about_their_principal() -> None:
    routing = route_notice(notice("bank", "incasso"), REGISTER)
    assert [(one.creditor.id, one.agent_for, one.ref.creditor) for one in routing.addressees] == [
        ("bank", None, "bank"),
        ("incasso", "bank", "bank"),
        ("incasso", None, "incasso"),
    ]


# -- progress --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(TOLD | OPEN))
def test_progress_goes_to_everyone_who_was_told_or_will_be(state: State) -> None:
    before = earlier("energie", state), earlier("bank", state), earlier("incasso", state, "bank")
    assert told(progress(), *before) == ({("energie", None), ("bank", None), ("incasso", "bank")}, ())


def test_who_could_not_be_told_is_not_told_the_progress_either_and_is_named() -> None:
    assert told(progress(), earlier("energie", State.FAILED), earlier("zorg")) == ({("zorg", None)}, ("energie",))


def test_who_was_withdrawn_hears_no_more_and_is_refused_where_it_is_named() -> None:
    before = earlier("energie", State.WITHDRAWN), earlier("zorg"), earlier("zorg", soort="intrekking", versie=2)
    assert told(progress(), *before, earlier("bank")) == ({("bank", None)}, ())
    refs = {name: CreditorRef(name) for name in REGISTER.by_id}
    routing = route_follow_up(progress("energie", "zorg", "bank"), before, refs, REGISTER)
    assert routing.refused == (("energie", Code.AFTER_WITHDRAWAL), ("zorg", Code.AFTER_WITHDRAWAL))
    again = route_notice(notice("zorg", "bank"), REGISTER, before, refs)
    assert ([one.key for one in again.addressees], again.refused) == (
        [("bank", None), ("incasso", "bank")],
        (("zorg", Code.AFTER_WITHDRAWAL),),
    )


def test_what_comes_late_is_refused_for_who_was_withdrawn_meanwhile_and_a_later_kennisgeving_asks_anew() -> None:
    def told_with(version: int) -> tuple[list[Key], tuple[tuple[str, Code], ...]]:
        asked = msgspec.structs.replace(notice("bank", "energie", "zorg"), version=version)
        before = [earlier("energie", State.FAILED)]
        routing = route_notice(asked, REGISTER, before, {"energie": CreditorRef("energie")}, {"energie": 3, "bank": 3})
        return [one.key for one in routing.addressees], routing.refused

    refused = (("bank", Code.AFTER_WITHDRAWAL), ("energie", Code.AFTER_WITHDRAWAL))
    assert told_with(2) == told_with(3) == ([ZORG], refused)
    assert told_with(4) == ([("bank", None), ("incasso", "bank"), ("energie", None), ZORG], ())


def test_who_turned_out_to_have_what_was_withdrawn_hears_no_more_until_it_is_asked_anew() -> None:
    refs = {name: CreditorRef(name) for name in REGISTER.by_id}
    arrived, agents, anew = earlier("bank"), earlier("incasso", agent_for="bank"), earlier("bank", versie=4)

    def told_with(version: int, *names: str, before: tuple[Delivery, ...] = (arrived, agents)) -> tuple[object, ...]:
        message = msgspec.structs.replace(progress(*names), version=version)
        routing = route_follow_up(message, before, refs, REGISTER, {"bank": 3})
        return [one.key for one in routing.addressees], routing.refused, routing.not_told

    assert told_with(5) == ([], (), ())
    assert told_with(5, "bank") == ([], (("bank", Code.AFTER_WITHDRAWAL),), ())
    assert told_with(5, before=(arrived, agents, anew)) == ([("bank", None)], (), ())
    assert told_with(2, before=(arrived, agents, anew)) == ([], (), ())
    corrected = msgspec.structs.replace(notice("zorg"), version=4)
    routing = route_notice(corrected, REGISTER, (arrived, agents), refs, {"bank": 3})
    assert [one.key for one in routing.addressees] == [ZORG]


def test_a_later_kennisgeving_also_goes_to_who_was_told_before_and_is_not_named() -> None:
    refs = {name: CreditorRef(name) for name in REGISTER.by_id}
    before = earlier("energie"), earlier("incasso", agent_for="bank"), earlier("bank", State.FAILED)
    routing = route_notice(notice("zorg"), REGISTER, before, refs)
    assert [one.key for one in routing.addressees] == [("zorg", None), ("energie", None), ("incasso", "bank")]


@pytest.mark.parametrize(
    ("soort", "version", "is_overtaken"),
    [
        ("voortgang", 2, True),
        ("voortgang", 4, False),
        ("kennisgeving", 2, False),
        ("verlenging", 2, False),
        ("intrekking", 2, False),
    ],
)
def test_a_late_message_does_not_undo_a_newer_one_of_its_kind(soort: str, version: int, is_overtaken: bool) -> None:
    assert (
        overtaken(ZORG, soort, version, [earlier("zorg"), earlier("zorg", soort="voortgang", versie=3)]) is is_overtaken
    )


def test_after_an_ending_only_a_withdrawal_may_come_late() -> None:
    ending = earlier("zorg", soort="beeindiging", versie=5)
    late = {soort: overtaken(ZORG, soort, 3, [ending]) for soort in ("kennisgeving", "verlenging", "intrekking")}
    assert late == {"kennisgeving": True, "verlenging": True, "intrekking": False}


def test_one_kennisgeving_that_arrived_is_enough() -> None:
    before = earlier("energie", State.FAILED), earlier("energie", State.DELIVERED, versie=2)
    assert told(progress(), *before) == ({("energie", None)}, ())


def test_progress_for_some_goes_to_those_with_their_agents_and_names_who_was_never_told() -> None:
    before = earlier("energie"), earlier("bank"), earlier("incasso", agent_for="bank")
    assert told(progress("bank", "zorg"), *before) == ({("bank", None), ("incasso", "bank")}, ("zorg",))
    assert told(progress("kvk:68750110"), *before) == ({("energie", None)}, ())


def test_progress_for_names_the_register_does_not_have_or_has_twice_says_so() -> None:
    routing = route_follow_up(progress("energie", "niemand", "kvk:68750110"), (), {}, REGISTER)
    assert routing.unknown == ("niemand",)
    assert [(one.pad, str(one.code)) for one in routing.violations] == [("/data/schuldeisers/2", "schuldeiser_dubbel")]


def test_a_creditor_that_has_left_the_register_is_passed_over() -> None:
    assert told(progress(), earlier("verdwenen"), earlier("zorg")) == ({("zorg", None)}, ())


# -- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_the_next_message_waits_for_what_is_not_handed_over_nor_ended(state: State) -> None:
    expected = "zorg/None/kennisgeving/1" if state in OPEN else None
    assert predecessor(ZORG, [earlier("zorg", state)], NOW) == expected


def test_the_next_message_waits_for_the_latest_of_the_same_creditor_in_the_same_part() -> None:
    before = [
        earlier("zorg", State.QUEUED),
        earlier("zorg", State.RETRYING, soort="voortgang", versie=3),
        earlier("zorg", State.QUEUED, soort="voortgang", versie=2),
        earlier("energie", State.QUEUED, versie=9),
        earlier("zorg", State.QUEUED, agent_for="bank", versie=8),
    ]
    assert predecessor(ZORG, before, NOW) == "zorg/None/voortgang/3"
    assert predecessor(("zorg", "bank"), before, NOW) == "zorg/bank/kennisgeving/8"


@pytest.mark.parametrize(("soort", "waits"), [("kennisgeving", True), ("voortgang", False)])
def test_only_a_kennisgeving_holds_the_rest_for_longer_than_72_hours(soort: str, waits: bool) -> None:
    before = [earlier("zorg", State.RETRYING, soort=soort, age=BLOCKS_AT_MOST)]
    assert (predecessor(ZORG, before, NOW) is not None) is waits
    assert predecessor(ZORG, [earlier("zorg", State.RETRYING, soort=soort, age=BLOCKS_AT_MOST - 1)], NOW)


# -- corrections -----------------------------------------------------------------------------------------------------


def test_who_was_told_exactly_this_is_not_told_again() -> None:
    assert unchanged(ZORG, b"a", [earlier("zorg", digest=b"a")])
    assert not unchanged(ZORG, b"b", [earlier("zorg", digest=b"a")])
    assert not unchanged(ZORG, b"a", [earlier("energie", digest=b"a"), earlier("zorg", agent_for="bank", digest=b"a")])
    assert not unchanged(ZORG, b"a", [earlier("zorg", soort="voortgang", versie=2, digest=b"a")])


def test_it_is_the_last_kennisgeving_that_counts() -> None:
    both = [earlier("zorg", digest=b"a"), earlier("zorg", versie=2, digest=b"b")]
    assert not unchanged(ZORG, b"a", both)
    assert unchanged(ZORG, b"b", both)


@pytest.mark.parametrize("state", sorted(LOST))
def test_what_never_arrived_does_not_count(state: State) -> None:
    assert not unchanged(ZORG, b"a", [earlier("zorg", state, digest=b"a")])
