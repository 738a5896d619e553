"""What a run of the catalogue's pipeline leaves behind, read from its servers: the same on every engine."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymongo
from tests.conftest import Workspace, healthy
from tests.stack.conftest import S3, SECRETS

__all__ = ["PASSWORD", "SERVERS", "SETTINGS", "Seen", "look", "run", "said", "served"]

PASSWORD = SECRETS["MONGO_PASSWORD"]
SERVERS = ("minio", "mlflow-server", "mongodb", "postgres")
# Few rows, so that a run is short; enough of each category to learn from and to judge by. Port 5000 is that of other
# tests' MLflow, which listens on every address of this machine.
SETTINGS = {**SECRETS, "LISTINGS": "1200", "MLFLOW_PORT": "5003"}
COLLECTIONS = ("raw_products", "products", "rejected_products", "manifests")
MODEL = "catalog-classifier"


@dataclass(frozen=True)
class Seen:
    """What the servers hold after a run.

    Attributes:
        documents: How many each collection has.
        manifest: That of the cleaned rows, without the time when they were made.
        objects: The names of the objects with cleaned rows.
        versions: The versions of the registered model.
        champion: The version that is promoted.
        scores: Its metrics, but for times.
        data: What its run says of the rows that it learned from.
    """

    documents: dict[str, int]
    manifest: dict[str, Any]
    objects: list[str]
    versions: list[str]
    champion: str
    scores: dict[str, float]
    data: str


def look(address: str) -> Seen:
    """What the stack's servers, which are up at this address, hold."""
    with pymongo.MongoClient[Any](address, 27017, username="admin", password=PASSWORD) as mongodb:
        documents = {name: mongodb["catalog"][name].count_documents({}) for name in COLLECTIONS}
    client = S3(f"http://{address}:9000", "minio", PASSWORD, "catalog").client()
    manifest = json.loads(client.get_object(Bucket="catalog", Key="clean/manifest.json")["Body"].read())
    manifest.pop("created_at")
    listed = client.list_objects_v2(Bucket="catalog", Prefix="clean/")["Contents"]
    client.close()
    versions = _mlflow(address, "model-versions/search", filter=f"name='{MODEL}'")["model_versions"]
    champion = _mlflow(address, "registered-models/alias", name=MODEL, alias="champion")["model_version"]
    learned = _mlflow(address, "runs/get", run_id=champion["run_id"])["run"]["data"]
    return Seen(
        documents,
        manifest,
        sorted(each["Key"] for each in listed),
        sorted(each["version"] for each in versions),
        champion["version"],
        {each["key"]: each["value"] for each in learned["metrics"] if "second" not in each["key"]},
        next(tag["value"] for tag in [*learned["tags"], *champion["tags"]] if tag["key"] == "data_sha256"),
    )


def _mlflow(address: str, what: str, **query: str) -> dict[str, Any]:
    """An answer of MLflow, which answers to names that it knows only."""
    url = f"http://{address}:{SETTINGS['MLFLOW_PORT']}/api/2.0/mlflow/{what}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Host": f"localhost:{SETTINGS['MLFLOW_PORT']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def served(stack: Workspace) -> Iterator[None]:
    """The servers of the pipeline, kept up by `gigogne up`: a run finds them, and leaves them up."""
    with stack.start("up", "--json", *SERVERS) as up, healthy(up, *SERVERS):
        yield


def run(stack: Workspace, *before: str, **environment: str) -> dict[str, Any]:
    """`gigogne run --pipeline catalog`, perhaps behind other words; its summary."""
    result = stack.run(*before, "run", "--pipeline", "catalog", "--json", **environment)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def said(summary: dict[str, Any]) -> dict[str, str]:
    """The last line of each job."""
    return {each["service"]: each["last_line"] for each in summary["services"] if each["kind"] == "job"}
