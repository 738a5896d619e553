"""The transformer: listings that are valid become products, the others are kept with all reasons.

``raw_products`` and what was made of it before are read side by side in the order of their ``_id``: what is missing is
added, nothing else is touched. So a run that was killed is finished by the next one, two at once are right, and one
that finds nothing new writes nothing. Whoever reads the products looks at their manifest first: it is complete when
it counts and hashes all of them, and says that it is not while some are added.
"""

from __future__ import annotations

import hashlib
import heapq
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from operator import itemgetter

from data.products import RULES, RejectedError, product
from data.store import FAREWELL, MANIFESTS, PRODUCTS, RAW, REJECTED, Document, Store, batches, open_store
from job.errors import JobError
from job.program import run
from job.progress import ProgressBar

__all__ = ["main"]

by_id = itemgetter("_id")


def main() -> None:
    """Make products of the listings, and say what became of them."""
    with open_store() as store:
        manifest = Manifest(store)
        manifest.discard_other_rules()
        rows, new = _add(store, manifest)
        if not rows:
            raise JobError(f"{store.name}.{RAW} is empty: run extract first (docker compose up extract)")
        if manifest.opened or not manifest.read().get("complete"):
            manifest.write()
        found = manifest.read()
        if shared := found["shared_productids"]:
            print(f"products with the productid of another one: {shared:,}", file=sys.stderr)
        products, rejected = f"{found['rows']:,} products ({new:,} new)", f"{found['rejected']:,} rejected"
        print(f"{rows:,} rows in | {products} | {rejected} → {store.name}.{PRODUCTS}")


def _add(store: Store, manifest: Manifest) -> tuple[int, int]:
    """Add what is missing; return how many listings there are, and how many products were added."""
    progress = ProgressBar("listings", store.patiently(store[RAW].estimated_document_count))
    rows = new = 0

    def counted(listings: Iterable[Document]) -> Iterator[Document]:
        nonlocal rows
        for rows, each in enumerate(listings, start=1):
            progress.show(rows)
            yield each

    known = heapq.merge(store.ordered(PRODUCTS, "_id"), store.ordered(REJECTED, "_id"), key=by_id)
    for batch in batches(_missing(counted(store.ordered(RAW)), known)):
        manifest.open()
        products, rejected = _validated(batch)
        new += store.add(PRODUCTS, products)
        store.add(REJECTED, rejected)
    progress.end()
    return rows, new


def _missing(listings: Iterable[Document], known: Iterator[Document]) -> Iterator[Document]:
    """The listings that are not known; both come in the order of their ``_id``."""
    next_known = next(known, None)
    for listing in listings:
        while next_known and next_known["_id"] < listing["_id"]:
            next_known = next(known, None)
        if not next_known or next_known["_id"] != listing["_id"]:
            yield listing


def _validated(listings: Iterable[Document]) -> tuple[list[Document], list[Document]]:
    """The listings that are products, and those that are rejected, with their reasons."""
    products, rejected = [], []
    for listing in listings:
        try:
            products.append(product(listing))
        except RejectedError as error:
            rejected.append({**listing, "reasons": error.reasons})
    return products, rejected


class Manifest:
    """What others read before they read the products: how many there are, and a hash over their ``_id``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.opened = ""

    def read(self) -> Document:
        """What it says, complete or not."""
        found = self._store.patiently(lambda: self._store[MANIFESTS].find_one({"_id": PRODUCTS}))
        return found or {}

    def discard_other_rules(self) -> None:
        """Delete what was made by other rules than ours."""
        if self.read().get("rules", RULES) != RULES:
            self._set({"complete": False})
            for name in (PRODUCTS, REJECTED):
                self._store.patiently(self._store[name].drop)
            self._set({"rules": RULES})

    def open(self) -> None:
        """Say, once, that it is not complete while we add."""
        if not self.opened:
            self.opened = uuid.uuid4().hex
            self._set({"complete": False, "opened_by": self.opened, "rules": RULES})

    def write(self) -> None:
        """Count and hash the products; should another transformer have begun since, once more."""
        while True:
            self.open()
            made = {**self._survey(), "_id": PRODUCTS, "complete": True, "rules": RULES}
            made["completed_at"] = datetime.now(UTC)
            # It keeps our name: an answer that was lost does not make it another's.
            if self._replace({"_id": PRODUCTS, "opened_by": self.opened}, {**made, "opened_by": self.opened}):
                return
            self.opened = ""

    def _replace(self, wanted: Document, made: Document) -> bool:
        replaced = self._store.patiently(lambda: self._store[MANIFESTS].replace_one(wanted, made))
        return bool(replaced.matched_count)

    def _survey(self) -> Document:
        digest, rows = hashlib.sha256(), 0
        for each in self._store.ordered(PRODUCTS, "_id"):
            digest.update(each["_id"].encode("ascii"))
            rows += 1
        rejected = self._store.patiently(lambda: self._store[REJECTED].count_documents({}))
        shared = rows - self._distinct()
        return {"rows": rows, "rejected": rejected, "sha256": digest.hexdigest(), "shared_productids": shared}

    def _distinct(self) -> int:
        """How many products have a productid of their own."""
        steps: list[Document] = [{"$group": {"_id": "$productid"}}, {"$count": "count"}]
        found = self._store.patiently(lambda: list(self._store[PRODUCTS].aggregate(steps, allowDiskUse=True)))
        return int(found[0]["count"]) if found else 0

    def _set(self, values: Document) -> None:
        self._store.patiently(
            lambda: self._store[MANIFESTS].update_one({"_id": PRODUCTS}, {"$set": values}, upsert=True)
        )


if __name__ == "__main__":
    run(main, farewell=FAREWELL)
