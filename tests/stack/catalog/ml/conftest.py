"""What the trainer's tests share: MLflow with its servers, the trainer in its own environment, and listings."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from tests.stack.trainer import Trainer, standing

WORDS = {
    10: "roman livre poche histoire auteur tome collection lecture",
    40: "jeu console manette cartouche edition joueur import aventure",
    2280: "magazine revue journal numero mensuel dossier parution couverture",
}


@dataclass(frozen=True)
class Listing:
    """A cleaned listing."""

    productid: int
    designation: str
    description: str
    prdtypecode: int | None


class Stack(Trainer):
    """`python -m ml.train`, and what it learns from."""

    MODULE, GROUP, DATABASE, BUCKET = "ml.train", "ml", "ML_DATABASE_URI", "catalog"
    MODEL, EXPERIMENT = "catalog-classifier", "catalog"

    def put(self, listings: list[Listing], name: str = "clean") -> str:
        """Write listings and their manifest as cleaning does; the manifest's address."""
        body = parquet(listings)
        sha256 = hashlib.sha256(body).hexdigest()
        key = f"{name}/products-{sha256[:16]}.parquet"
        manifest = {"rows_out": len(listings), "sha256": sha256, "object": f"s3://catalog/{key}"}
        self.put_object(key, body)
        self.put_object(f"{name}/manifest.json", json.dumps(manifest).encode())
        return f"s3://catalog/{name}/manifest.json"

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The names of the objects under a prefix."""
        client = self.s3.client()
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        client.close()
        return [entry["Key"] for entry in found]


@pytest.fixture(scope="session")
def up(install: Callable[[str], str]) -> Iterator[Stack]:
    """The servers, for a session."""
    with standing(Stack, install) as stack:
        yield stack


@pytest.fixture
def stack(up: Stack) -> Stack:
    """The servers without any model."""
    up.forget()
    return up


@pytest.fixture
def listings() -> list[Listing]:
    """240 listings of three classes."""
    return make_listings()


def make_listings(count: int = 240, seed: int = 7) -> list[Listing]:
    """Listings of three classes, whose words overlap a little."""
    chance = random.Random(seed)
    every = " ".join(WORDS.values()).split()

    def listing(number: int) -> Listing:
        code = chance.choice(list(WORDS))
        title = chance.choices(WORDS[code].split(), k=3) + chance.choices(every, k=2)
        return Listing(number, " ".join([*title, str(number)]), " ".join(chance.choices(every, k=6)), code)

    return [listing(number) for number in range(1, count + 1)]


def mislabelled(listings: list[Listing], held_out: Callable[[int], bool]) -> list[Listing]:
    """The same listings, most of which a model learns wrongly; those that it is judged on are as they were."""
    codes = list(WORDS)
    turned = {code: codes[(number + 1) % len(codes)] for number, code in enumerate(codes)}
    return [
        each if each.prdtypecode is None or held_out(each.productid) or each.productid % 4 == 0
        else replace(each, prdtypecode=turned[each.prdtypecode])
        for each in listings
    ]  # fmt: skip


def parquet(listings: list[Listing]) -> bytes:
    """Listings as the file that cleaning writes."""
    columns: dict[str, Any] = {
        "productid": Array([each.productid for each in listings], DataType.int64()),
        "imageid": Array([1 for _ in listings], DataType.int64()),
        "designation": Array([each.designation for each in listings], DataType.string()),
        "description": Array([each.description for each in listings], DataType.string()),
        "prdtypecode": Array([each.prdtypecode for each in listings], DataType.int32()),
    }
    file = io.BytesIO()
    write_parquet(Table.from_pydict(columns), file)
    return file.getvalue()
