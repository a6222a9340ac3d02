"""What one creditor may see: its own, as sent, less what is withheld; and nothing of anybody else."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from gateway.core.notice import (
    Address,
    Admission,
    AskedPause,
    Claim,
    ContactPerson,
    CreditorRef,
    Debtor,
    Notice,
    Partner,
    Progress,
    Sender,
)
from gateway.core.view import View, make_view, view_digest
from schemas import validator

DELIVERY = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"
TOLD = 1_795_424_400_000_000  # 2026-11-23 10:00 in Amsterdam
BSN = "999990019"
SENDER = Sender("Gemeente Voorbeeld", "00000099000000363000", ("0363",))

DEBTOR = Debtor(
    first_names="Anna Sophia",
    initials="A.S.",
    prefix="van der",
    surname="Voorbeeld-O'Neill",
    sex="vrouw",
    born=date(1987, 3, 14),
    bsn=BSN,
    address=Address(street="Keizersgracht", number=12, addition="bis", postal_code="1015CN", town="Amsterdam"),
    address_withheld=False,
    partner=Partner(initials="J.", surname="Zeeën", born=date(1986, 2, 28)),
)
ENERGIE = CreditorRef(
    "kvk:68750110", "K-99812", (Claim(invoice="F2026-118", kind="energie", amount=Decimal("118.50")),)
)
CJIB = CreditorRef("cjib", None, (Claim(reference="5060 1234 5678 9012", kind="verkeersboete"),))
NOTICE = Notice(
    gemeente="0363",
    dossier="SHV-2026-004711",
    version=1,
    request="PK-2026-0000042",
    admission=Admission(date(2026, 11, 20), "BES-2026-0881"),
    pause=AskedPause(date(2026, 11, 23), 8, "maanden"),
    debtor=DEBTOR,
    contact_person=ContactPerson("Team Schuldhulp", "+31201234567", "schuldhulp@gemeente.example"),
    creditors=(CJIB, ENERGIE),
)
PROGRESS = Progress("0363", "SHV-2026-004711", 2, "saldo_opgave_verzocht", "De inventarisatie is gereed.")

COVENANT = Covenant("Modelconvenant 2024", binding=True, pause=Term(8, "maanden"))
WITHOUT_BASIS = Creditor(CreditorId("energie-voorbeeld"), "Energie Voorbeeld B.V.", covenant=COVENANT)
WITH_BASIS = replace(WITHOUT_BASIS, bsn_basis="art. 1 Voorbeeldwet")


def see(
    message: Notice | Progress = NOTICE,
    ref: CreditorRef = ENERGIE,
    creditor: Creditor = WITHOUT_BASIS,
    debtor: Debtor = DEBTOR,
    agent_for: Creditor | None = None,
    told: int = TOLD,
) -> View:
    latest = replace(NOTICE, debtor=debtor)
    return make_view(
        message,
        ref,
        creditor,
        delivery=DELIVERY,
        sender=SENDER,
        notice=latest,
        told=told,
        agent_for=agent_for,
    )


def wire(view: View) -> dict[str, Any]:
    """As the creditor gets it; valid against the published schema."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(view))
    assert [error.message for error in validator("bericht").iter_errors(document)] == []
    return document


def test_a_kennisgeving_shows_the_creditors_own_side_in_the_order_of_the_contract() -> None:
    document = wire(see())
    hulpvrager = document.pop("hulpvrager")
    assert document == {
        "kenmerk": DELIVERY,
        "soort": "kennisgeving",
        "gemeente": "0363",
        "afzender": {"naam": "Gemeente Voorbeeld", "oin": "00000099000000363000"},
        "dossierkenmerk": "SHV-2026-004711",
        "versie": 1,
        "klantnummer": "K-99812",
        "vorderingen": [{"factuurnummer": "F2026-118", "soort": "energie", "bedrag": 118.5}],
        "pauze": {"ingangsdatum": "2026-11-23", "totEnMet": "2027-07-22", "grondslag": "convenant"},
        "contactpersoon": {
            "naam": "Team Schuldhulp",
            "telefoon": "+31201234567",
            "email": "schuldhulp@gemeente.example",
        },
    }
    assert list(hulpvrager) == [
        *("voornamen", "voorletters", "voorvoegsel", "achternaam", "geslacht", "geboortedatum", "adres", "partner")
    ]
    assert hulpvrager["adres"]["postcode"] == "1015CN"


def test_the_bsn_goes_only_where_a_legal_basis_is_on_record() -> None:
    assert wire(see(creditor=WITH_BASIS))["hulpvrager"]["bsn"] == BSN
    assert BSN not in msgspec.json.encode(see(creditor=WITHOUT_BASIS)).decode()


@pytest.mark.parametrize("creditor", [WITHOUT_BASIS, WITH_BASIS])
def test_a_withheld_address_is_absent_and_so_is_the_fact_that_it_is_withheld(creditor: Creditor) -> None:
    message = replace(NOTICE, debtor=replace(DEBTOR, address_withheld=True))
    text = msgspec.json.encode(see(message, creditor=creditor)).decode()
    assert "adres" not in text
    assert "Geheim" not in text
    assert not any(part in text for part in ("Keizersgracht", "1015CN", "Amsterdam", "bis"))


