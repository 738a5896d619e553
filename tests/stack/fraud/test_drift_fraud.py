"""`python -m fraud.drift_fraud` on real servers: what is drift, what is written, what a failure leaves.

MLflow is a stand-in that serves a real detector's files; tests/airflow has the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.stack.conftest import S3, Run, environment
from tests.stack.fraud.conftest import new_database
from tests.stack.fraud.transactions import transaction
from tests.stack.monitoring.looking import Registry, World, ends_at_sigterm, is_whole_or_not_there
from tests.stack.monitoring.standin import standing_in

from fraud.drift.sample import REFERENCE, Featured, Row, from_csv, make_reference, to_csv
from fraud.drift.settings import Settings
from fraud.drift_fraud import look
from fraud.features import FEATURES, features_of
from fraud.generator import Generator
from fraud.model import TREES, Detector
from fraud.training.fitting import detector_of
from fraud.transactions import COLUMNS
from job.errors import JobError, SettingError
from job.storage import Storage

PER_DAY = 2_500
# The model learns from two days, and knows nine when it is made; the week after them is the one that is looked at.
LEARNED, KNOWN, NOW = 2 * PER_DAY, 9 * PER_DAY, 16 * PER_DAY
SHIFT = "amounts:1.5@2025-01-10,frauds:6@2025-01-10"
FEW = 120


@dataclass(frozen=True)
class Made:
    """What was known when a detector was made."""

    detector: Detector
    rows: list[Featured]

    def files(self, cards: Collection[int] | None = None) -> dict[str, bytes]:
        """The files of its package, with the reference of all cards or of some."""
        rows = [each for each in self.rows if cards is None or each[0].cc_num in cards]
        scores = self.detector.score([features for _, features in rows]).tolist()
        reference = make_reference(rows, {row.trans_num: score for (row, _), score in zip(rows, scores, strict=True)})
        with tempfile.TemporaryDirectory() as folder:
            self.detector.save(Path(folder), {REFERENCE: to_csv(reference)})
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def made() -> Made:
    """A detector that has learned from two days, and the nine that were known then."""
    events = list(Generator(42).events(0, KNOWN))
    rows = list(features_of(map(transaction, events)))
    learned = np.array([features for _, features in rows[:LEARNED]])
    trees = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=0)
    frauds = {event.truth.trans_num for event in events if event.is_fraud}
    return Made(
        detector_of(trees.fit(learned, [row.trans_num in frauds for row, _ in rows[:LEARNED]]), threshold=0.2), rows
    )


@dataclass
class Transactions(World):
    """Transactions in PostgreSQL, and what the job is told of them."""

    database: str
    least: int = 200

    MODULE, BUCKET = "drift_fraud", "fraud-detection-2-bucket"

    @property
    def own_settings(self) -> dict[str, str]:
        """The variables that this project's job has."""
        return {
            "LOGGER_SQL_URI": self.database,
            "DRIFT_FRAUD_TARGET": f"s3://{self.BUCKET}/{self.target}",
            "DRIFT_FRAUD_LEAST": str(self.least),
        }

    def looks(self) -> str:
        """A look by the settings of this process."""
        return look(Settings.read(), Storage(), datetime.now(UTC))

    def execute(self, statement: str) -> None:
        """Change the database."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(statement.encode())


def logged(database: str, folder: Path, start: int, stop: int, drift: str = "") -> None:
    """Transactions in PostgreSQL, by the simulator and logger_sql."""
    settings = environment(LANDING_DIR=folder, LOGGER_SQL_URI=database, DRIFT=drift, START=start)
    for module in ("simulator", "logger_sql"):
        command = [sys.executable, "-m", f"fraud.{module}"]
        subprocess.run(command, env={**settings, "TRANSACTIONS": str(stop - start)}, check=True, capture_output=True)


@pytest.fixture(scope="module")
def known(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with the transactions that the model was made after."""
    with new_database(postgres_url) as url:
        logged(url, tmp_path_factory.mktemp("known"), 0, KNOWN)
        yield url


@pytest.fixture
def world(s3: S3, postgres_url: str, known: str, made: Made) -> Iterator[Transactions]:
    """A champion, version 4, and no transaction since it was made."""
    registry = Registry(made.files(), 4)
    with standing_in(registry.answer) as mlflow, new_database(postgres_url, known.rpartition("/")[2]) as database:
        yield Transactions(s3, registry, mlflow, database)


@pytest.fixture(scope="module")
def few(postgres_url: str, known: str, made: Made) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The same of a few cards: their transactions, and the champion's files."""
    cards = sorted({row.cc_num for row, _ in made.rows})[:FEW]
    with new_database(postgres_url, known.rpartition("/")[2]) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM fraud_detection_2_table WHERE cc_num <> ALL(%s)", (cards,))
        yield url, made.files(cards)


