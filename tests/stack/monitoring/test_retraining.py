"""What monitor makes of Alertmanager's messages: who may send them, what they ask for, and what an odd Airflow does.

What it asks a real Airflow is in tests/airflow/test_scenarios_retraining.py; here Airflow is what a real one cannot be:
away, slow, another program.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.stack.monitoring.standin import standing_in
from tests.stack.monitoring.watched import TOKEN, Monitor, payload, running

from monitoring.alerts import PayloadError, Wish, wanted
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
        (payload("../../x"), 400),
        (payload("0"), 400),
        (payload("3.0"), 400),
        (payload("9" * 5000), 400),
        (payload(labels={"action": "retrain"}), 400),
        (payload(project="../../x"), 400),
        (payload(labels={"action": "retrain", "version": 3}), 400),
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
            status, said, _ = monitor.alert()
            assert status == 503 and "Airflow does not answer: start it" in said
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
            airflow.retrain(3)
    assert "secret-7" not in f"{failed.value} {airflow}" and "Traceback" not in str(failed.value)


def test_an_airflow_that_never_answers() -> None:
    """It is given up after seconds; meanwhile metrics are had, and SIGTERM ends the program, whoever waits."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        concurrent.futures.ThreadPoolExecutor() as pool,
        running(AIRFLOW_URL=f"http://127.0.0.1:{silent.getsockname()[1]}") as monitor,
    ):
        silent.settimeout(60)
        waiting = pool.submit(monitor.alert)
        with silent.accept()[0]:
            assert monitor.metrics()
            status, said, _ = waiting.result(60)
        assert status == 503 and "answers too slowly" in said
        for _ in range(4):
            pool.submit(monitor.alert)
        # One of them waits for Airflow, the others for that one.
        with silent.accept()[0]:
            monitor.end()


def test_which_version_is_to_be_retrained() -> None:
    """That of the alerts that fire; of two the newer one: the older one's alert only has not ended yet."""
    assert wanted(payload()) == wanted(payload(count=3)) == Wish("catalog", 3)
    two = json.loads(payload(9))
    two["alerts"] += json.loads(payload(10))["alerts"]
    assert wanted(json.dumps(two).encode()) == Wish("catalog", 10)
    two["alerts"][1]["status"] = "resolved"
    assert wanted(json.dumps(two).encode()) == Wish("catalog", 9)


def test_whose_model_is_to_be_retrained() -> None:
    """That of the label `project`; alerts of two projects at once are refused, unless one of them has ended."""
    two = json.loads(payload(9, project="fraud"))
    assert wanted(json.dumps(two).encode()) == Wish("fraud", 9)
    two["alerts"] += json.loads(payload(3))["alerts"]
    with pytest.raises(PayloadError, match="of several projects, which a route has to group by"):
        wanted(json.dumps(two).encode())
    two["alerts"][1]["status"] = "resolved"
    assert wanted(json.dumps(two).encode()) == Wish("fraud", 9)


@dataclass
class Runs:
    """An Airflow whose DAG has the runs that a test says; what it is asked for is one more."""

    runs: list[tuple[str, str, timedelta]] = field(default_factory=list)
    paused: bool = False

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        """As Airflow's REST API does, the newest run first."""
        if path.endswith("/auth/token"):
            return 201, b'{"access_token": "x"}'
        if path.endswith(("/dags/catalog", "/dags/fraud")):
            return 200, json.dumps({"is_paused": self.paused}).encode()
        if method == "POST":
            return 200, b"{}"
        query = parse_qs(urlsplit(path).query)
        runs = [
            {"dag_run_id": name, "state": state, "run_after": (datetime.now(UTC) - ago).isoformat()}
            for name, state, ago in self.runs
            if state in query.get("state", [state])
            and ("scheduled" if name.startswith("scheduled") else "manual")
            in query.get("run_type", ["manual", "scheduled"])
        ]
        return 200, json.dumps({"dag_runs": runs[: int(query["limit"][0])]}).encode()


