"""Confirmations: what is known, days later, about a transaction; who said it, and when.

The truth is set once. A confirmation that says what is known already is counted; one that says the contrary is
refused, and the first stands; one of a time before its transaction is refused, too. A confirmation may come before its
transaction: it waits, and whoever inserts the transaction (``fraud.logger_sql``) takes the truth that is there. So that
none slips between the two, an insert holds a lock that it shares with other inserts, and a confirmation holds it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from fraud.transactions import TABLE

__all__ = [
    "CONFIRMATIONS",
    "STAGE",
    "Confirmation",
    "Contradiction",
    "Fate",
    "Outcome",
    "TooEarly",
    "hold_truth",
    "record",
    "record_each",
    "release_truth",
    "settle",
    "share_truth",
    "stage",
]

CONFIRMATIONS = "fraud_detection_2_confirmations"
# What is to be confirmed, until the transaction ends: `settle` judges it. A line counts from 1.
STAGE = "staged_confirmations"
LOCK = 7_120_521_002

NAMES = {name: sql.Identifier(value) for name, value in (("table", TABLE), ("kept", CONFIRMATIONS), ("stage", STAGE))}
CREATE_STAGE = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (line bigint, trans_num text, is_fraud boolean,"
    " confirmed_by text, confirmed_at timestamp) ON COMMIT DELETE ROWS"
).format(**NAMES)
EMPTY_STAGE = sql.SQL("DELETE FROM {stage}").format(**NAMES)
COPY = sql.SQL("COPY {stage} (line, trans_num, is_fraud, confirmed_by, confirmed_at) FROM STDIN").format(**NAMES)
# What stood before the first of these lines; else the first line of a transaction is what stands from now on. Who says
# first what plain SQL has set is kept as well.
JUDGE = sql.SQL(
    """
    CREATE TEMPORARY TABLE judged ON COMMIT DROP AS
    SELECT *, CASE WHEN early THEN 'rejected'
                   WHEN news AND nth = 1 THEN CASE WHEN id IS NULL THEN 'waiting' ELSE 'confirmed' END
                   WHEN is_fraud = truth THEN 'repeated' ELSE 'contradicted' END AS fate,
           early IS NOT TRUE AND unsaid AND is_fraud = truth AND CASE WHEN news THEN nth ELSE agreeing END = 1
           AS first_word
    FROM (
        SELECT s.*, t.id, t.trans_date_trans_time AS made_at, s.confirmed_at < t.trans_date_trans_time AS early,
               k.trans_num IS NULL AS unsaid, k.trans_num IS NULL AND t.fraud_confirmed IS NULL AS news,
               row_number() OVER same AS nth,
               count(*) FILTER (WHERE s.is_fraud = t.fraud_confirmed) OVER same AS agreeing,
               coalesce(k.is_fraud, t.fraud_confirmed, first_value(s.is_fraud) OVER same) AS truth,
               CASE WHEN k.trans_num IS NOT NULL THEN k.confirmed_by
                    WHEN t.fraud_confirmed IS NULL THEN first_value(s.confirmed_by) OVER same END AS first_by,
               CASE WHEN k.trans_num IS NOT NULL THEN k.confirmed_at
                    WHEN t.fraud_confirmed IS NULL THEN first_value(s.confirmed_at) OVER same END AS first_at
        FROM {stage} AS s LEFT JOIN {kept} AS k USING (trans_num) LEFT JOIN {table} AS t USING (trans_num)
        WINDOW same AS (PARTITION BY s.trans_num, s.confirmed_at < t.trans_date_trans_time ORDER BY s.line)
    ) AS compared
    """
).format(**NAMES)
KEEP = sql.SQL(
    "INSERT INTO {kept} (trans_num, is_fraud, confirmed_by, confirmed_at, source)"
    " SELECT trans_num, is_fraud, confirmed_by, confirmed_at, %s FROM judged WHERE first_word"
).format(**NAMES)
SET = sql.SQL(
    "UPDATE {table} AS t SET fraud_confirmed = judged.is_fraud FROM judged"
    " WHERE t.id = judged.id AND first_word AND news"
).format(**NAMES)
COUNT = "SELECT fate, count(*), count(*) FILTER (WHERE is_fraud) FROM judged GROUP BY fate"
FATES = "SELECT fate, line, trans_num, is_fraud, confirmed_by, confirmed_at, first_by, first_at, made_at FROM judged"


class Fate(StrEnum):
    """What became of a confirmation."""

    CONFIRMED = "confirmed"
    """It is the truth of its transaction from now on."""
    WAITING = "waiting"
    """It is kept; its transaction is not there yet, and will take it."""
    REPEATED = "repeated"
    """It says what is known already."""
    CONTRADICTED = "contradicted"
    """It says the contrary of what is known, which stands."""
    REJECTED = "rejected"
    """It is of a time before its transaction."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That a transaction was a fraud or was none: who said it, and when by the clock of the data."""

    trans_num: str
    is_fraud: bool
    confirmed_by: str
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A confirmation that was refused, its place among those given (from 1), and who confirmed the contrary, when.

    Nobody is named where the truth was set by plain SQL.
    """

    line: int
    refused: Confirmation
    first_by: str | None
    first_at: datetime | None

    def __str__(self) -> str:
        said, stands = ("a fraud", "genuine") if self.refused.is_fraud else ("genuine", "a fraud")
        first = f"{self.first_by} said at {self.first_at}" if self.first_by else "somebody said by plain SQL"
        return (
            f"{self.refused.trans_num}: {self.refused.confirmed_by} says at {self.refused.confirmed_at} that it is"
            f" {said}, but {first} that it is {stands}, which stands"
        )


@dataclass(frozen=True, slots=True)
class TooEarly:
    """A confirmation of a time before its transaction, its place among those given (from 1), and when that was made."""

    line: int
    refused: Confirmation
    made_at: datetime

    def __str__(self) -> str:
        return f"confirmed_at: {self.refused.confirmed_at} is before the transaction, made at {self.made_at}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some confirmations: how many are the truth now, were known, wait; and what was refused."""

    recorded: int = 0
    frauds: int = 0
    repeated: int = 0
    contradicted: tuple[Contradiction, ...] = ()
    waiting: int = 0
    rejected: tuple[TooEarly, ...] = ()


