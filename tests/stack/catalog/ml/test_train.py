"""The trainer against real servers: one version per model, whatever happens in between, and one clear line."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import ESCAPED, PASSWORD

from catalog.champion import Registry

from .conftest import Listing, Stack, parquet

REPORT = {"confusion_matrix.png", "data_manifest.json", "model_card.md", "per_class.json", "per_class_f1.png"}
NOWHERE = "127.0.0.1:9"


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a training ended."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr and ESCAPED not in done.stderr and "stack-secret" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_a_training_is_registered_once(stack: Stack, listings: list[Listing]) -> None:
    """The first training is champion with all its figures; a second one of the same changes nothing."""
    unlabelled = [replace(each, productid=each.productid + 1000, prdtypecode=None) for each in listings[:10]]
    stack.put([*listings, *unlabelled])
    done = stack.train()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "catalog-classifier version 1 registered | 250 rows | champion: there was no champion"
    )
    assert done.stdout.count("\n") == 1 and "10 unlabelled" in done.stderr
    (version,), (run,) = stack.versions(), stack.runs()
    metrics = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED"
    assert 0.5 < metrics["held_out_f1_weighted"] <= 1 and metrics["cv_f1_weighted_std"] >= 0
    assert version["tags"]["promotion"] == "promoted" and version["run_id"] == run["info"]["run_id"]
    artifacts = stack.ask(f"artifacts/list?run_id={version['run_id']}&path=report", method="GET")["files"]
    assert {each["path"] for each in artifacts} == {f"report/{name}" for name in REPORT}

    with closing(Registry(f"http://{stack.mlflow}")) as registry:
        champion = registry.champion()
        assert champion is not None and (champion.number, champion.run_id) == (1, version["run_id"])
        assert champion.tags == version["tags"]
        assert registry.load(champion).predict([("roman poche auteur", ""), ("console manette", "jeu")]).tolist() == [
            10,
            40,
        ]

    again = stack.train()
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("catalog-classifier version 1 was trained before on equal data, parameters and code")
    assert (len(stack.versions()), len(stack.runs()), stack.champion()) == (1, 1, 1)


@pytest.mark.full
def test_any_mlflow_loads_the_champion(stack: Stack, listings: list[Listing], install: Callable[[str], str]) -> None:
    """MLflow's own client predicts with the registered model, by its alias, with none of our code installed."""
    stack.put(listings)
    assert stack.train().returncode == 0
    program = (
        "import mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/catalog-classifier@champion')\n"
        "rows = {'designation': ['roman poche auteur', 'console manette'], 'description': ['', 'jeu']}\n"
        "said = model.predict(pandas.DataFrame(rows))['prdtypecode'].tolist()\n"
        "print(said, model.metadata.signature.inputs.input_names())\n"
    )
    settings = {"MLFLOW_TRACKING_URI": f"http://{stack.mlflow}", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false"}
    command = [install("mlflow-server"), "-c", program]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[10, 40] ['designation', 'description']", done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", f"http://{NOWHERE}", "cannot reach S3 at http://127.0.0.1:9"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "correct the AWS_ variables"),
        ("MLFLOW_TRACKING_URI", f"http://user:{ESCAPED}@{NOWHERE}", "MLflow at http://127.0.0.1:9: no answer"),
        ("MLFLOW_TRACKING_URI", f"http://user:{ESCAPED}@127.0.0.1:50x0", "MLflow at http://127.0.0.1:50x0: it says"),
        ("MLFLOW_TRACKING_URI", f"http://user:x/{ESCAPED} y@{NOWHERE}", "MLflow at http://127.0.0.1:9: it says"),
        ("ML_DATABASE_URI", f"postgresql://postgres:{ESCAPED}@{NOWHERE}/mlops", "cannot reach PostgreSQL on 127.0.0.1"),
        ("TRAINING_DATA", "s3://catalog/nothing/manifest.json", "run cleaning first"),
    ],
)
def test_what_is_missing_is_named(stack: Stack, listings: list[Listing], variable: str, value: str, said: str) -> None:
    """A server that does not answer, or a manifest that is not there, is one line that says what to do."""
    stack.put(listings)
    assert said in failed(stack.train(**{variable: value}))
    assert stack.versions() == []


