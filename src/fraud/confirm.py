"""The confirmer: takes each file of confirmations into PostgreSQL once, and says what became of them.

A file is one database transaction with its entry in a ledger, by name and content. Lines that are no confirmation,
and those that contradict what is known, go to ``rejected/<file>-<content>.csv.jsonl`` beside the files, each with its
number and its reason; the rest goes in. A file without the header is none, and no entry is made.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from io import BufferedReader
from pathlib import Path

import psycopg
from psycopg import sql

from fraud.confirmations import Confirmation, Contradiction, Outcome, TooEarly, record
from fraud.csv_lines import Line, lines, wrong_header
from fraud.database import Address, session
from fraud.dates import DateError, year_first
from fraud.fields import FieldError, boolean, trans_num
from fraud.fields import text as words
from fraud.landing import confirmation_files, sweep, write_whole
from fraud.tables import CONFIRMATION_FILES, create_tables
from job.errors import JobError
from job.program import fail, run
from job.progress import Heartbeat
from job.settings import text

__all__ = ["HEADER", "Counts", "main", "take"]

LANDING_DIR = "/data/landing"
REJECTED = "rejected"
HEADER = ("trans_num", "is_fraud", "confirmed_by", "confirmed_at")
# So many refusals of a file are told at once; its reject file has all of them.
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


class UnusableError(JobError):
    """A file that cannot be read, or holds no confirmations."""


class _File:
    """The confirmations of a CSV, one after the other; what is none goes to its rejects.

    Raises:
        UnusableError: It has not the header.
    """

    def __init__(self, path: Path, file: BufferedReader) -> None:
        self._found = lines(file)
        header = next(self._found, None)
        names = [name.strip().lower() for name in header.fields] if header else []
        if sorted(names) != sorted(HEADER):
            raise UnusableError(f"{path} {wrong_header(header, HEADER)}")
        self._places = {name: place for place, name in enumerate(names)}
        self._lines = array("Q")
        self.rejects: list[bytes] = []

    def __iter__(self) -> Iterator[Confirmation]:
        for line in self._found:
            try:
                confirmation = _confirmation(line, self._places)
            except FieldError as error:
                self._reject(line.number, str(error), line.fields)
            else:
                self._lines.append(line.number)
                yield confirmation

    def refuse(self, refusal: Contradiction | TooEarly) -> int:
        """Put a confirmation that was refused among the rejects; return its line."""
        line, said = self._lines[refusal.line - 1], refusal.refused
        fields = [said.trans_num, str(said.is_fraud), said.confirmed_by, str(said.confirmed_at)]
        self._reject(line, str(refusal), fields)
        return line

    def _reject(self, line: int, reason: str, fields: list[str]) -> None:
        entry = {"line": line, "reason": reason, "fields": fields}
        self.rejects.append(json.dumps(entry).encode("ascii") + b"\n")


def main() -> None:
    """Take what has landed, or the one file that is named, and say what became of it."""
    named = text("CONFIRMATIONS_CSV")
    folder = Path(text("CONFIRMATIONS_DIR", f"{text('LANDING_DIR', LANDING_DIR)}/confirmations"))
    address = Address.read()
    files = [Path(named)] if named else confirmation_files(folder)
    sweep(folder / REJECTED)
    counts, unusable = Counts(), list[UnusableError]()
    progress = Heartbeat()
    with session(address, "confirm") as connection:
        create_tables(connection)
        for path in files:
            try:
                counts += take(connection, path, folder / REJECTED)
            except UnusableError as error:
                unusable.append(error)
            progress.show(f"{counts}, {len(files) - counts.files - len(unusable):,} to go")
    if counts.files or not unusable:
        print(counts)
    fail(unusable)


def take(connection: psycopg.Connection, path: Path, rejected: Path) -> Counts:
    """Take one file in, unless the ledger has it; either way, say what became of its lines.

    Raises:
        UnusableError: It cannot be read, or is no file of confirmations: nothing has changed.
    """
    try:
        with path.open("rb") as file, connection.transaction():
            key = (path.name, hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(0)
            if connection.execute(CLAIM, key).fetchone() is None:
                return _recall(connection, key)
            return _take(connection, _File(path, file), key, rejected)
    except OSError as error:
        raise UnusableError(f"cannot read {path}: {error.strerror}") from None


def _take(connection: psycopg.Connection, file: _File, key: tuple[str, str], rejected: Path) -> Counts:
    # In a container each file of one's own has the same name.
    source = f"{Path(key[0]).stem}-{key[1][:12]}{Path(key[0]).suffix}"
    outcome = record(connection, file, source=source)
    refusals: list[Contradiction | TooEarly] = sorted(
        [*outcome.contradicted, *outcome.rejected], key=lambda each: each.line
    )
    counts = _counts(outcome, len(file.rejects) + len(outcome.rejected))
    connection.execute(RECORD, (*astuple(counts)[:-1], *key))
    for told, refusal in enumerate(refusals):
        line = file.refuse(refusal)
        if told < TOLD:
            print(f"{key[0]}, line {line}: {refusal}", file=sys.stderr)
    if file.rejects:
        path = rejected / f"{source}.jsonl"
        # Before the commit: if we are killed in between, both are done again.
        write_whole(path, file.rejects)
        print(
            f"{key[0]}: {counts.rejected:,} lines rejected, {counts.contradicted:,} contradict, see {path}",
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


def _confirmation(line: Line, places: dict[str, int]) -> Confirmation:
    """One line of a file.

    Raises:
        FieldError: It is no confirmation.
    """
    if line.broken:
        raise FieldError(line.broken)
    row = line.fields
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
