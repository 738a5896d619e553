"""The trainer against real servers: one version of each data, promoted only if it is better, and one clear line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import ESCAPED, PASSWORD
from tests.stack.fraud.transactions import transaction

from fraud.drift.sample import REFERENCE, from_csv
from fraud.features import FEATURES
from fraud.generator import Event
from fraud.model import read_file
from fraud.names import FOLDER, MODEL
from fraud.registered import DETECTOR
from fraud.training.dataset import is_held_out, split
from fraud.training.evaluation import average_precision
from registry.champion import Registry

from .conftest import Stack, misled

REPORT = {"cost.png", "data_state.json", "importance.png", "model_card.md", "precision_recall.png", "reliability.png"}
NOWHERE = "127.0.0.1:9"
Truth = dict[str, bool]


def failed(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line with which a training ended."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr and ESCAPED not in done.stderr and "stack-secret" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def passed(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a training prints."""
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout


def test_a_detector_is_registered_once_with_all_that_is_known_of_it(
    stack: Stack, events: list[Event], truth: Truth, tmp_path: Path
) -> None:
    """It is the champion, scores as its figures say, has its sample for drift; a second training changes nothing."""
    waiting = {event.truth.trans_num for event in events[::1000]}
    known = {name: said for name, said in truth.items() if name not in waiting}
    stack.extract(events, known)
    done = stack.train()
    said = f"{MODEL} version 1 registered | 15,000 rows | champion: there was no champion; PR-AUC 0."
    assert passed(done).startswith(said) and "15 wait for their truth" in done.stderr
    (version,), (run,) = stack.versions(), stack.runs()
    metrics = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED" and version["run_id"] == run["info"]["run_id"]
    assert version["tags"]["promotion"] == "promoted" and version["tags"]["newest"] == events[-1].at.isoformat()
    artifacts = stack.ask(f"artifacts/list?run_id={version['run_id']}&path=report", method="GET")["files"]
    assert {each["path"] for each in artifacts} == {f"report/{name}" for name in REPORT}

    parted = split([transaction(event) for event in events], known)
    with closing(Registry(f"http://{stack.mlflow}", DETECTOR)) as registry:
        champion = registry.champion()
        assert champion is not None and champion.number == 1
        detector = registry.load(champion)
        registry.download(champion, [f"{FOLDER}/{name}" for name in (*DETECTOR.files, REFERENCE)], tmp_path)
    scores = detector.score(parted.held_out.rows)
    assert average_precision(parted.held_out.fraud, scores) == pytest.approx(metrics["served_pr_auc"], abs=1e-9)
    assert metrics["held_out_pr_auc"] > 10 * metrics["held_out_pr_auc_of_chance"]
    assert metrics["held_out_pr_auc_low"] < metrics["held_out_pr_auc"] < metrics["held_out_pr_auc_high"]
    sample = from_csv(read_file(tmp_path / FOLDER, REFERENCE))
    assert len(sample) > 900 and all(len(row.features) == len(FEATURES) for row in sample)
    # Of the last week there is nothing that was not learned from, but of the held-out cards.
    unseen = [row.score for row in sample if not np.isnan(row.score)]
    assert 0.25 < len(unseen) / len(sample) < 0.4

    assert passed(stack.train()).startswith(f"{MODEL} version 1 was trained before on equal data, parameters and code")
    assert (len(stack.versions()), len(stack.runs()), stack.champion()) == (1, 1, 1)


@pytest.mark.full
def test_only_a_better_one_that_knows_as_much_is_promoted(stack: Stack, events: list[Event], truth: Truth) -> None:
    """One that learned worse stays behind, a better one of older data too, and a better one of the same time wins."""
    wrong = misled(events, truth, is_held_out)
    stack.extract(events, wrong)
    assert "there was no champion" in passed(stack.train())
    older = [event for event in events if event.at < events[-1].at - timedelta(hours=8)]
    address = stack.extract(
        older, {event.truth.trans_num: event.is_fraud for event in older}, "data/until-20250106T160000"
    )
    line = passed(stack.train(TRAIN_FRAUD_DATA=address))
    assert f"not promoted: the champion knows later transactions (until {events[-1].at.isoformat()})" in line
    assert stack.champion() == 1
    stack.extract(events, truth)
    line = passed(stack.train())
    assert "| champion: PR-AUC 0." in line and "of the champion, version 1, on the same" in line
    stack.extract(events, {**wrong, events[0].truth.trans_num: True})
    line = passed(stack.train())
    assert (
        "| not promoted: PR-AUC 0." in line
        and "of the champion, version 3" in line
        and "held-out transactions (" in line
    )
    assert stack.champion() == 3 and [each["tags"]["promotion"] for each in stack.versions()] == [
        "promoted",
        "kept",
        "promoted",
        "kept",
    ]


