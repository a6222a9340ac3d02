"""Who runs a command, and why, as it is put on record."""

import os
import pwd
from collections.abc import Callable
from typing import Annotated

from gateway.cli.errors import WrongUse
from gateway.cli.options import option
from gateway.core.task import NotKept, person

Actor = Annotated[str | None, option("--door", "Wie dit doet; standaard de naam waaronder u op deze machine werkt.")]


def acting(named: str | None) -> str:
    """Who acts: as named, else the system's name for whoever runs this."""
    if named is not None:
        return kept("--door", person, named)
    try:
        return person(pwd.getpwuid(os.getuid()).pw_name)
    except (KeyError, NotKept) as why:
        raise WrongUse("zeg met --door wie u bent") from why


def kept(name: str, rule: Callable[[str], str], typed: str) -> str:
    try:
        return rule(typed)
    except NotKept as why:
        raise WrongUse(f"{name}: {why}") from why
