"""Cleaning: the validated products out of MongoDB, cleaned, as one Parquet file on S3 that a manifest names.

The file is named by its contents, and the manifest is replaced last: readers that follow it never see half. Equal
products make an equal file on every machine, and a second run finds it there.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from catalog.text import SPECIFICATION
from etl.rows import Row, Tally, cleaner, cores, in_chunks
from job.errors import JobError, SettingError
from job.program import run
from job.progress import ProgressBar, size
from job.settings import text, whole_number

if TYPE_CHECKING:
    from etl.products import Manifest, Products
    from etl.storage import Folder

__all__ = ["main"]

TARGET = "s3://catalog/clean"
# Fewer rows are cleaned before other processes have started.
WORTH_PROCESSES = 20_000


def main() -> None:
    """Read, clean, write, and say how much."""
    # The processes that clean load this module too: what they do not need is imported here.
    from etl.products import session
    from etl.storage import open_folder

    uri = text("MONGODB_URI")
    if not uri:
        raise SettingError("MONGODB_URI is not set: write mongodb://USER:PASSWORD@HOST:27017/catalog?authSource=admin")
    wait = whole_number("CLEANING_WAIT", 60)
    workers = whole_number("CLEANING_WORKERS", 0)
    folder = open_folder(text("CLEANING_TARGET", TARGET))
    with session(uri, wait) as products, _spool() as file:
        source = products.wait(wait)
        if not source.rows:
            raise JobError(f"there are no products in {products.where}: run extract and transform, then cleaning")
        folder.check(wait)
        tally = _write(products, source, workers or (cores() if source.rows >= WORTH_PROCESSES else 1), file)
        if not tally.kept:
            raise JobError(f"none of the {tally.rows:,} products has any text left: look at them in {products.where}")
        _publish(folder, file, tally, source)


@contextmanager
def _spool() -> Iterator[BinaryIO]:
    """A file without a name, where the folder for temporary files is: nothing of it stays, however this ends."""
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        # What is not caught elsewhere is about this file.
        raise JobError(
            f"cannot write a temporary file: {error.strerror}: make room, or name a folder by TMPDIR"
        ) from None


def _write(products: Products, source: Manifest, workers: int, file: BinaryIO) -> Tally:
    """All cleaned products into the file."""
    from etl import parquet

    tally, progress = Tally(), ProgressBar("cleaning", source.rows)
    try:
        with cleaner(workers) as each:
            chunks = in_chunks(_counted(products.read(source), progress))
            parquet.write(each.clean(chunks, tally), file)
            file.flush()
    finally:
        progress.end()
    return tally


def _publish(folder: Folder, file: BinaryIO, tally: Tally, source: Manifest) -> None:
    """The file to S3, then the manifest; nothing, where both are there."""
    length = file.seek(0, 2)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it has readinto
    file.seek(0)
    name = f"products-{sha256[:16]}.parquet"
    manifest: dict[str, Any] = {
        "rows_in": tally.rows,
        "rows_out": tally.kept,
        "rejected": tally.rejected,
        "sha256": sha256,
        "object": folder.address(name),
        "specification": SPECIFICATION,
        "source": {"sha256": source.sha256, "rows": source.rows},
    }
    there = folder.length(name) == length
    if not there:
        folder.put(name, file, length)
    unchanged = there and {**folder.manifest(), "created_at": None} == {**manifest, "created_at": None}
    if not unchanged:
        folder.put_manifest({**manifest, "created_at": datetime.now(UTC).isoformat(timespec="seconds")})
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in tally.rejected.items())
    print(
        f"{tally.rows:,} rows in | {tally.kept:,} out | {sum(tally.rejected.values()):,} rejected ({rejected})"
        f" → {folder.address(name)} ({size(length)}){', unchanged' if unchanged else ''}"
    )


def _counted(rows: Iterator[Row], progress: ProgressBar) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        if count % 256 == 0:
            progress.show(count)
        yield row


if __name__ == "__main__":
    run(main)