@pytest.fixture
def small(s3: S3, postgres_url: str, few: tuple[str, dict[str, bytes]]) -> Iterator[Transactions]:
    """The same world with a few cards, for what does not depend on how many there are."""
    registry = Registry(dict(few[1]), 4)
    with standing_in(registry.answer) as mlflow, new_database(postgres_url, few[0].rpartition("/")[2]) as database:
        yield Transactions(s3, registry, mlflow, database, least=100)


def test_what_the_model_was_made_for(world: Transactions) -> None:
    """The very transactions of its reference are the very sample: nothing has moved by anything.

    One of a clock that runs a century ahead makes them no older.
    """
    names, values = ", ".join(name for name in COLUMNS if name != "trans_num"), "trans_date_trans_time = '2150-01-01'"
    world.execute(
        f"INSERT INTO fraud_detection_2_table ({names}, trans_num, is_fraud) SELECT {names}, 'ahead', false"
        f" FROM fraud_detection_2_table LIMIT 1;"
        f" UPDATE fraud_detection_2_table SET {values} WHERE trans_num = 'ahead'"
    )
    said = world.look()
    verdict = world.latest()
    moved = [part["score"] for part in (*verdict["moved"].values(), verdict["parts"]["score"])]
    assert len(moved) == len(FEATURES) + 1 and set(moved) == {0.0}
    assert verdict["parts"]["alarms"]["score"] == 1 and verdict["until"].startswith("2025-01-09T23:")
    assert not any(part["detected"] for part in verdict["parts"].values()) and said.count("no drift") == 3


def test_a_week_like_any_other(world: Transactions, tmp_path: Path) -> None:
    """No drift; report and verdict are in a folder of their own, what points at them beside it, and the look."""
    logged(world.database, tmp_path, KNOWN, NOW)
    said, verdict, objects = world.look(), world.latest(), world.objects()
    assert said.count("no drift") == 3 and "DRIFT" not in said and verdict["report"] in said
    assert verdict["model"] == {"name": "fraud-detector", "version": 4} and verdict["format"] == 1
    assert {*verdict["parts"]} == {"data", "score", "alarms"} and {*verdict["moved"]} == {*FEATURES}
    assert all(0 < part["score"] < part["threshold"] for part in verdict["moved"].values())
    assert 900 < verdict["rows"]["current"] <= 1_000 and 900 < verdict["rows"]["reference"] <= 1_000
    folder = verdict["report"].split("/")[-2]
    objects.pop("looked.json")
    assert objects.keys() == {"latest.json", f"{folder}/report.html", f"{folder}/drift.json"}
    assert objects[f"{folder}/drift.json"] == objects["latest.json"]
    report = objects[f"{folder}/report.html"].decode()
    assert report.count("<td>no drift</td>") == 3 and 'class="drift"' not in report
    assert "<script" not in report and "http" not in report
    # Nobody's card, and no transaction.
    assert "4" * 12 not in report and not any(
        row.transaction["trans_num"] in report for row in Generator(42).events(0, 9)
    )


def test_a_week_in_which_the_world_has_shifted(world: Transactions, tmp_path: Path) -> None:
    """It is told of what moved, by name, and of the alarms."""
    logged(world.database, tmp_path, KNOWN, NOW, SHIFT)
    said, verdict = world.look(), world.latest()
    assert "data DRIFT" in said and "alarms DRIFT" in said
    assert "moved: amount" in said and "city_size" not in said
    assert next(iter(verdict["moved"])).startswith("amount") and verdict["moved"]["amount"]["score"] > 0.1
    assert verdict["parts"]["data"]["p_value"] <= 0.001 and verdict["parts"]["alarms"]["score"] > 2
    report = next(body for name, body in world.objects().items() if name.endswith(".html")).decode()
    assert '<span class="drift">drift</span>' in report and "<h3>amount" in report


