"""The command `kennisgeving`: each module here is one command or one group of them; `app` puts them together.

A command returns its exit code: 0 success, 1 a check failed, 2 wrong use. Nothing is imported before it is asked for.
"""

from cyclopts import App, CycloptsError, Group

from gateway.cli.errors import WrongUse

__all__ = ["app"]

_COMMANDS, _OPTIONS, _ARGUMENTS = Group("Opdrachten"), Group("Opties"), Group("Argumenten")


def _app(name: str, description: str, version: bool = False) -> App:
    return App(
        name,
        description,
        group_commands=_COMMANDS,
        group_parameters=_OPTIONS,
        group_arguments=_ARGUMENTS,
        version_flags=["--version"] if version else [],
        error_formatter=_wrong_use,
    )


def _wrong_use(error: CycloptsError) -> str:
    return f"Onjuist gebruik: {error}"


def _group(name: str, description: str) -> App:
    group = _app(name, description)
    app.command(group)
    _without_command_helps(group, [name])
    return group


def _without_command_helps(group: App, path: list[str]) -> None:
    @group.default
    def show_help() -> int:
        app.help_print(path)
        return WrongUse.code


app = _app("kennisgeving", "Bezorgt een Kennisgeving van schuldhulpverlening bij elke schuldeiser.", version=True)
app["--help"].help = "Toon deze uitleg."
app["--version"].help = "Toon de versie."
_without_command_helps(app, [])
app.command("gateway.cli.demo:demo", help="Alles op deze machine: voorbeelddossiers naar vier soorten schuldeisers.")
app.command("gateway.cli.serve:serve", help="Start de gateway.")
app.command("gateway.cli.check:check", help="Zeg regel voor regel wat er goed en fout is aan een configuratie.")
app.command("gateway.cli.messages:validate", help="Keur berichten, zonder iets te versturen.")
app.command("gateway.cli.messages:publish", help="Geef berichten af bij RabbitMQ, of bij een gateway zonder broker.")

_creditors = _group("schuldeisers", "Het schuldeisersregister.")
_creditors.command("gateway.cli.creditors:apply", help="Toon wat er verandert, en voer het register door.")
_creditors.command("gateway.cli.creditors:show_all", name="list", help="Toon het register dat geldt.")

_dossiers = _group("dossier", "Dossiers.")
_dossiers.command("gateway.cli.dossiers:show", help="Toon per schuldeiser wat er in een dossier gebeurde.")

_deliveries = _group("bezorging", "Bezorgingen.")
_deliveries.command("gateway.cli.deliveries:show_all", name="list", help="Toon bezorgingen.")
_deliveries.command("gateway.cli.deliveries:show", help="Toon één bezorging, met pogingen en antwoorden.")

_certificates = _group("certs", "Sleutels en certificaten.")
_certificates.command("gateway.cli.certs:dev", help="Maak een sleutel en een PKI om mee te ontwikkelen.")
