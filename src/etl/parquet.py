"""Parquet, written as its rows come: by arrow-rs, whose bytes depend on the rows alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from io import UnsupportedOperation
from typing import IO, Any, BinaryIO, cast

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet

from etl.rows import Rows

__all__ = ["SCHEMA", "write"]

FIELDS = (
    Field("productid", DataType.int64(), nullable=False),
    Field("imageid", DataType.int64(), nullable=False),
    Field("designation", DataType.string(), nullable=False),
    Field("description", DataType.string(), nullable=False),
    Field("prdtypecode", DataType.int32(), nullable=True),
)
SCHEMA = Schema(FIELDS)
# A group is kept in memory until it is written. The writer ends it by its rows alone.
ROWS_IN_GROUP, CHARACTERS_IN_GROUP = 20_000, 32_000_000


def write(rows: Iterator[Rows], file: BinaryIO) -> None:
    """Write all rows into a file.

    Raises:
        OSError: The file cannot be written. What ``rows`` raises is raised too.
    """
    first, rows_in_group = _first_group(rows)
    bridge = _Bridge(_released(first, rows), file)
    try:
        write_parquet(
            RecordBatchReader.from_batches(SCHEMA, bridge),
            cast("IO[bytes]", bridge),
            compression="zstd(3)",
            # Nothing in the file may tell of the machine or of the day.
            created_by="gigogne cleaning",
            column_dictionary_enabled={"designation": False, "description": False},
            max_row_group_size=rows_in_group,
        )
    except Exception as error:
        raise bridge.failure or error from None
    if bridge.failure:
        raise bridge.failure


def _first_group(rows: Iterator[Rows]) -> tuple[deque[Rows], int]:
    """What the first group is made of, and how many rows a group has: fewer where the texts are long.

    Rows come in the order of hashes, as if they were shuffled: the first ones are like those that follow.
    """
    first: deque[Rows] = deque()
    count = characters = 0
    while count < ROWS_IN_GROUP and characters < CHARACTERS_IN_GROUP:
        chunk = next(rows, None)
        if chunk is None:
            return first, ROWS_IN_GROUP
        first.append(chunk)
        count += len(chunk.productid)
        characters += sum(map(len, chunk.designation)) + sum(map(len, chunk.description))
    return first, min(count, ROWS_IN_GROUP)


def _released(first: deque[Rows], rows: Iterator[Rows]) -> Iterator[Rows]:
    """The first and the other rows; none is kept here once it was given."""
    while first:
        yield first.popleft()
    yield from rows


class _Bridge:
    """Rows into Rust and bytes out of it. What fails is kept here: beyond, it is words, or a panic with a stack."""

    def __init__(self, rows: Iterator[Rows], file: BinaryIO) -> None:
        self._rows, self._file = rows, file
        self.failure: BaseException | None = None

    def __iter__(self) -> _Bridge:
        return self

    def __next__(self) -> RecordBatch:
        if self.failure:
            raise StopIteration
        try:
            columns: Sequence[list[Any]] = next(self._rows)
            arrays = [Array(values, field.type) for values, field in zip(columns, FIELDS, strict=True)]
            return RecordBatch.from_arrays(arrays, schema=SCHEMA)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise

    def write(self, data: bytes) -> int:
        """Write, or after a failure nothing more."""
        if not self.failure:
            try:
                self._file.write(data)
            except BaseException as error:
                self.failure = error
        return len(data)

    def flush(self) -> None:
        """Nothing: it is done by whoever opened the file."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Wanted of a file, and not used: Parquet is written from its beginning to its end."""
        raise UnsupportedOperation("seek")
