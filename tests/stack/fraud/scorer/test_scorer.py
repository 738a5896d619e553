"""What the scorer says of transactions, and that what it said is recorded, once."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.stack.conftest import Run
from tests.stack.fraud.scorer.conftest import THRESHOLD, Record, Scorer, StartScorer, expected, record, series
from tests.stack.web.served import StandIn

from fraud.generator import Generator
from fraud.model import Detector
from fraud.scoring.said import read, transaction
from web.server import allow_connections

if sys.platform != "win32":
    import resource

Two = tuple[Detector, Detector]
Query = Callable[[str, str], list[tuple[Any, ...]]]
JSON = {"Content-Type": "application/json"}
ROWS = "SELECT trans_num, is_fraud, score, model_version FROM fraud_detection_2_table ORDER BY id"


@pytest.fixture(scope="module")
def signed(served: Scorer) -> dict[str, str]:
    """The header of who has signed in."""
    return {"Authorization": f"Bearer {served.token()}"}


def refused(answer: requests.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["title"] and found["detail"]
    assert not re.search(r"Traceback|\.py\b|/site-packages/|psycopg|127\.0\.0\.1", answer.text)
    return found


def test_what_is_said_is_what_training_would_say(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, database: str, folder: Path, run: Run, query: Query
) -> None:
    """By the card's past, whether it is in the table, waits for the logger, or is partly here and partly there.

    Then the rows have what was said, to the last bit.
    """
    registry.promote(detectors[0])
    given = series(1234, 90)
    said: list[dict[str, Any]] = []
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=database, LANDING_DIR=folder) as scorer:
        scorer.serves(1)
        for begin in (0, 30, 60):
            said += [scorer.score(each).json() for each in given[begin : begin + 30]]
            if begin == 30:  # the first two thirds
                waiting = scorer.metric("scorer_segment_waiting")
                scorer.wait(lambda: not list(folder.glob(".*.part")))
                assert waiting == 60 and run("logger_sql", LANDING_DIR=folder, LOGGER_SQL_URI=database).returncode == 0
                scorer.wait(lambda: scorer.metric("scorer_segment_waiting") == 0)
                assert list(folder.glob("*.jsonl")) == []
        assert scorer.metric('scorer_transactions_total{is_fraud="true",model_version="1"}') == sum(
            each["is_fraud"] for each in said
        )
        assert scorer.end() == 0
    assert {each["trans_num"]: each["score"] for each in said} == expected(detectors[0], given)
    assert {each["is_fraud"] for each in said} == {True, False}
    assert all(each["is_fraud"] is (each["score"] >= THRESHOLD) and each["threshold"] == THRESHOLD for each in said)
    assert run("logger_sql", LANDING_DIR=folder, LOGGER_SQL_URI=database).returncode == 0
    assert query(database, ROWS) == [(each["trans_num"], each["is_fraud"], each["score"], 1) for each in said]


def test_a_card_has_one_transaction_at_a_time(served: Scorer, detectors: Two) -> None:
    """Those that come at once see each other in their past, as if they had come in turn; nothing is said twice."""
    given = series(77, 40)
    body = [json.dumps(each).encode() for each in given]
    host, port = served.url.removeprefix("http://").split(":")
    head = f"POST /transactions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
    with socket.create_connection((host, int(port)), timeout=20) as client, ThreadPoolExecutor(8) as pool:
        # Over one connection they come in order, without a wait for the answer; other cards ask beside them.
        others = [pool.submit(served.score, record(900 + number)) for number in range(40)]
        client.sendall(b"".join(f"{head}{len(each)}\r\n\r\n".encode() + each for each in body))
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 40 or answers.count(b'"version":1}}') < 40:
            part = client.recv(65_536)
            assert part, answers[-500:]
            answers += part
        assert {each.result().status_code for each in others} == {200}
    said = {each["trans_num"]: each["score"] for each in map(json.loads, re.findall(rb'\{"trans_num".*?\}\}', answers))}
    assert said == expected(detectors[0], given)


def test_what_comes_late_is_judged_by_its_own_time(served: Scorer, detectors: Two) -> None:
    """It does not see what came after it, but what comes after it sees it."""
    *before, late, after = series(4321, 12, minutes=30)
    for each in (*before, after):
        assert served.score(each).status_code == 200
    assert served.score(late).json()["score"] == expected(detectors[0], [*before, late])[late["trans_num"]]
    older = record(50, cc_num=4321, trans_date_trans_time="2024-06-01 10:00:00")
    assert served.score(older).json()["score"] == expected(detectors[0], [older])[older["trans_num"]]
    last = record(51, cc_num=4321, trans_date_trans_time="2025-02-02 00:00:00")
    everything = [*before, late, after, last]
    assert served.score(last).json()["score"] == expected(detectors[0], everything)[last["trans_num"]]


def test_a_repeat_has_the_answer_that_it_had(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, database: str, folder: Path, run: Run, query: Query
) -> None:
    """While it waits, when it is in the table, after a restart, and by another version; there is one row."""
    registry.promote(detectors[0])
    given, settings = record(7), {"LOGGER_SQL_URI": database, "LANDING_DIR": folder}
    spelled = {**given, "amt": f"{given['amt']:.2f}", "cc_num": str(given["cc_num"])}
    other = {**given, "amt": given["amt"] + 1}
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
        scorer.serves(1)
        with ThreadPoolExecutor(8) as pool:
            answers = [each.json() for each in pool.map(scorer.score, [given, spelled] * 4)]
        first = answers[0]
        assert all(each == first for each in answers) and first["model"] == {"name": "fraud-detector", "version": 1}
        refused(scorer.score(other), 409)
        refused(scorer.score({**given, "cc_num": 5}), 409)
        scorer.process.kill()
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
        scorer.serves(1)
        assert scorer.score(given).json() == first and refused(scorer.score(other), 409)
        assert run("logger_sql", **settings).returncode == 0
        scorer.wait(lambda: scorer.metric("scorer_segment_waiting") == 0)
        registry.promote(detectors[1])
        scorer.serves(2)
        assert scorer.score(spelled).json() == first and refused(scorer.score({**given, "cc_num": 5}), 409)
        assert scorer.metric('scorer_transactions_total{is_fraud="false",model_version="1"}') == 0
        assert scorer.end() == 0
    assert run("logger_sql", **settings).returncode == 0
    assert query(database, ROWS) == [(given["trans_num"], first["is_fraud"], first["score"], 1)]


def test_what_a_batch_brought_without_a_score(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, filled: str
) -> None:
    """It is answered as it was recorded: nobody knows how likely it was."""
    registry.promote(detectors[0])
    made = Generator(42).transaction(3)
    said = made.pop("is_fraud")
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=filled) as scorer:
        scorer.serves(1)
        assert scorer.score(made).json() == {
            "trans_num": made["trans_num"],
            "is_fraud": said,
            "score": None,
            "threshold": None,
            "model": None,
        }


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"amt": "lots"}, "body.amt", "not a number"),
        ({"amt": -1}, "body.amt", "out of range"),
        ({"amt": 1.234}, "body.amt", "fractions of a cent"),
        ({"amt": True}, "body.amt", "not a number"),
        ({"cc_num": 2**63}, "body.cc_num", "out of range"),
        ({"lat": 91}, "body.lat", "between"),
        ({"zip": "VT"}, "body.zip", "not a zip code"),
        ({"merchant": " "}, "body.merchant", "empty"),
        ({"merchant": None}, "body.merchant", "missing"),
        ({"merchant": ["a"]}, "body.merchant", "not a text"),
        ({"merchant": "a\0b"}, "body.merchant", "NUL"),
        ({"merchant": "\ud800"}, "body.merchant", "Unicode"),
        ({"trans_num": "a" * 201}, "body.trans_num", "longer than"),
        ({"trans_date_trans_time": "2025-02-30 10:00:00"}, "body.trans_date_trans_time", "not a date"),
        ({"dob": "2025-12-31"}, "body.dob", "after the transaction"),
        ({"dob": "0001-01-01"}, "body.dob", "the year 0001 is not one of 1900 to 2199"),
        ({"trans_date_trans_time": "0001-01-01 00:00:00"}, "body.trans_date_trans_time", "the year 0001"),
        ({"is_fraud": True}, "body", "unknown 'is_fraud'"),
    ],
)
def test_transactions_that_are_none(served: Scorer, change: Record, where: str, what: str) -> None:
    """Each is refused with the column and the reason that logger_sql would have written beside the line."""
    found = refused(served.client.post("/transactions", data=json.dumps({**record(11), **change}), headers=JSON), 422)
    assert found["errors"][0]["where"] == where and what in found["errors"][0]["what"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "broken JSON"),
        (b"{", "broken JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 10_000, "broken JSON"),
        (b"null", "not a JSON object"),
        (b"{}", "missing trans_date_trans_time"),
        (b'{"amt": NaN}', "NaN is not a number"),
    ],
)
def test_bodies_that_are_none(served: Scorer, body: bytes, what: str) -> None:
    """Status 422, in one line; what is not said to be JSON, 415; what is no size for a transaction, 413."""
    assert what in refused(served.client.post("/transactions", data=body, headers=JSON), 422)["detail"]
    refused(served.client.post("/transactions", data=body), 415)
    refused(served.client.post("/transactions", data=body + b" " * 20_000, headers=JSON), 413)


def test_confirmations(served: Scorer) -> None:
    """What becomes of each is told, in order; who confirms is who is signed in; the first word stands."""
    first, second = record(20)["trans_num"], record(21)["trans_num"]
    at = "2025-01-09T10:00:00"
    answer = served.confirm((first, True, at), (second, False, at), (first, True, at))
    assert answer.status_code == 200, answer.text
    assert [each["outcome"] for each in answer.json()["confirmations"]] == ["waiting", "waiting", "repeated"]
    (refusal,) = served.confirm((first, False, "2025-01-10T10:00:00")).json()["confirmations"]
    assert refusal["outcome"] == "contradicted" and refusal["trans_num"] == first
    assert "admin said at 2025-01-09 10:00:00" in refusal["detail"]
    outcomes = {
        word: served.metric(f'scorer_confirmations_total{{outcome="{word}"}}') for word in ("waiting", "repeated")
    }
    assert outcomes == {"waiting": 2, "repeated": 1}
    assert served.metric('scorer_confirmations_total{outcome="contradicted"}') == 1


def test_a_confirmation_reaches_its_transaction(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, database: str, folder: Path, run: Run, query: Query
) -> None:
    """Whether it comes before the logger has taken the transaction, or after."""
    registry.promote(detectors[0])
    settings = {"LOGGER_SQL_URI": database, "LANDING_DIR": folder}
    one, other = record(1), record(2)
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
        scorer.serves(1)
        assert {scorer.score(each).status_code for each in (one, other)} == {200}
        told = [(one["trans_num"], True, "2025-01-09T10:00:00")]
        assert scorer.confirm(*told).json()["confirmations"][0]["outcome"] == "waiting"
        assert scorer.end() == 0
    assert run("logger_sql", **settings).returncode == 0
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
        scorer.serves(1)
        told = [(other["trans_num"], False, "2025-01-08T10:00:00")]
        early, said = scorer.confirm((other["trans_num"], True, "2024-12-31T10:00:00"), *told).json()["confirmations"]
        assert (early["outcome"], said["outcome"]) == ("rejected", "confirmed")
        assert early["detail"].startswith("confirmed_at: 2024-12-31 10:00:00 is before the transaction, made at 2025-")
        assert scorer.metric('scorer_confirmations_total{outcome="rejected"}') == 1
    truth = "SELECT trans_num, fraud_confirmed FROM fraud_detection_2_table"
    assert dict(query(database, truth)) == {one["trans_num"]: True, other["trans_num"]: False}
    kept = "SELECT confirmed_by, source FROM fraud_detection_2_confirmations"
    assert query(database, kept) == [("admin", "scorer")] * 2


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"trans_num": " "}, "body.confirmations.0.trans_num"),
        ({"trans_num": "a\0"}, "body.confirmations.0.trans_num"),
        ({"trans_num": "\ud800"}, "body.confirmations.0.trans_num"),
        ({"trans_num": 5}, "body.confirmations.0.trans_num"),
        ({"is_fraud": "yes"}, "body.confirmations.0.is_fraud"),
        ({"confirmed_at": "2025-01-09T10:00:00Z"}, "body.confirmations.0.confirmed_at"),
        ({"confirmed_at": "soon"}, "body.confirmations.0.confirmed_at"),
        ({"confirmed_at": "0001-01-01T00:00:00"}, "body.confirmations.0.confirmed_at"),
        ({"confirmed_by": "me"}, "body.confirmations.0.confirmed_by"),
    ],
)
def test_confirmations_that_are_none(served: Scorer, signed: dict[str, str], change: Record, where: str) -> None:
    """Nothing of a request is recorded of which a part is wrong; without a token, nothing is looked at."""
    wrong = {"trans_num": "x", "is_fraud": True, "confirmed_at": "2025-01-09T10:00:00", **change}
    body = json.dumps({"confirmations": [wrong]})
    refused(served.client.post("/confirmations", data=body, headers=JSON), 401)
    found = refused(served.client.post("/confirmations", data=body, headers={**JSON, **signed}), 422)
    assert found["errors"][0]["where"] == where


def test_a_thousand_connections(served: Scorer) -> None:
    """All are accepted, and all are answered, beside those that say nothing."""
    allow_connections()
    if sys.platform != "win32" and (files := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) < 1200:
        pytest.skip(f"no 1,200 open files: ulimit -Hn is {files}")
    host, port = served.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port)), timeout=60) for _ in range(1000)]
    assert served.score(record(2000)).status_code == 200
    for number, client in enumerate(idle):
        body = json.dumps(record(2001 + number))
        head = [
            "POST /transactions HTTP/1.1",
            "Host: a",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        client.sendall("\r\n".join([*head, "", body]).encode())
    assert {client.recv(4096).split(b"\r\n")[0] for client in idle} == {b"HTTP/1.1 200 OK"}
    for client in idle:
        client.close()


def test_what_it_says_of_itself(served: Scorer) -> None:
    """Its documentation needs no internet, its description says how each operation refuses, its metrics are there."""
    described = served.client.get("/openapi.json").json()
    assert described["info"]["title"] == "Fraud scorer"
    assert {"409", "422", "429", "503"} <= described["paths"]["/transactions"]["post"]["responses"].keys()
    asked = described["paths"]["/transactions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    (example,) = asked["examples"]
    assert transaction(read(json.dumps(example).encode())) and served.score(example).status_code == 200
    page = served.client.get("/docs").text
    assert "<title>Fraud scorer: documentation</title>" in page
    assert all(served.client.get(f"/{each}").status_code == 200 for each in re.findall(r'(?:src|href)="([^"]+)"', page))
    assert served.client.get("/health/live").json() == {"status": "alive"}
    assert served.client.get("/health/ready").json() == {"status": "ready", "model_version": 1}
    assert served.metric("scorer_history_seconds_count") > 0 and served.metric("scorer_model_version") == 1
    assert served.metric('http_requests_total{handler="/transactions",method="POST",status="200"}') > 0
    assert served.metric("scorer_score_count") > 0
