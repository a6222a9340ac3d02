"""Durations and working days, in the calendar of Europe/Amsterdam.

Not a working day: Saturday, Sunday, and the days of art. 3 Algemene termijnenwet, which counts Good Friday and every
5 May among them (not every employer does; for a term that runs against a creditor the later day is the safe one).
"""

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from holidays import country_holidays
from msgspec import Struct

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
Unit = Literal["s", "min", "uur", "dagen", "werkdagen"]
_FIXED = {"s": 1, "min": 60, "uur": 3600, "dagen": 86400}
_DURATION = re.compile(rf"(\d{{1,6}}(?:\.\d{{1,6}})?) ?({'|'.join(get_args(Unit))})", re.ASCII)
_SATURDAY = 5
_ONE_DAY = timedelta(days=1)


class Duration(Struct, frozen=True):
    """An amount of time as settings and the register write it."""

    amount: float
    unit: Unit

    def fixed(self) -> timedelta:
        """Raises ValueError for working days, whose length depends on when they begin."""
        if self.unit == "werkdagen":
            raise ValueError("een duur in werkdagen kan hier niet, alleen bij opgeven_na; gebruik s, min, uur of dagen")
        return timedelta(seconds=self.amount * _FIXED[self.unit])


def parse_duration(text: str) -> Duration:
    """`"<n> s|min|uur|dagen|werkdagen"`, more than nothing; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError('een duur is "<n> s", "<n> min", "<n> uur", "<n> dagen" of "<n> werkdagen", met n > 0')
    amount = float(match[1])
    if match[2] == "werkdagen" and not amount.is_integer():
        raise ValueError("werkdagen zijn hele dagen")
    return Duration(amount, match[2])  # type: ignore[arg-type]  # the pattern is made of Unit


@cache
def holidays(year: int) -> frozenset[date]:
    return frozenset(country_holidays("NL", years=year, categories=("public", "optional")))


def is_working_day(day: date, closed: Collection[date] = ()) -> bool:
    """`closed` adds days on which this organisation or creditor does not work."""
    return day.weekday() < _SATURDAY and day not in closed and day not in holidays(day.year)


def add_working_days(start: date, count: int, closed: Collection[date] = ()) -> date:
    """The `count`-th working day after `start`, whose own day never counts; 0 gives `start`.

    An aware datetime stands for its day in Amsterdam.
    """
    day = start.astimezone(AMSTERDAM).date() if isinstance(start, datetime) else start
    return _nth_working_day(day, count, tuple(closed))


@lru_cache(4096)
def _nth_working_day(day: date, count: int, closed: tuple[date, ...]) -> date:
    while count > 0:
        day += _ONE_DAY
        count -= is_working_day(day, closed)
    return day


def day_of(micros: int) -> date:
    """The day in Amsterdam of an instant in epoch µs."""
    return datetime.fromtimestamp(micros // 1_000_000, AMSTERDAM).date()


def end_of_day(day: date) -> datetime:
    """The midnight after `day` in Amsterdam. Aware, UTC."""
    return datetime.combine(day + _ONE_DAY, time(), AMSTERDAM).astimezone(UTC)


def after(start: datetime, duration: Duration, closed: Collection[date] = ()) -> datetime:
    """`duration` after `start` (aware). Working days last until the end of the last of them."""
    if duration.unit == "werkdagen":
        return end_of_day(add_working_days(start, int(duration.amount), closed))
    return start + duration.fixed()
