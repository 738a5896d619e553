"""Whatever is killed when: each transaction that was answered is one row, with what was answered."""

from __future__ import annotations

import http.client
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.stack.conftest import Run
from tests.stack.fraud.scorer.conftest import Record, Scorer, StartScorer, Wire, record
from tests.stack.web.served import StandIn

from fraud.model import Detector

Two = tuple[Detector, Detector]
Query = Callable[[str, str], list[tuple[Any, ...]]]
Start = Callable[..., "subprocess.Popen[str]"]
ROWS = "SELECT trans_num, is_fraud, score, model_version FROM fraud_detection_2_table ORDER BY trans_num"
CLIENTS = 6


class Client(threading.Thread):
    """Asks about transactions, each until it is answered; remembers what was said.

    Attributes:
        said: The answers, by the number of the transaction.
        contradicted: The numbers of those that had two answers.
        failures: What came instead of answers, by kind.
    """

    def __init__(self, url: Callable[[], str], given: Iterator[Record], ended: threading.Event) -> None:
        super().__init__()
        self.said: dict[str, dict[str, Any]] = {}
        self.contradicted: list[str] = []
        self.failures: list[str] = []
        self._url, self._given, self._ended = url, given, ended

    def run(self) -> None:
        """Ask until the end; each third one twice."""
        for number, each in enumerate(self._given):
            if self._ended.is_set():
                return
            for _ in range(1 + (number % 3 == 0)):
                self._ask(each)

    def _ask(self, given: Record) -> None:
        body = json.dumps(given)
        while not self._ended.is_set():
            host, _, port = self._url().removeprefix("http://").rpartition(":")
            try:
                with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
                    connection.request("POST", "/transactions", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(type(error).__name__)
                time.sleep(0.02)
                continue
            if answer.status == 200:
                found = json.loads(text)
                if self.said.setdefault(found["trans_num"], found) != found:
                    self.contradicted.append(found["trans_num"])
                return
            self.failures.append(str(answer.status))
            time.sleep(0.02)


@contextmanager
def asking(url: Callable[[], str], cards: int = 3) -> Iterator[list[Client]]:
    """Clients that ask without a pause, about cards that they share."""
    ended = threading.Event()

    def given(client: int) -> Iterator[Record]:
        for number in range(client, 1_000_000, CLIENTS):
            yield record(number, cc_num=1000 + number // CLIENTS % cards)

    clients = [Client(url, given(number), ended) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    try:
        yield clients
    finally:
        ended.set()
        for each in clients:
            each.join()


def answered(clients: list[Client]) -> int:
    """How many transactions have an answer by now."""
    return sum(len(each.said) for each in clients)


def goes_on(scorer: Scorer, clients: list[Client], count: int) -> None:
    """Wait until so many transactions more have an answer."""
    enough = answered(clients) + count
    scorer.wait(lambda: answered(clients) >= enough)


def recorded(clients: list[Client], rows: list[tuple[Any, ...]]) -> None:
    """Each answer is a row, as it was said; each row was asked for, and is there once.

    Raises:
        AssertionError: It is not so.
    """
    said = {number: each for client in clients for number, each in client.said.items()}
    assert not [number for client in clients for number in client.contradicted]
    found = {number: (is_fraud, score, version) for number, is_fraud, score, version in rows}
    assert len(found) == len(rows)
    assert said.keys() <= found.keys()
    assert all(found[number] == (each["is_fraud"], each["score"], 1) for number, each in said.items())
    # One that was killed between the disk and the answer, or whose client was told to end: of each client, one.
    assert len(found) - len(said) <= CLIENTS


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.full)])
def test_killed_at_random_moments(
    start_scorer: StartScorer,
    start: Start,
    run: Run,
    registry: StandIn,
    detectors: Two,
    database: str,
    folder: Path,
    query: Query,
    kills: int,
) -> None:
    """Of the scorer by SIGKILL, now and then of the logger: nothing that was answered is lost, nothing is doubled."""
    registry.promote(detectors[0])
    folder.mkdir()
    chance = random.Random(kills)
    settings: dict[str, Any] = {"LOGGER_SQL_URI": database, "LANDING_DIR": folder}
    follow = {**settings, "LOGGER_FOLLOW": 1}
    logger, at = start("logger_sql", **follow), [""]
    with asking(lambda: at[0] or "http://127.0.0.1:9") as clients:
        for kill in range(kills):
            with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
                at[0] = scorer.url
                goes_on(scorer, clients, 1)
                time.sleep(chance.random() * 0.8)
                scorer.process.kill()
            assert "Traceback" not in "".join(scorer.said)
            if kill % 3 == 1:
                logger.kill()
                logger = start("logger_sql", **follow)
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings) as scorer:
        assert scorer.end() == 0
    logger.terminate()
    assert logger.wait(20) == 0
    assert run("logger_sql", **settings).returncode == 0
    recorded(clients, query(database, ROWS))
    assert not (folder / "rejected").exists() and not list(folder.glob(".*.part"))


