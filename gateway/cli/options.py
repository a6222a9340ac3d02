"""What several commands take."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

DEFAULT_CONFIG = Path("gateway.toml")

ConfigFile = Annotated[
    Path,
    Parameter(
        name="--config",
        env_var="KENNISGEVING_CONFIG",
        help="Instellingen; standaard ./gateway.toml.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Als JSON.", show_default=False)]


def flag(name: str, description: str) -> Parameter:
    """An option that is there or not."""
    return Parameter(name=name, negative="", help=description, show_default=False)


def option(name: str, description: str) -> Parameter:
    return Parameter(name=name, help=description, show_default=False)
