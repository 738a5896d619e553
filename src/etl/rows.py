"""Rows on their way: products as they are read, the same rows cleaned, without the empty and the doubled ones.

The bytes of the result do not depend on how many processes work: chunks are cut by their contents, come back in
their order, and one place decides which row of two equal ones stays.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from catalog.text import clean
from job.errors import JobError
from job.program import undisturbed

__all__ = ["Cleaner", "Rows", "Tally", "Texts", "clean_texts", "cleaner", "cores", "in_chunks"]

# A chunk is full at so many rows or characters: a thousand descriptions of 1 MB must not wait in memory together.
ROWS_IN_CHUNK, CHARACTERS_IN_CHUNK = 2_000, 4_000_000
DIGEST = 16


class Rows(NamedTuple):
    """Some products, column by column."""

    productid: list[int]
    imageid: list[int]
    designation: list[str]
    description: list[str]
    prdtypecode: list[int | None]


Row = tuple[int, int, str, str, int | None]


class Texts(NamedTuple):
    """The two texts of some products, cleaned; the digest of each pair, and none where both are empty."""

    designation: list[str]
    description: list[str]
    digest: list[bytes | None]


@dataclass
class Tally:
    """How many rows came, and how many of them were dropped, by reason."""

    rows: int = 0
    rejected: dict[str, int] = field(default_factory=lambda: {"duplicate": 0, "empty": 0})

    @property
    def kept(self) -> int:
        """How many rows are in the result."""
        return self.rows - sum(self.rejected.values())


def in_chunks(rows: Iterable[Row]) -> Iterator[Rows]:
    """The rows by the chunk, in their order."""
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row[2]) + len(row[3])
        if len(chunk) >= ROWS_IN_CHUNK or characters >= CHARACTERS_IN_CHUNK:
            yield _columns(chunk)
            chunk, characters = [], 0
    if chunk:
        yield _columns(chunk)


def clean_texts(designations: list[str], descriptions: list[str]) -> Texts:
    """What one process does with a chunk."""
    titles, others = list(map(clean, designations)), list(map(clean, descriptions))
    return Texts(titles, others, list(map(_digest, titles, others)))


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Cleaner:
    """Cleans chunks, in other processes where it has a pool of them."""

    def __init__(self, pool: ProcessPoolExecutor | None = None, workers: int = 1) -> None:
        self._pool, self._ahead = pool, 2 * workers

    def clean(self, chunks: Iterable[Rows], tally: Tally) -> Iterator[Rows]:
        """The chunks in their order: cleaned, and of equal rows only the first.

        Raises:
            JobError: A process died.
        """
        # 16 bytes of each pair of texts, about 100 with what Python adds: all that grows with the rows.
        seen: set[bytes] = set()
        try:
            for chunk, texts in self._cleaned(chunks):
                yield _kept(chunk, texts, seen, tally)
        except BrokenProcessPool:
            raise JobError(
                "a process that cleans was killed, for lack of memory perhaps: run cleaning with CLEANING_WORKERS=1"
            ) from None

    def _cleaned(self, chunks: Iterable[Rows]) -> Iterator[tuple[Rows, Texts]]:
        if self._pool is None:
            for chunk in chunks:
                yield chunk, clean_texts(chunk.designation, chunk.description)
            return
        waiting: deque[tuple[Rows, Future[Texts]]] = deque()
        for chunk in chunks:
            # This may start a process, which would complain of a beginning that does not come.
            with undisturbed():
                waiting.append((chunk, self._pool.submit(clean_texts, chunk.designation, chunk.description)))
            if len(waiting) > self._ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


@contextmanager
def cleaner(workers: int) -> Iterator[Cleaner]:
    """A cleaner with so many processes; with one, this process does the work."""
    if workers == 1:
        yield Cleaner()
        return
    # A forked process would have this one's connections and locks.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_attend)
    try:
        yield Cleaner(pool, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _attend() -> None:
    """A process of the pool leaves Ctrl-C to the one that started it, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _kept(chunk: Rows, texts: Texts, seen: set[bytes], tally: Tally) -> Rows:
    """A chunk's rows with their cleaned texts, without the empty ones and those that were there before."""
    kept: list[Row] = []
    cleaned = zip(chunk.productid, chunk.imageid, texts.designation, texts.description, chunk.prdtypecode, strict=True)
    for row, digest in zip(cleaned, texts.digest, strict=True):
        if digest is None:
            tally.rejected["empty"] += 1
        elif digest in seen:
            tally.rejected["duplicate"] += 1
        else:
            seen.add(digest)
            kept.append(row)
    tally.rows += len(texts.digest)
    return _columns(kept)


def _columns(rows: list[Row]) -> Rows:
    return Rows(*map(list, zip(*rows, strict=True))) if rows else Rows([], [], [], [], [])


def _digest(designation: str, description: str) -> bytes | None:
    if not (designation or description):
        return None
    # Neither holds a NUL after cleaning.
    return blake2b(f"{designation}\0{description}".encode(), digest_size=DIGEST).digest()