def test_a_file_that_is_not_the_manifests_is_refused(stack: Stack, listings: list[Listing]) -> None:
    """A Parquet file that was changed after its manifest was written is not trained on."""
    stack.put(listings, "changed")
    (key,) = [key for key in stack.keys("catalog", "changed/") if key.endswith(".parquet")]
    stack.put_object(key, parquet(listings)[:-100])
    assert "is not the file that its manifest describes" in failed(
        stack.train(TRAINING_DATA="s3://catalog/changed/manifest.json")
    )
    stack.put_object("changed/manifest.json", b'{"object": 1')
    assert "is no manifest of cleaning" in failed(stack.train(TRAINING_DATA="s3://catalog/changed/manifest.json"))


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("description", Array(["x", None] * 3, DataType.string()), "other values in description"),
        ("designation", Array(range(6), DataType.int64()), "other values in designation"),
        ("productid", Array([str(number) for number in range(6)], DataType.string()), "other values in productid"),
        ("prdtypecode", Array([10.0] * 6, DataType.float64()), "other values in prdtypecode"),
    ],
)
def test_columns_of_another_shape_are_refused(stack: Stack, name: str, column: Array, said: str) -> None:
    """A Parquet file with other types, or with texts missing, is one line that names the column."""
    columns: dict[str, Array] = {
        "productid": Array(range(6), DataType.int64()),
        "designation": Array(["roman"] * 6, DataType.string()),
        "description": Array([""] * 6, DataType.string()),
        "prdtypecode": Array([10, 40] * 3, DataType.int32()),
    }
    file = io.BytesIO()
    write_parquet(Table.from_pydict({**columns, name: column}), file)
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    manifest = {"rows_out": 6, "sha256": sha256, "object": "s3://catalog/other/products.parquet"}
    stack.put_object("other/products.parquet", file.getvalue())
    stack.put_object("other/manifest.json", json.dumps(manifest).encode())
    assert said in failed(stack.train(TRAINING_DATA="s3://catalog/other/manifest.json"))


def test_a_lock_that_is_lost_registers_nothing(stack: Stack, listings: list[Listing]) -> None:
    """A trainer whose connection to PostgreSQL ended while it worked may not be alone: it makes no version."""
    stack.put(listings)
    relay = Relay(stack.mlflow, hold_after=40_000)
    try:
        with stack.start(MLFLOW_TRACKING_URI=f"http://{relay.address}") as trainer:
            assert relay.reached.wait(60)
            with psycopg.connect(stack.settings["ML_DATABASE_URI"], autocommit=True) as connection:
                held = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ml.train'"
                assert connection.execute(held).fetchall() == [(True,)]
            relay.mend()
            out, err = trainer.communicate(timeout=60)
    finally:
        relay.close()
    assert "lost the connection to PostgreSQL" in failed(subprocess.CompletedProcess([], trainer.returncode, out, err))
    assert stack.versions() == [] and stack.runs() == []


def test_a_damaged_version_without_a_decision_is_trained_anew(stack: Stack, listings: list[Listing]) -> None:
    """Its trainer was killed before the decision, and its files changed: another version takes its place."""
    stack.put(listings)
    assert stack.train().returncode == 0
    stack.ask("model-versions/delete-tag", {"name": Stack.MODEL, "version": "1", "key": "promotion"}, method="DELETE")
    for key in stack.keys("mlflow", ""):
        if key.endswith("weights.npz"):
            stack.put_object(key, b"not these", bucket="mlflow")
    done = stack.train()
    assert done.returncode == 0, done.stderr
    assert "version 1 of catalog-classifier is damaged" in done.stderr
    assert done.stdout.startswith("catalog-classifier version 2 registered") and stack.champion() == 2
    assert "version 2 was trained before" in stack.train().stdout


def test_the_run_of_a_version_that_a_person_deleted_stays(stack: Stack, listings: list[Listing]) -> None:
    """Only what a killed trainer left is removed: a finished run keeps its figures."""
    stack.put(listings)
    assert stack.train().returncode == 0
    (before,) = stack.runs()
    stack.ask("model-versions/delete", {"name": Stack.MODEL, "version": "1"}, method="DELETE")
    assert stack.train().returncode == 0
    assert before["info"]["run_id"] in {run["info"]["run_id"] for run in stack.runs()} and len(stack.runs()) == 2


@pytest.mark.parametrize("passes", [20_000, pytest.param(60_000, marks=pytest.mark.full)])
def test_mlflow_goes_away_while_it_is_logged_to(stack: Stack, listings: list[Listing], passes: int) -> None:
    """No version stays without its figures; the next training makes one, and removes what was left."""
    stack.put(listings)
    relay = Relay(stack.mlflow, cut_after=passes)
    try:
        said = failed(stack.train(MLFLOW_TRACKING_URI=f"http://{relay.address}"))
    finally:
        relay.close()
    assert "MLflow at http://127.0.0.1" in said and stack.versions() == []
    assert stack.train().returncode == 0
    assert (len(stack.versions()), len(stack.runs()), stack.champion()) == (1, 1, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("kill", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_trainer_that_is_stopped_in_the_middle(
    stack: Stack, listings: list[Listing], kill: signal.Signals, code: int
) -> None:
    """SIGTERM leaves nothing in MLflow; after kill -9 the next training finds no lock and cleans up."""
    stack.put(listings)
    relay = Relay(stack.mlflow, hold_after=40_000)
    try:
        with stack.start(MLFLOW_TRACKING_URI=f"http://{relay.address}") as trainer:
            assert relay.reached.wait(60)
            trainer.send_signal(kill)
            relay.mend()
            begun = time.monotonic()
            _, err = trainer.communicate(timeout=60)
            assert trainer.returncode == code, err
            assert time.monotonic() - begun < 10
    finally:
        relay.close()
    assert stack.versions() == []
    if kill == signal.SIGTERM:
        assert stack.runs() == [] and err.splitlines()[-1] == "stopped by SIGTERM"
    assert stack.train().returncode == 0
    assert (len(stack.versions()), len(stack.runs()), stack.champion()) == (1, 1, 1)
