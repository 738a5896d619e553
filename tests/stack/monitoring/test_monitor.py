"""`python -m monitoring.server` on real servers: what it shows, what it shows of what is away, and what it refuses.

test_retraining.py has what it is sent.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import S3, Run
from tests.stack.monitoring.conftest import eventually
from tests.stack.monitoring.watched import AWAY, TOKEN, Monitor, payload, running

from catalog.names import MODEL
from drift.folder import Folder, Latest
from drift.verdict import Part, Verdict
from fraud.drift.verdict import TransactionVerdict
from job.errors import SettingError
from job.storage import Storage
from ml.queue import open_queue
from monitoring.metrics import Metrics
from monitoring.queue import Queue
from monitoring.server import Monitor as Server
from monitoring.settings import MonitorSettings
from monitoring.source import Source

Watch = Callable[..., Monitor]


@dataclass
class Sources:
    """What a monitor looks at, in places of the test's own."""

    s3: S3
    database: str
    folder: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}")

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the program."""
        return {
            **self.s3.environment,
            "DRIFT_TARGET": f"s3://catalog/{self.folder}",
            "DRIFT_FRAUD_TARGET": f"s3://fraud-detection-2-bucket/{self.folder}",
            "ML_DATABASE_URI": self.database,
            "MONITOR_POLL": "2",
        }

    def put(self, body: bytes, name: str = "latest.json", bucket: str = "catalog") -> None:
        """Write the newest verdict."""
        client = self.s3.client()
        client.put_object(Bucket=bucket, Key=f"{self.folder}/{name}", Body=body)
        client.close()

    def look(self, at: datetime, bucket: str = "catalog") -> None:
        """Write that a drift job looked, as it does."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.s3.environment.items():
                patch.setenv(name, value)
            Folder(f"s3://{bucket}/{self.folder}").write_look(Storage(), at)


@pytest.fixture
def sources(s3: S3, postgres_url: str) -> Sources:
    """An empty database, and a folder without a verdict."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return Sources(s3, f"{postgres_url.rpartition('/')[0]}/{name}")


@pytest.fixture
def watch(sources: Sources) -> Iterator[Watch]:
    """Starts a monitor of the sources, which ends with the test."""
    with ExitStack() as stack:
        yield lambda **variables: stack.enter_context(running(**{**sources.settings, **variables}))


def test_what_it_shows(sources: Sources, watch: Watch) -> None:
    """Nothing before there is anything; then the newest verdict, and the queue as ml-worker's own code fills it."""
    monitor = watch()
    seen = monitor.shows('catalog_monitor_up{source="drift"}', 1)
    assert seen["catalog_drift_last_run_timestamp_seconds"] == seen["catalog_drift_last_look_timestamp_seconds"] == 0
    assert not [name for name in seen if name.startswith(("catalog_drift_score", "catalog_drift_detected"))]
    seen = monitor.shows('catalog_monitor_up{source="queue"}', 1)
    queued = {name: value for name, value in seen.items() if name.startswith("catalog_queue")}
    assert len(queued) == 9 and set(queued.values()) == {0}
    now = datetime.now(UTC).replace(microsecond=0)
    parts = {"text": Part(0.7, 0.55, 0.0001), "prediction": Part(0.08, 0.1, 0.4)}
    sources.put(Verdict(now, MODEL, 3, {"reference": 1900, "current": 450}, parts, "s3://catalog/x").to_json())
    with open_queue(sources.database) as queue:
        queue.add("train", {})
        queue.add("score", {})
    sources.look(now + timedelta(hours=1))
    seen = monitor.shows("catalog_drift_last_look_timestamp_seconds", now.timestamp() + 3600)
    assert (seen["catalog_drift_model_version"], seen["catalog_drift_last_run_timestamp_seconds"]) == (
        3,
        now.timestamp(),
    )
    detected = 'catalog_drift_detected{{part="{}",version="3"}}'.format
    assert (seen[detected("text")], seen[detected("prediction")]) == (1, 0)
    assert seen['catalog_drift_score{part="text"}'] == 0.7 and seen['catalog_drift_threshold{part="prediction"}'] == 0.1
    assert (
        seen['catalog_drift_rows{sample="reference"}'] == 1900 and seen['catalog_drift_rows{sample="current"}'] == 450
    )
    seen = monitor.shows('catalog_queue_requests{status="todo"}', 2)
    assert seen["catalog_queue_workers"] == 0
    assert 0 < seen["catalog_queue_oldest_seconds"] <= time.time() - now.timestamp()
    assert {name for name in seen if name.startswith("catalog_retrainings_total")} == {
        f'catalog_retrainings_total{{outcome="{each}"}}' for each in "started repeated running too_soon failed".split()
    }
    assert seen["process_resident_memory_bytes"] > 0
    with psycopg.connect(sources.database, autocommit=True) as connection:
        # One that gives signs of life, and one that died: as Procrastinate's own functions write them.
        connection.execute("SET search_path TO ml_queue")
        for _ in range(2):
            connection.execute("SELECT procrastinate_register_worker_v1()")
        past = "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 minutes' WHERE id = 1"
        connection.execute(past)
        monitor.shows("catalog_queue_workers", 1)
    assert monitor.ask("/metrics")[2]["content-type"].startswith("text/plain")


