"""The agenda of dossiers, decisions of creditors, the worklist, pause requests.

Dossiers that are there already are put on the agenda at once, so that their terms run as well.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _widen()
    _add_tables()
    op.execute("UPDATE dossier SET review_at = created_at WHERE versie > 0")


def _widen() -> None:
    new: dict[str, list[tuple[str, sa.types.TypeEngine[Any]]]] = {
        "dossier": [("withdrawn_at", sa.BigInteger()), ("review_at", sa.BigInteger())],
        "message": [("request", sa.Text())],
        "delivery": [
            ("reminds", sa.Text()),
            ("terms", sa.Text()),
            ("received_at", sa.BigInteger()),
            ("answered_at", sa.BigInteger()),
            ("decided_at", sa.BigInteger()),
            ("paused_until", sa.Text()),
            ("transferred_to", sa.Text()),
            ("balance_on", sa.Text()),
        ],
        "task": [("assigned_to", sa.Text()), ("closed_at", sa.BigInteger())],
    }
    for table, columns in new.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    _index("ix_dossier_review", "dossier", ["review_at"], "review_at IS NOT NULL")
    _index("ix_message_request", "message", ["request"], "request IS NOT NULL")
    op.create_index("ix_task_dossier_id", "task", ["dossier_id"])
    _index("ix_task_open", "task", ["id"], "closed_at IS NULL")


def _add_tables() -> None:
    op.create_table(
        "task_step",
        sa.Column("nr", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("nr"),
    )
    op.create_index("ix_task_step_task_id", "task_step", ["task_id"])
    op.create_table(
        "milestone",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dossier_id", "name", "subject"),
    )
    op.create_table(
        "nudge",
        sa.Column("nr", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nr"),
    )
    op.create_table(
        "pause_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("gemeente", sa.Text(), nullable=False),
        sa.Column("kenmerk", sa.Text(), nullable=False),
        sa.Column("sender_oin", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("handled_at", sa.BigInteger(), nullable=True),
        sa.Column("handled_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "source", name="uq_pause_request_event_id_source"),
        sa.UniqueConstraint("kenmerk", "gemeente", name="uq_pause_request_kenmerk_gemeente"),
    )
    op.create_index("ix_pause_request_gemeente", "pause_request", ["gemeente", "id"])
    _index("ix_pause_request_due", "pause_request", ["due_at"], "due_at IS NOT NULL")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
