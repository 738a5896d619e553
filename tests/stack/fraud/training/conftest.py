"""What the tests of `train_fraud` share: MLflow with its servers, the trainer in its own environment, and extracts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from tests.stack.catalog.ml.conftest import install
from tests.stack.conftest import ESCAPED, S3, environment, kept_up
from tests.stack.fraud.scenes import objects

from fraud.generator import Event, Generator
from fraud.names import EXPERIMENT, MODEL
from fraud.scenario.drift import Drift

BUCKET = "fraud-detection-2-bucket"


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
            "LOGGER_SQL_URI": f"postgresql://postgres:{ESCAPED}@{self.postgres}/mlops",
            "MLFLOW_TRACKING_URI": f"http://{self.mlflow}",
        }

    def start(self, **variables: object) -> subprocess.Popen[str]:
        """Start `python -m fraud.train_fraud`."""
        command, given = [self.python, "-m", "fraud.train_fraud"], environment(**{**self.settings, **variables})
        return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def train(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run `python -m fraud.train_fraud` to its end."""
        with self.start(**variables) as process:
            out, err = process.communicate(timeout=150)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def put(self, bodies: Mapping[str, bytes], folder: str = "data") -> str:
        """Write the objects of an extract, its state last; the address of that."""
        client = self.s3.client()
        for name, body in bodies.items():
            client.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=body)
        client.close()
        return f"s3://{BUCKET}/{folder}/validated.json"

    def extract(self, events: list[Event], truth: dict[str, bool], folder: str = "data") -> str:
        """Write what `extractor_sql` writes of these events, of which this is known."""
        return self.put(objects(events, truth), folder)

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
        """The number of the promoted version."""
        found = self.ask(f"registered-models/alias?name={MODEL}&alias=champion", method="GET")
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
def up(install: Callable[[str], str]) -> Iterator[Stack]:
    """The servers, for a session."""
    with pytest.MonkeyPatch.context() as patch:
        # Without Docker two MLflow servers cannot have one port; tests run side by side.
        patch.setenv("MLFLOW_PORT", str(30_000 + os.getpid() % 10_000))
        python = install("fraud-train")
        with kept_up("docker-compose-mlflow.yml", "postgres", "minio", "mlflow-server") as at:
            s3 = S3(f"http://{at['minio']}", "stack", "stack-secret", BUCKET)
            yield Stack(at["postgres"], s3, at["mlflow-server"], python)


@pytest.fixture
def stack(up: Stack) -> Stack:
    """The servers without any model."""
    up.forget()
    return up


@pytest.fixture(scope="session")
def events() -> list[Event]:
    """Six days with five times as many frauds as there usually are: few rows are enough to learn from."""
    return list(Generator(42, Drift.parse("frauds:5@2025-01-01")).events(0, 15_000))


@pytest.fixture
def truth(events: list[Event]) -> dict[str, bool]:
    """All of their truth."""
    return {event.truth.trans_num: event.is_fraud for event in events}


def misled(events: list[Event], truth: dict[str, bool], held_out: Callable[[int], bool]) -> dict[str, bool]:
    """The same, but of the cards that a model learns from two frauds in three are called genuine, and others frauds."""
    said = dict(truth)
    for number, event in enumerate(events):
        if not held_out(event.transaction["cc_num"]):
            name = event.truth.trans_num
            said[name] = (number % 3 == 0) if truth[name] else number % 300 == 0
    return said


__all__ = ["BUCKET", "Stack", "install", "misled"]
