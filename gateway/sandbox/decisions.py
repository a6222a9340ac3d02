"""How sandbox creditors decide: from the view they got to an answer of contract §4. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

View = Mapping[str, Any]
Decide = Callable[[View], dict[str, Any]]
ASKS_FOR_ANSWER = frozenset({"kennisgeving", "herinnering"})


def agree(view: View) -> dict[str, Any]:
    """The pause that was asked."""
    return {"soort": "pauze_ingesteld", "van": view["pauze"]["ingangsdatum"], "totEnMet": view["pauze"]["totEnMet"]}


def know_nobody(view: View) -> dict[str, Any]:
    return {"soort": "klant_onbekend", "reden": "geen klant met deze gegevens"}


def pass_on(view: View) -> dict[str, Any]:
    return {"soort": "overgedragen", "naar": "Incassobureau Voorbeeld B.V."}


def pause_in_part(view: View) -> dict[str, Any]:
    """Every claim but the first; where there are not two, all."""
    names = [
        name for claim in view.get("vorderingen", ()) if (name := claim.get("kenmerk") or claim.get("factuurnummer"))
    ]
    if len(set(names)) < 2:  # noqa: PLR2004
        return agree(view)
    end = view["pauze"]["totEnMet"]
    refused = {"kenmerk": names[0], "soort": "niet_in_aanmerking", "reden": "al betaald"}
    paused = [{"kenmerk": name, "soort": "pauze_ingesteld", "totEnMet": end} for name in names[1:]]
    return {"soort": "pauze_gedeeltelijk", "vorderingen": [refused, *paused]}


def vary(view: View) -> dict[str, Any]:
    """Mostly agreement, and now and then something else; the same delivery always gets the same."""
    others: list[Decide] = [know_nobody, pause_in_part, pass_on]
    turn = int(view["kenmerk"].replace("-", "")[-8:], 16) % 12
    return others[turn](view) if turn < len(others) else agree(view)
