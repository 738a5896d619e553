"""`python -m monitoring.server` on real servers: what it shows, what it shows of what is away, and what it refuses.

What it asks Airflow is asked of a real one in tests/airflow/test_scenarios_retraining.py; here Airflow is what a real
one cannot be: away, slow, another program.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import S3, Run, environment
from tests.stack.monitoring.standin import standing_in

from ml.queue import open_queue
from monitoring.alerts import wanted
from monitoring.job import SettingError
from monitoring.retraining import Airflow, AirflowError
from monitoring.server import Monitor as Server
from monitoring.settings import MonitorSettings
from monitoring.verdict import Part, Verdict

TOKEN = "token-7"
AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
Start = Callable[..., "subprocess.Popen[str]"]
SERIES = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


@dataclass
class Monitor:
    """The program, started by a test on sources of its own."""

    process: subprocess.Popen[str]
    port: int

    def ask(
        self, path: str, body: bytes | None = None, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer."""
        given = {**headers, **({"Authorization": f"Bearer {token}"} if token is not None else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, given)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode(), lower(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), lower(error.headers)

    def metrics(self) -> dict[str, float]:
        """All series now."""
        return {name: float(value) for name, value in SERIES.findall(self.ask("/metrics")[1])}

    def shows(self, name: str, value: float | None, seconds: float = 20) -> dict[str, float]:
        """Wait until a series has this value; None is its absence. All series then."""
        deadline = time.monotonic() + seconds
        while (found := self.metrics()).get(name) != value:
            assert time.monotonic() < deadline, (name, value, found)
            time.sleep(0.1)
        return found

    def alert(self, **other: Any) -> tuple[int, str, dict[str, str]]:
        """Send it an alert that asks for a retraining."""
        return self.ask("/alerts", payload(**other))


def lower(headers: Message) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def payload(count: int = 1, **other: Any) -> bytes:
    """What Alertmanager sends."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "TextDrift", "action": "retrain"},
        "annotations": {},
        "startsAt": "2026-11-22T13:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "a1b2c3d4e5f60718",
        **other,
    }
    return json.dumps({"version": "4", "groupKey": "{}", "status": "firing", "alerts": [alert] * count}).encode()


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
            "ML_DATABASE_URI": self.database,
            "MONITOR_TOKEN": TOKEN,
            "MONITOR_POLL": "1",
            "AIRFLOW_URL": "http://127.0.0.1:9",
        }

    def put(self, body: bytes) -> None:
        """Write the newest verdict."""
        client = self.s3.client()
        client.put_object(Bucket="catalog", Key=f"{self.folder}/latest.json", Body=body)
        client.close()


@pytest.fixture
def sources(s3: S3, postgres_url: str) -> Sources:
    """An empty database, and a folder without a verdict."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return Sources(s3, f"{postgres_url.rpartition('/')[0]}/{name}")


@pytest.fixture
def watch(sources: Sources, start: Start) -> Iterator[Callable[..., Monitor]]:
    """Starts a monitor of the sources; waits until it answers."""

    def launch(**variables: str) -> Monitor:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        settings = {**sources.settings, "MONITOR_PORT": str(port), **variables}
        return answering(Monitor(start("monitoring.server", **settings), port))

    yield launch


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitor]:
    """A monitor whose sources are away: for what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    away = {"ML_DATABASE_URI": "postgresql://127.0.0.1:9/x", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    settings = environment(MONITOR_TOKEN=TOKEN, MONITOR_PORT=port, AIRFLOW_URL="http://127.0.0.1:9", **AWS, **away)
    with subprocess.Popen([sys.executable, "-m", "monitoring.server"], env=settings, text=True) as process:
        try:
            yield answering(Monitor(process, port))
        finally:
            process.terminate()


def answering(monitor: Monitor) -> Monitor:
    """The same, when it answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert monitor.ask("/health")[:2] == (200, "ok\n")
            return monitor
        except OSError:
            assert monitor.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)


