"""The overviews as the API answers them and the command line prints them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from gateway.core.answer import AnswerKind
from gateway.core.creditor import Creditor
from gateway.core.overview import Adoption, Coverage, Figures, Undecided, adoption
from gateway.core.period import Period
from gateway.overviews import Role

_DIGITS = 4
"""Of a share."""


class Refusals(Struct, frozen=True):
    """By reason, under the names of the answers."""

    klant_onbekend: int
    recente_finale_kwijting: int
    recente_stabilisatiepoging: int
    geen_samenwerking: int
    niet_in_aanmerking: int


class Adherence(Struct, frozen=True, rename="camel"):
    """Of notices under a binding covenant; what is in neither is silent, transferred nowhere, or about the debtor."""

    kennisgevingen: int
    nagekomen: int
    niet_nagekomen: int


class CreditorFigures(Struct, frozen=True, rename="camel"):
    """`kennisgevingen` is the sum of what they came to: pauze_ingesteld, pauze_gedeeltelijk, overgedragen, geweigerd,
    zonder_antwoord, niet_bezorgd, ingetrokken and onderweg. `rol`: in its own right, or as the agent of others.
    `naam`: null when it left the register."""

    schuldeiser: str
    naam: str | None
    rol: Literal["schuldeiser", "vertegenwoordiger"]
    kennisgevingen: int
    verteld: int
    ontvangen: int
    beantwoord: int
    binnen_termijn: int
    te_laat: int
    pauze_ingesteld: int
    pauze_gedeeltelijk: int
    overgedragen: int
    geweigerd: Refusals
    zonder_antwoord: int
    termijn_voorbij: int
    niet_bezorgd: int
    ingetrokken: int
    onderweg: int
    mediaan_seconden: int | None
    convenant: Adherence | None


class CreditorOverview(Struct, frozen=True):
    """`van`, `tot`: dates, both included."""

    van: str
    tot: str
    schuldeisers: tuple[CreditorFigures, ...]


class Shares(Struct, frozen=True):
    """Of `schuldeisers`, from 0 to 1."""

    verteld: float
    beantwoord: float
    gepauzeerd: float


class GemeenteFigures(Struct, frozen=True):
    """`schuldeisers`: notices to creditors in their own right, without what was withdrawn. `dekking`: null where there
    are none."""

    gemeente: str
    naam: str | None
    gebruik: Adoption
    dossiers: int
    schuldeisers: int
    verteld: int
    beantwoord: int
    gepauzeerd: int
    dekking: Shares | None


class AdoptionCounts(Struct, frozen=True):
    """How many of the gemeenten that were asked about; of the list of gemeenten only."""

    gebruikt: int
    nog_niet: int
    niet_aangemeld: int


class GemeenteOverview(Struct, frozen=True):
    """`gebruik` is as of now, whatever the period."""

    van: str
    tot: str
    gebruik: AdoptionCounts
    gemeenten: tuple[GemeenteFigures, ...]


def creditor_overview(
    period: Period, figures: Mapping[Role, Figures], register: Mapping[str, Creditor]
) -> CreditorOverview:
    roles = sorted(figures, key=lambda role: (role.creditor, role.is_agent))
    lines = (_creditor(role, figures[role], register.get(role.creditor)) for role in roles)
    return CreditorOverview(str(period.first), str(period.last), tuple(lines))


def gemeente_overview(
    period: Period,
    covered: Mapping[str, Coverage],
    names: Mapping[str, str],
    in_use: Collection[str],
    announced: Collection[str],
    only: Collection[str] | None,
) -> GemeenteOverview:
    """`names`: the list of gemeenten. `only`: those that are asked about; None: the whole list, and whoever else is
    known here."""
    codes = sorted({*names, *in_use, *covered} if only is None else only)
    lines = [
        _gemeente(code, names.get(code), covered.get(code, Coverage()), adoption(code, in_use, announced))
        for code in codes
    ]
    counts = _adoption(line for line in lines if line.gemeente in names)
    return GemeenteOverview(str(period.first), str(period.last), counts, tuple(lines))


def _creditor(role: Role, figures: Figures, creditor: Creditor | None) -> CreditorFigures:
    of = figures.outcomes
    return CreditorFigures(
        schuldeiser=role.creditor,
        naam=None if creditor is None else creditor.name,
        rol="vertegenwoordiger" if role.is_agent else "schuldeiser",
        kennisgevingen=figures.notices,
        verteld=figures.told,
        ontvangen=figures.received,
        beantwoord=figures.answered,
        binnen_termijn=figures.in_term,
        te_laat=figures.late,
        pauze_ingesteld=of[AnswerKind.PAUSED],
        pauze_gedeeltelijk=of[AnswerKind.PAUSED_IN_PART],
        overgedragen=of[AnswerKind.TRANSFERRED],
        geweigerd=Refusals(
            klant_onbekend=of[AnswerKind.CLIENT_UNKNOWN],
            recente_finale_kwijting=of[AnswerKind.RECENTLY_SETTLED],
            recente_stabilisatiepoging=of[AnswerKind.RECENTLY_STABILISED],
            geen_samenwerking=of[AnswerKind.NO_COOPERATION],
            niet_in_aanmerking=of[AnswerKind.NOT_ELIGIBLE],
        ),
        zonder_antwoord=of[Undecided.SILENT],
        termijn_voorbij=figures.overdue,
        niet_bezorgd=of[Undecided.FAILED],
        ingetrokken=of[Undecided.WITHDRAWN],
        onderweg=of[Undecided.UNDER_WAY],
        mediaan_seconden=figures.median_seconds,
        convenant=Adherence(figures.bound, figures.kept, figures.broken) if figures.bound else None,
    )


def _gemeente(code: str, name: str | None, covered: Coverage, use: Adoption) -> GemeenteFigures:
    return GemeenteFigures(
        gemeente=code,
        naam=name,
        gebruik=use,
        dossiers=covered.dossiers,
        schuldeisers=covered.creditors,
        verteld=covered.told,
        beantwoord=covered.answered,
        gepauzeerd=covered.paused,
        dekking=_shares(covered),
    )


def _shares(covered: Coverage) -> Shares | None:
    if not covered.creditors:
        return None
    return Shares(
        *(round(part / covered.creditors, _DIGITS) for part in (covered.told, covered.answered, covered.paused))
    )


def _adoption(lines: Iterable[GemeenteFigures]) -> AdoptionCounts:
    counts = dict.fromkeys(Adoption, 0)
    for line in lines:
        counts[line.gebruik] += 1
    return AdoptionCounts(**{str(use): count for use, count in counts.items()})
