"""What a message says, in plain Dutch (B1): one content for the text, the page and the letter. PURE."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from gateway.contract import View

Row = tuple[str, str]
Part = dict[str, str | int | Decimal | bool | dict[str, str | int]]
"""`hulpvrager`, `contactpersoon` or a claim, as the sender gave it."""

_MONTHS: Final = (
    *("januari", "februari", "maart", "april", "mei", "juni"),
    *("juli", "augustus", "september", "oktober", "november", "december"),
)
_ANSWERED: Final = frozenset({"kennisgeving", "herinnering"})
"""Messages that ask for an answer: only these carry a link."""
_TITLES: Final = {
    "kennisgeving": "Kennisgeving schuldhulpverlening",
    "herinnering": "Herinnering: kennisgeving schuldhulpverlening",
    "voortgang": "Voortgang van de schuldhulpverlening",
    "verlenging": "Verlenging van de pauze",
    "beeindiging": "Einde van de pauze",
    "intrekking": "Intrekking van onze kennisgeving",
}
_PHASES: Final = {
    "stabilisatie_loopt": "Wij brengen de inkomsten en uitgaven op orde (stabilisatie).",
    "saldo_opgave_verzocht": "Wij hebben een saldo-opgave gevraagd.",
    "schuldregeling_gestart": "De schuldregeling is gestart.",
    "voorstel_verzonden": "Wij hebben een voorstel verstuurd.",
    "regeling_tot_stand": "Er is een regeling.",
    "dwangakkoord_verzocht": "Wij hebben de rechter om een dwangakkoord gevraagd.",
    "wsnp_verzocht": "Wij hebben de rechter gevraagd om toelating tot de wettelijke schuldsanering (Wsnp).",
    "wsnp_toegelaten": "De rechter heeft de wettelijke schuldsanering (Wsnp) toegewezen.",
}
_GENDERS: Final = {"M": "man", "V": "vrouw", "X": "x", "O": "onbekend"}
_CATEGORIES: Final = {
    "regeling_tot_stand": "Er is een regeling.",
    "wsnp": "De wettelijke schuldsanering (Wsnp) is van toepassing.",
    "traject_beeindigd": "Het traject bij ons is beëindigd.",
}
_part: Callable[[msgspec.Raw], Part] = msgspec.json.Decoder(float_hook=Decimal).decode
_parts: Callable[[msgspec.Raw], list[Part]] = msgspec.json.Decoder(float_hook=Decimal).decode


class Block(Struct, frozen=True):
    """A heading with paragraphs, facts, or rows of a table (the first row is its head)."""

    heading: str
    paragraphs: Sequence[str] = ()
    facts: Sequence[Row] = ()
    table: Sequence[Sequence[str]] = ()

    def lines(self) -> list[str]:
        """The table as text, a line for each row."""
        head, *rows = self.table or [()]
        return [
            "; ".join(f"{name}: {cell}" for name, cell in zip(head, row, strict=True) if cell != "-")
            or "Zonder gegevens"
            for row in rows
        ]


class Content(Struct, frozen=True):
    """`code` is what the answer page takes beside the klantnummer; empty where no answer is asked."""

    title: str
    sender: str
    recipient: str
    facts: Sequence[Row]
    opening: Sequence[str]
    blocks: Sequence[Block]
    contact: Sequence[Row] = ()
    code: str = ""


def asks_answer(soort: str) -> bool:
    return soort in _ANSWERED


def content_of(view: View, recipient: str, today: date, code: str) -> Content:
    """`code` goes into messages that ask for an answer only."""
    blocks = (_pause(view), _progress(view), _debtor(view), _claims(view), _request(view))
    return Content(
        title=_TITLES[view.soort],
        sender=view.afzender.naam,
        recipient=recipient,
        facts=[
            ("Datum", long_date(today)),
            ("Ons kenmerk", view.kenmerk),
            ("Dossier", f"{view.dossierkenmerk}, bericht {view.versie}"),
            ("Afzender", f"OIN {view.afzender.oin}, gemeente {view.gemeente}"),
        ],
        opening=[*_on_behalf(view), *_OPENINGS[view.soort](view)],
        blocks=[block for block in blocks if block is not None],
        contact=_contact(view),
        code=code if asks_answer(view.soort) else "",
    )


def long_date(day: date | str) -> str:
    """`23 november 2026`."""
    if isinstance(day, str):
        day = date.fromisoformat(day)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _notice(view: View) -> list[str]:
    return [
        f"Een inwoner krijgt hulp van {view.afzender.naam} bij het oplossen van schulden. "
        "Volgens onze gegevens heeft u een vordering op deze inwoner.",
        _asked(view),
    ]


def _asked(view: View) -> str:
    if view.pauze is None:
        return "Wij vragen u om de invordering te pauzeren."
    until = long_date(view.pauze.tot_en_met)
    if view.pauze.grondslag == "convenant":
        return f"Volgens het convenant waaraan u meedoet, pauzeert u de invordering tot en met {until}."
    return f"Wij vragen u om de invordering te pauzeren tot en met {until}."


def _reminder(view: View) -> list[str]:
    earlier = f" met kenmerk {view.herinnert_aan}" if view.herinnert_aan else ""
    return [f"U kreeg van ons een kennisgeving{earlier}. Wij hebben nog geen antwoord van u ontvangen.", *_notice(view)]


def _progress_opening(view: View) -> list[str]:
    return [
        "U kreeg van ons een kennisgeving over een inwoner die wij helpen bij het oplossen van schulden. "
        "Wij laten u weten hoe het nu gaat.",
        "U hoeft op dit bericht niet te antwoorden.",
    ]


def _extension(view: View) -> list[str]:
    until = f" tot en met {long_date(view.pauze.tot_en_met)}" if view.pauze else ""
    return [f"Wij hebben meer tijd nodig. Wij vragen u om de pauze van de invordering te verlengen{until}."]


def _ending(view: View) -> list[str]:
    since = f" per {long_date(view.per)}" if view.per else ""
    return [f"De pauze van de invordering eindigt{since}."]


def _withdrawal(view: View) -> list[str]:
    return ["U kreeg van ons een kennisgeving die niet juist was. Wij trekken die kennisgeving in."]


_OPENINGS: Final[dict[str, Callable[[View], list[str]]]] = {
    "kennisgeving": _notice,
    "herinnering": _reminder,
    "voortgang": _progress_opening,
    "verlenging": _extension,
    "beeindiging": _ending,
    "intrekking": _withdrawal,
}


def _on_behalf(view: View) -> list[str]:
    if view.namens is None:
        return []
    return [f"U krijgt dit bericht omdat u vorderingen behandelt voor {view.namens}."]


def _pause(view: View) -> Block | None:
    if view.pauze is None:
        return None
    ground = {"convenant": "convenant", "verzoek": "ons verzoek; u heeft hierover geen afspraak met ons"}
    return Block(
        "De pauze",
        facts=[
            ("Van", long_date(view.pauze.ingangsdatum)),
            ("Tot en met", long_date(view.pauze.tot_en_met)),
            ("Op grond van", ground[view.pauze.grondslag]),
        ],
    )


def _progress(view: View) -> Block | None:
    lines = [_PHASES[view.fase]] if view.fase else []
    lines += [_CATEGORIES[view.categorie]] if view.categorie else []
    lines += [view.toelichting] if view.toelichting else []
    return Block("Stand van zaken", lines) if lines else None


def _debtor(view: View) -> Block | None:
    if view.hulpvrager is None:
        return None
    person = _part(view.hulpvrager)
    facts = [("Naam", _name(person)), ("Geboortedatum", long_date(str(person["geboortedatum"])))]
    if "voorletters" in person:
        facts.insert(1, ("Voorletters", str(person["voorletters"])))
    if "geslacht" in person:
        facts.append(("Geslacht", _GENDERS.get(str(person["geslacht"]), str(person["geslacht"]))))
    if "bsn" in person:
        facts.append(("Burgerservicenummer", str(person["bsn"])))
    if isinstance(address := person.get("adres"), dict):
        facts.append(("Adres", _address(address)))
    if isinstance(partner := person.get("partner"), dict):
        born = f", geboren op {long_date(str(partner['geboortedatum']))}" if "geboortedatum" in partner else ""
        facts.append(("Partner", _name(partner) + born))
    return Block("Om wie gaat het?", facts=facts)


def _name(person: Part | dict[str, str | int]) -> str:
    parts = [person.get("voornamen") or person.get("voorletters"), person.get("voorvoegsel"), person.get("achternaam")]
    return " ".join(str(part) for part in parts if part)


def _address(address: dict[str, str | int]) -> str:
    number = "".join(str(address[key]) for key in ("huisnummer", "huisletter") if key in address)
    parts = [address.get("aanduiding"), address["straat"], number, address.get("huisnummertoevoeging")]
    street = " ".join(str(part) for part in parts if part)
    where = [address.get("locatieomschrijving"), street, f"{address['postcode']} {address['woonplaats']}"]
    return ", ".join(str(part) for part in where if part)


def _claims(view: View) -> Block | None:
    facts = [("Klantnummer bij u", view.klantnummer)] if view.klantnummer else []
    claims = _parts(view.vorderingen) if view.vorderingen is not None else []
    if not facts and not claims:
        return None
    head = ("Kenmerk", "Factuurnummer", "Soort", "Bedrag")
    rows = [[_cell(claim, name.lower()) for name in head] for claim in claims]
    return Block("Uw vorderingen", facts=facts, table=[head, *rows] if rows else ())


def _cell(claim: Part, key: str) -> str:
    value = claim.get(key)
    if value is None:
        return "-"
    return euro(Decimal(str(value))) if key == "bedrag" else str(value)


def euro(amount: Decimal) -> str:
    """`€ 1.234,50`."""
    return "€ " + f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


def _request(view: View) -> Block | None:
    if view.soort not in _ANSWERED:
        return None
    return Block(
        "Wat vragen wij van u?",
        [
            "Pauzeer de invordering van alle vorderingen op deze inwoner en breng geen extra kosten in rekening.",
            "Laat ons weten of u de pauze instelt, en tot wanneer. Is de vordering bij een incassobureau of "
            "deurwaarder? Laat dat dan ook weten.",
        ],
    )


def _contact(view: View) -> list[Row]:
    if view.contactpersoon is None:
        return []
    person = _part(view.contactpersoon)
    labels = {"naam": "Naam", "telefoon": "Telefoon", "email": "E-mail"}
    return [(label, str(person[key])) for key, label in labels.items() if key in person]
