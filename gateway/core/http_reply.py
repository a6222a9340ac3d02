"""What an HTTP status means for a delivery, for every channel that speaks HTTP (contract §4, webhook).

| status                  | outcome                                             |
|-------------------------|-----------------------------------------------------|
| 2xx                     | for the channel to judge                            |
| 408, 425, 429, 5xx      | Transient, with Retry-After                         |
| 410                     | RefusedForGood, for every later delivery too        |
| all else (3xx, 4xx)     | RefusedForGood; redirects are never followed        |
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.core.outcome import Evidence, RefusedForGood, Transient

LONGEST_WAIT: Final = 86400.0
"""Seconds; a Retry-After beyond it is cut to it."""
_MAY_PASS = frozenset({408, 425, 429})
_GONE = 410
_LONGEST_NUMBER = 12


def refusal(status: int, evidence: Evidence, wait: float | None = None) -> Transient | RefusedForGood:
    """The outcome of a status other than 2xx."""
    if status in _MAY_PASS or status >= 500:  # noqa: PLR2004  (RFC 9110 §15.6)
        return Transient(evidence, wait)
    return RefusedForGood(evidence, whole_channel=status == _GONE)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110 §10.2.3: seconds or a date); None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:_LONGEST_NUMBER]), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT)
