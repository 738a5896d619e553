"""The API as a program: its settings, its end, and what happens to requests meanwhile."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from tests.stack.api.conftest import Api, StandIn, StartApi
from tests.stack.conftest import ESCAPED, Run

from api.settings import Settings
from catalog.classifier import Classifier
from job.errors import SettingError

Two = tuple[Classifier, Classifier]
CLIENTS = 8
LOST = -1


def client(api: Api, keep: bool) -> list[int]:
    """Ask until nobody listens any more; the versions that answered, and LOST for each request without an answer."""
    answers: list[int] = []
    reset = False
    host, port = api.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    body, headers = json.dumps({"designation": "roman livre"}), {"Content-Type": "application/json"}
    while True:
        if new := connection.sock is None:
            try:
                connection.connect()
            except (ConnectionRefusedError, ConnectionResetError):
                return answers
            if reset:  # and yet somebody listens
                answers.append(LOST)
        try:
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            answers.append(found["model"]["version"] if answer.status == 200 else LOST)
            reset = False
        except (OSError, http.client.HTTPException) as error:
            # No system stops to listen and accepts who is there in one step: who comes in between is reset, once.
            reset = new and isinstance(error, ConnectionResetError) and not isinstance(error, RemoteDisconnected)
            if not reset:
                answers.append(LOST)
            connection.close()
        if not keep:
            connection.close()


@contextmanager
def loaded(api: Api) -> Iterator[list[Future[list[int]]]]:
    """An API with clients that ask without a pause: some keep their connection, some make one for each request."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(client, api, number % 2 == 0) for number in range(CLIENTS)]
        count = 'http_requests_total{handler="/predict",method="POST",status="200"}'
        api.wait(lambda: api.metric(count) > 20 * CLIENTS)
        try:
            yield asked
        finally:
            api.process.terminate()


def test_sigterm_under_load(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """It is not ready at once, and answers every request that it accepts until it is gone; it ends with 0."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url, API_DRAIN=1) as api:
        api.serves(1)
        with loaded(api) as asked:
            api.process.send_signal(signal.SIGTERM)
            api.wait(lambda: api.client.get("/health/ready").status_code == 503)
            ready = api.client.get("/health/ready")
            assert ready.json()["reasons"] == ["the server is about to end"] and ready.headers["connection"] == "close"
            assert api.client.get("/health/live").status_code == 200 == api.predict().status_code
            assert api.process.wait(20) == 0
            answers = [answer for each in asked for answer in each.result(30)]
        assert len(answers) > 20 * CLIENTS and LOST not in answers
        assert "Traceback" not in "".join(api.said)


def test_a_request_in_hand_is_finished(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """What was asked before the end is answered after it was announced, however long it takes within the patience."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url, API_DRAIN=2) as api:
        api.serves(1)
        products = [{"designation": f"roman {number}", "description": "a b " * 10_000} for number in range(10)]
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(api.client.post, "/predict/batch", json={"products": products}) for _ in range(8)]
            api.wait(lambda: api.metric('api_predictions_total{code="10",model_version="1"}') > 0)
            api.process.send_signal(signal.SIGTERM)
            assert [len(each.result(30).json()["predictions"]) for each in asked] == [10] * 8
        assert api.process.wait(20) == 0


def test_a_new_champion_under_load(start_api: StartApi, registry: StandIn, classifiers: Two) -> None:
    """No request fails while versions change, and no client sees an old one after a new one."""
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url) as api:
        api.serves(1)
        with loaded(api) as asked:
            for number in range(2, 6):
                registry.promote(classifiers[number % 2])
                api.serves(number)
        for each in asked:
            answers = each.result(30)
            assert LOST not in answers and answers == sorted(answers)
        assert {answer for each in asked for answer in each.result()} == {1, 2, 3, 4, 5}


def test_ctrl_c_ends_at_once(start_api: StartApi) -> None:
    """Who stands before it does not wait for those who might still ask."""
    with start_api(API_DRAIN=600) as api:
        api.process.send_signal(signal.SIGINT)
        assert api.process.wait(20) == 0 and "stopped" in api.said[-1] + "".join(api.said)


