"""What operators have done to deliveries: sent again, put back after a restore."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("stands", sa.Text(), nullable=True))
    is_repeated = sa.text("stands IS NOT NULL")
    op.create_index(
        "ix_delivery_stands", "delivery", ["stands"], sqlite_where=is_repeated, postgresql_where=is_repeated
    )
    op.create_table(
        "operator_act",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("done_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code", name="uq_operator_act_code"),
    )
    op.create_table(
        "operator_act_item",
        sa.Column("act_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("act_id", "delivery_id"),
    )
    op.create_index("ix_operator_act_item_delivery_id", "operator_act_item", ["delivery_id"])
