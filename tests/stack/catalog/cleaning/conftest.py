"""What cleaning's tests share: products as transform leaves them, a folder on S3, cleaning run as a process."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from arro3.io import read_parquet
from pymongo.database import Database
from tests.stack.catalog.conftest import Document
from tests.stack.conftest import Run

from etl.rows import Rows

Clean = Callable[..., "subprocess.CompletedProcess[str]"]
BUCKET = "catalog"
MODULE = "etl.clean_data"


class Target:
    """A folder of the bucket, and what is in it."""

    def __init__(self, client: Any, folder: str) -> None:
        self.client, self.folder = client, folder

    @property
    def address(self) -> str:
        """The folder's, for CLEANING_TARGET."""
        return f"s3://{BUCKET}/{self.folder}"

    def names(self) -> list[str]:
        """The objects, in their order."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.folder}/").get("Contents", [])
        return sorted(each["Key"].removeprefix(f"{self.folder}/") for each in found)

    def uploads(self) -> int:
        """How many multipart uploads were left."""
        return len(self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{self.folder}/").get("Uploads", []))

    def read(self, name: str) -> bytes:
        """An object."""
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=f"{self.folder}/{name}")["Body"].read()
        return body

    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        found: dict[str, Any] = json.loads(self.read("manifest.json"))
        return found

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of the Parquet file that the manifest names."""
        manifest = self.manifest()
        name = manifest["object"].removeprefix(f"{self.address}/")
        body = self.read(name)
        assert hashlib.sha256(body).hexdigest() == manifest["sha256"]
        assert name == f"products-{manifest['sha256'][:16]}.parquet"
        table = read_parquet(body).read_all()
        names: list[Any] = list(table.column_names)
        assert names == list(Rows._fields)
        columns: Any = [table[name].to_pylist() for name in names]
        return list(zip(*columns, strict=True))


@pytest.fixture
def target(s3: Any) -> Target:
    """An empty folder of the test's own."""
    return Target(s3.client(), f"test-{os.urandom(6).hex()}")


@pytest.fixture
def variables(mongodb_uri: str, s3: Any, target: Target, tmp_path: Path) -> dict[str, object]:
    """The settings of a cleaning that finds its servers."""
    return {
        **s3.environment,
        "MONGODB_URI": mongodb_uri,
        "CLEANING_TARGET": target.address,
        "CLEANING_WAIT": 1,
        "TMPDIR": tmp_path,
    }


@pytest.fixture
def clean(run: Run, variables: dict[str, object]) -> Clean:
    """Clean, with some variables changed."""
    return lambda **changed: run(MODULE, **{**variables, **changed})


def key(number: int) -> str:
    """An id as transform makes them; they are in the order of the numbers."""
    return f"{number:08x}{hashlib.sha256(str(number).encode()).hexdigest()[8:]}"


def fill(catalog: Database[Document], texts: Sequence[tuple[str, str]], **changed: object) -> None:
    """Products with these texts, as transform leaves them; the manifest with some fields changed."""
    products = [
        {
            "_id": key(number),
            "productid": 4_000_000_000 + number,
            "imageid": number,
            "designation": designation,
            "description": description,
            "prdtypecode": None if number % 3 == 2 else 2583,
        }
        for number, (designation, description) in enumerate(texts)
    ]
    for begin in range(0, len(products), 5_000):
        catalog["products"].insert_many(products[begin : begin + 5_000])
    ids = hashlib.sha256("".join(map(key, range(len(texts)))).encode()).hexdigest()
    manifest = {"complete": True, "rows": len(products), "rejected": 0, "sha256": ids, **changed}
    catalog["manifests"].replace_one({"_id": "products"}, manifest, upsert=True)


def noise(rows: int, characters: int = 400) -> list[tuple[str, str]]:
    """Rows that do not compress."""
    chance = random.Random(42)
    return [(f"title {number}", chance.randbytes(characters // 2).hex()) for number in range(rows)]
