"""The bytes of a ``COPY … TO STDOUT``, as the server sends them.

psycopg hands on each row by itself, through two layers of generators: for a million rows that is more work for
this process than all the rest of the extract. Here libpq's own calls, which psycopg offers in ``psycopg.pq``, are
asked for row after row until it has no more, and only then somebody waits: half the processor time, measured.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import suppress

import psycopg
from psycopg import errors, pq

__all__ = ["copy_out"]

# Rows are handed on by the hundred: a call for each of them would cost more than the rows.
_ROWS_AT_ONCE = 256


def copy_out(connection: psycopg.Connection, statement: bytes) -> Iterator[tuple[int, bytes]]:
    """The pieces of a COPY TO STDOUT, each of a few hundred rows: how many, and their bytes.

    Whoever stops in the middle has the statement cancelled and the connection back.

    Raises:
        psycopg.Error: What the server refuses, before the first piece or after the last.
    """
    pgconn = connection.pgconn
    pgconn.send_query(statement)
    _arrived(pgconn)
    started = pgconn.get_result()
    if started is None or started.status != pq.ExecStatus.COPY_OUT:
        raise _error(pgconn, started)
    try:
        yield from _pieces(pgconn)
    except BaseException:
        # What went wrong is more to the point than what goes wrong in tidying up after it.
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=5)
            while pgconn.get_copy_data(0)[0] > 0:
                pass
            _ended(pgconn)
        raise
    ended = _ended(pgconn)
    if ended is None or ended.status != pq.ExecStatus.COMMAND_OK:
        raise _error(pgconn, ended)


def _pieces(pgconn: pq.abc.PGconn) -> Iterator[tuple[int, bytes]]:
    rows: list[memoryview] = []
    while True:
        size, row = pgconn.get_copy_data(1)
        if size > 0:
            rows.append(row)
            if len(rows) < _ROWS_AT_ONCE:
                continue
        elif size == 0:
            select.select([pgconn.socket], [], [])
            pgconn.consume_input()
            continue
        if rows:
            yield len(rows), b"".join(rows)
            rows.clear()
        if size < 0:
            return


def _arrived(pgconn: pq.abc.PGconn) -> None:
    """Wait until the answer to a query is here."""
    while pgconn.flush():
        select.select([], [pgconn.socket], [])
    while pgconn.is_busy():
        select.select([pgconn.socket], [], [])
        pgconn.consume_input()


def _ended(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The last word on the statement; after it the connection is free."""
    ended = pgconn.get_result()
    while pgconn.get_result() is not None:
        pass
    return ended


def _error(pgconn: pq.abc.PGconn, result: pq.abc.PGresult | None) -> psycopg.Error:
    if result is None:
        return errors.OperationalError(pgconn.get_error_message())
    return errors.error_from_result(result)
