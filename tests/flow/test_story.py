"""Two dossiers and a pauzeverzoek from beginning to end, as a caseworker reads them back."""

from io import StringIO
from typing import Any

from rich.console import Console

from gateway.cli.timeline import Look, read_stories, timeline
from gateway.core.agenda import Terms
from gateway.core.creditor import Covenant, Creditor, CreditorId, Term
from tests.flow.calendar import RECEIVED, Calendar, open_calendar
from tests.flow.desk import PAUSE_BUTTON, ending, extension, follow_up, notice

MONTHS_8 = Term(8, "maanden")
CREDITORS = [
    Creditor(
        CreditorId("cjib"),
        "CJIB Voorbeeld",
        channels=("cjib",),
        covenant=Covenant("Afspraak overheid", binding=True, pause=MONTHS_8),
        bsn_basis="art. 1",
    ),
    Creditor(
        CreditorId("energie-voorbeeld"),
        "Energie Voorbeeld B.V.",
        kvk="68750110",
        channels=("webhook",),
        covenant=Covenant("Modelconvenant 2024", binding=True, pause=MONTHS_8, second_term=MONTHS_8),
    ),
    Creditor(
        CreditorId("zorg-voorbeeld"),
        "Zorgverzekeraar Voorbeeld N.V.",
        channels=("sftp",),
        covenant=Covenant("ZN", binding=True, pause=Term(120, "dagen"), scope=("zorgpremie",)),
    ),
    Creditor(CreditorId("incasso-voorbeeld"), "Incasso Voorbeeld", channels=("email",)),
]
CLAIMS: list[dict[str, Any]] = [
    {"schuldeiser": "cjib", "vorderingen": [{"kenmerk": "5060 1234", "soort": "verkeersboete"}]},
    {"schuldeiser": "kvk:68750110", "klantnummer": "K-99812", "vorderingen": [{"soort": "energie"}]},
    {"schuldeiser": "zorg-voorbeeld", "klantnummer": "7781220", "vorderingen": [{"soort": "zorgpremie"}]},
    {"schuldeiser": "incasso-voorbeeld", "klantnummer": "D-2026-5512"},
]
EVERYBODY = tuple(str(one.id) for one in CREDITORS)


def _dossier(number: str, *claims: dict[str, Any]) -> dict[str, Any]:
    event = notice(number, 1)
    event["data"]["schuldeisers"] = list(claims)
    return event


async def _read_back(calendar: Calendar, number: str) -> str:
    """What `kennisgeving dossier show` prints."""
    desk = calendar.desk
    (story,) = await desk.ledger.run(read_stories, desk.sealer, kenmerk=number)
    register = desk.links.register.by_id
    look = Look(desk.clock.at, Terms(register.get), {id_: one.name for id_, one in register.items()})
    page = StringIO()
    Console(file=page, width=160).print(timeline(story, look))
    return page.getvalue()


def _lines(page: str, creditor: str) -> list[str]:
    """Those under one creditor, without the branches of the tree and the seconds."""
    lines = [line.lstrip("│├└─ ") for line in page.splitlines()]
    at = lines.index(creditor)
    names = {one.name for one in CREDITORS}
    ends = [nr for nr, line in enumerate(lines) if nr > at and line in names]
    return [
        line[:16] + line[19:] if line[2:3] == "-" else line for line in lines[at + 1 : min(ends, default=len(lines))]
    ]


async def _first_weeks(calendar: Calendar) -> None:
    """One receives, one pauses, one refuses, one is silent."""
    await calendar.send(_dossier("SHV-1", *CLAIMS))
    await calendar.hand_over("cjib", outcome=RECEIVED)
    await calendar.hand_over("energie-voorbeeld", "zorg-voorbeeld", "incasso-voorbeeld")
    await calendar.go_to("2026-11-30T10:00")
    await calendar.answer("energie-voorbeeld", "pauze_ingesteld", totEnMet="2027-07-22")
    await calendar.answer("zorg-voorbeeld", "geen_samenwerking", reden="al bij deurwaarder")
    await calendar.go_to("2026-12-20T10:00")
    await calendar.hand_over(*EVERYBODY)


async def _last_months(calendar: Calendar) -> None:
    """A longer pause for the one that was silent, and the end."""
    await calendar.go_to("2027-03-15T10:00")
    await calendar.send(extension("2027-07-22", 2, "incasso-voorbeeld"))
    await calendar.hand_over(*EVERYBODY)
    await calendar.answer("incasso-voorbeeld", "pauze_ingesteld", totEnMet="2027-07-22")
    await calendar.go_to("2027-06-01T10:00")
    await calendar.send(ending("2027-06-15", 3))
    await calendar.hand_over(*EVERYBODY)
    await calendar.go_to("2027-06-16T10:00")