NOW, LONG_AGO = timedelta(), timedelta(days=2)


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        ([], ("started", "retrain__v3", "")),
        ([("retrain__v3", "queued", NOW)], ("repeated", "retrain__v3", "")),
        ([("retrain__v3", "success", LONG_AGO)], ("repeated", "retrain__v3", "")),
        (
            [("retrain__v33", "success", LONG_AGO), ("my__retrain__v3", "failed", LONG_AGO)],
            ("started", "retrain__v3", ""),
        ),
        ([("manual", "running", LONG_AGO)], ("running", "retrain__v3", "")),
        ([("manual", "success", NOW)], ("too_soon", "retrain__v3", "")),
        # What a schedule has started is asked for by nobody: only while it is under way does a wish wait for it.
        ([("scheduled__12", "success", NOW)] * 60, ("started", "retrain__v3", "")),
        ([("scheduled__12", "queued", NOW)], ("running", "retrain__v3", "")),
        (
            [*[("scheduled__12", "success", NOW)] * 60, ("retrain__v3", "failed", LONG_AGO)],
            ("started", "retrain__v3__try2", "retrain__v3"),
        ),
        ([("retrain__v3", "failed", LONG_AGO)], ("started", "retrain__v3__try2", "retrain__v3")),
        ([("retrain__v3", "failed", NOW)], ("too_soon", "retrain__v3__try2", "retrain__v3")),
        (
            [("manual", "running", NOW), ("retrain__v3", "failed", LONG_AGO)],
            ("running", "retrain__v3__try2", "retrain__v3"),
        ),
        (
            [("retrain__v3__try9", "failed", LONG_AGO), ("retrain__v3__try2", "failed", LONG_AGO)],
            ("started", "retrain__v3__try10", "retrain__v3__try9"),
        ),
        (
            [("retrain__v3__try2", "running", NOW), ("retrain__v3", "failed", LONG_AGO)],
            ("repeated", "retrain__v3__try2", ""),
        ),
    ],
)
def test_what_becomes_of_a_wish(runs: list[tuple[str, str, timedelta]], answer: tuple[str, str, str]) -> None:
    """One run a version, and one more where all that it has have failed; not beside another, nor soon after one."""
    with standing_in(Runs(runs).answer) as server:
        found = Airflow(server.address, "admin", "x", "catalog", timedelta(hours=1)).retrain(3)
        assert (found.outcome, found.run_id, found.dead) == answer
        assert (("POST", "/api/v2/dags/catalog/dagRuns") in server.asked) is (answer[0] == "started")


def test_a_run_that_failed() -> None:
    """It is counted and said once, however often the alert is told, and so is the next one."""
    airflow = Runs([("retrain__v3", "failed", NOW)])
    with standing_in(airflow.answer) as server, running(AIRFLOW_URL=server.address) as monitor:
        for _ in range(3):
            assert json.loads(monitor.alert()[1])["outcome"] == "too_soon"
        failed, too_soon = (f'catalog_retrainings_total{{outcome="{each}"}}' for each in ("failed", "too_soon"))
        assert (asked(monitor)[failed], asked(monitor)[too_soon]) == (1, 3)
        airflow.runs = [("retrain__v3__try2", "failed", LONG_AGO), ("retrain__v3", "failed", LONG_AGO)]
        assert json.loads(monitor.alert()[1]) == {"outcome": "started", "run": "retrain__v3__try3"}
        assert asked(monitor)[failed] == 2
        airflow.runs.insert(0, ("retrain__v3__try3", "success", NOW))
        assert json.loads(monitor.alert()[1])["outcome"] == "repeated"
        assert [line for line in monitor.end()[1].splitlines() if line.startswith("retraining")] == [
            "retraining: retrain__v3 failed: look at its log in Airflow",
            "retraining: retrain__v3__try2 failed: look at its log in Airflow",
            "retraining: works again",
        ]


def test_each_project_has_its_dag() -> None:
    """An alert of the fraud project asks for a run of its DAG; what becomes of it is counted and said apart."""
    airflow = Runs([("retrain__v3", "failed", NOW)])
    with (
        standing_in(airflow.answer) as server,
        running(AIRFLOW_URL=server.address, RETRAIN_FRAUD_DAG="fraud") as monitor,
    ):
        assert json.loads(monitor.alert()[1])["outcome"] == "too_soon"
        airflow.runs = []
        for _ in range(2):
            assert json.loads(monitor.ask("/alerts", payload(3, project="fraud"))[1])["outcome"] == "started"
        assert server.asked.count(("POST", "/api/v2/dags/fraud/dagRuns")) == 2
        assert ("POST", "/api/v2/dags/catalog/dagRuns") not in server.asked
        seen = monitor.metrics()
        counted = {name: seen[name] for name in seen if "_retrainings_total" in name and seen[name]}
        assert counted == {
            'catalog_retrainings_total{outcome="failed"}': 1,
            'catalog_retrainings_total{outcome="too_soon"}': 1,
            'fraud_retrainings_total{outcome="started"}': 2,
        }
        out, err = monitor.end()
        assert (
            "retraining retrain__v3__try2: too_soon" in out and out.count("fraud retraining retrain__v3: started") == 2
        )
        assert "retraining: retrain__v3 failed" in err and "fraud retraining" not in err


def test_a_dag_that_is_paused() -> None:
    """503 that says to unpause it, where a run was to start; none is asked for. One that is there is enough."""
    airflow = Runs(paused=True)
    with standing_in(airflow.answer) as server, running(AIRFLOW_URL=server.address) as monitor:
        status, said, _ = monitor.alert()
        assert status == 503 and "the DAG catalog is paused, so nothing would run: unpause it" in said
        assert asked(monitor)['catalog_retrainings_total{outcome="failed"}'] == 1
        assert ("POST", "/api/v2/dags/catalog/dagRuns") not in server.asked
        airflow.runs = [("retrain__v3", "success", LONG_AGO)]
        assert monitor.alert()[0] == 200