def test_sigterm_under_load(
    start_scorer: StartScorer, run: Run, registry: StandIn, detectors: Two, database: str, folder: Path, query: Query
) -> None:
    """Every request that is accepted is answered until it is gone; it ends with 0, and leaves nothing open."""
    registry.promote(detectors[0])
    settings = {"LOGGER_SQL_URI": database, "LANDING_DIR": folder}
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, **settings, SCORER_DRAIN=1) as scorer:
        scorer.serves(1)
        with asking(lambda: scorer.url) as clients:
            goes_on(scorer, clients, 50)
            begin = time.monotonic()
            scorer.process.send_signal(signal.SIGTERM)
            scorer.wait(lambda: scorer.client.get("/health/ready").status_code == 503)
            assert scorer.process.wait(20) == 0 and time.monotonic() - begin < 15
        assert "Traceback" not in "".join(scorer.said)
    # Nobody listens, or hung up on who connected in that very moment; nobody who had asked went without an answer.
    unheard = {"BrokenPipeError", "ConnectionRefusedError", "ConnectionResetError"}
    assert {each for client in clients for each in client.failures} <= unheard
    assert not list(folder.glob(".*.part"))
    assert run("logger_sql", **settings).returncode == 0
    recorded(clients, query(database, ROWS))


def test_postgresql_goes_away(
    start_scorer: StartScorer, run: Run, registry: StandIn, detectors: Two, database: str, folder: Path, query: Query
) -> None:
    """Transactions are refused at once, with the reason; when it is back they are scored, and none is lost."""
    registry.promote(detectors[0])
    user, _, rest = database.removeprefix("postgresql://").rpartition("@")
    address, _, name = rest.partition("/")
    wire = Wire(address)
    through = f"postgresql://{user}@{wire.address}/{name}"
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=through, LANDING_DIR=folder) as scorer:
        scorer.serves(1)
        with asking(lambda: scorer.url) as clients:
            goes_on(scorer, clients, 20)
            wire.cut()
            scorer.wait(lambda: scorer.client.get("/health/ready").status_code == 503)
            begin = time.monotonic()
            refused = scorer.score(record(5_000_000))
            assert refused.status_code == 503 and time.monotonic() - begin < 2
            assert "PostgreSQL does not answer: start it (docker compose up -d postgres)" in refused.json()["detail"]
            assert scorer.client.get("/health/live").status_code == 200
            wire.mend()
            scorer.wait(lambda: scorer.client.get("/health/ready").status_code == 200)
            goes_on(scorer, clients, 20)
        # Once; twice, where a question was still under way when it was well again.
        assert 1 <= sum("cannot reach" in line or "lost the connection" in line for line in scorer.said) <= 2
        assert "Traceback" not in "".join(scorer.said)
        # A server that was restarted: the connections are dead, and nobody notices.
        with suppress(OSError):
            wire.cut()
        wire.mend()
        assert [scorer.score(record(6_000_000 + number)).status_code for number in range(8)] == [200] * 8
        assert scorer.end() == 0
    assert {each for client in clients for each in client.failures} == {"503"}
    assert run("logger_sql", LOGGER_SQL_URI=database, LANDING_DIR=folder).returncode == 0
    rows = query(database, ROWS)
    assert len(rows) >= 28
    extra = {record(6_000_000 + number)["trans_num"] for number in range(8)}
    recorded(clients, [row for row in rows if row[0] not in extra])


def test_a_slow_postgresql(
    start_scorer: StartScorer, registry: StandIn, detectors: Two, database: str, query: Query
) -> None:
    """A question that takes too long is refused, and no other for its sake."""
    import psycopg

    registry.promote(detectors[0])
    with start_scorer(MLFLOW_TRACKING_URI=registry.url, LOGGER_SQL_URI=database) as scorer:
        scorer.serves(1)
        assert scorer.score(record(0)).status_code == 200
        with psycopg.connect(database) as locking:
            locking.execute("LOCK TABLE fraud_detection_2_table IN ACCESS EXCLUSIVE MODE")
            answer = scorer.score(record(1))
            assert answer.status_code == 503 and "too slowly" in answer.json()["detail"]
        assert scorer.score(record(1)).status_code == 200
