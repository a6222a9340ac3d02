"""The command `kennisgeving`: each module here is one command or one group of them; `app` puts them together.

A command returns its exit code: 0 success, 1 a check failed, 2 wrong use. Nothing is imported before it is asked for.
"""

from cyclopts import App, Group

from gateway.cli.options import show_help

__all__ = ["app"]

DESCRIPTION = "Bezorgt een Kennisgeving van schuldhulpverlening bij elke schuldeiser, en bewijst het."

_GROUPS = {
    "group_commands": Group("Opdrachten"),
    "group_parameters": Group("Opties"),
    "group_arguments": Group("Argumenten"),
}


def _group(name: str, description: str) -> App:
    group = App(name, description, **_GROUPS, default_command=show_help, version_flags=[])  # type: ignore[arg-type]
    app.command(group)
    return group


app = App("kennisgeving", DESCRIPTION, **_GROUPS, default_command=show_help)  # type: ignore[arg-type]
app.command("gateway.cli.demo:demo", help="Alles op deze machine: voorbeelddossiers naar vier soorten schuldeisers.")
app.command("gateway.cli.serve:serve", help="Start de gateway.")
app.command("gateway.cli.check:check", help="Zeg regel voor regel wat er goed en fout is aan een configuratie.")
app.command("gateway.cli.messages:validate", help="Keur berichten, zonder iets te versturen.")
app.command("gateway.cli.messages:publish", help="Geef berichten af bij RabbitMQ, of bij een gateway zonder broker.")

creditors = _group("schuldeisers", "Het schuldeisersregister.")
creditors.command("gateway.cli.creditors:apply", help="Voer schuldeisers.toml door, na het verschil te hebben getoond.")
creditors.command("gateway.cli.creditors:show_all", name="list", help="Toon het register dat geldt.")

dossiers = _group("dossier", "Dossiers.")
dossiers.command("gateway.cli.dossiers:show", help="Toon van een dossier per schuldeiser wat er gebeurde.")

deliveries = _group("bezorging", "Bezorgingen.")
deliveries.command("gateway.cli.deliveries:show_all", name="list", help="Toon bezorgingen.")
deliveries.command("gateway.cli.deliveries:show", help="Toon één bezorging, met pogingen en antwoorden.")

certificates = _group("certs", "Sleutels en certificaten.")
certificates.command("gateway.cli.certs:dev", help="Maak een sleutel en een PKI om mee te ontwikkelen.")
