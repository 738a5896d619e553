"""What PostgreSQL knows: a card's past, what was said of a transaction, and which batches logger_sql has taken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from queue import Empty, LifoQueue
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import args_row

from fraud.database import Address
from fraud.features import WINDOW, Transaction
from fraud.scoring.metrics import Metrics
from fraud.scoring.said import Said
from fraud.tables import LEDGER, create_tables
from fraud.transactions import COLUMN_TYPES, COLUMNS, TABLE
from job.errors import JobError

__all__ = ["CONNECTIONS", "ConflictError", "History", "HistoryError"]

CONNECTIONS = 4
# For an answer, and for a connection: who asks for a card's past waits at a till.
ANSWER_MS, CONNECT_SECONDS = 3000, 3
SESSION = f"SET statement_timeout = {ANSWER_MS}; SET plan_cache_mode = force_generic_plan"
AWAY = "PostgreSQL does not answer: start it (docker compose up -d postgres)"
QUERY_CANCELED = "57014"
REFUSES = "PostgreSQL refuses what the scorer asks of it: the log of the scorer says why"
SLOW = "PostgreSQL answers too slowly: look at its load"

NAMES = {"table": sql.Identifier(TABLE), "ledger": sql.Identifier(LEDGER)}
ROW = sql.SQL(
    "trans_num, cc_num, trans_date_trans_time, merchant, category, amt::float8, lat, long, merch_lat, merch_long,"
    " city_pop"
)
# The transaction itself comes along, wherever it is: most often it is nowhere, and this needs no second question.
PAST = sql.SQL(
    "SELECT {row} FROM {table} WHERE cc_num = %s AND trans_date_trans_time > %s AND trans_date_trans_time <= %s"
    " UNION ALL SELECT {row} FROM {table} WHERE trans_num = %s"
).format(row=ROW, **NAMES)
SAID = sql.SQL(
    "SELECT is_fraud, score, model_version, ROW({columns}) IS NOT DISTINCT FROM ROW({given}) FROM {table}"
    " WHERE trans_num = %s"
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
    given=sql.SQL(", ").join(
        sql.SQL("%s::" + kind.removesuffix(" UNIQUE").removesuffix(" NOT NULL")) for kind in COLUMN_TYPES.values()
    ),
    **NAMES,
)
TAKEN = sql.SQL("SELECT batch FROM {ledger} WHERE batch = ANY(%s)").format(**NAMES)

Connection = psycopg.Connection
Answer = TypeVar("Answer")

log = logging.getLogger("fraud.scorer")


class HistoryError(Exception):
    """PostgreSQL does not answer, or not in time."""


class ConflictError(Exception):
    """There is another transaction of this number."""


class History:
    """The PostgreSQL that has the table. Threads may ask it; none of them waits for one that is known to be away.

    Args:
        address: Where it is.
        metrics: What is told of it.

    Attributes:
        trouble: Why it cannot be asked; empty where it can.
    """

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self.trouble = "PostgreSQL has not answered yet"
        self._address, self._metrics = address, metrics
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._telling = threading.Lock()

    def past(self, now: Transaction) -> tuple[list[Transaction], bool]:
        """The card's transactions of the window before this one, and whether the table has this one already.

        Raises:
            HistoryError: PostgreSQL cannot be asked.
        """
        begin = time.perf_counter()
        given = (now.cc_num, now.at - WINDOW, now.at, now.trans_num)

        def ask(connection: Connection) -> list[Transaction]:
            with connection.cursor(binary=True, row_factory=args_row(Transaction)) as cursor:
                return cursor.execute(PAST, given, prepare=True).fetchall()

        rows = self._ask(ask)
        self._metrics.history_seconds.observe(time.perf_counter() - begin)
        past = [row for row in rows if row.trans_num != now.trans_num]
        return past, len(past) < len(rows)

    def said(self, values: Sequence[str], trans_num: str) -> Said:
        """What was said of a transaction that the table has.

        Raises:
            HistoryError: PostgreSQL cannot be asked.
            ConflictError: It is another one, of the same number.
        """
        found = self._ask(lambda connection: connection.execute(SAID, (*values, trans_num)).fetchone())
        if found is None or not found[3]:
            raise ConflictError
        return Said(tuple(values), *found[:3])

    def taken(self, batches: Collection[str]) -> set[str]:
        """Which of these batches logger_sql has taken. It is asked where PostgreSQL was away, too, and says so.

        Raises:
            HistoryError: It is away.
        """

        def ask(connection: Connection) -> set[str]:
            create_tables(connection)
            return {name for (name,) in connection.execute(TAKEN, (list(batches),))}

        found = self._attempt(ask)
        if self.trouble:
            log.info("PostgreSQL answers")
        self.trouble = ""
        return found

    def close(self) -> None:
        """Close its connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _ask(self, question: Callable[[Connection], Answer]) -> Answer:
        if self.trouble:
            raise HistoryError(self.trouble)
        return self._attempt(question)

    def _attempt(self, question: Callable[[Connection], Answer]) -> Answer:
        """The answer, by a connection that is there or, since the server may have been restarted, by a new one."""
        try:
            try:
                return self._by(self._idle.get_nowait(), question)
            except Empty:
                return self._by(self._connect(), question)
            except psycopg.OperationalError as error:
                if error.sqlstate == QUERY_CANCELED:
                    raise
                return self._by(self._connect(), question)
        except psycopg.errors.QueryCanceled:
            raise HistoryError(SLOW) from None
        except psycopg.Error as error:
            raise self._fails(REFUSES if error.sqlstate else AWAY, self._address.explain(error)) from None
        except JobError as error:
            raise self._fails(AWAY, error) from None

    def _by(self, connection: Connection, question: Callable[[Connection], Answer]) -> Answer:
        """The answer, by a connection that is kept where it is still good."""
        try:
            return question(connection)
        finally:
            if connection.closed:
                connection.close()
            else:
                self._idle.put(connection)

    def _connect(self) -> Connection:
        try:
            connection = psycopg.connect(
                self._address.conninfo,
                autocommit=True,
                fallback_application_name="fraud.scorer",
                client_encoding="UTF8",
                connect_timeout=CONNECT_SECONDS,
                tcp_user_timeout=ANSWER_MS,
            )
        except psycopg.Error as error:
            raise self._address.explain_refusal(error) from None
        connection.execute(SESSION)
        return connection

    def _fails(self, trouble: str, error: JobError) -> HistoryError:
        """What everybody is told, until `taken` finds it well again; the log has where it is, and what it said."""
        with self._telling:
            if self.trouble != trouble:
                log.warning("%s", error)
            self.trouble = trouble
        return HistoryError(trouble)
