"""The cleaned listings: found by their manifest, checked against its hash, and split the same way every time."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.held_out import is_held_out
from job.errors import JobError
from job.storage import MissingObjectError, Storage

__all__ = ["Examples", "Manifest", "Rows", "Split", "read_manifest", "read_rows", "split"]

COLUMNS = ("productid", "designation", "description", "prdtypecode")
# Fewer examples of a class than this are too few to learn it and to judge it by five folds.
LEAST_OF_A_CLASS = 5
MAGIC = b"PAR1"
SHAPE = "whole numbers (productid, prdtypecode) and texts, none of them missing but codes"


@dataclass(frozen=True)
class Manifest:
    """What cleaning says of its output."""

    address: str
    object: str
    sha256: str
    rows: int
    raw: dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Cleaned listings, in columns; a code is None where nobody labelled the listing."""

    productid: list[int]
    designation: list[str]
    description: list[str]
    code: list[int | None]

    def __len__(self) -> int:
        return len(self.productid)

    def texts(self) -> list[tuple[str, str]]:
        """(designation, description) of each."""
        return list(zip(self.designation, self.description, strict=True))


@dataclass(frozen=True)
class Examples:
    """Labelled texts."""

    texts: list[tuple[str, str]]
    codes: list[int]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Split:
    """What a model learns from, what it is judged on, and what is used for neither."""

    training: Examples
    held_out: Examples
    unlabelled: int
    # Listings kept from training because one of the same title is held out.
    same_title: int
    # Classes with too few examples to be learned, with how many there are.
    left_out: dict[int, int]


def read_manifest(storage: Storage, address: str) -> Manifest:
    """What cleaning wrote last.

    Raises:
        JobError: It is not there, or is no manifest.
    """
    try:
        body = storage.get(address)
    except MissingObjectError as missing:
        raise JobError(f"{missing}: run cleaning first, which writes it (docker compose up cleaning)") from None
    try:
        raw = json.loads(body)
        return Manifest(address, str(raw["object"]), str(raw["sha256"]), int(raw["rows_out"]), raw)
    except (ValueError, KeyError, TypeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else "is not JSON with the keys of a manifest"
        raise JobError(f"{address} is no manifest of cleaning: it {what}; run cleaning again") from None


def read_rows(storage: Storage, address: str, sha256: str | None = None) -> Rows:
    """The listings of a Parquet file; with a hash, only if the file has it.

    Raises:
        JobError: It is not there, is another file than the hash says, or no such Parquet file.
    """
    try:
        body = storage.get(address)
    except MissingObjectError as missing:
        raise JobError(f"{missing}, which its manifest names: run cleaning again") from None
    if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
        raise JobError(f"{address} is not the file that its manifest describes (SHA-256): run cleaning again")
    columns = _columns(body, address)
    return Rows(*(columns[name] for name in COLUMNS))


def _columns(body: bytes, address: str) -> dict[str, list[Any]]:
    """The columns of a Parquet file, as lists."""
    broken = f"{address} is not a whole Parquet file: write it again"
    # A file cut short is known by its end; the library would panic, and say so at length on stderr.
    if len(body) < 12 or not body.startswith(MAGIC) or not body.endswith(MAGIC):
        raise JobError(broken)
    from arro3.io import read_parquet

    try:
        table = read_parquet(io.BytesIO(body)).read_all()
    except BaseException as error:
        # Where it does not raise an Exception, the library panics, which is none.
        if isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime":
            raise JobError(broken) from None
        raise
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise JobError(f"{address} has no column {', '.join(missing)} (it has {found}): write it with cleaning")
    columns = {name: table[name] for name in COLUMNS}
    wrong = [name for name, column in columns.items() if not _fits(name, column)]
    if wrong:
        raise JobError(f"{address} has other values in {', '.join(wrong)} than {SHAPE}: write it with cleaning")
    return {name: list(column.to_pylist()) for name, column in columns.items()}


def _fits(name: str, column: Any) -> bool:
    """Whether a column has the type that cleaning writes, and a value in each row; a code may be missing."""
    from arro3.core import DataType

    kind = column.type
    if name == "prdtypecode":
        return DataType.is_integer(kind) or DataType.is_null(kind)
    fits = DataType.is_integer(kind) if name == "productid" else _is_text(kind)
    return fits and column.null_count == 0


def _is_text(kind: Any) -> bool:
    from arro3.core import DataType

    return DataType.is_string(kind) or DataType.is_large_string(kind) or DataType.is_string_view(kind)


def split(rows: Rows) -> Split:
    """Training and held-out examples.

    Raises:
        JobError: There are too few of them to train on and to judge by.
    """
    labelled = [
        (product, text, code)
        for product, text, code in zip(rows.productid, rows.texts(), rows.code, strict=True)
        if code is not None
    ]
    held_out = [(text, code) for product, text, code in labelled if is_held_out(product)]
    training = [(text, code) for product, text, code in labelled if not is_held_out(product)]
    titles = {text[0] for text, _ in held_out}
    apart = [(text, code) for text, code in training if text[0] not in titles]
    count = Counter(code for _, code in apart)
    learned = {code for code, number in count.items() if number >= LEAST_OF_A_CLASS}
    every = Counter(code for _, _, code in labelled)
    made = Split(
        training=_examples((text, code) for text, code in apart if code in learned),
        held_out=_examples(held_out),
        unlabelled=len(rows) - len(labelled),
        same_title=len(training) - len(apart),
        left_out={code: number for code, number in sorted(every.items()) if code not in learned},
    )
    _check(made, labelled=len(labelled), classes=len(every))
    return made


def _examples(pairs: Iterable[tuple[tuple[str, str], int]]) -> Examples:
    listed = list(pairs)
    return Examples([text for text, _ in listed], [code for _, code in listed])


def _check(made: Split, *, labelled: int, classes: int) -> None:
    """Say what is missing, where there is not enough to train on."""
    if not labelled:
        raise JobError("no listing has a prdtypecode, so there is nothing to learn: name LABELS_CSV to extract")
    if classes == 1:
        raise JobError(
            f"all {labelled:,} labelled listings have one prdtypecode: two classes are the least to tell apart"
        )
    learned = len(set(made.training.codes))
    if learned < 2:
        least = f"{LEAST_OF_A_CLASS} listings each that are not held out"
        raise JobError(f"{learned} of {classes} classes have {least}, and a model needs two: extract more listings")
    if not made.held_out:
        raise JobError(f"none of the {labelled:,} labelled listings is held out to judge by: extract more listings")
