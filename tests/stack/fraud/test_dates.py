"""Dates in three spellings: each is read for certain, or refused."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from fraud.dates import DateError, birth_date, transaction_time

DAY_FIRST, MONTH_FIRST = "day first", "month first"


def epoch(*parts: int) -> int:
    """A unix_time."""
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "unix_time", "expected", "order"),
    [
        ("2019-01-04 06:14:33", 0, datetime(2019, 1, 4, 6, 14, 33), None),
        ("2019-01-04T06:14", 0, datetime(2019, 1, 4, 6, 14), None),
        ("13/01/2019 21:10", 0, datetime(2019, 1, 13, 21, 10), DAY_FIRST),
        ("01/13/2019 21:10", 0, datetime(2019, 1, 13, 21, 10), MONTH_FIRST),
        ("29/02/2020 1:57", 0, datetime(2020, 2, 29, 1, 57), DAY_FIRST),
        ("8/3/2020 6:18", epoch(2013, 3, 8, 6, 18), datetime(2020, 3, 8, 6, 18), DAY_FIRST),
        ("8/3/2020 6:18", epoch(2013, 8, 3, 6, 18), datetime(2020, 8, 3, 6, 18), MONTH_FIRST),
        ("04-01-2019 06:14", epoch(2012, 1, 4, 6, 14), datetime(2019, 1, 4, 6, 14), DAY_FIRST),
        ("04-01-2019 06:14", epoch(2019, 4, 1, 6, 14), datetime(2019, 4, 1, 6, 14), MONTH_FIRST),
        # 29 February of a leap year, seven years earlier than a 1 March.
        ("1/3/2019 0:10", epoch(2012, 2, 29, 0, 10), datetime(2019, 3, 1, 0, 10), DAY_FIRST),
        # Across a turn of the year, by a time zone.
        ("1/12/2020 23:30", epoch(2020, 12, 2, 4, 30), datetime(2020, 12, 1, 23, 30), DAY_FIRST),
        ("2/1/2020 0:30", epoch(2013, 1, 1, 23, 59), datetime(2020, 1, 2, 0, 30), DAY_FIRST),
        ("2/2/2019 0:16", epoch(2000, 7, 7), datetime(2019, 2, 2, 0, 16), None),
    ],
)
def test_a_date_that_something_decides_is_read(
    text: str, unix_time: int, expected: datetime, order: str | None
) -> None:
    """The one possible reading is taken; of two, the one on unix_time's day of whatever year."""
    assert transaction_time(text, unix_time) == (expected, order)


@pytest.mark.parametrize(
    ("text", "unix_time", "reason"),
    [
        ("8/3/2020 6:18", epoch(2013, 5, 20), "neither"),
        ("31/31/2020 6:18", 0, "no such day"),
        ("30/02/2020 6:18", 0, "no such day"),
        ("2020-02-30 06:18:00", 0, "not a date"),
        ("2020-01-01 25:00:00", 0, "not a date"),
        ("1/2/2020 24:30", epoch(2020, 2, 1), "not a date"),
        ("1/2/20 06:18", epoch(2020, 2, 1), "not a date"),
        ("1/2-2020 06:18", epoch(2020, 2, 1), "not a date"),
        ("2020-01-01", 0, "not a date"),
        ("2020-01-01 00:00:00+02:00", 0, "not a date"),
        ("yesterday", 0, "not a date"),
        ("\u0660\u0661/02/2020 06:18", 0, "not a date"),
        ("8/3/0001 6:18", epoch(2013, 5, 20), "neither"),
        ("8/3/9999 6:18", epoch(2013, 5, 20), "neither"),
        ("0001-01-01 00:00:00", 0, "the year 0001 is not one of 1900 to 2199"),
        ("1899-12-31 23:59:59", 0, "1899"),
        ("2200-01-01 00:00:00", 0, "2200"),
        ("13/01/0001 00:00", 0, "0001"),
    ],
)
def test_a_date_that_nothing_decides_is_refused(text: str, unix_time: int, reason: str) -> None:
    """No reading, or two with nothing to choose by, is an error that shows the text."""
    with pytest.raises(DateError, match=reason):
        transaction_time(text, unix_time)


def test_a_date_of_birth_follows_the_order_of_the_transaction_date() -> None:
    """An undecided date of birth is read in the order that the row's other date proved."""
    assert birth_date("1978-06-21", None) == date(1978, 6, 21)
    assert birth_date("6/12/1962", DAY_FIRST) == date(1962, 12, 6)
    assert birth_date("6/12/1962", MONTH_FIRST) == date(1962, 6, 12)
    assert birth_date("19/03/1968", MONTH_FIRST) == date(1968, 3, 19)
    assert birth_date("5/5/1955", None) == date(1955, 5, 5)
    for born in ("0001-01-01", "2200-01-01", "19/03/1868"):
        with pytest.raises(DateError, match="is not one of 1900 to 2199"):
            birth_date(born, None)
    with pytest.raises(DateError, match="does not tell which"):
        birth_date("6/12/1962", None)
