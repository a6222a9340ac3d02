"""The command `kennisgeving`: each module here is one command or one group of them; `app` puts them together.

A command returns its exit code: 0 success, 1 a check failed, 2 wrong use. What it needs is imported when it is asked
for.
"""

from importlib import metadata
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from gateway.cli.errors import WrongUse

__all__ = ["app"]

_COMMANDS, _OPTIONS, _ARGUMENTS = Group("Opdrachten"), Group("Opties"), Group("Argumenten")


def _app(name: str, description: str) -> App:
    return App(
        name,
        description,
        group_commands=_COMMANDS,
        group_parameters=_OPTIONS,
        group_arguments=_ARGUMENTS,
        version=_version,
        error_formatter=_wrong_use,
    )


def _version() -> str:
    return metadata.version("kennisgeving-gateway")


def _wrong_use(error: CycloptsError) -> str:
    return f"Onjuist gebruik: {error}"


def _group(name: str, description: str) -> App:
    group = _app(name, description)
    group.version_flags = []
    app.command(group)
    _without_command_helps(group, [name])
    return group


def _without_command_helps(group: App, path: list[str]) -> None:
    @group.default
    def show_help(*unknown: Annotated[str, Parameter(show=False)]) -> int:
        if unknown:
            raise WrongUse(f"Onjuist gebruik: er is geen opdracht {' '.join([*path, unknown[0]])}")
        app.help_print(path)
        return WrongUse.code


app = _app("kennisgeving", "Bezorgt een Kennisgeving van schuldhulpverlening bij elke schuldeiser.")
app["--help"].help = "Toon deze uitleg."
app["--version"].help = "Toon de versie."
_without_command_helps(app, [])
app.command(
    "gateway.cli.demo:demo",
    help="""Alles op deze machine: voorbeelddossiers naar vier soorten schuldeisers.

25 dossiers gaan naar 48 schuldeisers over HTTPS, SFTP, e-mail en een API. Slaagt alleen als elke bezorging haar
schuldeiser bereikte en elk antwoord is vastgelegd.""",
)
app.command(
    "gateway.cli.serve:serve",
    help="""Start de gateway.

Brengt het grootboek eerst op het huidige schema. Schrijft één JSON-object per regel op stderr, en nergens anders. Na
SIGTERM of SIGINT wordt afgemaakt wat loopt, in ten hoogste 30 seconden.""",
)
app.command(
    "gateway.cli.check:check",
    help="""Zeg regel voor regel wat er goed en fout is aan een configuratie.

Certificaten en bereikbaarheid inbegrepen. Kijkt alleen: maakt, verandert en verstuurt niets.""",
)
app.command(
    "gateway.cli.messages:validate",
    help="""Keur berichten, zonder iets te versturen.

Aan het schema en aan alle regels waarvoor geen grootboek nodig is. Meldt alle fouten tegelijk: plaats in het bericht,
code en regel, nooit de waarde.""",
)
app.command(
    "gateway.cli.messages:publish",
    help="""Geef berichten af bij RabbitMQ, of bij een gateway zonder broker.

Met [amqp] in de instellingen bij RabbitMQ, anders in de wachtrij van de gateway zelf. Klaar betekent dat het bericht
bewaard is; wat de gateway ervan vindt, meldt hij met een gebeurtenis.""",
)

app.command(
    "gateway.cli.recovery:recover",
    name="herstel",
    help="""Na het terugzetten van een back-up, vóór de start: maak onzeker wat toen openstond.

Zo gaat niets blind nog eens de deur uit. Een schuldeiser die kan zeggen wat hij heeft (sftp, een kennisgeving bij cjib)
wordt dat gevraagd; van de andere (webhook, e-mail) komt er een taak, tenzij u met --opnieuw-sturen zegt dat dubbel
minder erg is dan niet. Toont eerst wat er zou gebeuren.""",
)

app.command(
    "gateway.cli.simulate:simulate",
    help="""Laat de gateway een jaar draaien op virtuele tijd, en controleer wat altijd moet gelden.

De echte kern en het echte grootboek, met gesimuleerde gemeenten en schuldeisers: vlotte, trage, zwijgende,
weigerende, en die uitvallen, dubbel antwoorden of de vordering overdragen. Dezelfde seed geeft dezelfde uitvoer.
Raakt niets aan.""",
)

