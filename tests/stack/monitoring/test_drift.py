"""`python -m monitoring.drift` on real servers: what counts, what is written and when, and what a failure leaves.

MLflow is a stand-in that serves a real classifier; tests/airflow/test_scenarios_loop.py has the real one.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from tests.stack.catalog.ml.conftest import Listing, parquet
from tests.stack.conftest import ESCAPED, S3, Run
from tests.stack.monitoring.looking import Registry, World, ends_at_sigterm, is_whole_or_not_there
from tests.stack.monitoring.standin import standing_in

from catalog.classifier import Classifier
from catalog.held_out import is_held_out
from catalog.text import clean
from data.generator import Generator
from job.errors import JobError, SettingError
from job.storage import Storage
from ml.dataset import Rows, split
from ml.fitting import fit
from monitoring.comparison import distinct
from monitoring.drift import look
from monitoring.settings import DriftSettings

LEARNED = range(1_000)
Prediction = dict[str, Any]


@dataclass
class Listings(World):
    """Cleaned listings on S3, predictions in MongoDB, and what the job is told of them."""

    mongodb_uri: str
    run: Run

    MODULE, BUCKET = "monitoring.drift", "catalog"

    @property
    def own_settings(self) -> dict[str, str]:
        """The variables that this project's job has."""
        return {
            "MONGODB_URI": self.mongodb_uri,
            "TRAINING_DATA": f"s3://{self.BUCKET}/{self.folder}/clean/manifest.json",
            "DRIFT_TARGET": f"s3://{self.BUCKET}/{self.target}",
        }

    def looks(self) -> str:
        """A look by the settings of this process."""
        return look(DriftSettings.read(), Storage(), datetime.now(UTC), lambda line: None)

    def job(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run the job to its end."""
        return self.run(self.MODULE, **{**self.settings, **variables})

    def clean(self, listings: list[Listing]) -> str:
        """Write listings as cleaning does; the hash of their file."""
        body = parquet(listings)
        sha256 = hashlib.sha256(body).hexdigest()
        key = f"{self.folder}/clean/products-{sha256[:16]}.parquet"
        manifest = {"rows_out": len(listings), "sha256": sha256, "object": f"s3://{self.BUCKET}/{key}"}
        self.put(key, body)
        self.put(f"{self.folder}/clean/manifest.json", json.dumps(manifest).encode())
        return sha256

    def predicted(self, predictions: Iterable[Prediction]) -> None:
        """Write predictions as the API does."""
        with MongoClient[Prediction](self.mongodb_uri) as client:
            client.get_default_database()["predictions"].insert_many(predictions)


def generated(number: int, seed: int = 42) -> Listing:
    """A generated listing, cleaned."""
    made = Generator(seed).listing(number) if seed != 42 else GENERATOR.listing(number)
    title, description = (clean(made[name] or "") for name in ("designation", "description"))
    return Listing(int(made["productid"] or 0), title, description, int(made["prdtypecode"] or 0))


GENERATOR = Generator(42)


def prediction(number: int, version: int = 3, hours: float = 1, **other: object) -> Prediction:
    """What the API writes of a request for a generated listing, as it came in, some hours ago."""
    made = GENERATOR.listing(number)
    return {
        "_id": uuid.uuid4().hex,
        "at": datetime.now(UTC) - timedelta(hours=hours, seconds=number % 60),
        "designation": made["designation"],
        "description": made["description"] or "",
        "categories": [{"code": int(made["prdtypecode"] or 0), "probability": 0.9}],
        "model_version": version,
        "source": "one",
        **other,
    }


def shouting(number: int) -> Prediction:
    """A request in another alphabet, to which the model always says the same."""
    made = prediction(number)
    turned = made["designation"].translate({code: code + 0x3B0 - 0x60 for code in range(0x61, 0x7B)})
    return {**made, "designation": turned, "description": "", "categories": [{"code": 10, "probability": 0.4}]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a classifier that learned from the listings."""
    rows = [generated(number) for number in LEARNED]
    columns = zip(*((row.productid, row.designation, row.description, row.prdtypecode) for row in rows), strict=True)
    made: Classifier = fit(split(Rows(*map(list, columns))).training, lambda line: None)[0]
    folder: Path = tmp_path_factory.mktemp("classifier")
    made.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def world(s3: S3, mongodb_address: str, files: dict[str, bytes], run: Run) -> Iterator[Listings]:
    """A champion, version 3, and what it learned from; nobody has asked it anything."""
    registry = Registry(files, 3)
    uri = f"mongodb://admin:{ESCAPED}@{mongodb_address}/t{uuid.uuid4().hex[:12]}?authSource=admin"
    with standing_in(registry.answer) as mlflow:
        made = Listings(s3, registry, mlflow, uri, run)
        registry.sha256 = made.clean([generated(number) for number in LEARNED])
        yield made


def test_more_of_the_same(world: Listings) -> None:
    """Listings like those of the training: no drift; report, verdict and what points at them are on S3, and whole."""
    world.predicted(prediction(number) for number in range(2_000, 2_600))
    done = world.job()
    assert done.returncode == 0, done.stderr
    verdict = world.latest()
    assert verdict["model"] == {"name": "catalog-classifier", "version": 3}
    assert verdict["rows"]["current"] > 550 and verdict["rows"]["reference"] > 900
    assert {name: part["detected"] for name, part in verdict["parts"].items()} == {"text": False, "prediction": False}
    objects = world.objects()
    folder = verdict["report"].removeprefix(f"s3://catalog/{world.folder}/drift/").partition("/")[0]
    assert re.fullmatch(r"\d{8}T\d{6}Z", folder)
    assert json.loads(objects.pop("looked.json"))["at"] == verdict["at"]
    assert objects.keys() == {"latest.json", f"{folder}/report.html", f"{folder}/drift.json"}
    assert objects[f"{folder}/drift.json"] == objects["latest.json"]
    assert b"no drift" in objects[f"{folder}/report.html"] and b"Magazines" in objects[f"{folder}/report.html"]
    assert done.stdout.count("no drift") == 2 and verdict["report"] in done.stdout


def test_something_else(world: Listings) -> None:
    """Another alphabet and other answers: both drift, the report says how; a second look says the same."""
    world.predicted(shouting(number) for number in range(2_000, 2_500))
    assert world.look().count("DRIFT") == 2
    verdict = world.latest()
    assert all(part["detected"] and part["score"] > part["threshold"] for part in verdict["parts"].values())
    assert verdict["parts"]["text"]["score"] > 0.9 and verdict["parts"]["prediction"]["score"] > 0.5
    report = next(body for name, body in world.objects().items() if name.endswith(".html")).decode()
    assert report.count('class="drift">drift') == 2 and "τ" in report and "<script" not in report
    world.look()
    assert world.latest()["parts"] == verdict["parts"]


def test_what_counts(world: Listings) -> None:
    """Predictions of the champion's version, of the last hours, each listing once; the newest where there are many."""
    own = range(2_000, 2_300)
    world.predicted(prediction(number) for number in own)
    world.predicted(shouting(number) | {"model_version": 2} for number in range(2_300, 2_900))
    world.predicted(shouting(number) | {"at": datetime.now(UTC) - timedelta(hours=30)} for number in range(400))
    world.predicted(prediction(2_000, hours=0.5) for _ in range(1_000))
    world.predicted([prediction(3_000, designation=None), prediction(3_001, categories=[])])
    # One seller's many: the same but for numbers.
    world.predicted(prediction(3_100 + number, designation=f"coque iphone {number}") for number in range(500))
    different = distinct([*((row.designation, row.description) for row in map(generated, own)), ("coque iphone 7", "")])
    world.look()
    assert world.latest()["rows"]["current"] == len(different)
    assert not world.latest()["parts"]["text"]["detected"]
    world.look(DRIFT_ROWS="250")
    assert world.latest()["rows"] == {"current": 250, "reference": 250}


def test_too_little_to_judge_by(world: Listings) -> None:
    """Few rows give no verdict, and the one before stands, but there was a look; without a champion there is none."""
    world.predicted(prediction(number) for number in range(2_000, 2_400))
    world.look()
    before = world.objects()
    world.put_verdict(b"before", "looked.json")
    world.registry.version = 4
    assert "no verdict: 0 different listings are too few" in world.look()
    world.registry.version = 3
    assert "500 are the least (DRIFT_LEAST)" in world.look(DRIFT_LEAST="500")
    learned = world.registry.sha256
    trained_on = [row for row in map(generated, LEARNED) if not is_held_out(row.productid)]
    world.registry.sha256 = world.clean([*trained_on, *(generated(number) for number in LEARNED[:50])])
    assert re.search(r"no verdict: \d+ of the listings of its training were held out of it, 50 are", world.look())
    world.registry.sha256 = learned
    found = world.objects()
    assert datetime.fromisoformat(json.loads(found.pop("looked.json"))["at"]) <= datetime.now(UTC)
    del before["looked.json"]
    assert found == before
    world.put_verdict(b"before", "looked.json")
    world.registry.promoted = False
    assert "nothing to compare" in world.look()
    assert world.objects() == {**before, "looked.json": b"before"}


def test_the_champion_learned_from_an_earlier_file(world: Listings) -> None:
    """What was cleaned since then does not count: the champion's own rows are found beside it, or missed by name."""
    world.predicted(prediction(number) for number in range(2_000, 2_400))
    world.clean([generated(number, seed=5) for number in range(300)])
    world.look()
    assert world.latest()["rows"]["reference"] > 900
    world.registry.sha256 = "0" * 64
    with pytest.raises(JobError, match="which the champion learned from: train anew"):
        world.look()
    world.put(f"{world.folder}/clean/products-{'0' * 16}.parquet", b"PAR1 other PAR1")
    with pytest.raises(JobError, match="is not the file that the champion learned from"):
        world.look()
    world.registry.sha256 = ""
    with pytest.raises(JobError, match="does not say what it was trained on"):
        world.look()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MLFLOW_TRACKING_URI", "http://user:secret-7@127.0.0.1:9", "MLflow at http://127.0.0.1:9 does not answer"),
        (
            "MONGODB_URI",
            "mongodb://admin:secret-7@127.0.0.1:9/catalog",
            "cannot reach MongoDB on 127.0.0.1:9: start it",
        ),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "cannot reach S3 at http://127.0.0.1:9"),
    ],
)
def test_a_server_is_away(world: Listings, variable: str, value: str, said: str) -> None:
    """One line says which and what to do, without its password; the verdict before stands."""
    world.predicted(prediction(number) for number in range(2_000, 2_300))
    world.put_verdict(b"the one before")
    with pytest.raises(JobError) as failed:
        world.look(**{variable: value})
    assert said in str(failed.value) and "secret-7" not in str(failed.value)
    assert world.objects() == {"latest.json": b"the one before"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MONGODB_URI", ""),
        ("MONGODB_URI", "mongodb://a:b@c@secret-7/"),
        ("MLFLOW_TRACKING_URI", "secret-7"),
        ("DRIFT_ROWS", "many"),
        ("DRIFT_ROWS", "100"),
        ("DRIFT_HOURS", "0"),
        ("TRAINING_DATA", "/data/clean"),
    ],
)
def test_settings_that_cannot_be(world: Listings, variable: str, value: str) -> None:
    """They are refused before anything is asked for, in one line that names the variable, and quotes no password."""
    with pytest.raises(SettingError) as refused:
        world.look(**{variable: value})
    assert (variable in str(refused.value) or value in str(refused.value)) and "secret-7" not in str(refused.value)


def test_how_it_fails(run: Run) -> None:
    """One line on stderr; exit code 2 for a setting, 1 for a server."""
    done = run("monitoring.drift")
    assert done.returncode == 2 and done.stderr.startswith("error: MONGODB_URI is not set")
    done = run(
        "monitoring.drift", MONGODB_URI="mongodb://127.0.0.1:9/catalog", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_verdict_is_whole_or_not_there(world: Listings) -> None:
    """S3 goes away in the middle of the report, of what points at it, and of what says that there was a look."""
    world.predicted(prediction(number) for number in range(2_000, 2_300))
    is_whole_or_not_there(world, (9_000, 2_000, 700))


def test_sigterm_ends_it(world: Listings, start: Callable[..., subprocess.Popen[str]]) -> None:
    """While S3 does not answer."""
    world.predicted(prediction(number) for number in range(2_000, 2_300))
    ends_at_sigterm(world, start)
