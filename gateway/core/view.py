"""What one creditor may see of a message: the only place where that is decided.

A creditor never sees another creditor, another debt, a withheld address, or a BSN without a recorded legal
basis (domain rules: AVG data minimisation, UAVG art. 46, Wabb art. 10). What it sees, by kind of message:

| | kennisgeving | voortgang | verlenging | beeindiging | intrekking |
|---|---|---|---|---|---|
| names, birth date | as sent | to know who it is about: as sent | the same | the same | the same |
| BSN | only where the register records a legal basis of the one who receives it | no | no | no | no |
| address | as sent; absent when it is withheld | no | no | no | no |
| sex, partner | as sent: namesakes, and debts that stand in a partner's name | no | no | no | no |
| that the address is withheld | no: an instruction to us, and telling of danger by itself | no | no | no | no |
| claims | its own | no | no | no | no |
| klantnummer | its own | its own: to find the case | its own | its own | its own |
| admission, request | no | no | no | no | no |
| pause | yes | no | the longer one | no | no |
| per, category | no | no | no | yes, neutral | no |
| reason | no | no | no | no | no: it is about the sender's mistake, or the debtor |
| contact person | yes | yes | yes | yes | yes |

An agent sees what its principal may see, and whom it acts for; the terms are those of the principal's covenant, the
legal basis for a BSN is the agent's own. A reminder shows what the kennisgeving showed, and so does what an agent gets
to whom a claim was transferred: both are made of that view.
"""

from datetime import date
from hashlib import sha256
from typing import assert_never

import msgspec
from msgspec import Raw, Struct, structs
from msgspec.structs import replace

from gateway.core.creditor import Creditor, Term
from gateway.core.deadlines import day_of
from gateway.core.notice import (
    SOORTEN,
    AskedPause,
    CaseMessage,
    CreditorRef,
    Debtor,
    Ending,
    Extension,
    Notice,
    Progress,
    Withdrawal,
    encode,
)
from gateway.core.notice import Sender as Speaker
from gateway.core.pause import Ground, last_day


class Sender(Struct, frozen=True, rename="camel"):
    """Who speaks: the gemeente or the kredietbank acting for it."""

    naam: str
    oin: str


class Pause(Struct, frozen=True, rename="camel"):
    """The pause asked: both dates inclusive, `YYYY-MM-DD`."""

    ingangsdatum: str
    tot_en_met: str
    grondslag: Ground


