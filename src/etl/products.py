"""The validated products in MongoDB: waited for, read with the labelled ones first, and checked to be all of them."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import errors
from pymongo.database import Database
from pymongo.uri_parser import parse_uri

from etl.rows import Row
from job.errors import JobError, SettingError

__all__ = ["Manifest", "Products", "session"]

DATABASE = "catalog"
LABEL = "prdtypecode"
FIELDS = ("productid", "imageid", "designation", "description", LABEL)
ASK_EVERY = 0.5
# Seconds of one look for the server, which is repeated; then for an answer.
LOOK, SILENCE = 2.0, 60.0
# Of equal texts the first stays: one with a label. Each has its products in the order of their ids.
LABELLED, UNLABELLED = {LABEL: {"$ne": None}}, {LABEL: None}
BATCH = 500
REFUSED = frozenset({13, 18})


@dataclass(frozen=True)
class Manifest:
    """What transform says of its products when all of them are there."""

    rows: int
    sha256: str


class Products:
    """The products of one database."""

    def __init__(self, database: Database[dict[str, Any]], where: str) -> None:
        self._database, self.where = database, where

    def wait(self, seconds: float) -> Manifest:
        """The manifest, once transform has completed it.

        Raises:
            JobError: It is not complete after so many seconds.
        """
        limit, said = time.monotonic() + seconds, False
        while True:
            with _explained(self.where):
                found = self._database["manifests"].find_one({"_id": "products"})
            if found and found.get("complete"):
                return Manifest(found["rows"], found["sha256"])
            if time.monotonic() >= limit:
                state = "transform did not complete its products" if found else "there are no products"
                raise JobError(
                    f"{state} in {self.where} (CLEANING_WAIT={seconds:g} seconds have passed):"
                    " run transform (docker compose up transform), then cleaning"
                )
            if not said:
                print(
                    f"waiting up to {seconds:g} s for transform to complete its products …", file=sys.stderr, flush=True
                )
                said = True
            time.sleep(ASK_EVERY)

    def read(self, manifest: Manifest) -> Iterator[Row]:
        """All products: those with a label, then the others, each in the order of their ids.

        Raises:
            JobError: They are not, or not any more, those that the manifest names.
        """
        rows = 0
        for wanted in (LABELLED, UNLABELLED):
            for product in self._stream(wanted, FIELDS):
                rows += 1
                yield self._row(product)
        # Products are added and never changed: as many as are there now were all of these.
        ids = hashlib.sha256()
        for product in self._stream({}, ("_id",)):
            ids.update(product["_id"].encode())
        if (rows, ids.hexdigest()) != (manifest.rows, manifest.sha256):
            raise JobError(
                f"the products in {self.where} are not those of their manifest ({rows:,} came, {manifest.rows:,} are"
                " in it): nothing was written; let transform run to its end, then cleaning again"
            )

    def _stream(self, wanted: dict[str, Any], fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        with _explained(self.where), self._database["products"].find(wanted, fields, batch_size=BATCH) as cursor:
            yield from cursor.sort("_id", 1)

    def _row(self, product: dict[str, Any]) -> Row:
        try:
            number, image, designation, description, code = (product[name] for name in FIELDS)
        except KeyError as missing:
            raise JobError(
                f"product {product['_id']} in {self.where} has no {missing}: let transform run, then cleaning again"
            ) from None
        return number, image, designation, description, code


@contextmanager
def session(uri: str, wait: float) -> Iterator[Products]:
    """The products of the database that the address names; a server that starts is waited for.

    Raises:
        JobError: No such server answers, or it refuses the user.
        SettingError: The address cannot be one.
    """
    try:
        parts = parse_uri(uri)
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            uri, serverSelectionTimeoutMS=LOOK * 1000, socketTimeoutMS=SILENCE * 1000, appname="cleaning"
        )
    except OSError as error:
        raise SettingError(
            f"MONGODB_URI names a file that cannot be read ({error.strerror}): correct its tlsCAFile or the like"
        ) from None
    except (errors.PyMongoError, ValueError):
        # What pymongo says would quote the address, and the password in it.
        raise SettingError(
            "MONGODB_URI is not an address of MongoDB: write mongodb://USER:PASSWORD@HOST:27017/catalog?authSource=admin,"
            " and percent-encode the special characters of user and password"
        ) from None
    name = parts["database"] or DATABASE
    where = f"{','.join(f'{host}:{port}' for host, port in parts['nodelist'])}/{name}"
    with client:
        _reach(client, where, wait)
        yield Products(client[name], where)


def _reach(client: pymongo.MongoClient[dict[str, Any]], where: str, wait: float) -> None:
    """Wait for the server to answer."""
    limit, said = time.monotonic() + wait, False
    with _explained(where):
        while True:
            try:
                client.admin.command("ping")
                return
            except errors.ConnectionFailure:
                if time.monotonic() >= limit:
                    raise
            if not said:
                print(f"waiting up to {wait:g} s for MongoDB on {where} …", file=sys.stderr, flush=True)
                said = True
            time.sleep(ASK_EVERY)


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """An error of pymongo as one line that says what and what to do."""
    try:
        yield
    except errors.OperationFailure as error:
        if error.code in REFUSED:
            raise JobError(f"MongoDB on {where} refused the user: correct user and password in MONGODB_URI") from None
        raise JobError(f"MongoDB on {where} answered: {error}") from None
    except errors.ServerSelectionTimeoutError:
        raise JobError(
            f"cannot reach MongoDB on {where}: start it (docker compose up -d mongodb, or gigogne up mongodb), or"
            " correct MONGODB_URI"
        ) from None
    except errors.PyMongoError as error:
        raise JobError(
            f"MongoDB on {where} went away ({type(error).__name__}), and nothing was written: start it, and run"
            " cleaning again"
        ) from None
