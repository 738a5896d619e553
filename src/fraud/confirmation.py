"""Confirmations for a demonstration: what the bank's customers would tell days later, drawn at random.

Real confirmations arrive late and from people. A demonstration has none, and an extract of confirmed rows
would be empty: so rows are chosen at random and confirmed, mostly as they were predicted.
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql

from fraud.transactions import TABLE

__all__ = ["CONFIRMED_SHARE", "confirm", "lock", "unlock"]

CONFIRMED_SHARE = 0.25
# Nine of ten predicted frauds are frauds, and one in five hundred of the others is one that was missed.
PRECISION, MISSED = 0.9, 0.002
# Held while rows are confirmed, so that two extractors do not both bring the share up. Taken before the
# transaction: its snapshot must be younger than what the other one committed.
LOCK = 7_120_521_002

LACKING = sql.SQL(
    "SELECT greatest(ceil(count(*) * %s)::bigint - count(fraud_confirmed), 0),"
    " count(*) - count(fraud_confirmed) FROM {}"
).format(sql.Identifier(TABLE))
# The draw is a hash of the seed and the transaction's own number: the same seed confirms the same rows in the
# same way, wherever the rows lie in the table.
CONFIRM = sql.SQL(
    """
    WITH chosen AS (
        SELECT id,
               ('x' || left(md5(%(seed)s || ':truth:' || trans_num), 8))::bit(32)::bigint / 2^32 AS draw
        FROM {table} WHERE fraud_confirmed IS NULL
        ORDER BY md5(%(seed)s || ':choice:' || trans_num), id LIMIT %(count)s
    )
    UPDATE {table} AS t
    SET fraud_confirmed = draw < CASE WHEN is_fraud THEN %(precision)s ELSE %(missed)s END
    FROM chosen WHERE chosen.id = t.id
    """
).format(table=sql.Identifier(TABLE))


def confirm(connection: psycopg.Connection, *, one_only: bool, seed: str) -> int:
    """Confirm rows until a quarter is, or exactly one more; return how many were."""
    lacking, unconfirmed = connection.execute(LACKING, (CONFIRMED_SHARE,)).fetchone() or (0, 0)
    count = min(1, unconfirmed) if one_only else lacking
    if count:
        draw = {
            "seed": seed or secrets.token_hex(8),
            "precision": PRECISION,
            "missed": MISSED,
            "count": count,
        }
        connection.execute(CONFIRM, draw)
    return int(count)


def lock(connection: psycopg.Connection) -> None:
    """Wait until no other extractor confirms rows; the lock ends with the connection or ``unlock``."""
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))


def unlock(connection: psycopg.Connection) -> None:
    """Let the next extractor confirm."""
    connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
