"""The confirmer: takes each file of confirmations into PostgreSQL once, and says what became of them.

A file is one database transaction with its entry in a ledger, by name and content. Lines that are no confirmation,
and those that contradict what is known, go to ``rejected/<file>.jsonl`` beside the files, each with its number and its
reason; the rest goes in.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from array import array
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from io import BufferedReader, TextIOWrapper
from pathlib import Path

import psycopg
from psycopg import sql

from fraud.confirmations import Confirmation, Contradiction, Outcome, record
from fraud.database import Address, session
from fraud.dates import DateError, year_first
from fraud.fields import FieldError, boolean, trans_num
from fraud.fields import text as words
from fraud.job import JobError, Progress, run, text
from fraud.landing import confirmation_files, sweep, write_whole
from fraud.tables import CONFIRMATION_FILES, create_tables

__all__ = ["HEADER", "Counts", "main", "take"]

LANDING_DIR = "/data/landing"
REJECTED = "rejected"
HEADER = ("trans_num", "is_fraud", "confirmed_by", "confirmed_at")
# So many contradictions of a file are told at once; its reject file has all of them.
TOLD = 10

CLAIM = sql.SQL("INSERT INTO {} (file, sha256) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING file").format(
    sql.Identifier(CONFIRMATION_FILES)
)
RECORD = sql.SQL(
    "UPDATE {} SET confirmed = %s, frauds = %s, repeated = %s, contradicted = %s, waiting = %s, rejected = %s"
    " WHERE file = %s AND sha256 = %s"
).format(sql.Identifier(CONFIRMATION_FILES))
RECALL = sql.SQL(
    "SELECT confirmed + repeated + waiting, contradicted, rejected FROM {} WHERE file = %s AND sha256 = %s"
).format(sql.Identifier(CONFIRMATION_FILES))


@dataclass(frozen=True)
class Counts:
    """What became of the lines of some files."""

    confirmed: int = 0
    frauds: int = 0
    repeated: int = 0
    contradicted: int = 0
    waiting: int = 0
    rejected: int = 0
    files: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.confirmed:,} confirmed ({self.frauds:,} frauds), {self.repeated:,} repeated,"
            f" {self.contradicted:,} contradict{'s' * (self.contradicted == 1)},"
            f" {self.waiting:,} wait{'s' * (self.waiting == 1)} for their transaction,"
            f" {self.rejected:,} rejected ({self.files:,} files)"
        )


class _File:
    """The confirmations of a CSV, one after the other; what is none goes to its rejects."""

    def __init__(self, file: BufferedReader) -> None:
        # Bytes that are no UTF-8 survive until their line is rejected.
        text_file = TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
        self._rows = csv.reader(text_file, strict=True)
        self._lines = array("Q")
        self.rejects: list[bytes] = []

    def __iter__(self) -> Iterator[Confirmation]:
        rows = self._whole_rows()
        header = next(rows, [])
        places = {name.strip().lower(): place for place, name in enumerate(header)}
        if places.keys() != set(HEADER) or len(header) != len(HEADER):
            return self._reject(f"the first line is not {','.join(HEADER)}", header)
        for row in rows:
            if not row:
                continue
            try:
                confirmation = _confirmation(row, places)
            except (DateError, FieldError) as error:
                self._reject(str(error), row)
            else:
                self._lines.append(self._rows.line_num)
                yield confirmation
        return None

    def refuse(self, contradiction: Contradiction) -> int:
        """Put a contradiction among the rejects; return its line."""
        line = self._lines[contradiction.line - 1]
        said = contradiction.refused
        self._reject(
            str(contradiction), [said.trans_num, str(said.is_fraud), said.confirmed_by, str(said.confirmed_at)], line
        )
        return line

    def _whole_rows(self) -> Iterator[list[str]]:
        while True:
            try:
                yield next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                self._reject(f"broken CSV: {error}", [])

    def _reject(self, reason: str, fields: list[str], line: int | None = None) -> None:
        entry = {"line": line or self._rows.line_num or 1, "reason": reason, "fields": fields}
        self.rejects.append(json.dumps(entry).encode("ascii") + b"\n")


def main() -> None:
    """Take what has landed, or the one file that is named, and say what became of it."""
    named = text("CONFIRMATIONS_CSV")
    folder = Path(text("CONFIRMATIONS_DIR", f"{text('LANDING_DIR', LANDING_DIR)}/confirmations"))
    address = Address.read()
    files = [Path(named)] if named else confirmation_files(folder)
    sweep(folder / REJECTED)
    counts = Counts()
    progress = Progress()
    with session(address, "confirm") as connection:
        create_tables(connection)
        for path in files:
            counts += take(connection, path, folder / REJECTED)
            progress.show(f"{counts}, {len(files) - counts.files:,} to go")
    print(counts)


def take(connection: psycopg.Connection, path: Path, rejected: Path) -> Counts:
    """Take one file in, unless the ledger has it; either way, say what became of its lines."""
    try:
        with path.open("rb") as file, connection.transaction():
            key = (path.name, hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(0)
            if connection.execute(CLAIM, key).fetchone() is None:
                return _recall(connection, key)
            return _take(connection, _File(file), key, rejected / f"{path.name}.jsonl")
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from None


def _take(connection: psycopg.Connection, file: _File, key: tuple[str, str], rejected: Path) -> Counts:
    outcome = record(connection, file, source=key[0])
    unusable = len(file.rejects)
    counts = _counts(outcome, unusable)
    connection.execute(RECORD, (*astuple(counts)[:-1], *key))
    for told, contradiction in enumerate(outcome.contradicted):
        line = file.refuse(contradiction)
        if told < TOLD:
            print(f"{key[0]}, line {line}: {contradiction}", file=sys.stderr)
    if file.rejects:
        # Before the commit: if we are killed in between, both are done again.
        write_whole(rejected, file.rejects)
        print(
            f"{key[0]}: {unusable:,} lines rejected, {counts.contradicted:,} contradict, see {rejected}",
            file=sys.stderr,
        )
    return counts


def _counts(outcome: Outcome, rejected: int) -> Counts:
    return Counts(
        outcome.recorded,
        outcome.frauds,
        outcome.repeated,
        len(outcome.contradicted),
        outcome.waiting,
        rejected,
        1,
    )


def _recall(connection: psycopg.Connection, key: tuple[str, str]) -> Counts:
    """What the ledger says of a file that is in: what it confirmed is known already."""
    repeated, contradicted, rejected = connection.execute(RECALL, key).fetchone() or (0, 0, 0)
    return Counts(repeated=repeated, contradicted=contradicted, rejected=rejected, files=1)


def _confirmation(row: list[str], places: dict[str, int]) -> Confirmation:
    """One line of a file."""
    if len(row) != len(HEADER):
        raise FieldError(f"{len(row)} fields, not {len(HEADER)}")
    name = ""
    try:
        name = "trans_num"
        number = trans_num(row[places[name]])
        name = "is_fraud"
        is_fraud = boolean(row[places[name]]) == "t"
        name = "confirmed_by"
        confirmed_by = words(row[places[name]])
        name = "confirmed_at"
        return Confirmation(number, is_fraud, confirmed_by, year_first(row[places[name]].strip()))
    except (DateError, FieldError) as error:
        raise FieldError(f"{name}: {error}") from None


if __name__ == "__main__":
    run(main)
