"""What a backup that was put back cannot know of: read where deliveries are made of what was there already."""

import msgspec
from sqlalchemy import Connection, select

from gateway.core.recovery import KIND, Gap, Manner
from gateway.ledger.schema import operator_act


def gap(connection: Connection) -> Gap | None:
    """As the latest restore left it; None: there was none, or whoever did it had everything sent again."""
    row = connection.execute(_LATEST).first()
    if row is None or msgspec.json.decode(row.settings, type=Manner).send_again:
        return None
    return Gap(row.id, row.done_at)


_LATEST = (
    select(operator_act.c.id, operator_act.c.done_at, operator_act.c.settings)
    .where(operator_act.c.kind == KIND)
    .order_by(operator_act.c.done_at.desc())
    .limit(1)
)
