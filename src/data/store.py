"""The catalogue's database, which ``MONGODB_URI`` names: patient with a server that is away, clear when it stays away.

Every write here can be done twice: a document has the hash of its content for its ``_id``, and one that is there is
left alone. So an operation that lost its connection is simply done again, and programs that run at once, or that were
killed, never double a row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri

from job.errors import JobError, SettingError
from job.settings import text, whole_number

__all__ = ["FAREWELL", "MANIFESTS", "PRODUCTS", "RAW", "REJECTED", "Document", "Store", "batches", "open_store"]

Document = dict[str, Any]
Result = TypeVar("Result")

RAW, PRODUCTS, REJECTED, MANIFESTS = "raw_products", "products", "rejected_products", "manifests"
VARIABLE = "MONGODB_URI"
EXAMPLE = "mongodb://user:password@host:27017/catalog?authSource=admin"
DATABASE = "catalog"
WAIT = 30
# What a signal ends the programs with, at once: the driver would say goodbye to a server that does not answer. What the
# server has acknowledged is in, and there is nothing else.
FAREWELL = "what is in stays, run it again for the rest"
START = "docker compose up -d mongodb, or gigogne up mongodb"
DUPLICATE_KEY = 11000
LOGIN_FAILED = (18, 11)  # AuthenticationFailed, UserNotFound
UNAUTHORIZED = 13
# Milliseconds: one look for the server, which is repeated for as long as MONGODB_WAIT says; then for an answer.
LOOK, ANSWER = 1_000, 300_000
# How many documents an answer holds. Some have a million characters.
WHOLE_AT_ONCE, PARTS_AT_ONCE = 200, 5_000
# A batch ends at either.
BATCH_DOCUMENTS, BATCH_CHARACTERS = 1_000, 4_000_000


class Store:
    """The database, its collections by name."""

    def __init__(self, client: MongoClient[Document], host: str, password: str, wait: int) -> None:
        self._client = client
        self._host = host
        self._password = password
        self._wait = wait
        self._database: Database[Document] = client.get_default_database(DATABASE)

    @property
    def name(self) -> str:
        """The database's name."""
        return self._database.name

    def __getitem__(self, name: str) -> Collection[Document]:
        return self._database[name]

    def add(self, collection: str, documents: Sequence[Document]) -> int:
        """Insert the documents that are not there, and return how many these were."""
        return self.patiently(lambda: self._insert(self[collection], documents)) if documents else 0

    def ordered(self, collection: str, *fields: str) -> Iterator[Document]:
        """All documents in the order of their ``_id``; with ``fields``, only these and the ``_id``.

        They stream. When the connection is lost, it goes on behind the last one that came.
        """
        last: Document | None = None
        cursor: Iterator[Document] | None = None

        def following() -> Document | None:
            nonlocal cursor
            if cursor is None:
                wanted = {"_id": {"$gt": last["_id"]}} if last else {}
                found = self[collection].find(wanted, list(fields) or None).sort("_id", 1)
                cursor = iter(found.batch_size(PARTS_AT_ONCE if fields else WHOLE_AT_ONCE))
            try:
                return next(cursor, None)
            except PyMongoError:
                cursor = None
                raise

        while (document := self.patiently(following)) is not None:
            last = document
            yield document

    def reach(self) -> None:
        """Wait for the server to answer."""
        self.patiently(lambda: self._client.admin.command("ping"))

    def patiently(self, operation: Callable[[], Result]) -> Result:
        """Do something that can be done twice, again and again while the server is away, for a bounded time.

        Raises:
            JobError: It stayed away, or it refuses the operation.
        """
        until = time.monotonic() + self._wait
        told = False
        while True:
            try:
                return operation()
            except (ConnectionFailure, CursorNotFound) as error:
                if time.monotonic() >= until:
                    raise self.explain(error) from None
                if not told:
                    print(f"waiting for MongoDB on {self._host}, {self._wait} s at most", file=sys.stderr, flush=True)
                    told = True
                time.sleep(0.5)

    def _insert(self, collection: Collection[Document], documents: Sequence[Document]) -> int:
        try:
            return len(collection.insert_many(documents, ordered=False).inserted_ids)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            others = [failure for failure in failures if failure["code"] != DUPLICATE_KEY]
            if others or error.details.get("writeConcernErrors"):
                raise
            return int(error.details["nInserted"])

    def explain(self, error: PyMongoError) -> JobError:
        """The error as one line that says what and what to do, without the password."""
        if isinstance(error, BulkWriteError):
            failures = [*error.details["writeErrors"], *error.details.get("writeConcernErrors", [])]
            said = str(failures[0].get("errmsg", "a write failed"))
            return JobError(self._hidden(f"MongoDB on {self._host} refused a document: {said[:300]}"))
        if isinstance(error, OperationFailure):
            if error.code in LOGIN_FAILED:
                return JobError(f"MongoDB on {self._host} refused the user or the password: correct {VARIABLE}")
            if error.code == UNAUTHORIZED:
                hint = f"grant the user readWrite on the database {self.name}, or correct {VARIABLE}"
                return JobError(f"MongoDB on {self._host} does not let this user do it: {hint}")
            said = str((error.details or {}).get("errmsg", error))
            return JobError(self._hidden(f"MongoDB on {self._host} says: {said[:300]}"))
        if isinstance(error, NetworkTimeout):
            return JobError(
                f"MongoDB on {self._host} did not answer for {ANSWER // 1000} s: look at it, and run this again"
            )
        if isinstance(error, ConnectionFailure):
            what = f"cannot reach MongoDB on {self._host} for {self._wait} s"
            return JobError(f"{what}: start it ({START}) or correct {VARIABLE}, and run this again")
        return JobError(self._hidden(f"MongoDB on {self._host}: {str(error)[:300]}"))

    def _hidden(self, message: str) -> str:
        return message.replace(self._password, "***") if self._password else message


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents by the thousand, or by fewer where they are long."""
    batch: list[Document] = []
    characters = 0
    for each in documents:
        batch.append(each)
        characters += len(each["designation"] or "") + len(each["description"] or "")
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


@contextmanager
def open_store() -> Iterator[Store]:
    """The database that ``MONGODB_URI`` names, when it has answered.

    Raises:
        JobError: It did not answer for MONGODB_WAIT seconds, or failed later.
        SettingError: MONGODB_URI is missing or is no address.
    """
    uri, wait = text(VARIABLE), whole_number("MONGODB_WAIT", WAIT)
    if not uri:
        raise SettingError(f"{VARIABLE} is not set: write {VARIABLE}={EXAMPLE}")
    try:
        parts = parse_uri(uri)
        client: MongoClient[Document] = MongoClient(
            uri,
            appname="catalog.data",
            serverSelectionTimeoutMS=LOOK,
            connectTimeoutMS=LOOK * 5,
            socketTimeoutMS=ANSWER,
        )
    except OSError as error:
        hint = "correct its tlsCAFile or the like"
        raise SettingError(f"{VARIABLE} names a file that cannot be read ({error.strerror}): {hint}") from None
    except (InvalidURI, ConfigurationError, ValueError):
        # The driver's own message may quote a part of the password: say nothing of what it read.
        hint = "percent-encode special characters of the password (@ is %40, / is %2F, : is %3A)"
        raise SettingError(
            f"{VARIABLE} is not an address that MongoDB understands: write {EXAMPLE}, and {hint}"
        ) from None
    host = ",".join(f"{name}:{port}" for name, port in parts["nodelist"])
    store = Store(client, host, str(parts.get("password") or ""), wait)
    try:
        store.reach()
        yield store
    except PyMongoError as error:
        raise store.explain(error) from None
    finally:
        client.close()
