"""The logger: takes each batch of the landing folder into PostgreSQL exactly once.

A batch is one database transaction: its rows and its entry in the ledger appear together or not at all.
Killed at any moment and run again, it takes up what is not in the ledger. The rows' ``trans_num`` is unique,
so a transaction that comes again in another batch is counted, not doubled. Lines that are no transaction go
to ``rejected/<batch>`` beside the batches, each with its number, its reason and its text; the rest goes in.

With ``LOGGER_FOLLOW=1`` it stays and takes up new batches as they land, until SIGTERM.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import psycopg
from psycopg import sql

from fraud.confirmations import CONFIRMATIONS, share_truth
from fraud.database import Address, session
from fraud.landing import batches, sweep, write_whole
from fraud.rows import pieces
from fraud.tables import LEDGER, create_tables
from fraud.transactions import ROW, TABLE
from job.errors import JobError
from job.program import fail, run
from job.progress import Heartbeat
from job.settings import flag, text

__all__ = ["Counts", "ingest", "main", "prepare"]

LANDING_DIR = "/data/landing"
REJECTED = "rejected"
POLL_SECONDS = 0.5
LONGEST_PAUSE = 30.0
# Two loggers whose batches share transactions may wait for each other; PostgreSQL then ends one of the two.
TRIES_AFTER_DEADLOCK = 5
NAMES = {
    "table": sql.Identifier(TABLE),
    "ledger": sql.Identifier(LEDGER),
    "confirmations": sql.Identifier(CONFIRMATIONS),
    "columns": sql.SQL(", ").join(map(sql.Identifier, ROW)),
}
COPY = sql.SQL("COPY {table} ({columns}) FROM STDIN").format(**NAMES)
CREATE_STAGING = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS staging ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} LIMIT 0"
).format(**NAMES)
COPY_STAGING = sql.SQL("COPY staging ({columns}) FROM STDIN").format(**NAMES)
# In the order of the lines, which is that of their places in a table that was empty.
INSERT = sql.SQL(
    "INSERT INTO {table} ({columns}) SELECT {columns} FROM staging ORDER BY ctid ON CONFLICT (trans_num) DO NOTHING"
).format(**NAMES)
# The newest id before: the ids of this batch come after it.
CLAIM = sql.SQL(
    "INSERT INTO {ledger} (batch, sha256) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    " RETURNING coalesce(pg_sequence_last_value(pg_get_serial_sequence({name}, 'id')::regclass), 0)"
).format(name=sql.Literal(TABLE), **NAMES)
# A confirmation that came first.
TAKE_TRUTH = sql.SQL(
    "UPDATE {table} AS t SET fraud_confirmed = known.is_fraud FROM {confirmations} AS known"
    " WHERE t.id > %s AND t.id <= (SELECT pg_sequence_last_value(pg_get_serial_sequence({name}, 'id')::regclass))"
    " AND t.fraud_confirmed IS NULL AND known.trans_num = t.trans_num"
).format(name=sql.Literal(TABLE), **NAMES)
RECORD = sql.SQL(
    "UPDATE {} SET inserted = %s, already_there = %s, rejected = %s WHERE batch = %s AND sha256 = %s"
).format(sql.Identifier(LEDGER))
RECALL = sql.SQL("SELECT inserted, already_there, rejected FROM {} WHERE batch = %s AND sha256 = %s").format(
    sql.Identifier(LEDGER)
)


class UnreadableError(JobError):
    """A batch that cannot be read."""


@dataclass(frozen=True)
class Counts:
    """What became of the lines of some batches."""

    inserted: int = 0
    already_there: int = 0
    rejected: int = 0
    batches: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.inserted + other.inserted,
            self.already_there + other.already_there,
            self.rejected + other.rejected,
            self.batches + other.batches,
        )

    def __str__(self) -> str:
        return (
            f"{self.inserted:,} inserted, {self.already_there:,} already there, {self.rejected:,} rejected"
            f" → {TABLE} ({self.batches:,} batches)"
        )


def main() -> None:
    """Ingest what has landed, once or for as long as it is wanted, and say what became of it."""
    folder = Path(text("LANDING_DIR", LANDING_DIR))
    address = Address.read()
    following = flag("LOGGER_FOLLOW")
    sweep(folder / REJECTED)
    counts, unread = (_follow(address, folder), ()) if following else _once(address, folder)
    print(counts)
    fail(unread)


def prepare(connection: psycopg.Connection) -> None:
    """Make ready to ingest: the tables, and a staging table of this connection's own."""
    create_tables(connection)
    connection.execute(CREATE_STAGING)


def ingest(connection: psycopg.Connection, batch: Path) -> Counts:
    """Take one batch in, unless the ledger has it; either way, say what became of its lines.

    Raises:
        UnreadableError: It cannot be read: nothing has changed.
        JobError: It met deadlock after deadlock, or its rejects cannot be written.
    """
    for attempt in range(TRIES_AFTER_DEADLOCK):
        try:
            with batch.open("rb") as file, connection.transaction():
                return _ingest(connection, batch, file)
        except psycopg.errors.DeadlockDetected:
            time.sleep(0.1 * 2**attempt)
        except FileNotFoundError:
            # Whoever wrote it saw it in the ledger, and removed it.
            return Counts()
        except OSError as error:
            raise UnreadableError(f"cannot read {batch}: {error.strerror}") from None
    raise JobError(f"{batch.name} met a deadlock {TRIES_AFTER_DEADLOCK} times: is another logger running?")