def test_what_it_shows_of_the_fraud_project(sources: Sources, watch: Watch) -> None:
    """The verdict of `fraud.drift_fraud`, by that job's own code, under names of its own; the catalogue's is apart."""
    monitor = watch()
    seen = monitor.shows('fraud_monitor_up{source="drift"}', 1)
    assert seen["fraud_drift_last_run_timestamp_seconds"] == seen["fraud_drift_last_look_timestamp_seconds"] == 0
    assert 'fraud_monitor_up{source="queue"}' not in seen
    now = datetime.now(UTC).replace(microsecond=0)
    part = Part(0.17, 0.07, 0.0005)
    parts = {"data": part, "score": Part(0.01, 0.05, 0.7), "alarms": Part(1.1, 2.5, 0.8)}
    rows, until = {"reference": 998, "current": 997}, datetime(2025, 2, 20, 23, 59)
    said = TransactionVerdict(
        now, "fraud-detector", 4, rows, parts, "s3://fraud-detection-2-bucket/x", until, {"amount": part}
    )
    sources.put(said.to_json(), bucket="fraud-detection-2-bucket")
    sources.look(now, bucket="fraud-detection-2-bucket")
    seen = monitor.shows("fraud_drift_last_look_timestamp_seconds", now.timestamp())
    assert (seen["fraud_drift_model_version"], seen["fraud_drift_last_run_timestamp_seconds"]) == (4, now.timestamp())
    assert [seen[f'fraud_drift_detected{{part="{name}",version="4"}}'] for name in parts] == [1, 0, 0]
    assert seen['fraud_drift_score{part="alarms"}'] == 1.1 and seen['fraud_drift_threshold{part="alarms"}'] == 2.5
    assert seen['fraud_drift_rows{sample="reference"}'] == 998
    assert "catalog_drift_model_version" not in seen
    # Both drift jobs told to write to one place: no project's alert is about the other's model.
    sources.put(said.to_json())
    seen = monitor.shows('catalog_monitor_up{source="drift"}', 0)
    assert "catalog_drift_model_version" not in seen
    assert {name for name in seen if name.startswith("fraud_retrainings_total")} == {
        f'fraud_retrainings_total{{outcome="{each}"}}' for each in "started repeated running too_soon failed".split()
    }


def test_what_is_away(sources: Sources, watch: Watch) -> None:
    """A source that is cut off is down, its values are left out in the end, and come back; the other's stay."""
    sources.put(Verdict(datetime.now(UTC), MODEL, 3, {"current": 450}, {"text": Part(0.7, 0.55, 0)}, "").to_json())
    began = time.time()
    relay = Relay(sources.s3.endpoint.removeprefix("http://"), cut_after=6_000)
    monitor = watch(AWS_ENDPOINT_URL=f"http://{relay.address}")
    monitor.shows('catalog_monitor_up{source="drift"}', 1)
    seen = monitor.shows('catalog_monitor_up{source="drift"}', 0)
    assert began <= seen['catalog_monitor_last_success_timestamp_seconds{source="drift"}'] <= time.time()
    gone = monitor.shows("catalog_drift_model_version", None)
    assert "catalog_drift_last_run_timestamp_seconds" not in gone and 'catalog_drift_score{part="text"}' not in gone
    monitor.shows('catalog_monitor_up{source="queue"}', 1)
    monitor.shows("catalog_queue_oldest_seconds", 0)
    relay.mend()
    monitor.shows("catalog_drift_model_version", 3)
    monitor.shows('catalog_monitor_up{source="drift"}', 1)
    relay.close()
    said = [line for line in monitor.end()[1].splitlines() if line.startswith("drift")]
    # Cut off between its two objects, it says so of both.
    *failed, mended = said
    assert 1 <= len(failed) <= 4 and all("cannot reach S3" in line for line in failed), said
    assert mended == "drift: works again"


