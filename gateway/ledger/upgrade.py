"""Bringing the ledger's schema to the current version, and telling which version it has."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADE_LOCK = 0x6B6E6775


def migrations(connection: Connection | None = None) -> Config:
    """For Alembic's commands, on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the schema to the current version; several gateways may start at once."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    command.upgrade(migrations(connection), "head")


def is_current(connection: Connection) -> bool:
    return MigrationContext.configure(connection).get_current_revision() == _head()


@cache
def _head() -> str | None:
    """What this program asks for; finding it out means reading every migration."""
    return ScriptDirectory.from_config(migrations()).get_current_head()