async def test_a_dossier_from_notice_to_settlement(sqlite_url: str) -> None:
    async with open_calendar(sqlite_url, creditors=CREDITORS) as calendar:
        await _first_weeks(calendar)
        page = await _read_back(calendar, "SHV-1")
        print(page)  # noqa: T201 - to be read with -s
        (standing, pause, coming) = _lines(page, "CJIB Voorbeeld")[:3]
        assert (standing, pause) == ("gepauzeerd", "pauze van 23-11-2026 tot en met 22-07-2027 (convenant)")
        assert (coming[:10], coming[16:]) == ("29-12-2026", "  hierna: einde antwoordtermijn")
        assert _lines(page, "Energie Voorbeeld B.V.")[:2] == [
            "gepauzeerd",
            "pauze van 23-11-2026 tot en met 22-07-2027 (convenant)",
        ]
        assert _lines(page, "Zorgverzekeraar Voorbeeld N.V.")[:3] == [
            "geweigerd",
            "pauze voor zorgpremie gevraagd tot en met 22-03-2027 (convenant)",
            "taak in de werkbak: antwoord weigert",
        ]
        assert _lines(page, "Incasso Voorbeeld")[:2] == [
            "gevraagd",
            "pauze gevraagd tot en met 22-03-2027 (verzoek)",
        ]

        await _last_months(calendar)
        page = await _read_back(calendar, "SHV-1")
        print(page)  # noqa: T201
        assert _lines(page, "Incasso Voorbeeld")[:2] == [
            "gepauzeerd",
            "pauze van 23-11-2026 tot en met 14-06-2027 (verzoek)",
        ]
        happened = " | ".join(_lines(page, "Incasso Voorbeeld"))
        order = ["kennisgeving (versie 1)", "herinnering (versie 1)", "verlenging (versie 2)", "beeindiging (versie 3)"]
        assert [happened.index(part) for part in order] == sorted(happened.index(part) for part in order)
        assert "hierna" not in page, page


async def test_a_dossier_that_was_a_mistake(sqlite_url: str) -> None:
    async with open_calendar(sqlite_url, creditors=CREDITORS) as calendar:
        await calendar.send(_dossier("SHV-2", CLAIMS[0], CLAIMS[1]))
        await calendar.hand_over("cjib", outcome=RECEIVED)
        await calendar.send(follow_up("intrekking", "SHV-2", 2, reden="onjuist_dossier"))
        await calendar.hand_over(*EVERYBODY)
        page = await _read_back(calendar, "SHV-2")
        print(page)  # noqa: T201
        (told, never) = _lines(page, "CJIB Voorbeeld"), _lines(page, "Energie Voorbeeld B.V.")
        assert told[0] == never[0] == "ingetrokken"
        assert any("intrekking (versie 2): afgeleverd zonder antwoord" in line for line in told)
        assert not any("intrekking" in line for line in never)
        assert any("kennisgeving (versie 1): ingetrokken" in line for line in never)
        assert "hierna" not in page, page


async def test_a_pauzeverzoek_is_answered_by_its_kennisgeving(sqlite_url: str) -> None:
    async with open_calendar(sqlite_url, "2026-11-10T20:41", creditors=CREDITORS) as calendar:
        request = follow_up("pauzeverzoek")
        request["source"] = f"urn:nld:oin:{PAUSE_BUTTON.oin}:systeem:pauzeknop"
        contact = {"naam": "A.S. van der Voorbeeld", "telefoon": "+31612345678"}
        request["data"] = {"gemeente": "0363", "verzoekkenmerk": "PK-42", "contact": contact, "voorkeur": "telefoon"}
        await calendar.desk.send(request, sender=PAUSE_BUTTON)
        ((name, data),) = await calendar.told()
        assert (name, data["verzoekkenmerk"], "contact" in data) == ("pauzeverzoek-ontvangen", "PK-42", False)
        await calendar.go_to("2026-11-13T10:00")
        await calendar.send(notice("SHV-3", 1, "cjib", verzoekkenmerk="PK-42"))
        await calendar.go_to("2026-12-01T10:00")
        assert await calendar.told("pauzeverzoek-wacht") == []
