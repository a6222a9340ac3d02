"""What only a person can settle: the kinds of tasks, and for each what it is and what to do next, in plain Dutch.

None of these texts holds personal data: they go into the ledger in the clear.
"""

import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

GATEWAY: Final = "gateway"
"""Who closes a task whose cause went away by itself; no person acts under this name."""

_NAME_AT_MOST = 100
_REASON_AT_MOST = 500
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, halves of characters, line and paragraph separators."""


class NotKept(ValueError):
    """What somebody typed cannot be put on record; says which rule it breaks, in Dutch, and never repeats it."""


class TaskKind(StrEnum):
    """`soort` of a task, as in the ledger and on the command line."""

    CREDITOR_UNKNOWN = "schuldeiser_onbekend"
    SENDER_UNKNOWN = "afzender_onbekend"
    REFUSED_BY_CHANNEL = "kanaal_geweigerd"
    GIVEN_UP = "opgegeven"
    BOUNCED = "teruggekomen"
    CHANNEL_CLOSED = "kanaal_gesloten"
    OWN_FAULT = "eigen_fout"
    DELAYED = "bezorging_vertraagd"
    HELD_UP = "bericht_opgehouden"
    NOTICE_NOT_DELIVERED = "kennisgeving_niet_bezorgd"
    ANSWER_INVALID = "antwoord_ongeldig"
    ANSWER_BY_PERSON = "antwoord_van_mens"
    ANSWER_REFUSES = "antwoord_weigert"
    ANSWER_CONTRADICTS = "antwoord_tegenstrijdig"
    ANSWER_OVERDUE = "antwoord_verlopen"
    AGENT_UNKNOWN = "overgedragen_aan_onbekende"
    REQUEST_WAITS = "pauzeverzoek_wacht"
    REPEAT_FAILED = "herhaling_mislukt"
    RESTORED_UNKNOWN = "hersteld_onbekend"
    OTHER_CONTENT = "andere_inhoud"


class Guide(Struct, frozen=True):
    """`what` happened, and what to do `next`."""

    what: str
    next: str

    @property
    def detail(self) -> str:
        return f"{self.what} {self.next}"


GUIDES: Final[Mapping[TaskKind, Guide]] = {
    TaskKind.CREDITOR_UNKNOWN: Guide(
        "Het register kent een schuldeiser uit dit bericht niet.",
        "Voeg hem toe aan het register en laat de gemeente hem in een nieuwe versie van de kennisgeving noemen.",
    ),
    TaskKind.SENDER_UNKNOWN: Guide(
        "Een bericht zonder bekende afzender is geparkeerd.",
        "Zoek uit wie het stuurde; voeg de afzender toe aan de instellingen en laat hem het opnieuw sturen.",
    ),
    TaskKind.REFUSED_BY_CHANNEL: Guide(
        "De schuldeiser weigert dit bericht op zijn laatste kanaal.",
        "Bel of schrijf de schuldeiser, en pas zo nodig het register aan.",
    ),
    TaskKind.GIVEN_UP: Guide(
        "Binnen de termijn is het op geen kanaal gelukt.",
        "Bel of schrijf de schuldeiser, en meld de gemeente wat u heeft gedaan.",
    ),
    TaskKind.BOUNCED: Guide(
        "Het bericht is teruggekomen en er is geen ander kanaal.",
        "Vraag de schuldeiser om een adres dat werkt, en pas het register aan.",
    ),
    TaskKind.CHANNEL_CLOSED: Guide(
        "De schuldeiser meldt dat dit adres niet meer bestaat.",
        "Vraag de schuldeiser naar het nieuwe adres, en pas het register aan.",
    ),
    TaskKind.OWN_FAULT: Guide(
        "Een fout aan onze kant (certificaat, sleutel of instelling) houdt dit bericht al een dag op.",
        "Zie het logboek en kennisgeving check, en herstel het; daarna gaat het bericht vanzelf.",
    ),
    TaskKind.DELAYED: Guide(
        "Dit bericht is na 24 uur nog niet bezorgd.",
        "Kijk met kennisgeving bezorging show waarom, en bel zo nodig de schuldeiser; de gateway blijft proberen.",
    ),
    TaskKind.HELD_UP: Guide(
        "Dit bericht is al 72 uur niet bezorgd; het volgende bericht gaat voor.",
        "Ga na of de schuldeiser dit bericht nog nodig heeft, en neem contact op.",
    ),
    TaskKind.NOTICE_NOT_DELIVERED: Guide(
        "Deze schuldeiser heeft de kennisgeving niet, dus ook dit vervolgbericht niet.",
        "Zorg dat de schuldeiser de kennisgeving krijgt, en laat de gemeente daarna een nieuwe versie sturen.",
    ),
    TaskKind.ANSWER_INVALID: Guide(
        "De schuldeiser gaf een antwoord dat niet aan het contract voldoet.",
        "Lees het met kennisgeving bezorging show, vraag de schuldeiser wat hij bedoelt en hoe hij het herstelt.",
    ),
    TaskKind.ANSWER_BY_PERSON: Guide(
        "De schuldeiser antwoordde met een gewone e-mail.",
        "Lees de e-mail in de mailbox, en geef het antwoord door aan de gemeente.",
    ),
    TaskKind.ANSWER_REFUSES: Guide(
        "De schuldeiser werkt niet mee.",
        "Kijk met kennisgeving dossier show naar de reden, en overleg met de gemeente of zij dit laat rusten.",
    ),
    TaskKind.ANSWER_CONTRADICTS: Guide(
        "De schuldeiser gaf een antwoord dat zijn eerdere antwoord tegenspreekt; het laatste geldt.",
        "Vraag de schuldeiser welk antwoord klopt; laat hem dat zo nodig opnieuw geven.",
    ),
    TaskKind.ANSWER_OVERDUE: Guide(
        "De schuldeiser antwoordde niet binnen de termijn, ook niet na een herinnering.",
        "Bel de schuldeiser. Geen antwoord is geen pauze.",
    ),
    TaskKind.AGENT_UNKNOWN: Guide(
        "De schuldeiser heeft de vordering overgedragen aan een partij die het register niet kent.",
        "Zoek uit wie dat is, voeg die toe aan het register en laat de gemeente hem in een nieuwe versie noemen.",
    ),
    TaskKind.REQUEST_WAITS: Guide(
        "Een pauzeverzoek wacht langer dan vijf werkdagen op de gemeente.",
        "Vraag de gemeente of zij de hulpvrager heeft gesproken.",
    ),
    TaskKind.REPEAT_FAILED: Guide(
        "Dit bericht zou nog eens naar de schuldeiser gaan, en dat is niet gelukt; de eerste keer lukte het wel.",
        "Vraag de schuldeiser of hij het bericht nu heeft, en herhaal het zo nodig later.",
    ),
    TaskKind.RESTORED_UNKNOWN: Guide(
        "Na het terugzetten van een back-up is niet bekend of de schuldeiser dit bericht heeft, en dit kanaal kan dat "
        "niet zeggen.",
        "Vraag het de schuldeiser; hij kan het ook onder een andere verwijzing hebben. Heeft hij het, leg dat vast met "
        "kennisgeving bezorging aangekomen; heeft hij het niet, stuur het dan met kennisgeving bezorging herhaal.",
    ),
    TaskKind.OTHER_CONTENT: Guide(
        "Onder het kenmerk van dit bericht heeft de schuldeiser al iets anders; dat is niet overschreven.",
        "Zoek met de schuldeiser uit wat hij heeft en wie het stuurde, en laat hem daar niet naar handelen.",
    ),
}


def reason(typed: str) -> str:
    """Why somebody does something, as it is kept. Raises NotKept."""
    return _plain(typed, _REASON_AT_MOST)


def person(typed: str) -> str:
    """Who somebody is, as it is kept. Raises NotKept."""
    name = _plain(typed, _NAME_AT_MOST)
    if name.casefold() == GATEWAY:
        raise NotKept(f"{GATEWAY} is de naam van de gateway zelf")
    return name


def _plain(typed: str, at_most: int) -> str:
    kept = typed.strip()
    if not kept:
        raise NotKept("mag niet leeg zijn")
    if len(kept) > at_most:
        raise NotKept(f"mag hoogstens {at_most} tekens lang zijn")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in kept):
        raise NotKept("mag geen regeleinden of andere stuurtekens bevatten")
    return kept
