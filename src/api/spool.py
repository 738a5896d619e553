"""Documents on disk until somebody has them: one SQLite file, which one process has at a time.

The lock is SQLite's own, in exclusive mode: it goes with the process, however that ends, and needs no shared memory, so
that every file system will do. A committed document outlives a `kill -9`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from job.errors import SettingError

__all__ = ["Batch", "Bound", "Spool"]

FILE = "outbox.db"
VERSION = 1
# A row is a batch: SQLite gives way to other threads once a row, and comes back when they let it. Numbers are ours, not
# SQLite's: they go on rising when the table is empty, also for batches that the disk did not take.
TABLES = """
CREATE TABLE waiting (number INTEGER PRIMARY KEY, collection TEXT NOT NULL, count INTEGER NOT NULL, documents BLOB);
CREATE TABLE refused (number INTEGER PRIMARY KEY, collection TEXT NOT NULL, document BLOB NOT NULL, reason TEXT);
"""
WAITING = "SELECT coalesce(sum(count), 0), coalesce(sum(length(documents)), 0), coalesce(max(number), 0) FROM waiting"
OLDEST = "SELECT number, collection, count, documents FROM waiting WHERE number > ? ORDER BY number LIMIT ?"
FORGET_REFUSED = "DELETE FROM refused WHERE number NOT IN (SELECT number FROM refused ORDER BY number DESC LIMIT ?)"
# Seconds that a predecessor, which is about to end, has to let go.
LOCK_SECONDS = 2.0
# What is kept of refused documents, the newest.
MOST_REFUSED = 1_000
# What is held in memory while the disk takes nothing, and what is taken out at once.
HELD_BYTES, MOST_AT_ONCE, BYTES_AT_ONCE = 64 << 20, 1_000, 8 << 20
# SQLite's primary result codes.
BUSY, CORRUPT, FULL, NOT_A_DATABASE = 5, 11, 13, 26


@dataclass(frozen=True)
class Bound:
    """How much waits at most, by number and by size."""

    documents: int = 500_000
    bytes: int = 512 << 20


class Batch(NamedTuple):
    """Documents that wait: their number in the order, where they belong, how many, and themselves: BSON, end to end."""

    number: int
    collection: str
    quantity: int
    documents: bytes


class Spool:
    """What waits, in order; any thread may ask. A disk that takes nothing more costs no document until memory is full.

    Attributes:
        trouble: Why the disk did not take the last change; empty where it did.

    Raises:
        SettingError: The folder cannot be written, is another process's, or holds what this version does not know.
    """

    def __init__(self, folder: Path, bound: Bound) -> None:
        self._bound = bound
        self._lock = threading.Lock()
        try:
            self._connection = _open(folder)
        except (OSError, sqlite3.Error) as error:
            raise SettingError(_said(folder, error)) from None
        self._count: int
        self._bytes: int
        self._count, self._bytes, self._last = self._connection.execute(WAITING).fetchone()
        self._done = 0
        self._held: list[Batch] = []
        self.trouble = ""

    def __len__(self) -> int:
        return self._count

    @property
    def held(self) -> int:
        """How many documents are in memory alone."""
        return sum(batch.quantity for batch in self._held)

    def add(self, collection: str, documents: Sequence[bytes]) -> bool:
        """Save documents; False where there is no room for them, and they are gone."""
        joined = b"".join(documents)
        with self._lock:
            if self._is_full(len(documents), len(joined)):
                return False
            self._last += 1
            self._count += len(documents)
            self._bytes += len(joined)
            self._held.append(Batch(self._last, collection, len(documents), joined))
            self._save()
            return True

    def save(self) -> None:
        """Try again to save what the disk did not take."""
        with self._lock:
            self._save()

    def first(self) -> list[Batch]:
        """The oldest batches: about a thousand documents, or fewer where they are large."""
        with self._lock:
            saved = self._connection.execute(OLDEST, (self._done, MOST_AT_ONCE))
            found: list[Batch] = []
            count = size = 0
            for batch in chain(map(Batch._make, saved), self._held):
                count += batch.quantity
                size += len(batch.documents)
                if found and (count > MOST_AT_ONCE or size > BYTES_AT_ONCE):
                    break
                found.append(batch)
            return found

    def done(self, batches: Sequence[Batch], refused: Sequence[tuple[str, bytes, str]]) -> None:
        """Forget the oldest batches; of what was refused, keep collection, document and reason apart."""
        with self._lock:
            self._done = batches[-1].number
            self._count -= sum(batch.quantity for batch in batches)
            self._bytes -= sum(len(batch.documents) for batch in batches)
            self._held = [batch for batch in self._held if batch.number > self._done]
            with self._changing():
                self._connection.execute("DELETE FROM waiting WHERE number <= ?", (self._done,))
                if refused:
                    kept = "INSERT INTO refused (collection, document, reason) VALUES (?, ?, ?)"
                    self._connection.executemany(kept, refused)
                    self._connection.execute(FORGET_REFUSED, (MOST_REFUSED,))

    def close(self) -> None:
        """Let go of the file. What the disk never took is gone."""
        with self._lock:
            self._connection.close()

    def _is_full(self, count: int, size: int) -> bool:
        """Whether so much more is too much: of all that waits, or of what is in memory for want of a disk."""
        if self._count + count > self._bound.documents or self._bytes + size > self._bound.bytes:
            return True
        return bool(self.trouble) and sum(len(batch.documents) for batch in self._held) + size > HELD_BYTES

    def _save(self) -> None:
        with self._changing():
            self._connection.executemany("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?)", self._held)
        if not self.trouble:
            self._held.clear()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction, which succeeds or is told of in `trouble`."""
        try:
            with self._connection:
                yield
        except sqlite3.Error as error:
            self.trouble = str(error)
        else:
            self.trouble = ""


def _open(folder: Path) -> sqlite3.Connection:
    """The file, locked, with its tables, and read once: what is damaged is known now."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / FILE, timeout=LOCK_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit outlives the machine too; it is this thread alone that waits for the disk.
        connection.execute("PRAGMA synchronous = FULL")
        _prepare(connection, folder)
        connection.execute(WAITING).fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, folder: Path) -> None:
    """Make the tables where there are none. It always writes: so it is known now whether that can be done."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise SettingError(
            f"API_SPOOL={folder} holds documents in version {version} of the spool, and this API knows {VERSION}: "
            "run the newer API until none waits, or name another folder"
        )
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if version == 0:
            for statement in TABLES.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _said(folder: Path, error: OSError | sqlite3.Error) -> str:
    """Why the spool cannot be opened, and what to do."""
    code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.Error) else None
    if code == BUSY:
        return f"API_SPOOL={folder} is another process's: stop that one, or name a folder of its own for each"
    if code in (CORRUPT, NOT_A_DATABASE):
        return f"API_SPOOL={folder} is damaged ({error}): move its {FILE} away, and what waits in it is lost"
    if code == FULL:
        return f"API_SPOOL={folder} is on a disk that is full: make room, or name another folder"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"API_SPOOL={folder} cannot be written ({reason}): mount a volume there, or name another folder"