def test_what_it_shows(sources: Sources, watch: Callable[..., Monitor]) -> None:
    """Nothing before there is anything; then the newest verdict, and the queue as ml-worker's own code fills it."""
    monitor = watch()
    seen = monitor.shows('catalog_monitor_up{source="drift"}', 1)
    assert seen["catalog_drift_last_run_timestamp_seconds"] == 0
    assert not [name for name in seen if name.startswith(("catalog_drift_score", "catalog_drift_detected"))]
    seen = monitor.shows('catalog_monitor_up{source="queue"}', 1)
    queued = {name: value for name, value in seen.items() if name.startswith("catalog_queue")}
    assert len(queued) == 8 and set(queued.values()) == {0}
    now = datetime.now(UTC).replace(microsecond=0)
    parts = {"text": Part(0.7, 0.55, 0.0001), "prediction": Part(0.08, 0.1, 0.4)}
    sources.put(Verdict(now, 3, {"reference": 1900, "current": 450}, parts, "s3://catalog/x").to_json())
    with open_queue(sources.database) as queue:
        queue.add("train", {})
        queue.add("score", {})
    seen = monitor.shows("catalog_drift_model_version", 3)
    assert seen["catalog_drift_last_run_timestamp_seconds"] == now.timestamp()
    assert seen['catalog_drift_detected{part="text"}'] == 1 and seen['catalog_drift_detected{part="prediction"}'] == 0
    assert seen['catalog_drift_score{part="text"}'] == 0.7 and seen['catalog_drift_threshold{part="prediction"}'] == 0.1
    assert (
        seen['catalog_drift_rows{sample="reference"}'] == 1900 and seen['catalog_drift_rows{sample="current"}'] == 450
    )
    seen = monitor.shows('catalog_queue_requests{status="todo"}', 2)
    assert 0 < seen["catalog_queue_oldest_seconds"] < 60
    assert {name for name in seen if name.startswith("catalog_retrainings_total")} == {
        f'catalog_retrainings_total{{outcome="{each}"}}' for each in "started repeated running too_soon failed".split()
    }
    assert seen["process_resident_memory_bytes"] > 0
    assert monitor.ask("/metrics")[2]["content-type"].startswith("text/plain")


def test_what_is_away(sources: Sources, watch: Callable[..., Monitor]) -> None:
    """A source that is cut off is down at once, its values are left out soon, and come back; the other's stay."""
    sources.put(Verdict(datetime.now(UTC), 3, {"current": 450}, {"text": Part(0.7, 0.55, 0)}, "").to_json())
    relay = Relay(sources.s3.endpoint.removeprefix("http://"), cut_after=20_000)
    monitor = watch(AWS_ENDPOINT_URL=f"http://{relay.address}")
    monitor.shows('catalog_monitor_up{source="drift"}', 1)
    seen = monitor.shows('catalog_monitor_up{source="drift"}', 0, 60)
    assert 0 <= time.time() - seen['catalog_monitor_last_success_timestamp_seconds{source="drift"}'] < 10
    gone = monitor.shows("catalog_drift_model_version", None)
    assert "catalog_drift_last_run_timestamp_seconds" not in gone and 'catalog_drift_score{part="text"}' not in gone
    assert gone['catalog_monitor_up{source="queue"}'] == 1 and gone["catalog_queue_oldest_seconds"] == 0
    relay.mend()
    assert monitor.shows("catalog_drift_model_version", 3)['catalog_monitor_up{source="drift"}'] == 1
    relay.close()
    monitor.process.terminate()
    said = [line for line in monitor.process.communicate(timeout=10)[1].splitlines() if line.startswith("drift")]
    assert len(said) <= 4 and "cannot reach S3" in said[0] and said[1] == "drift: works again"


