"""Secrets by reference, and what can be wrong with settings. Everybody imports these names from `gateway.contract`.

SettingsRefused     a setting is absent, unknown or wrong
SecretMissing       a secret that settings name is not there
"""

import os
from pathlib import Path


class SettingsRefused(Exception):
    """A setting is absent, unknown or wrong. The text names table and key, never a secret's value."""


class SecretMissing(Exception):
    """A secret is named by reference, and the file or variable is not there or not readable."""


def read_secret(reference: str) -> bytes:
    """The bytes behind `file:/absolute/path` or `env:NAME`; raises SecretMissing, SettingsRefused."""
    kind, _, name = reference.partition(":")
    try:
        if kind == "file":
            return Path(name).read_bytes()
        if kind == "env":
            return os.environb[name.encode()]
    except (OSError, KeyError) as why:
        raise SecretMissing(f"{reference}: {_reason(why)}") from why
    raise SettingsRefused("a secret is given as file:<path> or env:<NAME>")


def _reason(why: OSError | KeyError) -> str:
    match why:
        case FileNotFoundError():
            return "bestaat niet"
        case PermissionError():
            return "mag niet worden gelezen"
        case KeyError():
            return "staat niet in de omgeving"
        case _:
            return type(why).__name__
