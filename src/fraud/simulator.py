"""The simulator: card transactions, written as batches of JSON Lines into the landing folder, and their truth.

Generated from a seed, or read from the CSV that ``TRANSACTIONS_CSV`` names. The text of a CSV passes through
as it is: what it means is decided in one place, where the rows enter the database (``fraud.logger_sql``).
The truth of a generated transaction comes out days later: beside a batch there is a file of the confirmations that
came in while its transactions were made. So ranges that continue each other have each truth once.
Run again, it makes the same files under the same names and leaves those that are there untouched.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from fraud.csv_lines import Line, lines, wrong_header
from fraud.generator import Generator, check_range
from fraud.landing import BATCH_SUFFIX, CONFIRMATIONS_SUFFIX, sweep, write_whole
from fraud.scenario.drift import Drift
from fraud.transactions import FIELDS
from job.errors import JobError
from job.program import run
from job.progress import Heartbeat
from job.settings import text, whole_number

__all__ = ["main"]

TRANSACTIONS = 100_000
SEED = 42
BATCH_SIZE = 1_000
LANDING_DIR = "/data/landing"
CONFIRMATIONS_FOLDER = "confirmations"
CONFIRMATION_COLUMNS = "trans_num,is_fraud,confirmed_by,confirmed_at"
# So many broken lines of a CSV are told; the batches have them all.
TOLD = 10


def main() -> None:
    """Write the batches, and what is confirmed by then; say how many of each."""
    folder = Path(text("LANDING_DIR", LANDING_DIR))
    batch_size = whole_number("BATCH_SIZE", BATCH_SIZE, least=1)
    source = text("TRANSACTIONS_CSV")
    generator = Generator(whole_number("SEED", SEED), Drift.parse(text("DRIFT")))
    start, wanted = whole_number("START", 0), whole_number("TRANSACTIONS", TRANSACTIONS)
    check_range(start, wanted)
    confirmations = Path(text("CONFIRMATIONS_DIR", str(folder / CONFIRMATIONS_FOLDER)))
    sweep(folder)
    if source:
        written = _write_csv(Path(source), folder, batch_size)
    else:
        written = _write_generated(generator, range(start, start + wanted), folder, confirmations, batch_size)
    for line in written:
        print(line)


def _write_generated(
    generator: Generator, numbers: range, folder: Path, confirmations: Path, size: int
) -> Iterator[str]:
    """Write transactions and confirmations; say how many there are."""
    sweep(confirmations)
    batches = files = truths = frauds = 0
    for batch in _batches(folder, generator.name, map(generator.transaction, numbers), numbers.start, size):
        batches += 1
        after = generator.event(batch.start - 1).at if batch.start else datetime.min
        due = generator.confirmations(after, generator.event(batch.stop - 1).at)
        if due:
            path = confirmations / f"{_stem(generator.name, batch)}{CONFIRMATIONS_SUFFIX}"
            _put(path, "\n".join([CONFIRMATION_COLUMNS, *map(str, due), ""]).encode("ascii"))
            files += 1
        truths += len(due)
        frauds += sum(truth.is_fraud for truth in due)
    yield f"{len(numbers):,} transactions in {batches:,} batches → {folder}"
    yield f"{truths:,} confirmations ({frauds:,} frauds) in {files:,} files → {confirmations}"


def _batches(folder: Path, name: str, records: Iterable[dict[str, Any]], start: int, size: int) -> Iterator[range]:
    """Cut the records into batches, named by their source and their range, and write them."""
    progress, records, first = Heartbeat(), iter(records), start
    while batch := list(islice(records, size)):
        numbers = range(first, first + len(batch))
        lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in batch)
        _put(folder / f"{_stem(name, numbers)}{BATCH_SUFFIX}", lines.encode("ascii"))
        yield numbers
        first = numbers.stop
        progress.show(f"{first - start:,} transactions …")


def _stem(name: str, numbers: range) -> str:
    return f"{name}-{numbers[0]:010d}-{numbers[-1]:010d}"


def _put(path: Path, content: bytes) -> None:
    """Write a file, unless it is there with this content."""
    try:
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    except OSError:
        # Not there, or not readable: write it, and let the writing say what is wrong.
        pass
    write_whole(path, [content])


def _write_csv(source: Path, folder: Path, size: int) -> Iterator[str]:
    """Pass a CSV through. Its batches are named by its content: another file never takes their names."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
            file.seek(0)
            rows = _rows(lines(file), source)
            counts = [len(batch) for batch in _batches(folder, f"csv-{digest}", rows, 0, size)]
    except OSError as error:
        raise JobError(f"cannot read TRANSACTIONS_CSV {source}: {error.strerror}") from None
    yield f"{sum(counts):,} transactions in {len(counts):,} batches → {folder}"


def _rows(found: Iterator[Line], source: Path) -> Iterator[dict[str, Any]]:
    """The rows as the fields of a transaction; other columns are named once and left out."""
    first = next(found, None)
    header = first.fields if first and not first.broken else []
    missing = [name for name in FIELDS if name not in header]
    if len(missing) == len(FIELDS):
        raise JobError(f"TRANSACTIONS_CSV {source} {wrong_header(first, FIELDS)}")
    if missing:
        raise JobError(f"TRANSACTIONS_CSV {source} lacks the columns {', '.join(missing)}")
    ignored = [name or "(unnamed)" for name in header if name not in FIELDS]
    if ignored:
        print(f"columns left out: {', '.join(ignored)}", file=sys.stderr)
    # A line that is no row stays wrong in the batch, and is rejected there with its number.
    broken = 0
    for line in found:
        if line.broken:
            broken += 1
            if broken <= TOLD:
                print(f"{source.name}, line {line.number}: {line.broken}", file=sys.stderr)
            yield {f"(line {line.number} of the CSV is broken)": line.fields[0]}
            continue
        row = dict(zip(header, line.fields, strict=False))
        record: dict[str, Any] = {name: row[name] for name in FIELDS if name in row}
        if len(line.fields) > len(header):
            record["(more values than columns)"] = line.fields[len(header) :]
        yield record


if __name__ == "__main__":
    run(main)
