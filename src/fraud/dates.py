"""The dates of a transaction, in three spellings, none of them guessed.

The rule, decided row by row, because one batch may hold rows of several sources:

1. ``2019-01-04 06:14:33`` (year first) has one reading.
2. ``04/01/2019 06:14`` (or with dashes) is day first or month first. A reading with an impossible month is
   none. If one reading is left, or both are the same day, that is the date.
3. If two are left, the row's ``unix_time`` decides: the reading that falls on the same day of the year, give
   or take a day and a half for time zones. The year is not compared: in the public data set ``unix_time`` is
   seven years early. If it agrees with neither, the row is rejected.
4. A date of birth has no ``unix_time``. It is read by rules 1 and 2, then in the order (day first or month
   first) that the same row's transaction date proved. If that one proved nothing, the row is rejected.
5. The year is one of 1900 to 2199, so that days may be added to every date: ``0001-01-01`` is how some sources
   write that they have none.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TypeVar

__all__ = ["FIRST_YEAR", "LAST_YEAR", "DateError", "birth_date", "transaction_time", "within_reach", "year_first"]

YEAR_FIRST = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
YEAR_FIRST_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?")
YEAR_LAST = re.compile(r"([0-9]{1,2})([/-])([0-9]{1,2})\2([0-9]{4})")
CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
EPOCH = datetime(1970, 1, 1)
FIRST_YEAR, LAST_YEAR = 1900, 2199
DAY_FIRST, MONTH_FIRST = "day first", "month first"
# The two readings of a date are at least 28 days apart, so this tolerance cannot take one for the other.
TOLERANCE = timedelta(hours=36)
Day = TypeVar("Day", bound=date)


class DateError(ValueError):
    """A date that has no reading, or two that nothing decides between."""


def year_first(text: str) -> datetime:
    """The moment that ``text`` names, for a spelling that has one reading: ``2025-01-31 12:00:00``."""
    if not YEAR_FIRST_TIME.fullmatch(text):
        raise DateError(f"{text!r} is not a date and time: write 2025-01-31 12:00:00, without a time zone")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DateError(f"{text!r} is not a date: {error}") from None
    return within_reach(moment)


def within_reach(day: Day) -> Day:
    """The day or moment itself, where its year is one that we take.

    Raises:
        DateError: It is not.
    """
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise DateError(f"the year {day.year:04d} is not one of {FIRST_YEAR} to {LAST_YEAR}")
    return day


def transaction_time(text: str, unix_time: int) -> tuple[datetime, str | None]:
    """The moment that ``text`` names, and the order that it proved (None where it proved none)."""
    if YEAR_FIRST_TIME.fullmatch(text):
        return year_first(text), None
    day_text, _, clock_text = text.partition(" ")
    clock = CLOCK.fullmatch(clock_text)
    if not clock:
        raise DateError(f"{text!r} is not a date and time that we know")
    readings = _readings(day_text)
    hour, minute, second = (int(part or 0) for part in clock.groups())
    order = _only(readings) or _by_unix_time(readings, unix_time, text)
    day = readings[order]
    try:
        moment = datetime(day.year, day.month, day.day, hour, minute, second)
    except ValueError as error:
        raise DateError(f"{text!r} is not a date: {error}") from None
    return within_reach(moment), None if len(set(readings.values())) < len(readings) else order


def birth_date(text: str, order: str | None) -> date:
    """The day that ``text`` names; ``order`` is what the transaction's own date proved, if anything."""
    if YEAR_FIRST.fullmatch(text):
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise DateError(f"{text!r} is not a date: {error}") from None
        return within_reach(day)
    readings = _readings(text)
    known = _only(readings) or order
    if known is None:
        raise DateError(f"{text!r} is {_both(readings)}, and the transaction's date does not tell which")
    return within_reach(readings[known])


def _readings(text: str) -> dict[str, date]:
    """Every possible reading of a date whose year comes last."""
    match = YEAR_LAST.fullmatch(text)
    if not match:
        known = "year-month-day, day/month/year, month/day/year"
        raise DateError(f"{text!r} is not a date that we know ({known})")
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    found = {}
    for order, day, month in ((DAY_FIRST, first, second), (MONTH_FIRST, second, first)):
        try:
            found[order] = date(year, month, day)
        except ValueError:
            continue
    if not found:
        raise DateError(f"{text!r} is not a date: it has no such day in either order")
    return found


def _only(readings: dict[str, date]) -> str | None:
    """The order, where there is nothing to decide."""
    return next(iter(readings)) if len(set(readings.values())) == 1 else None


def _by_unix_time(readings: dict[str, date], unix_time: int, text: str) -> str:
    """The order whose reading falls on the same day of the year as ``unix_time``."""
    moment = EPOCH + timedelta(seconds=unix_time)
    agreeing = [order for order, day in readings.items() if _same_day_of_year(day, moment)]
    if len(agreeing) != 1:
        raise DateError(f"{text!r} is {_both(readings)}, and unix_time {unix_time} is neither")
    return agreeing[0]


def _same_day_of_year(day: date, moment: datetime) -> bool:
    middle = datetime(day.year, day.month, day.day, 12)
    for year in range(max(day.year - 1, 1), min(day.year + 1, 9999) + 1):
        try:
            shifted = moment.replace(year=year)
        except ValueError:
            # 29 February has no namesake in most years.
            shifted = moment.replace(year=year, day=28)
        if abs(shifted - middle) <= TOLERANCE:
            return True
    return False


def _both(readings: dict[str, date]) -> str:
    return " or ".join(f"{day.isoformat()} ({order})" for order, day in readings.items())
