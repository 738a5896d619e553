"""Scoring: which codes are the best ones, and that equal input makes equal bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from arro3.io import read_parquet
from tests.stack.conftest import Run

from catalog.classifier import Classifier
from ml.dataset import Rows
from ml.scoring import parquet, top
from registry.model import Registered


def champion(labels: list[int]) -> Registered[Classifier]:
    """A model that has learned how frequent codes are, and no word: each next one is twice as frequent."""
    intercept = np.log(2.0) * np.arange(len(labels), dtype=np.float32)
    return Registered(7, "r1", Classifier(np.array(labels), intercept, 1.0, ()))


def rows(count: int) -> Rows:
    """Products without labels."""
    return Rows(list(range(count)), ["a title"] * count, [""] * count, [None] * count)


def test_the_best_come_first() -> None:
    """By probability; of equals the first column."""
    found = top(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]), 2)
    assert found.tolist() == [[1, 2], [0, 2]]


@pytest.mark.parametrize(("labels", "columns"), [([10, 40], 2), ([10, 40, 50, 60], 3)])
def test_a_row_a_product(labels: list[int], columns: int) -> None:
    """The three best codes of each, or as many as there are, and the model's version; in batches or not."""
    said: list[str] = []
    table = read_parquet(io.BytesIO(parquet(rows(4100), champion(labels), said.append))).read_all()
    names = ["predicted", "probability", "second", "second_probability", "third", "third_probability"]
    assert table.column_names == ["productid", *names[: 2 * columns], "model_version"]
    assert table["productid"].to_pylist() == list(range(4100))
    assert set(table["predicted"].to_pylist()) == {labels[-1]} and set(table["second"].to_pylist()) == {labels[-2]}
    assert table["probability"][0].as_py() == pytest.approx(2 * table["second_probability"][0].as_py())
    assert set(table["model_version"].to_pylist()) == {7}
    assert said[-1] == "4,100 of 4,100 scored" and len(said) == 3


def test_equal_input_makes_equal_bytes() -> None:
    """So that a second run can be known by its hash; no products make no rows."""
    made = [parquet(rows(10), champion([10, 40, 50]), lambda line: None) for _ in range(2)]
    assert made[0] == made[1]
    empty = read_parquet(io.BytesIO(parquet(rows(0), champion([10, 40, 50]), lambda line: None))).read_all()
    assert empty.num_rows == 0


@pytest.mark.parametrize(
    ("variables", "code", "told"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 1, "is it running (docker compose up -d minio"),
        ({"MLFLOW_TRACKING_URI": "http://user:secret-7@[bad"}, 2, "write http://host:port"),
        ({"SCORING_DATA": "clean/manifest.json"}, 2, "write s3://bucket/path/name"),
        ({"SCORING_TARGET": "/tmp/scores"}, 2, "write s3://bucket/path/name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, variables: dict[str, str], code: int, told: str) -> None:
    """S3 that is down, addresses that are none: before anything is written, and without the secret."""
    secret = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-7", "AWS_DEFAULT_REGION": "us-east-1"}
    made = run("ml.scoring", **{**secret, **variables})
    assert made.returncode == code and made.stdout == ""
    (line,) = made.stderr.splitlines()
    assert line.startswith("error: ") and told in line and "secret-7" not in line
