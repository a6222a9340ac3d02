"""The pages that a creditor sees: Dutch, plain, without script or cookie."""

from collections.abc import Mapping
from importlib.resources import files

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.http.form import LABELS, Typed
from gateway.http.told import Told

NOTICES: Mapping[int, tuple[str, str]] = {
    400: ("Dit kon niet worden verwerkt", "Ga terug en probeer het nog een keer."),
    404: ("Deze pagina bestaat niet", "Kijk of u de hele link uit de e-mail heeft gebruikt."),
    405: ("Dit kan hier niet", "Open de link uit de e-mail opnieuw."),
    408: ("Dit duurde te lang", "Ga terug en probeer het nog een keer."),
    410: (
        "Deze pagina is gesloten",
        "Op deze kennisgeving is al geantwoord, of de pagina is verlopen. Wilt u iets veranderen? "
        "Neem dan contact op met de afzender van de brief.",
    ),
    413: ("De tekst is te lang", "Ga terug en maak uw toelichting korter."),
    415: ("Dit kon niet worden verwerkt", "Ga terug en probeer het nog een keer."),
    423: (
        "Deze pagina is op slot",
        "Er is vijf keer een verkeerde referentie ingevuld. Neem contact op met de afzender van de brief.",
    ),
    503: (
        "Het lukt nu even niet",
        "Wij weten niet of uw antwoord is opgeslagen. Probeer het over een paar minuten nog een keer.",
    ),
}

_templates = Environment(
    loader=PackageLoader("gateway.http", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def stylesheet() -> web.Response:
    text = files("gateway.http").joinpath("pages/stijl.css").read_text("utf-8")
    return web.Response(text=text, content_type="text/css")


def notice(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """A page that says what is the matter, for every status of NOTICES."""
    title, text = NOTICES[status]
    response = _page("melding", status, title=title, text=text)
    response.headers.update(headers or {})
    return response


def entrance(status: int = 200, error: str = "") -> web.Response:
    """Step 1: the reference. `error`: what was wrong with the last one."""
    errors = {"referentie": error} if error else {}
    return _page("toegang", status, errors=errors)


def answer_form(told: Told | None, typed: Typed, errors: Mapping[str, str]) -> web.Response:
    """Step 2, as typed before; `told` None: what the creditor was told is no longer kept."""
    return _page(
        "formulier",
        400 if errors else 200,
        told=told,
        typed=typed.values,
        ticked=typed.claims,
        errors=errors,
        labels=LABELS,
    )


def confirmation(typed: Typed, *, is_final: bool) -> web.Response:
    """`is_final` False: the creditor only said that it has the notice, and decides later on the same page."""
    return _page("bevestiging", 200, answer=LABELS[typed.values["soort"]], is_final=is_final)


def _page(template: str, status: int, **values: object) -> web.Response:
    text = _templates.get_template(f"{template}.html.j2").render(values)
    return web.Response(text=text, status=status, content_type="text/html")
