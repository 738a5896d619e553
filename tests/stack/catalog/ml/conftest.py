"""What the trainer's tests share: MLflow with its servers, the trainer in its own environment, and listings."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
import uv
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from tests.conftest import REPOSITORY
from tests.stack.conftest import ESCAPED, S3, environment, kept_up

MODEL, EXPERIMENT = "catalog-classifier", "catalog"
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


@dataclass(frozen=True)
class Stack:
    """PostgreSQL, S3 and MLflow as the Compose file has them, and the Python of the trainer's image."""

    postgres: str
    s3: S3
    mlflow: str
    python: str

    @property
    def settings(self) -> dict[str, str]:
        """What the trainer is told."""
        return {
            **self.s3.environment,
            "ML_DATABASE_URI": f"postgresql://postgres:{ESCAPED}@{self.postgres}/mlops",
            "MLFLOW_TRACKING_URI": f"http://{self.mlflow}",
        }

    def start(self, **variables: object) -> subprocess.Popen[str]:
        """Start `python -m ml.train`."""
        given = environment(**{**self.settings, **variables})
        return subprocess.Popen(
            [self.python, "-m", "ml.train"], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def train(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run `python -m ml.train` to its end."""
        with self.start(**variables) as process:
            out, err = process.communicate(timeout=150)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def put(self, listings: list[Listing], name: str = "clean") -> str:
        """Write listings and their manifest as cleaning does; the manifest's address."""
        body = parquet(listings)
        sha256 = hashlib.sha256(body).hexdigest()
        key = f"{name}/products-{sha256[:16]}.parquet"
        manifest = {"rows_out": len(listings), "sha256": sha256, "object": f"s3://catalog/{key}"}
        self.put_object(key, body)
        self.put_object(f"{name}/manifest.json", json.dumps(manifest).encode())
        return f"s3://catalog/{name}/manifest.json"

    def put_object(self, key: str, body: bytes, bucket: str = "catalog") -> None:
        """Write an object."""
        client = self.s3.client()
        client.put_object(Bucket=bucket, Key=key, Body=body)
        client.close()

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The names of the objects under a prefix."""
        client = self.s3.client()
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        client.close()
        return [entry["Key"] for entry in found]

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask MLflow's REST interface."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.mlflow}/api/2.0/mlflow/{path}"
        with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=30) as answer:
            return json.loads(answer.read())

    def versions(self) -> list[dict[str, Any]]:
        """The registered versions, the oldest first, with their tags as a dictionary."""
        query = quote(f"name = '{MODEL}'")
        found = self.ask(f"model-versions/search?filter={query}", method="GET").get("model_versions", [])
        flat = [{**each, "tags": {tag["key"]: tag["value"] for tag in each.get("tags", [])}} for each in found]
        return sorted(flat, key=lambda each: int(each["version"]))

    def champion(self) -> int:
        """The number of the promoted version; 0 for none."""
        try:
            found = self.ask(f"registered-models/alias?name={MODEL}&alias=champion", method="GET")
        except HTTPError as error:
            error.close()
            return 0
        return int(found["model_version"]["version"])

    def runs(self) -> list[dict[str, Any]]:
        """The runs that are not deleted."""
        experiment = self.ask(f"experiments/get-by-name?experiment_name={EXPERIMENT}", method="GET")
        ids = [experiment["experiment"]["experiment_id"]]
        return list(self.ask("runs/search", {"experiment_ids": ids}).get("runs", []))

    def forget(self) -> None:
        """Delete the model and its runs."""
        try:
            self.ask("registered-models/delete", {"name": MODEL}, method="DELETE")
            for run in self.runs():
                self.ask("runs/delete", {"run_id": run["info"]["run_id"]})
        except HTTPError as error:  # nobody trained yet
            error.close()


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes the environment of a dependency group, as the image of that group has it; returns its Python."""

    def make(group: str) -> str:
        folder = tmp_path_factory.mktemp(group)
        program = uv.find_uv_bin()
        subprocess.run([program, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
        python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        # Byte code is written by the first run, of what it imports: all of it would take half a minute.
        command = [program, "pip", "install", "--quiet", "--python", str(python), "--group", group]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        return str(python)

    return make


@pytest.fixture(scope="session")
def up(install: Callable[[str], str]) -> Iterator[Stack]:
    """The servers, for a session."""
    with pytest.MonkeyPatch.context() as patch:
        # Without Docker two MLflow servers cannot have one port; tests run side by side.
        patch.setenv("MLFLOW_PORT", str(40_000 + os.getpid() % 20_000))
        python = install("ml")
        with kept_up("docker-compose-mlflow.yml", "postgres", "minio", "mlflow-server") as at:
            s3 = S3(f"http://{at['minio']}", "stack", "stack-secret", "catalog")
            yield Stack(at["postgres"], s3, at["mlflow-server"], python)


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