_creditors = _group("schuldeisers", "Het schuldeisersregister.")
_creditors.command(
    "gateway.cli.creditors:apply",
    help="""Toon wat er verandert, en voer het register door.

Nog eens hetzelfde doorvoeren verandert niets. Een gateway die draait, neemt het binnen enkele seconden over.""",
)
_creditors.command("gateway.cli.creditors:show_all", name="list", help="Toon het register dat geldt.")

_dossiers = _group("dossier", "Dossiers.")
_dossiers.command(
    "gateway.cli.dossiers:show",
    help="""Toon per schuldeiser wat er in een dossier gebeurde.

Berichten, pogingen, ontvangst en antwoorden.""",
)

_deliveries = _group("bezorging", "Bezorgingen.")
_deliveries.command("gateway.cli.deliveries:show_all", name="list", help="Toon bezorgingen, de oudste eerst.")
_deliveries.command("gateway.cli.deliveries:show", help="Toon één bezorging, met pogingen en antwoorden.")

_deliveries.command(
    "gateway.cli.repeat:repeat",
    name="herhaal",
    help="""Stuur bezorgingen nog eens: dezelfde verwijzing, dezelfde inhoud.

Toont eerst wat er zou gebeuren, met aantallen, en wat niet kan en waarom. Doet het pas met --uitvoeren en een reden, en
met vier ogen ([gateway] vier_ogen) pas als een ander het bevestigt. De reden blijft bewaard, leesbaar voor wie het
grootboek ziet: zet er geen persoonsgegevens in.""",
)

_deliveries.command(
    "gateway.cli.attest:arrived",
    name="aangekomen",
    help="""Leg vast dat de schuldeiser heeft wat na een herstel onzeker bleef.

Voor wie het hem heeft gevraagd. Toont eerst wat er zou gebeuren, en wat niet kan en waarom; doet het pas met
--uitvoeren en een reden. De bezorging geldt dan als afgeleverd (bewijskracht 1), de gemeente krijgt daar bericht van,
en wat erop wachtte, gaat. De reden blijft bewaard, leesbaar voor wie het grootboek ziet: zet er geen persoonsgegevens
in.""",
)

_worklist = _group("werkbak", "Taken voor mensen.")
_worklist.command("gateway.cli.worklist:show_all", name="list", help="Toon wat er te doen is, de oudste taak eerst.")
_worklist.command(
    "gateway.cli.worklist:show",
    help="""Toon één taak.

Wat er gebeurde, wat u nu kunt doen, waar het over gaat en wat er al mee is gedaan.""",
)
_worklist.command(
    "gateway.cli.worklist:done",
    help="""Handel een taak af, met een reden.

De reden blijft bewaard, leesbaar voor wie de werkbak ziet: zet er geen persoonsgegevens in.""",
)
_worklist.command("gateway.cli.worklist:assign", help="Wijs een taak toe aan iemand.")

_overviews = _group("overzicht", "Cijfers over een periode.")
_overviews.command(
    "gateway.cli.overviews:creditors",
    name="schuldeisers",
    help="""Toon per schuldeiser wat de kennisgevingen opleverden.

Verteld, ontvangen, op tijd beantwoord, gepauzeerd, geweigerd en waarom, geen antwoord, en of een bindend convenant is
nagekomen. Een periode telt de kennisgevingen die toen binnenkwamen.""",
)
_overviews.command(
    "gateway.cli.overviews:gemeenten",
    name="gemeenten",
    help="""Toon welke gemeenten de gateway gebruiken, en hoeveel schuldeisers zij bereiken.

Van elke gemeente van Nederland: gebruikt de gateway, is aangemeld maar stuurde nog niets, of is niet aangemeld.""",
)

_certificates = _group("certs", "Sleutels en certificaten.")
_certificates.command(
    "gateway.cli.certs:dev",
    help="Maak een sleutel voor het grootboek en een PKI om mee te ontwikkelen. Nooit voor productie.",
)
