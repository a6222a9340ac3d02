"""What the API answers, as JSON: these records are both what is encoded and what the OpenAPI document describes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from gateway.core.answer import Answer, ClaimAnswer, claims_decided, parse_answer
from gateway.core.case import Pause
from gateway.core.creditor import Covenant, Creditor, Term
from gateway.core.notice import ContactPerson
from gateway.core.stand import Coming, CreditorStand
from gateway.events import rfc3339


class Received(Struct, frozen=True, omit_defaults=True):
    """A message that is on record. `uitkomst`: new; new, and waiting for a version before it; or known already, and
    then without `bericht`, the id it has here."""

    uitkomst: Literal["aangenomen", "wacht", "bekend"]
    bericht: str | None = None


class Attempt(Struct, frozen=True):
    """`uitkomst` and `code` are null while it is under way."""

    kanaal: str
    tijdstip: str
    uitkomst: str | None
    code: str | None


class DeliveryLine(Struct, frozen=True, omit_defaults=True):
    """One message to one creditor. `besluit`: soort of its current answer; `namens`: for whom an agent is told."""

    bezorging: str
    schuldeiser: str
    soort: str
    gemeente: str
    dossierkenmerk: str
    versie: int
    toestand: str
    bewijskracht: int
    kanaal: str
    besluit: str | None = None
    namens: str | None = None


class DeliveryDetail(DeliveryLine, frozen=True, kw_only=True):
    """`antwoorden`: as the creditor gave them, oldest first."""

    antwoorden: tuple[Raw, ...]
    pogingen: tuple[Attempt, ...]


class MessageLine(Struct, frozen=True):
    """`wacht`: a version before it is missing."""

    bericht: str
    soort: str
    versie: int
    tijdstip: str
    wacht: bool


class Repeat(Struct, frozen=True):
    """A delivery that is sent again, from `tijdstip` on."""

    bezorging: str
    tijdstip: str


class Dossier(Struct, frozen=True):
    """`tijdstip`: when its first message came in."""

    id: str
    gemeente: str
    dossierkenmerk: str
    versie: int
    tijdstip: str
    bezorgingen: tuple[DeliveryLine, ...]


class PauseLine(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The pause of one part of the claims; dates are inclusive. Without `gepauzeerd_tot_en_met` it is only asked, or
    refused; `soorten`: the kinds of claims it is about, none: all, or the others."""

    ingangsdatum: str
    gevraagd_tot_en_met: str
    bindend: bool
    gepauzeerd_tot_en_met: str | None = None
    soorten: tuple[str, ...] = ()


class ComingLine(Struct, frozen=True):
    """What comes at `tijdstip` if nothing changes: an event, `herinnering` or `einde_antwoordtermijn`."""

    wat: str
    tijdstip: str


class StandLine(Struct, frozen=True, omit_defaults=True):
    """Where a creditor stands, or an agent (`namens`: for whom). `taken`: kinds of tasks that are open about it."""

    schuldeiser: str
    stand: str
    pauzes: tuple[PauseLine, ...]
    hierna: tuple[ComingLine, ...]
    namens: str | None = None
    bezorgd: str | None = None
    ontvangen: str | None = None
    besluit: str | None = None
    besloten: str | None = None
    taken: tuple[str, ...] = ()
    vorderingen: tuple[Raw, ...] = ()
    """What is decided claim by claim, as in an answer."""


class DossierDetail(Dossier, frozen=True, kw_only=True):
    """`hierna`: what comes for the dossier as a whole."""

    berichten: tuple[MessageLine, ...]
    schuldeisers: tuple[StandLine, ...]
    hierna: tuple[ComingLine, ...]


class Dossiers(Struct, frozen=True):
    """`volgende`: what to give as `na` for the next page; null on the last one."""

    dossiers: tuple[Dossier, ...]
    volgende: str | None


class Feed(Struct, frozen=True):
    """`volgende`: what to give as `na` to go on, also when there is nothing more now."""

    gebeurtenissen: tuple[Raw, ...]
    volgende: str


class CovenantLine(Struct, frozen=True, omit_defaults=True, rename="camel"):
    naam: str
    bindend: bool
    pauze: str
    anker: str
    tweede_termijn: str | None = None
    soorten: tuple[str, ...] = ()


class CreditorLine(Struct, frozen=True, omit_defaults=True):
    """A creditor that can be addressed. Without `convenant` a pause is a request."""

    id: str
    naam: str
    kvk: str | None = None
    oin: str | None = None
    sector: str | None = None
    convenant: CovenantLine | None = None


