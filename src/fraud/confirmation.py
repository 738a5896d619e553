"""Confirmations for a demonstration: what the bank's customers would tell days later, drawn at random.

Real confirmations arrive late and from people. A demonstration has none, and an extract of confirmed rows
would be empty: so rows are chosen at random and confirmed, mostly as they were predicted, by "demo".
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql

from fraud.confirmations import STAGE, settle, stage
from fraud.transactions import TABLE

__all__ = ["CONFIRMED_SHARE", "confirm"]

CONFIRMED_SHARE = 0.25
# Nine of ten predicted frauds are frauds, and one in five hundred of the others is one that was missed.
PRECISION, MISSED = 0.9, 0.002
SOURCE = "demo"

LACKING = sql.SQL(
    "SELECT greatest(ceil(count(*) * %s)::bigint - count(fraud_confirmed), 0),"
    " count(*) - count(fraud_confirmed) FROM {}"
).format(sql.Identifier(TABLE))
# The draw is a hash of the seed and the transaction's own number: the same seed confirms the same rows in the
# same way, wherever the rows lie in the table.
CHOOSE = sql.SQL(
    """
    INSERT INTO {stage} (line, trans_num, is_fraud, confirmed_by, confirmed_at)
    SELECT row_number() OVER (), trans_num,
           ('x' || left(md5(%(seed)s || ':truth:' || trans_num), 8))::bit(32)::bigint / 2^32
               < CASE WHEN is_fraud THEN %(precision)s ELSE %(missed)s END,
           %(source)s, trans_date_trans_time + interval '3 days'
    FROM (
        SELECT * FROM {table} WHERE fraud_confirmed IS NULL
        ORDER BY md5(%(seed)s || ':choice:' || trans_num), id LIMIT %(count)s
    ) AS chosen
    """
).format(stage=sql.Identifier(STAGE), table=sql.Identifier(TABLE))


def confirm(connection: psycopg.Connection, *, one_only: bool, seed: str) -> int:
    """Confirm rows until a quarter is, or exactly one more; return how many were."""
    lacking, unconfirmed = connection.execute(LACKING, (CONFIRMED_SHARE,)).fetchone() or (0, 0)
    count = min(1, unconfirmed) if one_only else lacking
    if not count:
        return 0
    draw = {
        "seed": seed or secrets.token_hex(8),
        "precision": PRECISION,
        "missed": MISSED,
        "source": SOURCE,
        "count": count,
    }
    stage(connection, ())
    connection.execute(CHOOSE, draw)
    return settle(connection, source=SOURCE).recorded
