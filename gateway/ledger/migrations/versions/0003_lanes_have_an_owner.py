"""Lanes with an owner and a memory, the gateways that live, and an index on what is new in a lane."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEW = sa.text("state = 'in_wachtrij' AND waits_for IS NULL")


def upgrade() -> None:
    op.create_table(
        "lane",
        sa.Column("creditor", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("dead_until", sa.BigInteger(), nullable=False),
        sa.Column("fresh_since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("creditor", "channel"),
    )
    op.create_table(
        "gateway",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("stays", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    columns = ["creditor", "channel", "next_action_at"]
    op.create_index("ix_delivery_new", "delivery", columns, sqlite_where=_NEW, postgresql_where=_NEW)
