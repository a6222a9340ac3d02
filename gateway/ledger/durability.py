"""Whether a commit survives a power cut: what the database says of itself, on a connection like any other of ours."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from gateway.contract import Finding

_POSTGRESQL = ("fsync", "full_page_writes", "synchronous_commit")
_FULL = 2
"""`PRAGMA synchronous`"""
_LOSES = ": bij stroomuitval gaat iets verloren"


def durability(connection: Connection) -> list[Finding]:
    if connection.dialect.name == "sqlite":
        mode = str(connection.scalar(text("PRAGMA journal_mode")))
        return judge_sqlite(mode, int(connection.scalar(text("PRAGMA synchronous")) or 0))
    return judge_postgresql({name: str(connection.scalar(text(f"SHOW {name}"))) for name in _POSTGRESQL})


def judge_sqlite(journal_mode: str, synchronous: int) -> list[Finding]:
    safe = {"journal_mode": journal_mode == "wal", "synchronous": synchronous >= _FULL}
    values = {"journal_mode": journal_mode, "synchronous": str(synchronous)}
    return [_judged(name, value, is_safe=safe[name]) for name, value in values.items()]


def judge_postgresql(values: Mapping[str, str]) -> list[Finding]:
    """A `synchronous_commit` of `local` or more waits for the disk of this server."""
    return [_judged(name, value, is_safe=value != "off") for name, value in values.items()]


def _judged(name: str, value: str, *, is_safe: bool) -> Finding:
    return Finding(is_safe, f"[ledger] {name} is {value}" + _LOSES * (not is_safe), unsafe=not is_safe)
