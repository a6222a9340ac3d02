"""What a creditor was told, for the answer page: the facts of its view, in Dutch."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.view import View, read_view

Fact = tuple[str, str]

_MONTHS = (
    "januari", "februari", "maart", "april", "mei", "juni",
    "juli", "augustus", "september", "oktober", "november", "december",
)  # fmt: skip
_GROUNDS = {"convenant": "het convenant waaraan u meedoet", "verzoek": "ons verzoek; u heeft hierover geen afspraak"}


class Group(Struct, frozen=True):
    heading: str
    facts: tuple[Fact, ...]


class Told(Struct, frozen=True):
    """`until`: the end of the pause that is asked, in words; `claims`: by which name each claim is answered."""

    sender: str
    groups: tuple[Group, ...]
    until: str = ""
    claims: tuple[str, ...] = ()


def told_of(view_json: bytes) -> Told:
    view = read_view(view_json)
    claims = [] if view.vorderingen is None else msgspec.json.decode(view.vorderingen)
    groups = (
        Group("Om wie gaat het?", _debtor(view)),
        Group("Uw vorderingen", tuple((_name(claim) or "Vordering", _claim(claim)) for claim in claims)),
        Group("Welke pauze vragen wij?", _pause(view)),
        Group("Wie stuurt dit?", _sender(view)),
    )
    return Told(
        sender=view.afzender.naam,
        groups=tuple(group for group in groups if group.facts),
        until="" if view.pauze is None else in_words(view.pauze.tot_en_met),
        claims=tuple(name for claim in claims if (name := _name(claim))),
    )


def in_words(day: str) -> str:
    """`2026-11-23` as `23 november 2026`."""
    year, month, number = day.split("-")
    return f"{int(number)} {_MONTHS[int(month) - 1]} {year}"


def _debtor(view: View) -> tuple[Fact, ...]:
    person: dict[str, Any] = {} if view.hulpvrager is None else msgspec.json.decode(view.hulpvrager)
    facts = [
        ("Naam", _joined(person, "voornamen", "voorvoegsel", "achternaam")),
        ("Geboortedatum", in_words(person["geboortedatum"]) if "geboortedatum" in person else ""),
        ("Burgerservicenummer", person.get("bsn", "")),
        ("Adres", _address(person.get("adres") or {})),
        ("Klantnummer bij u", view.klantnummer or ""),
    ]
    return tuple(fact for fact in facts if fact[1])


def _address(address: Mapping[str, Any]) -> str:
    number = "".join(str(address[part]) for part in ("huisnummer", "huisletter") if part in address)
    street = _joined({**address, "nummer": number}, "aanduiding", "straat", "nummer", "huisnummertoevoeging")
    parts = (address.get("locatieomschrijving", ""), street, _joined(address, "postcode", "woonplaats"))
    return ", ".join(part for part in parts if part)


def _joined(values: Mapping[str, Any], *names: str) -> str:
    return " ".join(str(values[name]) for name in names if values.get(name))


def _name(claim: Mapping[str, Any]) -> str:
    return str(claim.get("kenmerk") or claim.get("factuurnummer") or "")


def _claim(claim: Mapping[str, Any]) -> str:
    invoice = f"factuur {claim['factuurnummer']}" if claim.get("kenmerk") and "factuurnummer" in claim else ""
    amount = _euro(claim["bedrag"]) if "bedrag" in claim else ""
    return ", ".join(part for part in (claim.get("soort", ""), invoice, amount) if part) or "zonder bedrag"


def _euro(amount: float) -> str:
    return "€ " + f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


def _pause(view: View) -> tuple[Fact, ...]:
    if view.pauze is None:
        return ()
    return (
        ("Van", in_words(view.pauze.ingangsdatum)),
        ("Tot en met", in_words(view.pauze.tot_en_met)),
        ("Op grond van", _GROUNDS[view.pauze.grondslag]),
    )


def _sender(view: View) -> tuple[Fact, ...]:
    contact: dict[str, Any] = {} if view.contactpersoon is None else msgspec.json.decode(view.contactpersoon)
    facts = [
        ("Afzender", view.afzender.naam),
        ("Namens", view.namens or ""),
        ("Dossier", view.dossierkenmerk),
        ("Kenmerk van dit bericht", view.kenmerk),
        ("Contactpersoon", contact.get("naam", "")),
        ("Telefoon", contact.get("telefoon", "")),
        ("E-mail", contact.get("email", "")),
    ]
    return tuple(fact for fact in facts if fact[1])