class View(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The creditor's view as it goes on the wire (contract: fields in this order, absent when empty).

    `hulpvrager`, `vorderingen` and `contactpersoon` are raw JSON, as sent except for what was withheld.
    """

    kenmerk: str
    soort: str
    gemeente: str
    afzender: Sender
    dossierkenmerk: str
    versie: int
    hulpvrager: Raw | None = None
    klantnummer: str | None = None
    vorderingen: Raw | None = None
    pauze: Pause | None = None
    contactpersoon: Raw | None = None
    fase: str | None = None
    toelichting: str | None = None
    per: str | None = None
    categorie: str | None = None
    herinnert_aan: str | None = None
    namens: str | None = None


class _Stored(Struct, frozen=True, rename="camel"):
    """A view as it is read back: msgspec cannot decode `Raw | None`, so an absent part is an empty one."""

    kenmerk: str
    soort: str
    gemeente: str
    afzender: Sender
    dossierkenmerk: str
    versie: int
    hulpvrager: Raw = Raw()
    klantnummer: str | None = None
    vorderingen: Raw = Raw()
    pauze: Pause | None = None
    contactpersoon: Raw = Raw()
    fase: str | None = None
    toelichting: str | None = None
    per: str | None = None
    categorie: str | None = None
    herinnert_aan: str | None = None
    namens: str | None = None


_decode = msgspec.json.Decoder(_Stored).decode


def read_view(stored: bytes) -> View:
    """The view behind its JSON, as `make_view` made it and the ledger kept it."""
    fields = structs.asdict(_decode(stored))
    absent = {name: None for name in ("hulpvrager", "vorderingen", "contactpersoon") if not bytes(fields[name])}
    return View(**{**fields, **absent})


def make_view(
    message: CaseMessage,
    ref: CreditorRef,
    creditor: Creditor,
    *,
    delivery: str,
    sender: Speaker,
    notice: Notice,
    told: int,
    agent_for: Creditor | None = None,
    until: date | None = None,
) -> View:
    """What `creditor` may see of `message`. `ref` is what the sender says about it, or about the principal it acts for.

    `notice`: the latest kennisgeving of the dossier (the message itself where it is one); `told`: when this creditor
    was first told (epoch µs), so that a correction does not lengthen its term; `until`: the last day of an extension
    that this creditor has, or now gets.
    """
    view = View(
        kenmerk=delivery,
        soort=SOORTEN[type(message)],
        gemeente=message.gemeente,
        afzender=Sender(sender.name, sender.oin),
        dossierkenmerk=message.dossier,
        versie=message.version,
        klantnummer=ref.client_number,
        namens=None if agent_for is None else agent_for.name,
    )
    if isinstance(message, Notice):
        return replace(
            view,
            hulpvrager=Raw(encode(_visible(message.debtor, with_bsn=creditor.bsn_basis is not None))),
            vorderingen=Raw(encode(ref.claims)) if ref.claims else None,
            pauze=_pause(message.pause, agent_for or creditor, ref, day_of(told), until),
            contactpersoon=Raw(encode(message.contact_person)),
        )
    view = replace(
        view,
        hulpvrager=Raw(encode(_recognisable(notice.debtor))),
        contactpersoon=Raw(encode(notice.contact_person)),
    )
    match message:
        case Progress():
            return replace(view, fase=message.phase, toelichting=message.explanation)
        case Extension():
            longer = until or message.until
            return replace(view, pauze=_pause(notice.pause, agent_for or creditor, ref, day_of(told), longer))
        case Ending():
            return replace(view, per=message.ends.isoformat(), categorie=message.category)
        case Withdrawal():
            return view
        case _:
            assert_never(message)


def reminder(view: View, delivery: str) -> View:
    """The view of a reminder of the notice that `view` showed."""
    return replace(view, kenmerk=delivery, soort="herinnering", herinnert_aan=view.kenmerk)


def for_agent(view: View, delivery: str, agent: Creditor, principal: Creditor) -> View:
    """What its principal was shown, for an agent that has the claim now; a BSN only on a legal basis of its own."""
    debtor = view.hulpvrager
    if debtor is not None and agent.bsn_basis is None:
        debtor = Raw(encode(replace(msgspec.json.decode(debtor, type=Debtor), bsn=None)))
    return replace(view, kenmerk=delivery, namens=principal.name, hulpvrager=debtor)


def view_digest(view: View) -> bytes:
    """32 bytes that stay the same from one version to the next while the creditor sees the same."""
    return sha256(msgspec.json.encode(replace(view, kenmerk="", versie=0))).digest()


def _visible(debtor: Debtor, *, with_bsn: bool) -> Debtor:
    return replace(
        debtor,
        bsn=debtor.bsn if with_bsn else None,
        address=None if debtor.address_withheld else debtor.address,
        address_withheld=None,
    )


def _recognisable(debtor: Debtor) -> Debtor:
    return Debtor(
        first_names=debtor.first_names,
        initials=debtor.initials,
        prefix=debtor.prefix,
        surname=debtor.surname,
        born=debtor.born,
    )


def _pause(asked: AskedPause, creditor: Creditor, ref: CreditorRef, told: date, until: date | None) -> Pause:
    kinds = [claim.kind for claim in ref.claims]
    last, ground = last_day(creditor, kinds, asked.starts, Term(asked.count, asked.unit), told)
    return Pause(asked.starts.isoformat(), max(last, until or last).isoformat(), ground)
