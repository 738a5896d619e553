"""What monitor makes of Alertmanager's messages: who may send them, what they ask for, and what an odd Airflow does.

What it asks a real Airflow is in tests/airflow/test_scenarios_retraining.py; here Airflow is what a real one cannot be:
away, slow, another program.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.stack.monitoring.standin import standing_in
from tests.stack.monitoring.watched import TOKEN, Monitor, payload, running

from monitoring.alerts import wanted
from monitoring.retraining import Airflow, AirflowError


@pytest.fixture(scope="module")
def shared() -> Iterator[Monitor]:
    """A monitor whose sources are away: for what it is sent."""
    with running() as monitor:
        yield monitor


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


def test_airflow_is_away() -> None:
    """503, so that Alertmanager sends the alert again; counted each time, and said once."""
    with running() as monitor:
        for count in (1, 2):
            status, said, headers = monitor.alert()
            assert status == 503 and "Airflow does not answer: start it" in said and headers["retry-after"]
            assert asked(monitor)['catalog_retrainings_total{outcome="failed"}'] == count
        assert monitor.end()[1].count("Airflow does not answer") == 1


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


def test_an_airflow_that_never_answers() -> None:
    """It is given up after seconds; meanwhile metrics are had, and SIGTERM ends the program, whoever waits."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        concurrent.futures.ThreadPoolExecutor() as pool,
        running(AIRFLOW_URL=f"http://127.0.0.1:{silent.getsockname()[1]}") as monitor,
    ):
        waiting = pool.submit(monitor.alert)
        for _ in range(10):
            assert monitor.metrics()
        status, said, _ = waiting.result(20)
        assert status == 503 and "answers too slowly" in said
        for _ in range(4):
            pool.submit(monitor.alert)
        time.sleep(0.5)
        monitor.end()


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
