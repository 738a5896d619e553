"""MongoDB, as the outbox sees it: it takes a batch, now or later, or refuses a document for good.

Every insert can be done twice: a document that is there already, by its `_id`, has arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import bson
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri

from job.errors import SettingError

__all__ = ["Store", "StoreError"]

DATABASE = "catalog"
# What the drift job looks for: the newest predictions.
INDEXED = ("predictions", "at")
# Milliseconds to find the server, which is looked for again and again; to connect; and for its answer.
LOOK, CONNECT, ANSWER = 1_000, 5_000, 20_000
# Seconds for a farewell, to a server that may be away.
FAREWELL = 0.5
# Documents as they are: nothing of them is looked at.
RAW = CodecOptions(document_class=RawBSONDocument)
# MongoDB's own limit of a document.
MOST_BYTES = 16 << 20
DUPLICATE_KEY = 11000
# Of the server and not of the document: a full disk, a conflict, a time that was up, a quota.
TRANSIENT = frozenset({50, 112, 8000, 14031})
LOGIN_FAILED, UNAUTHORIZED = frozenset({11, 18}), 13

log = logging.getLogger("api.outbox")


class StoreError(Exception):
    """MongoDB did not take the documents this time: one line that says why, and what to do."""


class Store:
    """The database that a URI names, `catalog` where it names none. It is reached for when it is needed.

    Raises:
        SettingError: The URI is no address.
    """

    def __init__(self, uri: str) -> None:
        try:
            hosts = parse_uri(uri)["nodelist"]
            self._client: MongoClient[Any] = MongoClient(
                uri,
                appname="catalog.api",
                connect=False,
                serverSelectionTimeoutMS=LOOK,
                connectTimeoutMS=CONNECT,
                socketTimeoutMS=ANSWER,
            )
        except OSError as error:
            hint = "correct its tlsCAFile or the like"
            raise SettingError(f"MONGODB_URI names a file that cannot be read ({error.strerror}): {hint}") from None
        except (InvalidURI, ConfigurationError, ValueError):
            # The driver's own message may quote a part of the password: say nothing of what it read.
            raise SettingError(
                "MONGODB_URI is not an address that MongoDB understands: write mongodb://user:password@host:port/"
                f"{DATABASE}, and percent-encode special characters of the password (@ is %40, / is %2F, : is %3A)"
            ) from None
        self.address = ",".join(f"{name}:{port}" for name, port in hosts)
        # Acknowledged is what outlives a server that is killed.
        concern = WriteConcern("majority", wtimeout=ANSWER // 2, j=True)
        self._database = self._client.get_default_database(DATABASE).with_options(write_concern=concern)
        self._indexed = False

    def insert(self, collection: str, documents: bytes, patience: float | None) -> list[tuple[bytes, str]]:
        """Insert documents; returns those that are refused for good, and why.

        Args:
            collection: Where they belong.
            documents: BSON, end to end.
            patience: Seconds that it may take; None for as long as a server may be slow.

        Raises:
            StoreError: None of them can be said to have arrived.
        """
        given = bson.decode_all(documents, RAW)
        sent = [each for each in given if len(each.raw) <= MOST_BYTES]
        refused = [(bytes(each.raw), "larger than 16 MiB") for each in given if len(each.raw) > MOST_BYTES]
        try:
            with pymongo.timeout(patience):
                if sent:
                    self._database[collection].insert_many(sent, ordered=False)
        except BulkWriteError as error:
            refused += [(bytes(sent[position].raw), reason) for position, reason in self._refused(error)]
        except PyMongoError as error:
            raise self._explain(error) from None
        self._index()
        return refused

    def close(self) -> None:
        """End every connection, and what waits for an answer."""
        with pymongo.timeout(FAREWELL):
            self._client.close()

    def _index(self) -> None:
        """Once. Without it the drift job is slower, and that is all."""
        if self._indexed:
            return
        self._indexed = True
        collection, key = INDEXED
        try:
            self._database[collection].create_index(key)
        except PyMongoError as error:
            log.warning("MongoDB on %s has no index of %s.%s: %s", self.address, collection, key, type(error).__name__)

    def _refused(self, error: BulkWriteError) -> Iterator[tuple[int, str]]:
        """Which documents it refused, by position, and why; those which it has are none of them."""
        if error.details.get("writeConcernErrors"):
            raise StoreError(f"MongoDB on {self.address} has the documents, but not safely: look at its log")
        for each in error.details["writeErrors"]:
            if each["code"] in TRANSIENT:
                raise StoreError(f"MongoDB on {self.address} cannot write (code {each['code']}): look at its log")
            if not _is_there(each):
                yield each["index"], f"code {each['code']}: {each.get('errmsg', '')}"[:1000]

    def _explain(self, error: PyMongoError) -> StoreError:
        if isinstance(error, OperationFailure) and not error.timeout:
            if error.code in LOGIN_FAILED:
                return StoreError(f"MongoDB on {self.address} refuses the user or the password: correct MONGODB_URI")
            if error.code == UNAUTHORIZED:
                return StoreError(f"MongoDB on {self.address} does not let this user write: grant readWrite")
            return StoreError(f"MongoDB on {self.address} fails (code {error.code}): look at its log")
        return StoreError(f"MongoDB on {self.address} does not answer: start it (docker compose up -d mongodb)")


def _is_there(failure: Mapping[str, Any]) -> bool:
    """Whether a document was not inserted since it is there, and not since it breaks an index of somebody's own."""
    return failure["code"] == DUPLICATE_KEY and set(failure.get("keyPattern", {"_id": 1})) == {"_id"}
