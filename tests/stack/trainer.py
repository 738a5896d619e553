"""A trainer in the environment of its image, and the servers that it needs: what its tests share in every project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from tests.conftest import free_port
from tests.stack.conftest import ESCAPED, S3, environment, kept_up

__all__ = ["Trainer", "standing"]

AnyTrainer = TypeVar("AnyTrainer", bound="Trainer")


@dataclass(frozen=True)
class Trainer:
    """A trainer with PostgreSQL, S3 and MLflow as the Compose file has them, and the Python of its image.

    Attributes:
        postgres: Where that is.
        s3: Where that is.
        mlflow: Where that is.
        python: The program.
    """

    postgres: str
    s3: S3
    mlflow: str
    python: str

    # What is run; the dependency group of its image; its variable for PostgreSQL, its bucket, its names in MLflow.
    MODULE: ClassVar[str]
    GROUP: ClassVar[str]
    DATABASE: ClassVar[str]
    BUCKET: ClassVar[str]
    MODEL: ClassVar[str]
    EXPERIMENT: ClassVar[str]

    @property
    def settings(self) -> dict[str, str]:
        """What the trainer is told."""
        return {
            **self.s3.environment,
            self.DATABASE: f"postgresql://postgres:{ESCAPED}@{self.postgres}/mlops",
            "MLFLOW_TRACKING_URI": f"http://{self.mlflow}",
        }

    def start(self, **variables: object) -> subprocess.Popen[str]:
        """Start the trainer."""
        command, given = [self.python, "-m", self.MODULE], environment(**{**self.settings, **variables})
        return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def train(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run the trainer to its end."""
        with self.start(**variables) as process:
            out, err = process.communicate(timeout=150)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def put_object(self, key: str, body: bytes, bucket: str = "") -> None:
        """Write an object."""
        client = self.s3.client()
        client.put_object(Bucket=bucket or self.BUCKET, Key=key, Body=body)
        client.close()

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask MLflow's REST interface."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.mlflow}/api/2.0/mlflow/{path}"
        with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=30) as answer:
            return json.loads(answer.read())

    def versions(self) -> list[dict[str, Any]]:
        """The registered versions, the oldest first, with their tags as a dictionary."""
        query = quote(f"name = '{self.MODEL}'")
        found = self.ask(f"model-versions/search?filter={query}", method="GET").get("model_versions", [])
        flat = [{**each, "tags": {tag["key"]: tag["value"] for tag in each.get("tags", [])}} for each in found]
        return sorted(flat, key=lambda each: int(each["version"]))

    def champion(self) -> int:
        """The number of the promoted version; 0 for none."""
        try:
            found = self.ask(f"registered-models/alias?name={self.MODEL}&alias=champion", method="GET")
        except HTTPError as error:
            error.close()
            return 0
        return int(found["model_version"]["version"])

    def runs(self) -> list[dict[str, Any]]:
        """The runs that are not deleted."""
        experiment = self.ask(f"experiments/get-by-name?experiment_name={self.EXPERIMENT}", method="GET")
        ids = [experiment["experiment"]["experiment_id"]]
        return list(self.ask("runs/search", {"experiment_ids": ids}).get("runs", []))

    def forget(self) -> None:
        """Delete the model and its runs."""
        try:
            self.ask("registered-models/delete", {"name": self.MODEL}, method="DELETE")
            for run in self.runs():
                self.ask("runs/delete", {"run_id": run["info"]["run_id"]})
        except HTTPError as error:  # nobody trained yet
            error.close()


@contextmanager
def standing(kind: type[AnyTrainer], install: Callable[[str], str]) -> Iterator[AnyTrainer]:
    """A trainer whose servers run."""
    with pytest.MonkeyPatch.context() as patch:
        # Without Docker two MLflow servers cannot have one port; tests run side by side.
        patch.setenv("MLFLOW_PORT", str(free_port()))
        python = install(kind.GROUP)
        with kept_up("docker-compose-mlflow.yml", "postgres", "minio", "mlflow-server") as at:
            s3 = S3(f"http://{at['minio']}", "stack", "stack-secret", kind.BUCKET)
            yield kind(at["postgres"], s3, at["mlflow-server"], python)