def test_the_second_signal_ends_at_once(start_api: StartApi) -> None:
    """SIGTERM twice does not wait for the drain."""
    with start_api(API_DRAIN=600) as api:
        api.process.send_signal(signal.SIGTERM)
        api.wait(lambda: api.client.get("/health/ready").json().get("reasons", [])[0] == "the server is about to end")
        api.process.send_signal(signal.SIGTERM)
        assert api.process.wait(20) == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"API_PORT": "x"}, "API_PORT='x' is not a whole number"),
        ({"API_PORT": "70000"}, "write a whole number from 0 to 65535"),
        ({"API_RATE": "0"}, "API_RATE=0 is not possible"),
        ({"API_RATE": "nan"}, "API_RATE=nan is not possible"),
        ({"API_DRAIN": "-1"}, "API_DRAIN=-1 is not possible"),
        ({"API_TOKEN_KEY": "short-s"}, "API_TOKEN_KEY is too short"),
        ({"API_ORIGINS": "*"}, "API_ORIGINS has '*'"),
        ({"API_ORIGINS": "https://a.example/page"}, "write the origins of pages"),
        ({"MLFLOW_TRACKING_URI": "http://user:secret-7@h:x"}, "MLFLOW_TRACKING_URI is not the address"),
        ({"MONGODB_URI": "postgresql://user:secret-7@h"}, "MONGODB_URI does not begin with mongodb://"),
    ],
)
def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    """Each is named by its variable, with what to write; a secret is not repeated."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as refused:
        Settings.read()
    line = str(refused.value)
    assert said in line and "\n" not in line and "-7" not in line and "short-s" not in line


def test_a_wrong_setting_ends_it(run: Run, tmp_path: Path) -> None:
    """One line, and exit code 2."""
    ended = run("api.server", API_PORT=0, API_SPOOL=tmp_path, API_USERS_FILE="/nowhere/users")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ") and "/nowhere/users" in line


def test_a_port_that_is_taken(run: Run, tmp_path: Path) -> None:
    """One line that names both variables, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("api.server", API_PORT=port, API_SPOOL=tmp_path)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert f"error: API_HOST=127.0.0.1, API_PORT={port}: Address already in use" in ended.stderr


def test_health_check(run: Run, start_api: StartApi) -> None:
    """It asks whether the API answers, ready or not."""
    with start_api() as api:
        port = api.url.rpartition(":")[2]
        assert run("api.health", API_PORT=port).returncode == 0
    ended = run("api.health", API_PORT=port)
    assert ended.returncode == 1 and "does not answer" in ended.stderr and "Traceback" not in ended.stderr
    wrong = run("api.health", API_PORT="x")
    assert (wrong.returncode, wrong.stderr.splitlines()) == (2, ["error: API_PORT='x' is not a whole number"])


def test_secrets_are_not_told(start_api: StartApi, registry: StandIn) -> None:
    """Neither in the log nor in an answer: not the passwords of servers, not the key of tokens."""
    secret = "secret-" + "7" * 32
    address = registry.url.replace("//", f"//user:{secret}@")
    registry.stop()
    mongodb = f"mongodb://user:{secret}@127.0.0.1:9/catalog"
    with start_api(MLFLOW_TRACKING_URI=address, MONGODB_URI=mongodb, API_TOKEN_KEY=secret) as api:
        api.wait(lambda: "does not answer" in "".join(api.said))
        answers = [api.client.get(path).text for path in ("/health/ready", "/metrics", "/openapi.json", "/model")]
        assert api.end() == 0
        assert secret not in "".join([*answers, *api.said])
    registry.start()


def test_predictions_are_stored(start_api: StartApi, registry: StandIn, classifiers: Two, mongodb_address: str) -> None:
    """MongoDB gets each prediction as it was asked and answered, and feedback with who gave it."""
    uri = f"mongodb://admin:{ESCAPED}@{mongodb_address}/t{uuid.uuid4().hex[:12]}?authSource=admin"
    registry.promote(classifiers[0])
    with start_api(MLFLOW_TRACKING_URI=registry.url, MONGODB_URI=uri) as api:
        api.serves(1)
        one = api.client.post("/predict?top_k=1", json={"designation": "<b>Roman</b>", "description": "é"}).json()
        products = {"products": [{"designation": f"livre {number}"} for number in range(20)]}
        batch = api.client.post("/predict/batch", json=products).json()
        given = {"prediction_id": one["id"], "code": 40, "comment": "no"}
        signed = {"Authorization": f"Bearer {api.token()}"}
        feedback = api.client.post("/feedback", json=given, headers=signed).json()
        assert api.end() == 0
    with MongoClient[dict[str, Any]](uri) as mongodb:
        catalog = mongodb.get_default_database()
        (stored,), batches = (list(catalog["predictions"].find({"source": each})) for each in ("one", "batch"))
        (said,) = catalog["feedback"].find()
    assert (stored["_id"], stored["designation"], stored["description"]) == (one["id"], "<b>Roman</b>", "é")
    assert stored["categories"][0]["code"] == one["categories"][0]["code"] and len(stored["categories"]) == 3
    assert stored["categories"][0].keys() == {"code", "probability"} and stored["model_version"] == 1
    at = said.pop("at")
    assert said == {"_id": feedback["id"], "user": "admin", **given} and at >= stored["at"]
    assert {each["_id"] for each in batches} == {each["id"] for each in batch["predictions"]}