def _ingest(connection: psycopg.Connection, batch: Path, file: BufferedReader) -> Counts:
    # The content is part of the key: a batch that comes back changed under its old name is not overlooked.
    key = (batch.name, hashlib.file_digest(file, "sha256").hexdigest())
    claimed = connection.execute(CLAIM, key).fetchone()
    if claimed is None:
        return _recall(connection, key)
    rejects: list[bytes] = []
    try:
        with connection.transaction():
            accepted = inserted = _copy(connection, COPY, file, rejects)
    except psycopg.errors.UniqueViolation:
        # Some of them are there already: once more, by a table that takes them twice.
        accepted = _copy(connection, COPY_STAGING, file, rejects)
        inserted = connection.execute(INSERT).rowcount
    counts = Counts(inserted, accepted - inserted, len(rejects), 1)
    with connection.pipeline():
        share_truth(connection)
        connection.execute(TAKE_TRUTH, claimed)
        connection.execute(RECORD, (counts.inserted, counts.already_there, counts.rejected, *key))
    if rejects:
        # Before the commit: if we are killed in between, both are done again.
        path = batch.parent / REJECTED / batch.name
        write_whole(path, rejects)
        print(f"{batch.name}: {len(rejects):,} lines rejected, see {path}", file=sys.stderr)
    return counts


def _copy(connection: psycopg.Connection, statement: sql.Composed, file: BufferedReader, rejects: list[bytes]) -> int:
    """Copy the transactions of a batch; what is none goes to ``rejects``."""
    file.seek(0)
    rejects.clear()
    accepted = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for count, piece in pieces(file, lambda *line: rejects.append(_entry(*line))):
            copy.write(piece)
            accepted += count
    return accepted


def _entry(number: int, line: bytes, reason: str) -> bytes:
    """A line that is no transaction, as its batch's reject file keeps it."""
    raw = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    return json.dumps({"line": number, "reason": reason, "raw": raw}).encode("ascii") + b"\n"


def _recall(connection: psycopg.Connection, key: tuple[str, str]) -> Counts:
    """What the ledger says of a batch that is in: its rows are all there already."""
    inserted, already_there, rejected = connection.execute(RECALL, key).fetchone() or (0, 0, 0)
    return Counts(0, inserted + already_there, rejected, 1)


def _once(address: Address, folder: Path) -> tuple[Counts, Sequence[UnreadableError]]:
    """Ingest what has landed; what cannot be read is handed out, after the rest is in."""
    waiting = batches(folder)
    counts, unread = Counts(), list[UnreadableError]()
    progress = Heartbeat()
    with session(address, "logger_sql") as connection:
        prepare(connection)
        for batch in waiting:
            try:
                counts += ingest(connection, batch)
            except UnreadableError as error:
                unread.append(error)
            progress.show(f"{counts}, {len(waiting) - counts.batches - len(unread):,} to go")
    return counts, unread


def _follow(address: Address, folder: Path) -> Counts:
    """Ingest batches as they land, until SIGTERM; the current one ends, a lost database is awaited."""
    follower = _Follower(folder)
    signal.signal(signal.SIGTERM, follower.stop)
    pause = 0.0
    while not follower.stopping:
        try:
            with session(address, "logger_sql") as connection:
                prepare(connection)
                print(f"following {folder}", file=sys.stderr)
                pause = POLL_SECONDS
                follower.watch(connection)
        except JobError as error:
            if not pause:
                # The first time it is more likely a mistake than an outage: let the user see it at once.
                raise
            pause = min(pause * 2, LONGEST_PAUSE)
            print(f"{error}; trying again in {pause:.0f} s", file=sys.stderr)
            follower.sleep(pause)
    return follower.counts


class _Follower:
    """What following remembers: the counts, what it looked at, what cannot be read, and whether it is time to stop."""

    def __init__(self, folder: Path) -> None:
        self.counts = Counts()
        self.stopping = False
        self._folder = folder
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._unread: dict[Path, float] = {}

    def stop(self, *_: object) -> None:
        """SIGTERM's handler."""
        self.stopping = True

    def watch(self, connection: psycopg.Connection) -> None:
        """Ingest what lands, until it is time to stop."""
        while not self.stopping:
            found = batches(self._folder)
            for batch in found:
                if self.stopping:
                    return
                self._take(connection, batch)
            # What its writer removed is not remembered.
            self._seen = {batch: self._seen[batch] for batch in found if batch in self._seen}
            self._unread = {batch: self._unread[batch] for batch in found if batch in self._unread}
            self.sleep(POLL_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake up to stop: a signal's handler does not cut a sleep short."""
        until = time.monotonic() + seconds
        while not self.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))

    def _take(self, connection: psycopg.Connection, batch: Path) -> None:
        """Ingest a batch that is new; one that cannot be read is tried again later, and the rest goes on."""
        if time.monotonic() < self._unread.get(batch, 0.0):
            return
        try:
            found = batch.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._seen.get(batch) == version:
                return
            self.counts += ingest(connection, batch)
        except FileNotFoundError:
            return
        except (OSError, UnreadableError) as error:
            if batch not in self._unread:
                print(f"{error}; trying again every {LONGEST_PAUSE:.0f} s", file=sys.stderr)
            self._unread[batch] = time.monotonic() + LONGEST_PAUSE
            return
        self._unread.pop(batch, None)
        self._seen[batch] = version
        print(f"{batch.name}: {self.counts}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