def test_too_little_to_judge_by(small: Transactions) -> None:
    """It says what is missing, and writes no verdict, but that there was a look; without a champion not even that."""
    small.put_verdict(b"the one before")
    assert "cards are too few, 5000 are the least (DRIFT_FRAUD_LEAST)" in small.look(DRIFT_FRAUD_LEAST="5000")
    small.execute("DELETE FROM fraud_detection_2_table WHERE trans_date_trans_time < '2025-01-02'")
    said = small.look()
    assert "transactions of 8.0 days" in said and "reference is of data of 9.0 days" in said
    small.execute("TRUNCATE fraud_detection_2_table")
    assert "PostgreSQL has no transactions; run logger_sql" in small.look()
    objects = small.objects()
    assert datetime.fromisoformat(json.loads(objects.pop("looked.json"))["at"]) <= datetime.now(UTC)
    assert objects == {"latest.json": b"the one before"}
    small.put_verdict(b"before", "looked.json")
    small.registry.promoted = False
    assert "nothing to compare: no version of fraud-detector has the alias" in small.look()
    assert small.objects()["looked.json"] == b"before"


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        (TREES, b"PK", "is not the file that was saved"),
        (REFERENCE, b"card,history\n", "is not the file that was saved"),
        ("detector.json", b"{}", "is damaged"),
    ],
)
def test_a_package_that_is_damaged(small: Transactions, name: str, body: bytes, said: str) -> None:
    """One line says so, and what to do; nothing is written."""
    small.registry.files[name] = body
    with pytest.raises(JobError, match="version 4 of fraud-detector is damaged") as failed:
        small.look()
    assert said in str(failed.value) and "TRAIN_FORCE=1" in str(failed.value)
    assert small.objects() == {}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MLFLOW_TRACKING_URI", "http://user:secret-7@127.0.0.1:9", "MLflow at http://127.0.0.1:9 does not answer"),
        ("LOGGER_SQL_URI", "postgresql://me:secret-7@127.0.0.1:9/x", "cannot reach PostgreSQL on 127.0.0.1:9"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "cannot reach S3 at http://127.0.0.1:9"),
    ],
)
def test_a_server_is_away(small: Transactions, variable: str, value: str, said: str) -> None:
    """One line says which and what to do, without its password; the verdict before stands."""
    small.put_verdict(b"the one before")
    with pytest.raises(JobError) as failed:
        small.look(**{variable: value})
    assert said in str(failed.value) and "secret-7" not in str(failed.value)
    assert small.objects() == {"latest.json": b"the one before"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOGGER_SQL_URI", ""),
        ("LOGGER_SQL_URI", "postgresql://a:b@c@secret-7/x"),
        ("DRIFT_FRAUD_TARGET", "/data/drift"),
        ("DRIFT_FRAUD_LEAST", "few"),
        ("DRIFT_FRAUD_LEAST", "10"),
    ],
)
def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """They are refused before anything is asked for, in one line that names the variable, and quotes no password."""
    monkeypatch.setenv("LOGGER_SQL_URI", "postgresql://127.0.0.1:9/x")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError) as refused:
        Settings.read()
    assert (variable in str(refused.value) or value in str(refused.value)) and "secret-7" not in str(refused.value)


def test_how_it_fails(run: Run) -> None:
    """One line on stderr; exit code 2 for a setting, of MLflow's address too, and 1 for a server."""
    done = run("drift_fraud")
    assert done.returncode == 2 and done.stderr.startswith("error: LOGGER_SQL_URI is not set")
    aws = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    for address, code in (("127.0.0.1", 2), ("http://127.0.0.1:9", 1)):
        done = run("drift_fraud", LOGGER_SQL_URI="postgresql://127.0.0.1:9/x", MLFLOW_TRACKING_URI=address, **aws)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


def test_a_verdict_is_whole_or_not_there(small: Transactions) -> None:
    """S3 goes away while the report is written, and while the last object is; a second look says the same."""
    small.look()
    before = small.latest()
    is_whole_or_not_there(small, (20_000, 3_000, 700))
    again = small.latest()
    assert (again["parts"], again["moved"]) == (before["parts"], before["moved"])


def test_sigterm_ends_it(small: Transactions, start: Callable[..., subprocess.Popen[str]]) -> None:
    """While S3 does not answer."""
    ends_at_sigterm(small, start)


def test_a_sample_is_read_as_it_was_written() -> None:
    """To the last digit, with what has no value; what is no sample, or one for other features, is refused."""
    features = tuple(1 / (3 + place) for place in range(len(FEATURES) - 1))
    rows = [Row(0, 13.99, 0.1 + 0.2, 0.7, (*features, np.inf)), Row(1, 1e-9, 1e-17, 1.0, (1e300, *features))]
    assert from_csv(to_csv(rows)) == rows
    nothing = from_csv(to_csv([Row(0, 1.0, np.nan, np.nan, (np.nan,) * len(FEATURES))]))[0]
    assert np.isnan([nothing.score, nothing.highest, *nothing.features]).all()
    whole = to_csv(rows)
    for body in (b"", b"\xff", whole.replace(b"amount,", b"sum,", 1), whole[: whole.rindex(b",")], whole + b"1,2\n"):
        with pytest.raises(ValueError, match=r"codec|column|few|expected"):
            from_csv(body)
