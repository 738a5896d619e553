"""The extractor: the confirmed transactions, out of PostgreSQL, as one CSV on S3.

The rows stream from ``COPY`` into a multipart upload, so memory does not grow with their number. Confirmation
(for demonstrations) and extract are one transaction with one snapshot. The object is replaced when everything
has arrived, and left as it was if anything fails.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import psycopg
from psycopg import sql

from fraud.confirmation import confirm, lock, unlock
from fraud.copying import copy_out
from fraud.database import Address, session
from fraud.job import Progress, flag, run, size, text
from fraud.targets import Target, check_target, make_target
from fraud.transactions import COLUMNS, TABLE

__all__ = ["HEADER", "SELECT", "main"]

TARGET = "s3://fraud-detection-2-bucket/data/validated.csv"
# The first column, the id, is the index of a data frame: its name is empty.
HEADER = (",".join(["", *COLUMNS, "is_fraud"]) + "\n").encode("ascii")
SELECT = sql.SQL(
    "SELECT id, {}, CASE WHEN fraud_confirmed THEN 'True' ELSE 'False' END AS is_fraud"
    " FROM {} WHERE fraud_confirmed IS NOT NULL ORDER BY id"
).format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS)), sql.Identifier(TABLE))
COPY = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(SELECT)
# Says that the table is missing before anything is sent.
TOUCH = sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(TABLE))


def main() -> None:
    """Confirm if asked to, extract, and say how much."""
    address = Address.read()
    demo, debug = flag("DEMO_MODE"), flag("DEBUG_MODE")
    seed = text("DEMO_SEED")
    where = text("EXTRACTOR_TARGET", TARGET)
    check_target(where)
    with ExitStack() as at_the_end:
        connection = at_the_end.enter_context(session(address, "extractor_sql"))
        if demo:
            lock(connection)
        # One snapshot for all that follows: what is counted, confirmed and extracted is the same table.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            if demo:
                confirmed = confirm(connection, one_only=debug, seed=seed)
                print(f"demonstration: {confirmed:,} more rows confirmed", file=sys.stderr)
            else:
                connection.execute(TOUCH)
            target = make_target(where)
            # Whatever happens from here on, nothing half done stays; after `commit` this does nothing.
            at_the_end.callback(target.abort)
            target.open()
            rows, length = _extract(connection, target)
            target.finish()
        # The confirmations are kept first: the object never holds one that the database does not.
        if demo:
            unlock(connection)
        target.commit()
    print(f"{rows:,} observations → {where} ({size(length)})")


def _extract(connection: psycopg.Connection, target: Target) -> tuple[int, int]:
    """Stream the header and the rows into the target; return how many rows and how many bytes."""
    target.write(HEADER)
    length = len(HEADER)
    progress = Progress()
    rows = 0
    for count, piece in copy_out(connection, COPY.as_bytes(connection)):
        target.write(piece)
        rows, length = rows + count, length + len(piece)
        progress.show(f"{size(length)} extracted …")
    return rows, length


if __name__ == "__main__":
    run(main)
