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
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import psycopg
from psycopg import sql

from fraud.database import Address, session
from fraud.job import JobError, Progress, flag, run, text
from fraud.landing import batches, sweep, write_whole
from fraud.transactions import COLUMN_TYPES, FIELDS, TABLE, RejectedError, parse

__all__ = ["Counts", "create_tables", "ingest", "main"]

LANDING_DIR = "/data/landing"
REJECTED = "rejected"
LEDGER = "fraud_detection_2_batches"
POLL_SECONDS = 0.5
LONGEST_PAUSE = 30.0
# Two loggers whose batches share transactions may wait for each other; PostgreSQL then ends one of the two.
TRIES_AFTER_DEADLOCK = 5
# Held while the tables are made: `CREATE TABLE IF NOT EXISTS` alone fails when two run it at once.
TABLES_LOCK = 7_120_521_001

CREATE_TABLE = sql.SQL(
    "CREATE TABLE IF NOT EXISTS {table} (id bigserial PRIMARY KEY, {columns},"
    " is_fraud boolean NOT NULL, fraud_confirmed boolean)"
).format(
    table=sql.Identifier(TABLE),
    columns=sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in COLUMN_TYPES.items()
    ),
)
CREATE_LEDGER = sql.SQL(
    "CREATE TABLE IF NOT EXISTS {} (batch text, sha256 text, inserted bigint, already_there bigint,"
    " rejected bigint, ingested_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (batch, sha256))"
).format(sql.Identifier(LEDGER))
FIELD_LIST = sql.SQL(", ").join(map(sql.Identifier, FIELDS))
CREATE_STAGING = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS staging ON COMMIT DELETE ROWS AS SELECT 0::bigint AS line, {} FROM {} LIMIT 0"
).format(FIELD_LIST, sql.Identifier(TABLE))
COPY = sql.SQL("COPY staging (line, {}) FROM STDIN").format(FIELD_LIST)
INSERT = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM staging ORDER BY line ON CONFLICT (trans_num) DO NOTHING").format(
    sql.Identifier(TABLE), FIELD_LIST, FIELD_LIST
)
CLAIM = sql.SQL("INSERT INTO {} (batch, sha256) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING batch").format(
    sql.Identifier(LEDGER)
)
RECORD = sql.SQL(
    "UPDATE {} SET inserted = %s, already_there = %s, rejected = %s WHERE batch = %s AND sha256 = %s"
).format(sql.Identifier(LEDGER))
RECALL = sql.SQL("SELECT inserted, already_there, rejected FROM {} WHERE batch = %s AND sha256 = %s").format(
    sql.Identifier(LEDGER)
)


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
    print(_follow(address, folder) if following else _once(address, folder))


def create_tables(connection: psycopg.Connection) -> None:
    """Create the table and the ledger where they are absent, also when several loggers start at once."""
    with connection.transaction():
        found = connection.execute("SELECT to_regclass(%s), to_regclass(%s)", (TABLE, LEDGER)).fetchone()
        # Looked up first: a user who may only insert is refused even `IF NOT EXISTS`.
        if not found or None in found:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
            connection.execute(CREATE_TABLE)
            connection.execute(CREATE_LEDGER)
        connection.execute(CREATE_STAGING)


def ingest(connection: psycopg.Connection, batch: Path) -> Counts:
    """Take one batch in, unless the ledger has it; either way, say what became of its lines."""
    for attempt in range(TRIES_AFTER_DEADLOCK):
        try:
            with batch.open("rb") as file, connection.transaction():
                return _ingest(connection, batch, file)
        except psycopg.errors.DeadlockDetected:
            time.sleep(0.1 * 2**attempt)
        except OSError as error:
            raise JobError(f"cannot read {batch}: {error.strerror}") from None
    raise JobError(f"{batch.name} met a deadlock {TRIES_AFTER_DEADLOCK} times: is another logger running?")


def _ingest(connection: psycopg.Connection, batch: Path, file: BufferedReader) -> Counts:
    # The content is part of the key: a batch that comes back changed under its old name is not overlooked.
    key = (batch.name, hashlib.file_digest(file, "sha256").hexdigest())
    file.seek(0)
    if connection.execute(CLAIM, key).fetchone() is None:
        return _recall(connection, key)
    rejects: list[bytes] = []
    accepted = 0
    with connection.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            for line, values in _rows(file, rejects):
                copy.write_row((line, *values))
                accepted += 1
        inserted = cursor.execute(INSERT).rowcount
        counts = Counts(inserted, accepted - inserted, len(rejects), 1)
        cursor.execute(RECORD, (counts.inserted, counts.already_there, counts.rejected, *key))
    if rejects:
        # Before the commit: if we are killed in between, both are done again.
        path = batch.parent / REJECTED / batch.name
        write_whole(path, rejects)
        print(f"{batch.name}: {len(rejects):,} lines rejected, see {path}", file=sys.stderr)
    return counts


def _rows(file: BufferedReader, rejects: list[bytes]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The transactions of a batch with their line numbers; what is none goes to ``rejects``."""
    for number, line in enumerate(file, start=1):
        if line.isspace():
            continue
        try:
            yield number, parse(line)
        except RejectedError as error:
            raw = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            entry = {"line": number, "reason": str(error), "raw": raw}
            rejects.append(json.dumps(entry).encode("ascii") + b"\n")


def _recall(connection: psycopg.Connection, key: tuple[str, str]) -> Counts:
    """What the ledger says of a batch that is in: its rows are all there already."""
    inserted, already_there, rejected = connection.execute(RECALL, key).fetchone() or (0, 0, 0)
    return Counts(0, inserted + already_there, rejected, 1)


def _once(address: Address, folder: Path) -> Counts:
    waiting = batches(folder)
    counts = Counts()
    progress = Progress()
    with session(address, "logger_sql") as connection:
        create_tables(connection)
        for batch in waiting:
            counts += ingest(connection, batch)
            progress.show(f"{counts}, {len(waiting) - counts.batches:,} to go")
    return counts


def _follow(address: Address, folder: Path) -> Counts:
    """Ingest batches as they land, until SIGTERM; the current one ends, a lost database is awaited."""
    follower = _Follower(folder)
    signal.signal(signal.SIGTERM, follower.stop)
    pause = 0.0
    while not follower.stopping:
        try:
            with session(address, "logger_sql") as connection:
                create_tables(connection)
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
    """What following remembers: the counts, the files already looked at, and whether it is time to stop."""

    def __init__(self, folder: Path) -> None:
        self.counts = Counts()
        self.stopping = False
        self._folder = folder
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def stop(self, *_: object) -> None:
        """SIGTERM's handler."""
        self.stopping = True

    def watch(self, connection: psycopg.Connection) -> None:
        """Ingest what lands, until it is time to stop."""
        while not self.stopping:
            for batch in batches(self._folder):
                if self.stopping:
                    return
                self._take(connection, batch)
            self.sleep(POLL_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake up to stop: a signal's handler does not cut a sleep short."""
        until = time.monotonic() + seconds
        while not self.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))

    def _take(self, connection: psycopg.Connection, batch: Path) -> None:
        try:
            found = batch.stat()
        except FileNotFoundError:
            return
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._seen.get(batch) != version:
            self.counts += ingest(connection, batch)
            self._seen[batch] = version
            print(f"{batch.name}: {self.counts}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