def test_a_scrape_never_waits(watch: Watch) -> None:
    """It asks nobody: servers that take a connection and say nothing get one each, however often monitor is asked."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        given = {"AWS_ENDPOINT_URL": f"http://{address}", "ML_DATABASE_URI": f"postgresql://{address}/x"}
        monitor = watch(**given, MONITOR_POLL=600)
        silent.settimeout(60)
        with silent.accept()[0], silent.accept()[0], silent.accept()[0]:
            for _ in range(20):
                seen = monitor.metrics()
                assert seen['catalog_monitor_up{source="drift"}'] == seen['catalog_monitor_up{source="queue"}'] == 0
                assert seen['fraud_monitor_up{source="drift"}'] == 0
            silent.setblocking(False)
            with pytest.raises(BlockingIOError):
                silent.accept()
        monitor.end()


def test_a_look_that_never_ends() -> None:
    """Its source is down, and what was found before is left out; both are back when it has ended after all."""
    hangs, goes_on = threading.Event(), threading.Event()
    verdict = Verdict(datetime.now(UTC), MODEL, 3, {"current": 450}, {"text": Part(0.7, 0.55, 0)}, "")

    def read() -> Latest:
        if hangs.is_set():
            goes_on.wait()
        return Latest(verdict, verdict.at)

    drift = Source("drift", read, every=0.05, keep=0.5)
    shown = Metrics({"catalog": drift}, Source("queue", lambda: Queue({}, 0, 0), 60, 60)).registry.get_sample_value

    def seen() -> tuple[float | None, float | None]:
        return shown("catalog_monitor_up", {"source": "drift"}), shown("catalog_drift_model_version")

    drift.start()
    eventually(lambda: seen() == (1, 3))
    hangs.set()
    eventually(lambda: seen() == (0, None))
    hangs.clear()
    goes_on.set()
    eventually(lambda: seen() == (1, 3))
    goes_on.clear()
    hangs.set()


def test_a_look_that_fails_in_a_way_that_nobody_thought_of(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a source that is down, said once, and what was found is shown while it is fresh; the next look is taken."""
    found: list[int | Exception] = [5, ZeroDivisionError("x"), ZeroDivisionError("x"), 6]

    def read() -> int:
        value = found.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    source = Source("tried", read, every=1, keep=60)
    assert source.current() is None
    for up, value in ((True, 5), (False, 5), (False, 5), (True, 6)):
        source.look()
        assert (source.seen.up, source.current()) == (up, value)
    assert capsys.readouterr().err == "tried: ZeroDivisionError('x')\ntried: works again\n"
    assert Source("old", lambda: 5, every=1, keep=-1).current() is None


def test_a_verdict_that_is_none(sources: Sources, watch: Watch) -> None:
    """Another program's object in its place counts as a source that is down, and is named."""
    monitor = watch()
    for body in (b"<html>", b"[]", b'{"format": 9}', b'{"format": 1, "at": "yesterday", "parts": {}, "rows": {}}'):
        sources.put(body)
        monitor.shows('catalog_monitor_up{source="drift"}', 0)
    said = monitor.end()[1]
    assert said.count("is no verdict of the drift job: run that job again") == 1


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MONITOR_TOKEN": ""}, "no token: write one to a file and name it by MONITOR_TOKEN_FILE"),
        ({"MONITOR_TOKEN": "", "MONITOR_TOKEN_FILE": "/nowhere"}, "MONITOR_TOKEN_FILE=/nowhere cannot be read"),
        ({"MONITOR_TOKEN": "laptop-only", "BIND_ADDRESS": "0.0.0.0"}, "everybody knows monitor's token"),
        ({"MONITOR_PORT": "http"}, "MONITOR_PORT='http' is not a whole number"),
        ({"AIRFLOW_URL": "secret-7"}, "AIRFLOW_URL is not the address of a server"),
        ({"ML_DATABASE_URI": "mysql://secret-7@x"}, "ML_DATABASE_URI is not an address that PostgreSQL understands"),
        ({"DRIFT_TARGET": "/data"}, "names no object on S3"),
        ({"DRIFT_FRAUD_TARGET": "/data"}, "names no object on S3"),
        ({"RETRAIN_PAUSE": "-1"}, "RETRAIN_PAUSE=-1 is too small"),
    ],
)
def test_settings_it_refuses(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    """Each in one line that says what to write, and quotes no password."""
    for name, value in {"MONITOR_TOKEN": TOKEN, **AWAY, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as refused:
        Server(MonitorSettings.read())
    assert said in str(refused.value) and "secret-7" not in str(refused.value)


def test_how_it_refuses(run: Run) -> None:
    """With exit code 2, before it listens."""
    done = run("monitoring.server")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: no token: write one")


def test_the_health_of_none(run: Run, watch: Watch) -> None:
    """The health check ends with 0 while it answers, and with 1 when nobody does."""
    monitor = watch()
    assert run("monitoring.health", MONITOR_PORT=monitor.port).returncode == 0
    monitor.process.kill()
    monitor.process.wait()
    done = run("monitoring.health", MONITOR_PORT=monitor.port)
    assert done.returncode == 1 and "monitor does not answer" in done.stderr


def test_the_token_is_in_a_file(watch: Watch, tmp_path: Path) -> None:
    """As Compose gives it: with a line end, which does not count."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monitor = watch(MONITOR_TOKEN="", MONITOR_TOKEN_FILE=str(tmp_path / "token"))
    assert monitor.ask("/alerts", payload(status="resolved"))[0] == 200