def test_an_address_that_is_not_withheld_goes_without_the_flag() -> None:
    assert "adresGeheim" not in wire(see())["hulpvrager"]


def test_a_creditor_without_claims_sees_no_claims() -> None:
    document = wire(see(ref=CreditorRef("incasso-voorbeeld", "D-2026-5512")))
    assert "vorderingen" not in document
    assert document["klantnummer"] == "D-2026-5512"


def test_progress_shows_only_what_is_needed_to_find_the_case() -> None:
    assert wire(see(PROGRESS, creditor=WITH_BASIS)) == {
        "kenmerk": DELIVERY,
        "soort": "voortgang",
        "gemeente": "0363",
        "afzender": {"naam": "Gemeente Voorbeeld", "oin": "00000099000000363000"},
        "dossierkenmerk": "SHV-2026-004711",
        "versie": 2,
        "hulpvrager": {
            "voornamen": "Anna Sophia",
            "voorletters": "A.S.",
            "voorvoegsel": "van der",
            "achternaam": "Voorbeeld-O'Neill",
            "geboortedatum": "1987-03-14",
        },
        "klantnummer": "K-99812",
        "contactpersoon": wire(see())["contactpersoon"],
        "fase": "saldo_opgave_verzocht",
        "toelichting": "De inventarisatie is gereed.",
    }


def test_an_agent_is_told_whom_it_acts_for_on_its_principals_terms_and_its_own_legal_basis() -> None:
    agent = Creditor(CreditorId("incasso-voorbeeld"), "Incasso Voorbeeld")
    document = wire(see(creditor=agent, agent_for=WITH_BASIS))
    assert document["namens"] == "Energie Voorbeeld B.V."
    assert document["pauze"]["grondslag"] == "convenant"
    assert "bsn" not in document["hulpvrager"]


def test_a_term_runs_from_when_the_creditor_was_first_told() -> None:
    premium = Covenant("ZN", binding=True, pause=Term(120, "dagen"), anchor="ontvangst")
    creditor = replace(WITHOUT_BASIS, covenant=premium)
    ten_days_later = TOLD + 10 * 86_400_000_000
    assert wire(see(creditor=creditor))["pauze"]["totEnMet"] == "2027-03-22"
    assert wire(see(creditor=creditor, told=ten_days_later))["pauze"]["totEnMet"] == "2027-04-01"


def test_the_day_of_telling_is_that_of_amsterdam() -> None:
    covenant = Covenant("c", binding=True, pause=Term(10, "dagen"))
    after_midnight = 1_795_476_600_000_000  # 2026-11-23 23:30 UTC, the 24th in Amsterdam
    document = wire(see(creditor=replace(WITHOUT_BASIS, covenant=covenant), told=after_midnight))
    assert document["pauze"]["totEnMet"] == "2026-12-03"


def test_the_digest_tells_whether_a_correction_changes_what_the_creditor_sees() -> None:
    digest = view_digest(see())
    same = replace(NOTICE, version=2, admission=Admission(date(2026, 11, 21)), creditors=(ENERGIE,))
    assert view_digest(see(same)) == digest
    assert view_digest(replace(see(), kenmerk="0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a02")) == digest
    other_bsn = replace(NOTICE, debtor=replace(DEBTOR, bsn="999990032"))
    assert view_digest(see(other_bsn)) == digest
    assert view_digest(see(other_bsn, creditor=WITH_BASIS)) != view_digest(see(creditor=WITH_BASIS))
    for change in (
        replace(NOTICE, pause=AskedPause(date(2026, 11, 23), 6, "maanden")),
        replace(NOTICE, debtor=replace(DEBTOR, surname="Anders")),
        replace(NOTICE, debtor=replace(DEBTOR, address_withheld=True)),
        replace(NOTICE, contact_person=ContactPerson("Ander team")),
    ):
        assert view_digest(see(change)) != digest
    assert view_digest(see(ref=replace(ENERGIE, client_number="K-1"))) != digest
    assert len(digest) == 32


@given(st.integers(1, 40), st.data(), st.booleans(), st.booleans())
def test_nobody_sees_a_byte_of_what_is_meant_for_another(
    creditors: int, data: st.DataObject, has_basis: bool, withheld: bool
) -> None:
    refs = tuple(
        CreditorRef(
            f"schuldeiser-{nr:03}",
            f"klant-{nr:03}",
            (Claim(reference=f"vordering-{nr:03}", invoice=f"factuur-{nr:03}", kind=f"soort-{nr:03}"),),
        )
        for nr in range(creditors)
    )
    message = replace(NOTICE, creditors=refs, debtor=replace(DEBTOR, address_withheld=withheld))
    own = data.draw(st.integers(0, creditors - 1))
    creditor = WITH_BASIS if has_basis else WITHOUT_BASIS
    for one in (message, PROGRESS):
        text = msgspec.json.encode(see(one, refs[own], creditor, debtor=message.debtor)).decode()
        assert f"klant-{own:03}" in text
        for other in range(creditors):
            if other != own:
                assert not any(f"{kind}-{other:03}" in text for kind in ("klant", "vordering", "factuur", "soort"))
        assert not any(part in text for part in ("schuldeiser-", "BES-2026-0881", "PK-2026-0000042"))
        assert (BSN in text) == (has_basis and one is message)
        assert ("Keizersgracht" in text) == (not withheld and one is message)
