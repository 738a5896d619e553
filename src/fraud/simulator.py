"""The simulator: scored card transactions, written as batches of JSON Lines into the landing folder.

Generated from a seed, or read from the CSV that ``TRANSACTIONS_CSV`` names. The text of a CSV passes through
as it is: what it means is decided in one place, where the rows enter the database (``fraud.logger_sql``).
Run again, it makes the same batches under the same names and leaves those that are there untouched.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from fraud.generator import Generator
from fraud.job import JobError, Progress, run, text, whole_number
from fraud.landing import BATCH_SUFFIX, sweep, write_whole
from fraud.transactions import FIELDS

__all__ = ["main"]

TRANSACTIONS = 10_000
SEED = 42
BATCH_SIZE = 1_000
LANDING_DIR = "/data/landing"
Counts = tuple[int, int]


def main() -> None:
    """Write the batches and say how many."""
    folder = Path(text("LANDING_DIR", LANDING_DIR))
    batch_size = whole_number("BATCH_SIZE", BATCH_SIZE, least=1)
    source = text("TRANSACTIONS_CSV")
    seed, start = whole_number("SEED", SEED), whole_number("START", 0)
    wanted = whole_number("TRANSACTIONS", TRANSACTIONS)
    sweep(folder)
    if source:
        count, batches = _write_csv(Path(source), folder, batch_size)
    else:
        records = map(Generator(seed).transaction, range(start, start + wanted))
        count, batches = _write(folder, f"seed-{seed}", records, start, batch_size)
    print(f"{count:,} transactions in {batches:,} batches → {folder}")


def _write(folder: Path, name: str, records: Iterable[dict[str, Any]], start: int, size: int) -> Counts:
    """Cut the records into batches, named by their source and their range; return how many of each."""
    progress = Progress()
    records = iter(records)
    count = batches = 0
    while batch := list(islice(records, size)):
        first = start + count
        path = folder / f"{name}-{first:010d}-{first + len(batch) - 1:010d}{BATCH_SUFFIX}"
        _write_batch(path, batch)
        count += len(batch)
        batches += 1
        progress.show(f"{count:,} transactions …")
    return count, batches


def _write_batch(path: Path, batch: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in batch).encode("ascii")
    try:
        if path.stat().st_size == len(lines) and path.read_bytes() == lines:
            return
    except OSError:
        # Not there, or not readable: write it, and let the writing say what is wrong.
        pass
    write_whole(path, [lines])


def _write_csv(source: Path, folder: Path, size: int) -> Counts:
    """Pass a CSV through. Its batches are named by its content: another file never takes their names."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        # Bytes that are not UTF-8 survive as lone surrogates: the logger rejects their lines, not the file.
        with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            return _write(folder, f"csv-{digest}", _rows(lines, source), 0, size)
    except OSError as error:
        raise JobError(f"cannot read TRANSACTIONS_CSV {source}: {error.strerror}") from None
    except csv.Error as error:
        raise JobError(f"TRANSACTIONS_CSV {source} is not a CSV that can be read: {error}") from None


def _rows(lines: TextIO, source: Path) -> Iterator[dict[str, Any]]:
    """The rows as the fields of a transaction; other columns are named once and left out."""
    reader = csv.DictReader(lines)
    header = reader.fieldnames or []
    missing = [name for name in FIELDS if name not in header]
    if missing:
        raise JobError(f"TRANSACTIONS_CSV {source} lacks the columns {', '.join(missing)}")
    ignored = [name or "(unnamed)" for name in header if name not in FIELDS]
    if ignored:
        print(f"columns left out: {', '.join(ignored)}", file=sys.stderr)
    for row in reader:
        # A row with too few or too many values stays wrong in the batch, and is rejected there with its line.
        record = {name: row[name] for name in FIELDS if row[name] is not None}
        if None in row:
            record["(more values than columns)"] = row[None]
        yield record


if __name__ == "__main__":
    run(main)