@pytest.mark.full
def test_any_mlflow_loads_the_detector(
    stack: Stack, events: list[Event], truth: Truth, install: Callable[[str], str]
) -> None:
    """MLflow's own client scores with the registered model, by its alias, with none of our code installed."""
    stack.extract(events, truth)
    assert stack.train().returncode == 0
    program = (
        "import mlflow, pandas\n"
        f"model = mlflow.pyfunc.load_model('models:/{MODEL}@champion')\n"
        "names = model.metadata.signature.inputs.input_names()\n"
        "print(model.predict(pandas.DataFrame([[1.0] * len(names)], columns=names)).to_dict('list'), names[0])\n"
    )
    settings = {"MLFLOW_TRACKING_URI": f"http://{stack.mlflow}", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false"}
    command = [install("mlflow-server"), "-c", program]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)
    with closing(Registry(f"http://{stack.mlflow}", DETECTOR)) as registry:
        champion = registry.champion()
        assert champion is not None
        score = registry.load(champion).score([[1.0] * len(FEATURES)])
    assert f"'score': [{score[0]}]" in done.stdout and done.stdout.endswith(" amount\n"), done.stderr


def test_too_few_frauds_make_no_model(stack: Stack, events: list[Event], truth: Truth) -> None:
    """It says how many there are and how many are wanted, and registers nothing."""
    few = {name: said for number, (name, said) in enumerate(truth.items()) if not said or number % 10 == 0}
    stack.extract(events, few)
    said = failed(stack.train())
    assert (
        "too few confirmed frauds: " in said
        and "20 and 5 are the least" in said
        and "docker compose up confirm" in said
    )
    assert stack.versions() == [] and stack.runs() == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", f"http://{NOWHERE}", "cannot reach S3 at http://127.0.0.1:9"),
        ("MLFLOW_TRACKING_URI", f"http://user:{ESCAPED}@{NOWHERE}", "MLflow at http://127.0.0.1:9: no answer"),
        ("LOGGER_SQL_URI", f"postgresql://postgres:{ESCAPED}@{NOWHERE}/mlops", "cannot reach PostgreSQL on 127.0.0.1"),
        ("TRAIN_FRAUD_DATA", f"s3://{Stack.BUCKET}/nothing/validated.json", "run extractor_sql first"),
    ],
)
def test_what_is_missing_is_named(
    stack: Stack, events: list[Event], truth: Truth, variable: str, value: str, said: str
) -> None:
    """A server that does not answer, or an extract that is not there, is one line that says what to do."""
    stack.extract(events, truth)
    assert said in failed(stack.train(**{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0, variable: value}))
    assert stack.versions() == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FRAUD_REVIEW_COST", "free", "FRAUD_REVIEW_COST='free' is not a number"),
        ("FRAUD_REVIEW_COST", "0", "FRAUD_REVIEW_COST=0 cannot be what a review costs"),
        ("FRAUD_REVIEW_COST", "nan", "FRAUD_REVIEW_COST=nan cannot be what a review costs"),
        ("TRAIN_FRAUD_DATA", f"s3://{Stack.BUCKET}/data/validated.csv", "names no state of an extract"),
        ("TRAIN_FRAUD_DATA", "validated.json", "names no object on S3"),
        ("MLFLOW_TRACKING_URI", "mlruns", "MLFLOW_TRACKING_URI is not the address of an MLflow server"),
        ("LOGGER_SQL_URI", f"mysql://{ESCAPED}", "LOGGER_SQL_URI does not begin with postgresql://"),
    ],
)
def test_a_wrong_setting_is_known_at_once(run: Any, variable: str, value: str, said: str) -> None:
    """Before any server is asked."""
    settings = {"LOGGER_SQL_URI": "postgresql://postgres@postgres/mlops", variable: value}
    assert said in failed(run("train_fraud", **settings), code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("kill", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full), (signal.SIGKILL, -9)]
)
def test_a_trainer_that_is_stopped_in_the_middle(
    stack: Stack, events: list[Event], truth: Truth, kill: signal.Signals, code: int
) -> None:
    """While it logs to MLflow: SIGTERM leaves nothing there; after kill -9 the next training cleans up."""
    stack.extract(events, truth)
    relay = Relay(stack.mlflow, hold_after=60_000)
    try:
        with stack.start(MLFLOW_TRACKING_URI=f"http://{relay.address}") as trainer:
            assert relay.reached.wait(60)
            trainer.send_signal(kill)
            relay.mend()
            _, err = trainer.communicate(timeout=60)
            assert trainer.returncode == code, err
    finally:
        relay.close()
    assert stack.versions() == []
    if kill == signal.SIGTERM:
        assert stack.runs() == [] and err.splitlines()[-1] == "stopped by SIGTERM"
    assert stack.train().returncode == 0
    assert (len(stack.versions()), len(stack.runs()), stack.champion()) == (1, 1, 1)
