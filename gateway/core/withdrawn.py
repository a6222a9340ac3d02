"""What withdrawals that name creditors took back: for each of these, up to which version.

Not every creditor that is named gets a delivery of the withdrawal: who never had the notice need not hear of it. So it
is on record by itself, as a mark of the dossier. Of all up to that version nothing is sent any more, to the creditor or
to who acts for it, also where it comes in late or turns out to have arrived; a later kennisgeving may ask anew.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

MARK = "ingetrokken"
UpTo = Mapping[str, int]
"""{creditor: version}"""
NOBODY: UpTo = MappingProxyType({})


def subject_of(creditor: str, version: int) -> str:
    """What the mark says."""
    return f"{version} {creditor}"


def up_to(subjects: Iterable[str]) -> dict[str, int]:
    """All that the marks of one dossier say."""
    found: dict[str, int] = {}
    for subject in subjects:
        version, creditor = subject.split(" ", 1)
        found[creditor] = max(found.get(creditor, 0), int(version))
    return found
