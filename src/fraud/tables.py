"""The tables of the component, made where they are absent; one of an earlier version gets what it lacks.

The truth of a transaction is set once, whoever sets it: triggers refuse to change it, plain SQL too.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from fraud.confirmations import CONFIRMATIONS
from fraud.transactions import COLUMN_TYPES, SCORE_TYPES, TABLE

__all__ = ["CONFIRMATION_FILES", "LEDGER", "create_tables"]

LEDGER = "fraud_detection_2_batches"
CONFIRMATION_FILES = "fraud_detection_2_confirmation_files"
CARD_INDEX = "fraud_detection_2_card_index"
# Held while the tables are made: `CREATE TABLE IF NOT EXISTS` alone fails when two run it at once.
LOCK = 7_120_521_001

NAMES = {
    "table": sql.Identifier(TABLE),
    "ledger": sql.Identifier(LEDGER),
    "confirmations": sql.Identifier(CONFIRMATIONS),
    "files": sql.Identifier(CONFIRMATION_FILES),
    "card_index": sql.Identifier(CARD_INDEX),
    "columns": sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in COLUMN_TYPES.items()
    ),
    "scores": sql.SQL(", ").join(
        sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in SCORE_TYPES.items()
    ),
}
STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {table} (id bigserial PRIMARY KEY, {columns},"
    " is_fraud boolean NOT NULL, fraud_confirmed boolean)",
    "ALTER TABLE {table} {scores}",
    "CREATE TABLE IF NOT EXISTS {ledger} (batch text, sha256 text, inserted bigint, already_there bigint,"
    " rejected bigint, ingested_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (batch, sha256))",
    "CREATE TABLE IF NOT EXISTS {confirmations} (trans_num text PRIMARY KEY, is_fraud boolean NOT NULL,"
    " confirmed_by text NOT NULL, confirmed_at timestamp NOT NULL, source text NOT NULL,"
    " recorded_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE IF NOT EXISTS {files} (file text, sha256 text, confirmed bigint, frauds bigint, repeated bigint,"
    " contradicted bigint, waiting bigint, rejected bigint, taken_at timestamptz NOT NULL DEFAULT now(),"
    " PRIMARY KEY (file, sha256))",
    """
    CREATE OR REPLACE FUNCTION fraud_detection_2_truth_stands() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the truth about transaction % is set, and is set once', OLD.trans_num
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Table {confirmations} says who confirmed it, and when.';
    END $$
    """,
    "CREATE OR REPLACE TRIGGER truth_stands BEFORE UPDATE ON {table} FOR EACH ROW"
    " WHEN (OLD.fraud_confirmed IS NOT NULL AND NEW.fraud_confirmed IS DISTINCT FROM OLD.fraud_confirmed)"
    " EXECUTE FUNCTION fraud_detection_2_truth_stands()",
    "CREATE OR REPLACE TRIGGER truth_stands BEFORE UPDATE OR DELETE ON {confirmations} FOR EACH ROW"
    " EXECUTE FUNCTION fraud_detection_2_truth_stands()",
    # Last, and all of these are one transaction: where it is there, all of them are.
    "CREATE INDEX IF NOT EXISTS {card_index} ON {table} (cc_num, trans_date_trans_time)",
)
EXPECTED = [TABLE, LEDGER, CONFIRMATIONS, CONFIRMATION_FILES, CARD_INDEX]


def create_tables(connection: psycopg.Connection) -> None:
    """Create what is absent, also when several programs start at once."""
    with connection.transaction():
        # Looked up first: a user who may only insert is refused even `IF NOT EXISTS`.
        missing = "SELECT count(*) FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL"
        if connection.execute(missing, (EXPECTED,)).fetchone() == (0,):
            return
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        for statement in STATEMENTS:
            connection.execute(sql.SQL(statement).format(**NAMES))
