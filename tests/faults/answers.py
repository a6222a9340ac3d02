"""I12, I13, I14: what creditors said is on record, once, and nothing else is."""

from collections import Counter
from collections.abc import Iterable

from tests.faults.books import Books, Witness
from tests.faults.creditors import IN_REPLY
from tests.faults.sightings import SAID, TAKEN


def kept(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """What the gateway told a creditor that it had taken: by the status of a callback or of the answer page, by moving
    the file to the archive, or by counting the reply that had it as a hand-over."""
    on_record = {(one.delivery_id, one.creditor) for one in books.evidence}
    taken = {(one.delivery, one.creditor) for one in witness.replies if one.kind == TAKEN}
    said = {(one.delivery, one.creditor) for one in witness.replies if one.kind == SAID and one.creditor == IN_REPLY}
    handed_over = {one.delivery_id for one in books.attempts if one.outcome == "overgedragen"}
    taken |= {one for one in said if one[0] in handed_over}
    mine = {one for one in taken if one[0] in books.deliveries}
    return len(mine), (delivery for delivery, _ in mine - on_record)


def _said(witness: Witness) -> Counter[tuple[str, str]]:
    return Counter((one.delivery, one.creditor) for one in witness.replies if one.kind == SAID)


def _decided(books: Books) -> Counter[tuple[str, str]]:
    decisions = [one for one in books.evidence if one.kind == "answer" and one.soort != "ontvangen"]
    return Counter((one.delivery_id, one.creditor) for one in decisions)


def given(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """A decision on record was made by the creditor: no scanner, no GET, no guess of ours."""
    said, decided = _said(witness), _decided(books)
    return decided.total(), (delivery for delivery, creditor in decided if (delivery, creditor) not in said)


def once(books: Books, witness: Witness) -> tuple[int, Iterable[str]]:
    """However often the gateway reads it."""
    said, decided = _said(witness), _decided(books)
    return decided.total(), (delivery for (delivery, who), number in decided.items() if number > said[delivery, who])
