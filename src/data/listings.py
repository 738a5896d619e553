"""Listings as somebody wrote them: the rows of a CSV, with the labels of a second one, one after the other.

The CSV is RFC 4180: fields in quotes may hold commas and line ends. Both files are read side by side, row by row, so
that memory does not grow with them; the labels therefore come in the order of the listings. Text that is not UTF-8 is
kept with U+FFFD in place of the broken bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from job.errors import JobError

__all__ = ["FIELDS", "Files", "Survey", "Table", "document"]

# What a product's identity is made of.
FIELDS = ("designation", "description", "productid", "imageid", "prdtypecode")
WANTED = FIELDS[:4]
LABEL = FIELDS[4]
# The data set's own files name their first column with nothing.
INDEX_NAMES = ("", "index")
# A document of MongoDB has 16 MB, a character up to 4 bytes. More is a quote that was not closed.
LONGEST_FIELD = 2_000_000


@dataclass(frozen=True)
class Table:
    """A CSV.

    Attributes:
        variable: The variable that names it.
        path: Where it is read.
        name: What its user calls it: in a container it has another path.
    """

    variable: str
    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.variable} {self.name}"


class Row(NamedTuple):
    """A row of a CSV: the line that it ends on, its values by column, and what no column is for."""

    line: int
    values: dict[str, str | None]
    surplus: list[str]
    broken: bool


@dataclass(frozen=True)
class Survey:
    """What is in the files, as far as all of it could be read."""

    rows: int
    labelled: int
    broken: int


@dataclass(frozen=True)
class Files:
    """A CSV of listings, and perhaps one of their labels."""

    listings: Table
    labels: Table | None

    @property
    def source(self) -> str:
        """What the documents have for their ``source``: the file's name, without folders of whatever system."""
        return PureWindowsPath(self.listings.name).name

    def survey(self) -> Survey:
        """Read both to their ends, so that nothing is written of files that are wrong.

        Raises:
            JobError: A file cannot be read, is no such CSV, has no rows, or the labels are not these listings'.
        """
        rows = labelled = broken = 0
        for row in self._rows():
            rows += 1
            labelled += bool(row.values[LABEL])
            broken += row.broken
        if not rows:
            raise JobError(f"{self.listings} holds no rows: name a file with listings")
        return Survey(rows, labelled, broken)

    def documents(self) -> Iterator[dict[str, Any]]:
        """The listings as documents of ``raw_products``."""
        for number, row in enumerate(self._rows()):
            made = document(row.values, self.source, number)
            if row.surplus:
                made["surplus"] = row.surplus
            yield made

    def _rows(self) -> Iterator[Row]:
        """The listings, each with its label where it has one."""
        labels = _labels(self.labels) if self.labels else iter(())
        label = next(labels, None)
        for number, row in enumerate(_read(self.listings, WANTED)):
            row.values.setdefault("index", str(number))
            # Some have their labels in the same file; those of a file of their own replace them.
            row.values[LABEL] = None if self.labels else row.values.get(LABEL)
            if label and label.values["index"] == row.values["index"]:
                row.values[LABEL] = label.values[LABEL]
                label = next(labels, None)
            yield row
        if label:
            told = f"line {label.line} of {self.labels} has the index {str(label.values['index'])[:40]!r}"
            hint = "give the labels of these listings, in their order"
            raise JobError(f"{told}, which is not in {self.listings} or comes earlier there: {hint}")


def document(values: dict[str, str | None], source: str, row: int) -> dict[str, Any]:
    """A document of ``raw_products``: its ``_id`` is the hash of what the listing says, wherever it was read."""
    said = json.dumps([values[name] for name in FIELDS]).encode("ascii")
    return {"_id": hashlib.sha256(said).hexdigest(), **values, "source": source, "row": row}


def _labels(table: Table) -> Iterator[Row]:
    for number, row in enumerate(_read(table, (LABEL,))):
        row.values.setdefault("index", str(number))
        yield row


def _read(table: Table, wanted: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a CSV with at least the columns ``wanted``, and an index where it has one."""
    csv.field_size_limit(LONGEST_FIELD)
    line = 0
    try:
        # Broken bytes survive as lone surrogates, which tell them from a U+FFFD that was there.
        with table.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = next(reader, None)
            if header is None:
                raise JobError(f"{table} is empty: it wants the columns {', '.join(wanted)}")
            places = _places(table, header, wanted)
            line = reader.line_num
            for values in reader:
                line = reader.line_num
                if values:
                    yield _row(line, values, places, len(header))
    except OSError as error:
        raise JobError(f"cannot read {table}: {error.strerror}") from None
    except csv.Error as error:
        what = f"{table} is no CSV that can be read: {error}, in the row that begins on line {line + 1}"
        raise JobError(f"{what}; is a quote not closed there?") from None


def _places(table: Table, header: list[str], wanted: tuple[str, ...]) -> dict[str, int]:
    """Where each column that is used stands."""
    names = [name.strip().encode("utf-8", "replace").decode() for name in header]
    wrong = [name for name in wanted if names.count(name) != 1]
    if wrong:
        found = ", ".join(name[:80] or "(no name)" for name in names[:12])
        told = f"{table} has the columns {found}"
        raise JobError(f"{told}; it wants {', '.join(wanted)}: missing or double is {', '.join(wrong)}")
    places = {name: names.index(name) for name in (*wanted, LABEL) if name in names}
    index = next((name for name in INDEX_NAMES if name in names), None)
    return places if index is None else {**places, "index": names.index(index)}


def _row(line: int, values: list[str], places: dict[str, int], width: int) -> Row:
    """One row by its columns; what is not UTF-8 is replaced."""
    whole = [_replaced(value) for value in values]
    found = {name: whole[place] if place < len(whole) else None for name, place in places.items()}
    return Row(line, found, whole[width:], whole != values)


def _replaced(value: str) -> str:
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value
