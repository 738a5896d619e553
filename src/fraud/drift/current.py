"""The transactions of late, out of PostgreSQL: of the cards of a sample, with as much past as the reference had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from fraud.database import Address, session
from fraud.drift.sample import CARDS, DAYS, Featured
from fraud.extracts import TOMORROW
from fraud.features import WINDOW, Card, Transaction
from fraud.transactions import TABLE

__all__ = ["Current", "read_current"]

# What lies further back is in no feature.
MOST = DAYS + WINDOW
SPAN = sql.SQL(
    "SELECT min(trans_date_trans_time), max(trans_date_trans_time) FROM {} WHERE trans_date_trans_time <= {}"
).format(sql.Identifier(TABLE), TOMORROW)
# Cards in the order of `fraud.drift.sample.draw`.
ROWS = sql.SQL(
    """
    WITH card AS (
        SELECT cc_num FROM {table}
        WHERE trans_date_trans_time > %(recent)s AND trans_date_trans_time <= %(newest)s
        GROUP BY cc_num ORDER BY sha256(cc_num::text::bytea) LIMIT %(cards)s
    )
    SELECT trans_num, cc_num, trans_date_trans_time, merchant, category, amt::float8, lat, long, merch_lat, merch_long,
        city_pop
    FROM {table} JOIN card USING (cc_num)
    WHERE trans_date_trans_time BETWEEN %(begin)s AND %(newest)s
    """
).format(table=sql.Identifier(TABLE))


@dataclass(frozen=True)
class Current:
    """The transactions of the sample's cards.

    Attributes:
        begin: The oldest transaction of any card, of those that are looked at.
        newest: The newest one of any card.
        rows: Those of the cards, in no order.
    """

    begin: datetime
    newest: datetime
    rows: list[Transaction]

    def featured(self) -> Iterator[Featured]:
        """Those of the last `DAYS`, with their features."""
        cards: defaultdict[int, Card] = defaultdict(Card)
        for row in sorted(self.rows, key=lambda row: (row.at, row.trans_num)):
            card = cards[row.cc_num]
            if row.at > self.newest - DAYS:
                yield row, card.features(row)
            card.add(row)


def read_current(address: Address, span: timedelta) -> Current | None:
    """The transactions of the last `DAYS`, and what came before them, for `span` in all; None where there are none.

    Raises:
        JobError: PostgreSQL does not answer, or refuses, or logger_sql has made no table yet.
    """
    with session(address, "drift_fraud") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            oldest, newest = connection.execute(SPAN).fetchone() or (None, None)
            if newest is None:
                return None
            begin = max(oldest, newest - min(span, MOST))
            asked = {"recent": newest - DAYS, "begin": begin, "newest": newest, "cards": CARDS}
            return Current(begin, newest, [Transaction(*row) for row in connection.execute(ROWS, asked)])
