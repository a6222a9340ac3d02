"""What the HTTP routes need of the gateway."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import date

from msgspec import Struct

from gateway.clock import Clock
from gateway.config import HttpSettings
from gateway.core.agenda import Terms
from gateway.core.notice import Sender
from gateway.events import Events
from gateway.evidence import Testimony
from gateway.intake import Intake
from gateway.ledger.engine import Ledger
from gateway.links import Lane, Links
from gateway.receipts import Receipts
from gateway.repeats import Repeats
from gateway.seal import Sealer

NCSC = "https://www.ncsc.nl/contact/kwetsbaarheid-melden"
"""Where anybody may report a weakness in a Dutch government system."""


class Doors(Struct, frozen=True):
    """`ready` gives reasons, in Dutch, why the gateway is not ready; `on_deliveries` is told of lanes that have work;
    `security_contact` is a URI (RFC 9116); on `closed_days` nobody works, beside the holidays."""

    ledger: Ledger
    intake: Intake
    receipts: Receipts
    testimony: Testimony
    sealer: Sealer
    events: Events
    links: Links
    clock: Clock
    terms: Terms
    senders_by_client: Mapping[str, Sender]
    senders_by_oin: Mapping[str, Sender]
    settings: HttpSettings
    ready: Callable[[], Awaitable[list[str]]]
    repeats: Repeats
    on_deliveries: Callable[[Iterable[Lane]], None]
    closed_days: Collection[date] = ()
    signs: Callable[[], Mapping[str, float | bool]] = dict
    """What `/readyz` tells beside its verdict."""
    metrics: Callable[[], bytes] | None = None
    """What `/metrics` shows; None: there is none."""
    security_contact: str = NCSC
