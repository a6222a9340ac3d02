"""A span of whole days in Amsterdam, both ends included: what an overview is about."""

import re
from datetime import date, datetime, timedelta

from dateutil.relativedelta import relativedelta
from msgspec import Struct

from gateway.core.deadlines import end_of_day

MONTHS = 12
"""How long a period is of which only the end is named, or nothing."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EARLIEST, _LATEST = date(1970, 1, 1), date(2999, 12, 31)
_ONE_DAY = timedelta(days=1)


class PeriodRefused(ValueError):
    """These days are no period. `faults`: (name of the end, what is wrong with it), Dutch."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {fault}" for name, fault in faults))
        self.faults = faults


class Period(Struct, frozen=True):
    first: date
    last: date

    @property
    def begins(self) -> int:
        """Epoch µs of its first moment."""
        return _micros(end_of_day(self.first - _ONE_DAY))

    @property
    def ends(self) -> int:
        """Epoch µs of the first moment after it."""
        return _micros(end_of_day(self.last))


def period(first: str | None, last: str | None, today: date) -> Period:
    """From `van` and `tot` as people write them (`YYYY-MM-DD`); what is left out makes it the last 12 months.

    Raises PeriodRefused with everything that is wrong at once.
    """
    faults: list[tuple[str, str]] = []
    end = _read("tot", last, faults) or today
    start = _read("van", first, faults) or end + _ONE_DAY - relativedelta(months=MONTHS)
    if not faults and start > end:
        faults = [("van", "ligt na tot"), ("tot", "ligt voor van")]
    if faults:
        raise PeriodRefused(*faults)
    return Period(start, end)


def _read(name: str, text: str | None, faults: list[tuple[str, str]]) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not _EARLIEST <= day <= _LATEST:
        faults.append((name, "is geen datum als 2026-11-23"))
    return day


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
