"""What is extracted: the confirmed transactions, all transactions, and how far they go.

With a moment given, only what was known at that moment: what had happened, and what had been confirmed. Without one,
what has happened by tomorrow, as zones differ: a transaction of next year is a clock that runs wrong, and one of them
would make the rest of the data old.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import psycopg
from psycopg import sql

from fraud.confirmations import CONFIRMATIONS
from fraud.transactions import COLUMNS, TABLE

__all__ = ["HEADER", "HISTORY_HEADER", "TOMORROW", "history", "in_the_future", "newest", "validated"]

TOMORROW = sql.SQL("localtimestamp + interval '1 day'")
"""The latest moment at which a transaction can have happened; the clock of a session is UTC."""
# The first column, the id, is the index of a data frame: its name is empty.
HEADER = (",".join(["", *COLUMNS, "is_fraud"]) + "\n").encode("ascii")
# What a transaction's features are made of.
HISTORY_COLUMNS = "trans_num cc_num at merchant category amt lat long merch_lat merch_long city_pop".split()
HISTORY_HEADER = (",".join(HISTORY_COLUMNS) + "\n").encode("ascii")
VALIDATED = sql.SQL(
    "SELECT id, {columns}, CASE WHEN fraud_confirmed THEN 'True' ELSE 'False' END AS is_fraud"
    " FROM {table} AS t WHERE fraud_confirmed IS NOT NULL{happened}{known} ORDER BY id"
)
# A card's transactions one after the other in the order of time; the moment of two that have the same is no order.
HISTORY = sql.SQL(
    "SELECT {columns} FROM {table} AS t WHERE true{happened}"
    ' ORDER BY cc_num, trans_date_trans_time, trans_num COLLATE "C"'
)
NEWEST = sql.SQL(
    "SELECT (SELECT max(trans_date_trans_time) FROM {table} AS t WHERE true{happened}),"
    " (SELECT max(confirmed_at) FROM {confirmations} AS k WHERE true{confirmed})"
)
HAPPENED, CONFIRMED = " AND t.trans_date_trans_time <= {until}", " AND k.confirmed_at <= {until}"
# A truth that no confirmation brought has no moment: it counts as known for ever.
KNOWN = (
    " AND NOT EXISTS (SELECT FROM {confirmations} AS k WHERE k.trans_num = t.trans_num AND k.confirmed_at > {until})"
)
FUTURE = sql.SQL("SELECT count(*) FROM {table} AS t WHERE t.trans_date_trans_time > {until}")
NAMES = {"table": sql.Identifier(TABLE), "confirmations": sql.Identifier(CONFIRMATIONS)}


def validated(until: datetime | None) -> sql.Composed:
    """The confirmed transactions with the truth as their ``is_fraud``, in the order of their ids."""
    return VALIDATED.format(columns=_list(COLUMNS), happened=_happened(until), known=_if(until, KNOWN), **NAMES)


def history(until: datetime | None) -> sql.Composed:
    """All transactions, confirmed or not, card by card."""
    columns = ["trans_date_trans_time" if name == "at" else name for name in HISTORY_COLUMNS]
    return HISTORY.format(columns=_list(columns), happened=_happened(until), **NAMES)


def newest(connection: psycopg.Connection, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The moments of the newest transaction and of the newest confirmation."""
    statement = NEWEST.format(happened=_happened(until), confirmed=_if(until, CONFIRMED), **NAMES)
    return connection.execute(statement).fetchone() or (None, None)


def in_the_future(connection: psycopg.Connection) -> int:
    """How many transactions are of later than tomorrow, and in no extract."""
    (count,) = connection.execute(FUTURE.format(until=TOMORROW, **NAMES)).fetchone() or (0,)
    return int(count)


def _happened(until: datetime | None) -> sql.Composed:
    return sql.SQL(HAPPENED).format(until=sql.Literal(until) if until else TOMORROW)


def _list(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _if(until: datetime | None, condition: str) -> sql.Composable:
    """The condition, where a moment is given."""
    return sql.SQL(condition).format(until=sql.Literal(until), **NAMES) if until else sql.SQL("")
