"""What the command imports sooner or later: a process that has it all can fork one that starts at once."""

from importlib import import_module
from importlib.metadata import entry_points

EVERYTHING = (
    *(adapter.module for adapter in entry_points(group="kennisgeving.adapters")),
    "gateway.__main__",
    "gateway.app",
    "gateway.amqp",
    "gateway.checking",
    "gateway.cli.creditors",
    "gateway.cli.serve",
    "gateway.ledger.upgrade",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "alembic.ddl",
    "asyncpg",
    "uvloop",
)


def import_everything() -> None:
    for name in EVERYTHING:
        import_module(name)