def record(connection: psycopg.Connection, confirmations: Iterable[Confirmation], *, source: str) -> Outcome:
    """Record confirmations, all of them or none, and count what became of them.

    Args:
        connection: In autocommit, or in a transaction that ends soon: until then no transaction is inserted.
        confirmations: Streamed, so there may be millions.
        source: Where they come from, a file's name say; kept with each.
    """
    with connection.transaction():
        stage(connection, confirmations)
        return settle(connection, source=source)


def record_each(
    connection: psycopg.Connection, confirmations: Iterable[Confirmation], *, source: str
) -> list[Fate | Contradiction | TooEarly]:
    """The same, for a few: what became of each, in their order."""
    with connection.transaction():
        stage(connection, confirmations)
        _settle(connection, source)
        rows = connection.execute(f"{FATES} ORDER BY line")
        fates = [_refusal(row) or Fate(row[0]) for row in rows]
        connection.execute("DROP TABLE judged")
        return fates


def stage(connection: psycopg.Connection, confirmations: Iterable[Confirmation]) -> None:
    """Put confirmations where ``settle`` finds them, in the same transaction."""
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(CREATE_STAGE)
    connection.execute(EMPTY_STAGE)
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for line, each in enumerate(confirmations, start=1):
            copy.write_row((line, each.trans_num, each.is_fraud, each.confirmed_by, each.confirmed_at))


def settle(connection: psycopg.Connection, *, source: str) -> Outcome:
    """Make what is staged the truth, where none is known yet, and count what became of it."""
    _settle(connection, source)
    counts: Counter[str] = Counter()
    frauds = 0
    for fate, count, of_frauds in connection.execute(COUNT):
        counts[fate] = count
        frauds += of_frauds if fate == Fate.CONFIRMED else 0
    refused = counts[Fate.CONTRADICTED] + counts[Fate.REJECTED]
    of_them = f"{FATES} WHERE fate IN ('contradicted', 'rejected') ORDER BY line"
    refusals = list(map(_refusal, connection.execute(of_them))) if refused else []
    outcome = Outcome(
        counts["confirmed"],
        frauds,
        counts["repeated"],
        tuple(each for each in refusals if isinstance(each, Contradiction)),
        counts["waiting"],
        tuple(each for each in refusals if isinstance(each, TooEarly)),
    )
    connection.execute("DROP TABLE judged")
    return outcome


def share_truth(connection: psycopg.Connection) -> None:
    """Hold off confirmations until this transaction ends: what it inserts takes the truth that is there."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LOCK,))


def hold_truth(connection: psycopg.Connection) -> None:
    """Hold off inserts and other confirmations until ``release_truth``, or the connection's end.

    For a transaction with one snapshot: it must begin when the lock is held.
    """
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))


def release_truth(connection: psycopg.Connection) -> None:
    """Let the next one confirm or insert."""
    connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


def _settle(connection: psycopg.Connection, source: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    connection.execute(JUDGE)
    connection.execute(KEEP, (source,))
    connection.execute(SET)


def _refusal(row: TupleRow) -> Contradiction | TooEarly | None:
    """Why a confirmation was refused, if it was."""
    fate, line, trans_num, is_fraud, by, at, first_by, first_at, made_at = row
    given = Confirmation(trans_num, is_fraud, by, at)
    if fate == Fate.CONTRADICTED:
        return Contradiction(line, given, first_by, first_at)
    return TooEarly(line, given, made_at) if fate == Fate.REJECTED else None
