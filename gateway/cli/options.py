"""What several commands take."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

WRONG_USE = 2

ConfigFile = Annotated[
    Path,
    Parameter(name="--config", env_var="KENNISGEVING_CONFIG", help="Instellingen (standaard ./gateway.toml).",
              show_default=False),
]  # fmt: skip
DEFAULT_CONFIG = Path("gateway.toml")

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Als JSON.", show_default=False)]


def show_help() -> int:
    """For who names no command."""
    ...
