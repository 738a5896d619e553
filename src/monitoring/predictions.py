"""What the API was asked lately, out of MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from catalog.text import clean
from job.errors import JobError, SettingError
from monitoring.comparison import Listing, offer

__all__ = ["Current", "read_current"]

DATABASE, COLLECTION = "catalog", "predictions"
FIELDS = {"designation": 1, "description": 1, "categories.code": 1}
# Milliseconds: until the server is found, and for an answer.
LOOK, ANSWER = 5_000, 60_000
# The same listing may have been sent again and again: so many documents are looked at for each that is wanted.
LOOKED_AT = 20
REFUSED = (13, 18)  # Unauthorized, AuthenticationFailed


@dataclass(frozen=True)
class Current:
    """Listings with the category that the model named, one of each offer; the newest first.

    Attributes:
        codes: Category by listing.
        predictions: How many documents they come from.
    """

    codes: dict[Listing, int]
    predictions: int


def read_current(uri: str, version: int, since: datetime, most: int) -> Current:
    """The newest listings, one of each offer, that this version of the model was asked about.

    Raises:
        SettingError: The address is none.
        JobError: MongoDB does not answer, or refuses.
    """
    codes: dict[Listing, int] = {}
    offers: set[str] = set()
    looked_at = 0
    for document in _documents(uri, version, since, most * LOOKED_AT):
        looked_at += 1
        listing = clean(document["designation"]), clean(document.get("description") or "")
        if offer(listing) not in offers:
            offers.add(offer(listing))
            codes[listing] = int(document["categories"][0]["code"])
        if len(codes) == most:
            break
    return Current(codes, looked_at)


def _documents(uri: str, version: int, since: datetime, most: int) -> Iterator[dict[str, Any]]:
    """The newest predictions as the API has written them."""
    host = _host(uri)
    client: MongoClient[dict[str, Any]] = MongoClient(
        uri,
        appname="catalog.monitoring",
        serverSelectionTimeoutMS=LOOK,
        connectTimeoutMS=LOOK,
        socketTimeoutMS=ANSWER,
    )
    try:
        with client:
            wanted = {
                "at": {"$gte": since},
                "model_version": version,
                "designation": {"$type": "string"},
                "categories.0.code": {"$type": "number"},
            }
            found = client.get_default_database(DATABASE)[COLLECTION].find(wanted, FIELDS)
            yield from found.sort("at", -1).limit(most)
    except OperationFailure as error:
        if error.code in REFUSED:
            raise JobError(f"MongoDB on {host} refuses the user or the password: correct MONGODB_URI") from None
        raise JobError(f"MongoDB on {host} says: {(error.details or {}).get('errmsg', 'no')}") from None
    except ConnectionFailure:
        start = "docker compose up -d mongodb, or gigogne up mongodb"
        raise JobError(f"cannot reach MongoDB on {host}: start it ({start}) or correct MONGODB_URI") from None
    except PyMongoError as error:
        raise JobError(f"MongoDB on {host} fails: {type(error).__name__}; look at its log") from None


def _host(uri: str) -> str:
    """Where the server is, without the password.

    Raises:
        SettingError: It is no address.
    """
    try:
        return ",".join(f"{name}:{port}" for name, port in parse_uri(uri)["nodelist"])
    except (InvalidURI, ConfigurationError, ValueError, OSError):
        # The driver's own message may quote a part of the password.
        hint = "percent-encode special characters of the password (@ is %40, / is %2F, : is %3A)"
        raise SettingError(f"MONGODB_URI is not an address that MongoDB understands: {hint}") from None
