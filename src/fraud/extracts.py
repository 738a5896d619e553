"""What is extracted: the confirmed transactions, all transactions, and how far they go.

With a moment given, only what was known at that moment: what had happened, and what had been confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import psycopg
from psycopg import sql

from fraud.confirmations import CONFIRMATIONS
from fraud.transactions import COLUMNS, TABLE

__all__ = ["HEADER", "HISTORY_HEADER", "history", "newest", "validated"]

# The first column, the id, is the index of a data frame: its name is empty.
HEADER = (",".join(["", *COLUMNS, "is_fraud"]) + "\n").encode("ascii")
# What a transaction's features are made of.
HISTORY_COLUMNS = "trans_num cc_num at merchant category amt lat long merch_lat merch_long city_pop".split()
HISTORY_HEADER = (",".join(HISTORY_COLUMNS) + "\n").encode("ascii")
VALIDATED = sql.SQL(
    "SELECT id, {columns}, CASE WHEN fraud_confirmed THEN 'True' ELSE 'False' END AS is_fraud"
    " FROM {table} AS t WHERE fraud_confirmed IS NOT NULL{known} ORDER BY id"
)
# A card's transactions one after the other in the order of time; the moment of two that have the same is no order.
HISTORY = sql.SQL(
    'SELECT {columns} FROM {table} AS t WHERE true{known} ORDER BY cc_num, trans_date_trans_time, trans_num COLLATE "C"'
)
NEWEST = sql.SQL(
    "SELECT (SELECT max(trans_date_trans_time) FROM {table} AS t WHERE true{happened}),"
    " (SELECT max(confirmed_at) FROM {confirmations} AS k WHERE true{confirmed})"
)
HAPPENED, CONFIRMED = " AND t.trans_date_trans_time <= {until}", " AND k.confirmed_at <= {until}"
# A truth that no confirmation brought has no moment: it counts as known for ever.
KNOWN = (
    HAPPENED + " AND NOT EXISTS"
    " (SELECT FROM {confirmations} AS k WHERE k.trans_num = t.trans_num AND k.confirmed_at > {until})"
)
NAMES = {"table": sql.Identifier(TABLE), "confirmations": sql.Identifier(CONFIRMATIONS)}


def validated(until: datetime | None) -> sql.Composed:
    """The confirmed transactions with the truth as their ``is_fraud``, in the order of their ids."""
    return VALIDATED.format(columns=_list(COLUMNS), known=_if(until, KNOWN), **NAMES)


def history(until: datetime | None) -> sql.Composed:
    """All transactions, confirmed or not, card by card."""
    columns = ["trans_date_trans_time" if name == "at" else name for name in HISTORY_COLUMNS]
    return HISTORY.format(columns=_list(columns), known=_if(until, HAPPENED), **NAMES)


def newest(connection: psycopg.Connection, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The moments of the newest transaction and of the newest confirmation."""
    statement = NEWEST.format(happened=_if(until, HAPPENED), confirmed=_if(until, CONFIRMED), **NAMES)
    return connection.execute(statement).fetchone() or (None, None)


def _list(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _if(until: datetime | None, condition: str) -> sql.Composable:
    """The condition, where a moment is given."""
    return sql.SQL(condition).format(until=sql.Literal(until), **NAMES) if until else sql.SQL("")