def test_a_scrape_never_waits(sources: Sources, watch: Callable[..., Monitor]) -> None:
    """Servers that take a connection and say nothing hold nobody up: both are shown as down."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monitor = watch(AWS_ENDPOINT_URL=f"http://{address}", ML_DATABASE_URI=f"postgresql://{address}/x")
        for _ in range(20):
            began = time.monotonic()
            seen = monitor.metrics()
            assert time.monotonic() - began < 2
            assert seen['catalog_monitor_up{source="drift"}'] == seen['catalog_monitor_up{source="queue"}'] == 0
        monitor.process.terminate()
        assert monitor.process.wait(10) == 143


def test_a_verdict_that_is_none(sources: Sources, watch: Callable[..., Monitor]) -> None:
    """Another program's object in its place counts as a source that is down, and is named."""
    monitor = watch()
    for body in (b"<html>", b"[]", b'{"format": 9}', b'{"format": 1, "at": "yesterday", "parts": {}, "rows": {}}'):
        sources.put(body)
        monitor.shows('catalog_monitor_up{source="drift"}', 0)
    monitor.process.terminate()
    said = monitor.process.communicate(timeout=10)[1]
    assert said.count("is no verdict of the drift job: run drift again") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"alerts": {}}', 400),
        (b'{"alerts": [1]}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (payload(status="perhaps"), 400),
        (payload(labels=None), 400),
        (payload(fingerprint="../../x"), 400),
        (payload(fingerprint=None), 400),
        (payload(startsAt="yesterday"), 400),
        (payload(startsAt="0001-01-01T00:00:00+14:00"), 400),
        (b'{"alerts": [], "x": "' + b"x" * 1_100_000 + b'"}', 413),
        (b'{"alerts": []}', 200),
        (payload(status="resolved"), 200),
        (payload(labels={"action": "page"}), 200),
    ],
)
def test_what_it_makes_of_a_body(shared: Monitor, body: bytes, status: int) -> None:
    """What Alertmanager does not send is refused; what asks for nothing asks Airflow for nothing."""
    before = asked(shared)
    found, said, headers = shared.ask("/alerts", body)
    assert found == status, said
    assert ("detail" in json.loads(said)) is (status != 200) and headers["content-type"] == "application/json"
    assert asked(shared) == before


def asked(monitor: Monitor) -> dict[str, float]:
    """How often it was asked for a retraining, by outcome."""
    return {name: value for name, value in monitor.metrics().items() if name.startswith("catalog_retrainings_total")}


@pytest.mark.parametrize("token", [None, "", "token-", "token-77", "Tøken", "x" * 10_000])
def test_who_may_ask(shared: Monitor, token: str | None) -> None:
    """Nobody without the token, whatever is in its place; the answer says how it is shown."""
    header = {} if token is None else {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
    status, said, headers = shared.ask("/alerts", payload(), token=None, **header)
    assert status == 401 and headers["www-authenticate"] == "Bearer" and TOKEN not in said
    assert shared.ask("/alerts", payload(), token=None, Authorization=f"Basic {TOKEN}")[0] == 401


def test_nothing_else_is_there(shared: Monitor) -> None:
    """Other paths and methods are refused, with no trace of the program."""
    assert shared.ask("/")[0] == 404 and shared.ask("/alerts")[0] == 405 and shared.ask("/metrics", b"x")[0] == 405
    assert "server" not in {*shared.ask("/health")[2]}


def test_a_slow_body(shared: Monitor) -> None:
    """Who sends a body by the byte is sent away."""
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=20)
    connection.putrequest("POST", "/alerts")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"{")
    assert connection.getresponse().status == 408
    connection.close()


