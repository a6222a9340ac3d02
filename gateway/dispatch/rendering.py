"""From a claim to an attempt that may start: the view is opened, rendered once, and what was rendered is frozen."""

import hashlib

from msgspec import Struct

from gateway.contract import DeliveryId, Draft, Parcel, Rendition
from gateway.core.lane import SECOND
from gateway.core.lifecycle import State
from gateway.core.progress import TYPE
from gateway.events import rfc3339
from gateway.evidence import Testimony
from gateway.ledger.queue import Claimed, Intent
from gateway.seal import Sealer, aad

PAGE_LIFETIME = 400 * 24 * 3600 * SECOND
"""An answer page outlives the longest pause."""


class Ready(Struct):
    """An attempt that may start once its intent is on record, at `frozen_at` (seconds, monotonic)."""

    claimed: Claimed
    parcel: Parcel
    intent: Intent
    in_doubt: bool
    """Whether an earlier attempt arrived is not known: that is asked first."""
    frozen_at: float = 0.0


class Rendering:
    def __init__(self, sealer: Sealer, testimony: Testimony) -> None:
        self._sealer = sealer
        self._testimony = testimony

    def draft(self, claimed: Claimed) -> Draft:
        view = self._sealer.open(claimed.key, claimed.view, aad("payload", claimed.id, "aanzicht", claimed.creditor))
        return Draft(
            delivery=DeliveryId(claimed.id),
            type=TYPE.format(claimed.soort),
            time=rfc3339(claimed.created_at),
            view_json=view,
        )

    def again(self, claimed: Claimed, sealed: bytes) -> Ready:
        body = self._sealer.open(claimed.key, sealed, self._rendition_aad(claimed))
        intent = Intent(
            claimed.id, claimed.dossier_id, claimed.fence, claimed.channel, hashlib.sha256(body).digest(), None
        )
        return self._ready(claimed, body, intent)

    def first(self, claimed: Claimed, rendition: Rendition) -> Ready:
        token_hash, references = self._testimony.page_of(claimed.id, rendition)
        intent = Intent(
            claimed.id,
            claimed.dossier_id,
            claimed.fence,
            claimed.channel,
            hashlib.sha256(rendition.body).digest(),
            self._sealer.seal(claimed.key, rendition.body, self._rendition_aad(claimed)),
            token_hash,
            references,
            claimed.created_at + PAGE_LIFETIME,
        )
        return self._ready(claimed, rendition.body, intent)

    def _rendition_aad(self, claimed: Claimed) -> bytes:
        return aad("payload", claimed.id, f"verzonden:{claimed.channel}", claimed.creditor)

    def _ready(self, claimed: Claimed, body: bytes, intent: Intent) -> Ready:
        parcel = Parcel(
            delivery=DeliveryId(claimed.id),
            creditor=claimed.creditor,
            soort=claimed.soort,
            type=TYPE.format(claimed.soort),
            attempt=claimed.fence,
            body=body,
            notice_reference=claimed.notice_reference,
            notices=tuple(DeliveryId(id_) for id_ in claimed.notices),
        )
        return Ready(claimed, parcel, intent, is_in_doubt(claimed))


def is_in_doubt(claimed: Claimed) -> bool:
    """An earlier attempt may have arrived: one that nobody settled, one that ended so, or one that the ledger has
    forgotten because a backup was put back."""
    return claimed.before == State.IN_DOUBT or (claimed.before == State.BUSY and claimed.frozen is not None)