class Creditors(Struct, frozen=True):
    schuldeisers: tuple[CreditorLine, ...]


class PauseRequestLine(Struct, frozen=True, omit_defaults=True):
    """A pauzeverzoek by reference only. `tijdstip`: when it came in."""

    id: str
    gemeente: str
    verzoekkenmerk: str
    tijdstip: str
    afgehandeld: bool
    afgehandeldOp: str | None = None  # noqa: N815 - the name on the wire


class PauseRequestDetail(PauseRequestLine, frozen=True, kw_only=True):
    """Without `contact` and `voorkeur` once they are erased."""

    contact: ContactPerson | None = None
    voorkeur: str | None = None


class PauseRequests(Struct, frozen=True):
    """`volgende`: what to give as `na` for the next page; null on the last one."""

    pauzeverzoeken: tuple[PauseRequestLine, ...]
    volgende: str | None


class AnswerTaken(Struct, frozen=True):
    """An answer that is on record."""

    bezorging: str


def creditor_line(creditor: Creditor) -> CreditorLine:
    covenant = creditor.covenant
    return CreditorLine(
        id=creditor.id,
        naam=creditor.name,
        kvk=creditor.kvk,
        oin=creditor.oin,
        sector=creditor.sector,
        convenant=None if covenant is None else _covenant_line(covenant),
    )


Answers = Mapping[tuple[str, str | None], Sequence[Answer]]
"""What each creditor, or agent for a creditor, answered in a dossier, oldest first."""


def answers_by_author(raw: Iterable[tuple[tuple[str, str | None], bytes]]) -> Answers:
    """`raw`: answers as the ledger keeps them, in the order in which they came."""
    found: dict[tuple[str, str | None], list[Answer]] = {}
    for author, text in raw:
        answer = parse_answer(text)
        if isinstance(answer, Answer):
            found.setdefault(author, []).append(answer)
    return found


def stand_line(one: CreditorStand, answers: Answers) -> StandLine:
    decided = one.decided
    return StandLine(
        schuldeiser=one.creditor,
        stand=str(one.standing),
        pauzes=tuple(map(_pause_line, one.pauses)),
        hierna=coming_lines(one.coming),
        namens=one.agent_for,
        bezorgd=_moment(one.told_at),
        ontvangen=_moment(one.received_at),
        besluit=decided.decision if decided else None,
        besloten=_moment(decided.decided_at) if decided else None,
        taken=one.tasks,
        vorderingen=tuple(map(_encoded, claims_decided(answers.get((one.creditor, one.agent_for), ())))),
    )


def _encoded(claim: ClaimAnswer) -> Raw:
    return Raw(msgspec.json.encode(claim))


def coming_lines(coming: Iterable[Coming]) -> tuple[ComingLine, ...]:
    return tuple(ComingLine(one.what, rfc3339(one.at)) for one in coming)


def _pause_line(pause: Pause) -> PauseLine:
    until = pause.paused_until
    return PauseLine(
        ingangsdatum=pause.starts.isoformat(),
        gevraagd_tot_en_met=pause.asked_until.isoformat(),
        bindend=pause.is_binding,
        gepauzeerd_tot_en_met=until.isoformat() if until else None,
        soorten=pause.scope,
    )


def _moment(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)


def delivery_fields(row: Any) -> dict[str, Any]:
    """What a DeliveryLine says, of a row of `ledger.read`."""
    return {
        "bezorging": row.id,
        "schuldeiser": row.creditor,
        "soort": row.soort,
        "gemeente": row.gemeente,
        "dossierkenmerk": row.kenmerk,
        "versie": row.versie,
        "toestand": row.state,
        "bewijskracht": row.proof,
        "kanaal": row.channel,
        "besluit": row.decision,
        "namens": row.agent_for,
    }


def message_line(row: Any) -> MessageLine:
    return MessageLine(row.id, row.soort, row.versie, rfc3339(row.received_at), row.hold_until is not None)


def attempt_line(row: Any) -> Attempt:
    return Attempt(row.channel, rfc3339(row.started_at), row.outcome, row.code)


def _covenant_line(covenant: Covenant) -> CovenantLine:
    return CovenantLine(
        naam=covenant.name,
        bindend=covenant.binding,
        pauze=_words(covenant.pause),
        anker=covenant.anchor,
        tweede_termijn=None if covenant.second_term is None else _words(covenant.second_term),
        soorten=covenant.scope,
    )


def _words(term: Term) -> str:
    return f"{term.amount} {term.unit}"