def test_airflow_is_away(sources: Sources, watch: Callable[..., Monitor]) -> None:
    """503, so that Alertmanager sends the alert again; counted each time, and said once."""
    monitor = watch()
    for count in (1, 2):
        status, said, headers = monitor.alert()
        assert status == 503 and "Airflow does not answer: start it" in said and headers["retry-after"]
        assert monitor.metrics()['catalog_retrainings_total{outcome="failed"}'] == count
    monitor.process.terminate()
    assert monitor.process.communicate(timeout=10)[1].count("Airflow does not answer") == 1
    assert monitor.process.returncode == 143


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/auth/token": (401, b"{}")}, "Airflow lets admin not do it: correct AIRFLOW_USER and AIRFLOW_PASSWORD"),
        ({"/auth/token": (200, b"<html>")}, "what answers is no Airflow 3: correct AIRFLOW_URL"),
        ({"/auth/token": (200, b"[]")}, "what answers is no Airflow 3: correct AIRFLOW_URL"),
        ({"/auth/token": (302, b"")}, "Airflow refuses with HTTP 302"),
        ({"dagRuns": (404, b"{}")}, "Airflow knows no DAG catalog"),
        ({"dagRuns": (200, b"{}")}, "what answers is no Airflow 3"),
        ({"dagRuns": (500, b"Traceback")}, "Airflow refuses with HTTP 500"),
    ],
)
def test_airflow_is_something_else(answers: dict[str, tuple[int, bytes]], said: str) -> None:
    """What is no answer of an Airflow is named, and quotes neither the answer nor a password."""

    def answer(method: str, path: str) -> tuple[int, bytes]:
        default = (201, b'{"access_token": "x"}')
        return next((found for part, found in answers.items() if part in path), default)

    with standing_in(answer) as server:
        airflow = Airflow(server.address, "admin", "secret-7", "catalog", timedelta(hours=1))
        with pytest.raises(AirflowError, match=said) as failed:
            airflow.retrain("retrain__x")
    assert "secret-7" not in f"{failed.value} {airflow}" and "Traceback" not in str(failed.value)


def test_an_airflow_that_never_answers(watch: Callable[..., Monitor]) -> None:
    """It is given up after seconds; meanwhile metrics are had, and SIGTERM ends the program at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent, concurrent.futures.ThreadPoolExecutor() as pool:
        monitor = watch(AIRFLOW_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        asked = pool.submit(monitor.alert)
        for _ in range(10):
            assert monitor.metrics()
        status, said, _ = asked.result(20)
        assert status == 503 and "answers too slowly" in said
        for _ in range(4):
            pool.submit(monitor.alert)
        time.sleep(0.5)
        monitor.process.send_signal(signal.SIGTERM)
        assert monitor.process.wait(10) == 143


def test_the_name_of_a_run() -> None:
    """It is made of the alert alone: since when it fires, in whatever zone that is written, and what it is about."""
    first = wanted(payload())
    assert first is not None and first.run_id == "retrain__2026-11-22T13:00:00.123456Z__a1b2c3d4e5f60718"
    assert wanted(payload(startsAt="2026-11-22T14:00:00.123456+01:00")) == first
    assert wanted(payload(count=3)) == first
    two = json.loads(payload())
    two["alerts"].append({**two["alerts"][0], "startsAt": "2026-11-22T12:00:00Z", "fingerprint": "b"})
    oldest = wanted(json.dumps(two).encode())
    assert oldest is not None and oldest.fingerprint == "b"
    two["alerts"][1]["status"] = "resolved"
    assert wanted(json.dumps(two).encode()) == first


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
        ({"RETRAIN_PAUSE": "-1"}, "RETRAIN_PAUSE=-1 is too small"),
    ],
)
def test_settings_it_refuses(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    """Each in one line that says what to write, and quotes no password."""
    for name, value in {"MONITOR_TOKEN": TOKEN, **AWS, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as refused:
        Server(MonitorSettings.read())
    assert said in str(refused.value) and "secret-7" not in str(refused.value)


def test_how_it_refuses(run: Run) -> None:
    """With exit code 2, before it listens."""
    done = run("monitoring.server")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: no token: write one")


def test_the_health_of_none(run: Run, watch: Callable[..., Monitor]) -> None:
    """The health check ends with 0 while it answers, and with 1 when nobody does."""
    monitor = watch()
    assert run("monitoring.health", MONITOR_PORT=monitor.port).returncode == 0
    monitor.process.kill()
    monitor.process.wait()
    done = run("monitoring.health", MONITOR_PORT=monitor.port)
    assert done.returncode == 1 and "monitor does not answer" in done.stderr


def test_the_token_is_in_a_file(watch: Callable[..., Monitor], tmp_path: Path) -> None:
    """As Compose gives it: with a line end, which does not count."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monitor = watch(MONITOR_TOKEN="", MONITOR_TOKEN_FILE=str(tmp_path / "token"))
    assert monitor.ask("/alerts", payload(status="resolved"))[0] == 200
