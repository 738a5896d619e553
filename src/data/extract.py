"""The extractor: product listings, from a seed or from the CSVs that LISTINGS_CSV and LABELS_CSV name, into MongoDB.

What a listing says is taken as it is: what it means is decided in ``data.transform``. Its ``_id`` is the hash of what
it says, and one that is there is left alone: run again, run twice at once, or killed and run again, the extractor
gives the same ``raw_products``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from data.generator import Generator
from data.listings import Files, Table, document
from data.store import FAREWELL, RAW, Document, Store, batches, open_store
from job.errors import SettingError
from job.program import run
from job.progress import ProgressBar
from job.settings import text, whole_number

__all__ = ["main"]

LISTINGS = 3_000
SEED = 42
GENERATOR = "generator"


def main() -> None:
    """Take the listings in, and say how many of them were new."""
    listings, labels = _table("LISTINGS_CSV", "LISTINGS_NAME"), _table("LABELS_CSV", "LABELS_NAME")
    if labels and not listings:
        raise SettingError("LABELS_CSV is set and LISTINGS_CSV is not: name the file with the listings too")
    files = Files(listings, labels) if listings else None
    total, found = _read(files) if files else _generate()
    with open_store() as store:
        rows, added = _add(store, found, total)
        _tell_others(store, files.source if files else GENERATOR)
        print(f"{rows:,} rows in | {added:,} added | {rows - added:,} already there → {store.name}.{RAW}")


def _table(variable: str, name: str) -> Table | None:
    """The CSV that a variable names; in a container a second one says what it is called outside."""
    path = text(variable)
    return Table(variable, Path(path), text(name, path)) if path else None


def _generate() -> tuple[int, Iterator[Document]]:
    total, generator = whole_number("LISTINGS", LISTINGS), Generator(whole_number("SEED", SEED))
    return total, (document(generator.listing(number), GENERATOR, number) for number in range(total))


def _read(files: Files) -> tuple[int, Iterator[Document]]:
    """The files are read to their ends first: nothing is written of files that are wrong."""
    survey = files.survey()
    if survey.broken:
        print(f"rows with bytes that are not UTF-8: {survey.broken:,} (U+FFFD stands for them)", file=sys.stderr)
    if unlabelled := survey.rows - survey.labelled:
        print(f"rows without a label: {unlabelled:,} of {survey.rows:,}", file=sys.stderr)
    return survey.rows, files.documents()


def _tell_others(store: Store, source: str) -> None:
    """Say which rows were there from elsewhere: the products are made of all."""
    wanted = {"source": {"$ne": source}}
    count = store.patiently(lambda: store[RAW].count_documents(wanted))
    if count:
        names = sorted(map(str, store.patiently(lambda: store[RAW].distinct("source", wanted))))
        told = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
        hint = "to be without them, begin anew (docker compose down -v, or gigogne down -v)"
        print(f"{count:,} rows of {told} are there too, and become products: {hint}", file=sys.stderr)


def _add(store: Store, documents: Iterator[Document], total: int) -> tuple[int, int]:
    """Insert what is missing; return how many there were, and how many were missing."""
    rows = added = 0
    progress = ProgressBar("listings", total)
    for batch in batches(documents):
        added += store.add(RAW, batch)
        rows += len(batch)
        progress.show(rows)
    progress.end()
    return rows, added


if __name__ == "__main__":
    run(main, farewell=FAREWELL)
