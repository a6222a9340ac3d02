"""Who takes part: gemeenten, the creditors of the register, and what each creditor is like."""

from collections.abc import Mapping
from datetime import timedelta
from random import Random

from gateway.core.creditor import Covenant, Creditor, CreditorId, Limit, Term
from gateway.core.notice import Sender
from gateway.simulation.temper import Temper

CHANNEL, FALLBACK = "gesimuleerd", "gesimuleerd-reserve"
HOW_MANY: Mapping[Temper, int] = {
    Temper.PROMPT: 16,
    Temper.SLOW: 8,
    Temper.SILENT: 6,
    Temper.REFUSING: 5,
    Temper.FAILING: 6,
    Temper.TWICE: 4,
    Temper.TRANSFERRING: 3,
}
AGENTS = (CreditorId("incasso-noord"), CreditorId("incasso-zuid"))
CLAIMS = ("energie", "zorgpremie", "telefonie", "huur", "boete", "webwinkel")
_COVENANTS = (
    Covenant("Modelconvenant 2024", binding=True, pause=Term(8, "maanden"), second_term=Term(8, "maanden")),
    Covenant("Convenant ZN", binding=True, pause=Term(120, "dagen"), anchor="ontvangst", scope=("zorgpremie",)),
    Covenant("Leidraad", binding=True, pause=Term(240, "dagen"), anchor="ontvangst"),
    None,
)
SENDERS = tuple(
    Sender(name, f"00000099000000{gemeenten[0][1:]}000", gemeenten)
    for name, gemeenten in (
        ("Gemeente Amsterdam", ("0363",)),
        ("Kredietbank Rotterdam", ("0599", "0502", "0622", "0613")),
        ("Gemeente Den Haag", ("0518",)),
        ("Gemeente Utrecht", ("0344",)),
        ("Groningse Kredietbank", ("0014", "1952", "0047")),
        ("Gemeente Almere", ("0034",)),
        ("Kredietbank Nederland", ("0080", "0090", "1900", "0072")),
        ("Gemeente Enschede", ("0153",)),
        ("Gemeente Eindhoven", ("0772",)),
        ("Stadsbank Oost", ("0141", "0164", "0173")),
    )
)
PAUSE_BUTTON = Sender(
    "pauzeknop", "00000099000000999000", tuple(code for sender in SENDERS for code in sender.gemeenten)
)
FORGETFUL = frozenset({"0153", "0772", "0502", "0047"})
"""Gemeenten that often forget to report progress."""


def register(seed: int) -> list[Creditor]:
    """In the order of their ids, so that the one of no temper comes first."""
    chance = Random(f"{seed}:register")
    named = [(name, temper) for name, temper in tempers().items() if name not in AGENTS]
    creditors = [_creditor(nr, name, temper, chance) for nr, (name, temper) in enumerate(named)]
    creditors += [Creditor(name, name.title(), channels=(CHANNEL,), endpoints={CHANNEL: {}}) for name in AGENTS]
    return sorted(creditors, key=lambda creditor: creditor.id)


def tempers() -> dict[str, Temper]:
    """By register id; an agent is prompt."""
    kinds = {f"{temper}-{nr:02d}": temper for temper, count in HOW_MANY.items() for nr in range(1, count + 1)}
    return {**kinds, **dict.fromkeys(AGENTS, Temper.PROMPT)}


def kind_of_claim(creditor: str) -> str:
    """What its debts are about, always the same."""
    return CLAIMS[sum(creditor.encode()) % len(CLAIMS)]


def _creditor(nr: int, name: str, temper: Temper, chance: Random) -> Creditor:
    second_way = temper is Temper.FAILING and nr % 2 == 0
    channels = (CHANNEL, FALLBACK) if second_way else (CHANNEL,)
    return Creditor(
        id=CreditorId(name),
        name=name.title(),
        kvk=f"{90_000_000 + nr}",
        covenant=_COVENANTS[chance.randrange(len(_COVENANTS))],
        bsn_basis="Wabb art. 10" if nr % 9 == 0 else None,
        agents=(AGENTS[0],) if nr % 17 == 3 else (),
        channels=channels,
        fallback_after=timedelta(hours=24),
        limit=Limit(concurrent=8, per_second=20.0 if nr % 7 == 0 else 0.0),
        endpoints={channel: {} for channel in channels},
    )
