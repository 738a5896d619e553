"""The listings that the champion learned from, and those among them that it was judged on."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

from catalog.held_out import is_held_out
from job.errors import JobError
from job.storage import MissingObjectError, Storage
from monitoring.comparison import Listing, distinct

__all__ = ["Reference", "read_reference"]

COLUMNS = ("productid", "designation", "description")


@dataclass(frozen=True)
class Reference:
    """Cleaned listings, each once, in an order that is like chance and always the same.

    Attributes:
        listings: All of them.
        held_out: Those that the champion has not learned from. Of the others it knows the answers, so what it says of
            them is no measure for what it says of new ones.
    """

    listings: list[Listing]
    held_out: list[Listing]


def read_reference(storage: Storage, manifest: str, sha256: str) -> Reference:
    """The listings whose file has this hash: the manifest's own, or an earlier one beside it.

    Raises:
        JobError: It is not there any more, or is no such Parquet file.
    """
    address = _find(storage, manifest, sha256)
    try:
        body = storage.get(address)
    except MissingObjectError as missing:
        raise JobError(f"{missing}, which the champion learned from: train anew (TRAIN_FORCE=1)") from None
    if hashlib.sha256(body).hexdigest() != sha256:
        raise JobError(f"{address} is not the file that the champion learned from (SHA-256): run cleaning, then train")
    productid, *texts = _columns(body, address)
    listings: list[Listing] = list(zip(*texts, strict=True))
    held_out = [listing for product, listing in zip(productid, listings, strict=True) if is_held_out(product)]
    return Reference(distinct(listings), distinct(held_out))


def _find(storage: Storage, manifest: str, sha256: str) -> str:
    """Where the file with this hash is: cleaning names its files by their hash, and keeps them."""
    try:
        said = json.loads(storage.get(manifest))
        if said["sha256"] == sha256:
            return str(said["object"])
    except MissingObjectError:
        pass
    except (ValueError, KeyError, TypeError):
        raise JobError(f"{manifest} is no manifest of cleaning: run cleaning again") from None
    return f"{manifest.rpartition('/')[0]}/products-{sha256[:16]}.parquet"


def _columns(body: bytes, address: str) -> list[list[Any]]:
    """The columns that are compared, as lists. The hash was right, so they are as cleaning has written them."""
    from arro3.io import read_parquet

    try:
        table = read_parquet(io.BytesIO(body)).read_all()
        return [list(table[name].to_pylist()) for name in COLUMNS]
    except Exception as error:
        raise JobError(f"{address} is no Parquet file of cleaning ({error}): run cleaning, then train") from None
